"""The commands of the thread protocol: starting runs, answering them, looking at states."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import cast, get_args
from uuid import UUID

import orjson

from loomline.schema import MultitaskStrategy
from loomline.server.authz.authorizer import Authorizer
from loomline.server.authz.users import Caller
from loomline.server.domain.agents import AgentTree
from loomline.server.domain.errors import (
    AlreadyAnswered,
    InvalidInput,
    LoomlineError,
    ThreadNotFound,
)
from loomline.server.domain.json import Json, JsonObject, load_object
from loomline.server.domain.threads import Thread, question_ids
from loomline.server.graphs.states import Selection
from loomline.server.ports.storage import Storage
from loomline.server.services.protocol_events import ProtocolEvents
from loomline.server.services.requests import CommandRequest, RunCreateRequest
from loomline.server.services.run_request import RunRequest, parse_uuid
from loomline.server.services.runs import RunService
from loomline.server.services.states import HistoryQuery, StateService

_CHECKPOINTS = 10
_CHECKPOINTS_MOST = 1000


class CommandFailed(LoomlineError):
    """A command that cannot be done. ``code`` is the protocol's word for why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Asked:
    """Who sends a command, and for which thread. ``headers`` are those that runs may read."""

    caller: Caller
    thread_id: UUID
    request_id: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class ProtocolCommands:
    def __init__(
        self,
        *,
        storage: Storage,
        runs: RunService,
        states: StateService,
        events: ProtocolEvents,
        authz: Authorizer,
    ) -> None:
        self._authz = authz
        self._storage = storage
        self._runs = runs
        self._states = states
        self._events = events
        self._methods: Mapping[str, Callable[[Asked, JsonObject], Awaitable[JsonObject]]] = {
            "run.start": self._start,
            "input.respond": self._respond,
            "agent.getTree": self._tree,
            "state.get": self._state,
            "state.listCheckpoints": self._checkpoints,
            "state.fork": self._fork,
        }

    async def execute(self, asked: Asked, method: str, params: JsonObject) -> JsonObject:
        """Do what a command says; return its result.

        Raises:
            CommandFailed: it cannot be done.
            LoomlineError: what it leads to cannot be done.
        """
        do = self._methods.get(method)
        if do is None:
            raise CommandFailed("unknown_command", f"Unknown protocol command: {method:.200}")
        return await do(asked, params)

    async def _start(self, asked: Asked, params: JsonObject) -> JsonObject:
        assistant = params.get("assistant_id")
        if not isinstance(assistant, str) or not assistant:
            raise CommandFailed("invalid_argument", "run.start requires an assistant_id.")
        body = _body(assistant, params)
        given = params.get("input")
        if given is not None and await self._waits(asked):
            body["command"] = {"resume": given}
        else:
            body["input"] = given
        return await self._run(asked, body)

    async def _respond(self, asked: Asked, params: JsonObject) -> JsonObject:
        answers = _answers(params)
        thread = await self._thread(asked)
        open_ids = question_ids(thread.interrupts)
        for interrupt_id in answers:
            if interrupt_id not in open_ids:
                raise _consumed(AlreadyAnswered(interrupt_id))
        assistant = await self._assistant(thread)
        body = _body(assistant, {**params, "multitask_strategy": "enqueue"})
        extra = {key: params[key] for key in ("update", "goto") if params.get(key) is not None}
        body["command"] = cast("CommandRequest", {"resume": answers, **extra})
        try:
            await self._run(asked, body, tuple(answers))
        except AlreadyAnswered as error:
            raise _consumed(error) from None
        return {}

    async def _tree(self, asked: Asked, params: JsonObject) -> JsonObject:
        run_id = params.get("run_id")
        tree = AgentTree(run_id if isinstance(run_id, str) else None)
        async with aclosing(await self._events.past(asked.caller, asked.thread_id, 0)) as batches:
            async for batch in batches:
                for event in batch:
                    tree.add(event)
        found = tree.tree()
        if found is None:
            raise CommandFailed("no_such_run", "No active run is bound to this thread.")
        return {"tree": found}

    async def _state(self, asked: Asked, params: JsonObject) -> JsonObject:
        namespace = _namespace(params)
        keys = _texts(params, "keys")
        selection = Selection.of([*(f"values.{key}" for key in keys or ()), "checkpoint"])
        if keys is None:
            selection = Selection.of(["values", "checkpoint"])
        state = await self._read(asked, namespace, selection)
        place = cast("JsonObject", state["checkpoint"] or {})
        if "checkpoint_id" not in place:
            if namespace:
                raise CommandFailed("no_such_namespace", "This namespace has no state.")
            return {"values": {}}
        return {
            "values": state["values"],
            "checkpoint": {"id": place["checkpoint_id"], "ns": namespace},
        }

    async def _checkpoints(self, asked: Asked, params: JsonObject) -> JsonObject:
        limit = params.get("limit", _CHECKPOINTS)
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise CommandFailed("invalid_argument", "limit must be a whole number above 0.")
        before = params.get("before")
        query = HistoryQuery(
            limit=min(limit, _CHECKPOINTS_MOST),
            before=None if before is None else str(parse_uuid(before, "checkpoint")),
            metadata={},
            place={"checkpoint_ns": _namespace(params)},
        )
        await self._thread(asked)
        selection = Selection.of(["checkpoint", "metadata", "created_at"])
        states = orjson.loads(
            await self._states.history(asked.caller, asked.thread_id, query, selection)
        )
        return {"checkpoints": [_checkpoint(each) for each in states]}

    async def _fork(self, asked: Asked, params: JsonObject) -> JsonObject:
        checkpoint = str(parse_uuid(params.get("checkpoint_id"), "checkpoint"))
        thread = await self._thread(asked)
        place = await self._states.get(
            asked.caller,
            asked.thread_id,
            {"checkpoint_id": checkpoint},
            Selection.of(["metadata"]),
        )
        if load_object(place)["metadata"] is None:
            raise CommandFailed("no_such_checkpoint", f"There is no checkpoint {checkpoint}.")
        body = _body(await self._assistant(thread), params)
        body["input"] = params.get("input")
        body["checkpoint"] = {"checkpoint_id": checkpoint}
        started = await self._run(asked, body)
        return {**started, "thread_id": str(asked.thread_id)}

    async def _run(
        self, asked: Asked, body: RunCreateRequest, answers: tuple[str, ...] = ()
    ) -> JsonObject:
        request = RunRequest(
            body,
            asked.thread_id,
            request_id=asked.request_id,
            headers=asked.headers,
            thread_events=True,
            answers=answers,
        )
        created = await self._runs.create(asked.caller, request)
        return {"run_id": str(created.run.run_id)}

    async def _waits(self, asked: Asked) -> bool:
        """Return whether a thread has stopped to ask something."""
        try:
            thread = await self._get(asked)
        except ThreadNotFound:
            return False
        return thread.status == "interrupted" and bool(question_ids(thread.interrupts))

    async def _assistant(self, thread: Thread) -> str:
        """Return the assistant of the thread's last run, else the one its metadata name."""
        runs = await self._storage.runs.list(thread.thread_id, limit=1, offset=0, status=None)
        if runs:
            return str(runs[0].assistant_id)
        named = thread.metadata.get("assistant_id") or thread.metadata.get("graph_id")
        if not isinstance(named, str):
            raise CommandFailed("no_such_run", "No run has been started on this thread.")
        return named

    async def _thread(self, asked: Asked) -> Thread:
        try:
            return await self._get(asked)
        except ThreadNotFound as error:
            raise CommandFailed("no_such_run", str(error)) from None

    async def _get(self, asked: Asked) -> Thread:
        named = {"thread_id": asked.thread_id}
        access = await self._authz.allow(asked.caller, "threads", "read", named)
        return await self._storage.threads.get(asked.thread_id, with_values=False, access=access)

    async def _read(self, asked: Asked, namespace: str, selection: Selection) -> JsonObject:
        await self._thread(asked)
        place = {"checkpoint_ns": namespace}
        state = await self._states.get(asked.caller, asked.thread_id, place, selection)  # type: ignore[arg-type]
        return load_object(state)


