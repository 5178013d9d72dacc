"""The commands of the thread protocol: starting runs, answering them, looking at states."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import cast, get_args
from uuid import UUID
from weakref import WeakValueDictionary

import orjson

from weft.schema import MultitaskStrategy
from weft.server.domain.agents import AgentTree
from weft.server.domain.errors import InvalidInput, ThreadNotFound, WeftError
from weft.server.domain.json import Json, JsonObject, load_object
from weft.server.domain.threads import Thread
from weft.server.graphs.states import Selection
from weft.server.ports.storage import Storage
from weft.server.services.protocol_events import ProtocolEvents
from weft.server.services.requests import CommandRequest, RunCreateRequest
from weft.server.services.run_request import parse_uuid
from weft.server.services.runs import RunService
from weft.server.services.states import HistoryQuery, StateService

_CHECKPOINTS = 10
_CHECKPOINTS_MOST = 1000

# The newest runs of a thread, among which those are that have not ended.
_WAITING = 100


class CommandFailed(WeftError):
    """A command that cannot be done. ``code`` is the protocol's word for why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ProtocolCommands:
    def __init__(
        self,
        *,
        storage: Storage,
        runs: RunService,
        states: StateService,
        events: ProtocolEvents,
    ) -> None:
        self._storage = storage
        self._runs = runs
        self._states = states
        self._events = events
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        self._methods: Mapping[str, Callable[[UUID, JsonObject, str], Awaitable[JsonObject]]] = {
            "run.start": self._start,
            "input.respond": self._respond,
            "agent.getTree": self._tree,
            "state.get": self._state,
            "state.listCheckpoints": self._checkpoints,
            "state.fork": self._fork,
        }

    async def execute(
        self, thread_id: UUID, method: str, params: JsonObject, request_id: str
    ) -> JsonObject:
        """Do what a command says; return its result.

        Raises:
            CommandFailed: it cannot be done.
            WeftError: what it leads to cannot be done.
        """
        do = self._methods.get(method)
        if do is None:
            raise CommandFailed("unknown_command", f"Unknown protocol command: {method:.200}")
        return await do(thread_id, params, request_id)

    async def _start(self, thread_id: UUID, params: JsonObject, request_id: str) -> JsonObject:
        assistant = params.get("assistant_id")
        if not isinstance(assistant, str) or not assistant:
            raise CommandFailed("invalid_argument", "run.start requires an assistant_id.")
        body = _body(assistant, params)
        given = params.get("input")
        if given is not None and await self._waits(thread_id):
            body["command"] = {"resume": given}
        else:
            body["input"] = given
        return await self._run(thread_id, body, request_id)

    async def _respond(self, thread_id: UUID, params: JsonObject, request_id: str) -> JsonObject:
        answers = _answers(params)
        # One after the other: of two answers to the same question the second is refused.
        async with self._locks.setdefault(thread_id, asyncio.Lock()):
            # In this order: a run that ends in between is either seen, or has changed the thread.
            taken = await self._answered(thread_id)
            thread = await self._thread(thread_id)
            _check_pending(_pending(thread) - taken, answers)
            assistant = await self._assistant(thread)
            body = _body(assistant, {**params, "multitask_strategy": "enqueue"})
            extra = {key: params[key] for key in ("update", "goto") if params.get(key) is not None}
            body["command"] = cast("CommandRequest", {"resume": answers, **extra})
            await self._run(thread_id, body, request_id)
        return {}

    async def _tree(self, thread_id: UUID, params: JsonObject, _: str) -> JsonObject:
        run_id = params.get("run_id")
        tree = AgentTree(run_id if isinstance(run_id, str) else None)
        async for batch in self._events.past(thread_id, 0):
            for event in batch:
                tree.add(event)
        found = tree.tree()
        if found is None:
            raise CommandFailed("no_such_run", "No active run is bound to this thread.")
        return {"tree": found}

    async def _state(self, thread_id: UUID, params: JsonObject, _: str) -> JsonObject:
        namespace = _namespace(params)
        keys = _texts(params, "keys")
        selection = Selection.of([*(f"values.{key}" for key in keys or ()), "checkpoint"])
        if keys is None:
            selection = Selection.of(["values", "checkpoint"])
        state = await self._read(thread_id, namespace, selection)
        place = cast("JsonObject", state["checkpoint"] or {})
        if "checkpoint_id" not in place:
            if namespace:
                raise CommandFailed("no_such_namespace", "This namespace has no state.")
            return {"values": {}}
        return {
            "values": state["values"],
            "checkpoint": {"id": place["checkpoint_id"], "ns": namespace},
        }

    async def _checkpoints(self, thread_id: UUID, params: JsonObject, _: str) -> JsonObject:
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
        await self._thread(thread_id)
        selection = Selection.of(["checkpoint", "metadata", "created_at"])
        states = orjson.loads(await self._states.history(thread_id, query, selection))
        return {"checkpoints": [_checkpoint(each) for each in states]}

    async def _fork(self, thread_id: UUID, params: JsonObject, request_id: str) -> JsonObject:
        checkpoint = str(parse_uuid(params.get("checkpoint_id"), "checkpoint"))
        thread = await self._thread(thread_id)
        place = await self._states.get(
            thread_id, {"checkpoint_id": checkpoint}, Selection.of(["metadata"])
        )
        if load_object(place)["metadata"] is None:
            raise CommandFailed("no_such_checkpoint", f"There is no checkpoint {checkpoint}.")
        body = _body(await self._assistant(thread), params)
        body["input"] = params.get("input")
        body["checkpoint"] = {"checkpoint_id": checkpoint}
        started = await self._run(thread_id, body, request_id)
        return {**started, "thread_id": str(thread_id)}

    async def _run(self, thread_id: UUID, body: RunCreateRequest, request_id: str) -> JsonObject:
        run = await self._runs.create(thread_id, body, request_id=request_id, protocol=True)
        return {"run_id": str(run.run_id)}

    async def _waits(self, thread_id: UUID) -> bool:
        """Return whether a thread has stopped to ask something."""
        try:
            thread = await self._storage.threads.get(thread_id, with_values=False)
        except ThreadNotFound:
            return False
        return thread.status == "interrupted" and bool(_pending(thread))

    async def _answered(self, thread_id: UUID) -> set[str]:
        """Return the interrupts for which there is an answer that waits or is being worked on."""
        try:
            runs = await self._storage.runs.list(thread_id, limit=_WAITING, offset=0, status=None)
        except ThreadNotFound as error:
            raise CommandFailed("no_such_run", str(error)) from None
        found: set[str] = set()
        for run in runs:
            if run.active:
                command = load_object(run.kwargs).get("command")
                resume = command.get("resume") if isinstance(command, dict) else None
                found |= set(resume) if isinstance(resume, dict) else set()
        return found

    async def _assistant(self, thread: Thread) -> str:
        """Return the assistant of the thread's last run, else the one its metadata name."""
        runs = await self._storage.runs.list(thread.thread_id, limit=1, offset=0, status=None)
        if runs:
            return str(runs[0].assistant_id)
        named = thread.metadata.get("assistant_id") or thread.metadata.get("graph_id")
        if not isinstance(named, str):
            raise CommandFailed("no_such_run", "No run has been started on this thread.")
        return named

    async def _thread(self, thread_id: UUID) -> Thread:
        try:
            return await self._storage.threads.get(thread_id, with_values=False)
        except ThreadNotFound as error:
            raise CommandFailed("no_such_run", str(error)) from None

    async def _read(self, thread_id: UUID, namespace: str, selection: Selection) -> JsonObject:
        await self._thread(thread_id)
        place = {"checkpoint_ns": namespace}
        return load_object(await self._states.get(thread_id, place, selection))  # type: ignore[arg-type]


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


def _check_pending(pending: set[str], answers: Mapping[str, Json]) -> None:
    for interrupt_id in answers:
        if interrupt_id not in pending:
            raise CommandFailed(
                "no_such_interrupt",
                f"Unknown or already-consumed interrupt: {interrupt_id:.200}",
            )


def _pending(thread: Thread) -> set[str]:
    """Return the ids of what a thread asks."""
    found: set[str] = set()
    for interrupts in load_object(thread.interrupts or b"{}").values():
        for each in interrupts if isinstance(interrupts, list) else []:
            if isinstance(each, dict):
                found.add(str(each.get("id")))
    return found


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