def _body(assistant: str, params: JsonObject) -> RunCreateRequest:
    """Return the request for a run; a config that is none is left out, as clients expect."""
    body: RunCreateRequest = {"assistant_id": assistant, "if_not_exists": "create"}
    config, metadata = params.get("config"), params.get("metadata")
    if isinstance(config, dict):
        body["config"] = config
    if metadata is not None:
        if not isinstance(metadata, dict):
            raise InvalidInput(f"'metadata' must be an object, got {metadata!r:.200}")
        body["metadata"] = metadata
    strategy = params.get("multitask_strategy", params.get("multitaskStrategy"))
    if params.get("strict_resume") is True:
        body["strict_resume"] = True
    if strategy in get_args(MultitaskStrategy):
        body["multitask_strategy"] = cast("MultitaskStrategy", strategy)
    return body


def _answers(params: JsonObject) -> dict[str, Json]:
    """Return the answers by the interrupts they are for."""
    given = params.get("responses", [params])
    if not isinstance(given, list) or not given:
        raise CommandFailed("invalid_argument", "input.respond requires at least one response.")
    answers: dict[str, Json] = {}
    for each in given:
        interrupt_id = each.get("interrupt_id") if isinstance(each, dict) else None
        if not isinstance(each, dict) or not isinstance(interrupt_id, str) or not interrupt_id:
            raise CommandFailed("invalid_argument", "input.respond requires an interrupt_id.")
        answers[interrupt_id] = each.get("response")
    return answers


def _consumed(error: AlreadyAnswered) -> CommandFailed:
    return CommandFailed("no_such_interrupt", str(error))


def _namespace(params: JsonObject) -> str:
    return "|".join(_texts(params, "namespace") or ())


def _texts(params: JsonObject, name: str) -> list[str] | None:
    given = params.get(name)
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise CommandFailed("invalid_argument", f"{name} must be a list of texts.")
    return cast("list[str]", given)


def _checkpoint(state: JsonObject) -> JsonObject:
    place = cast("JsonObject", state["checkpoint"])
    metadata = cast("JsonObject", state["metadata"] or {})
    return {
        "id": place["checkpoint_id"],
        "timestamp": state["created_at"],
        "step": metadata.get("step"),
        "metadata": metadata,
    }
