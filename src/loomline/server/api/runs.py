"""``/runs`` and ``/threads/{thread_id}/runs``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Final, cast, get_args
from uuid import UUID, uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from loomline.schema import CancelAction, RunStatus, StreamMode, ThreadStreamMode
from loomline.server.api.authentication import caller_of
from loomline.server.api.body import (
    Body,
    path_uuid,
    query_choice,
    query_flag,
    query_int,
    query_list,
)
from loomline.server.api.stream import (
    Framing,
    Leaving,
    RunEnd,
    event_stream,
    failed_stream,
    slow_json,
    thread_stream,
)
from loomline.server.api.wire import Wire, json_response, run_wire
from loomline.server.authz.users import SERVER, Caller
from loomline.server.domain.errors import (
    ContradictoryInput,
    InvalidInput,
    RunNotFound,
    ThreadNotFound,
)
from loomline.server.domain.events import START, EventId
from loomline.server.domain.json import Encoded, dump
from loomline.server.domain.runs import Created, Run
from loomline.server.services.departures import Departures
from loomline.server.services.headers import HeaderPicker
from loomline.server.services.requests import (
    OFFSET_MOST,
    RunBatchRequest,
    RunCancelRequest,
    RunCreateRequest,
)
from loomline.server.services.run_request import RunRequest, parse_uuid
from loomline.server.services.runs import RunService, Waiting
from loomline.server.services.thread_stream import ThreadStreamService

LIST_MOST: Final = 10_000

_SHOWN = 200

STOPPING_SECONDS = 0.25
"""The most that the answer to a cancellation waits for the run to stop.

Nearly every run has stopped by then, and programs look at its status right after the answer.
"""

CANCEL_REASON = "{action} requested via POST /threads/{{thread_id}}/runs/{{run_id}}/cancel"
TAKEN = "taken"

_WITHOUT_END = "langgraph-sdk-py/"
LEFT_REASON = "client disconnected from the run stream (on_disconnect=cancel)"

COLUMNS: Final = (
    "run_id", "thread_id", "assistant_id", "status", "metadata", "multitask_strategy",
    "created_at", "updated_at", "kwargs", "cancel_reason", "langsmith_session_name",
)  # fmt: skip


class RunRoutes:
    def __init__(
        self,
        runs: RunService,
        threads: ThreadStreamService,
        departures: Departures,
        *,
        body_limit: int,
        heartbeat_seconds: float,
        headers: HeaderPicker | None = None,
    ) -> None:
        self._runs = runs
        self._threads = threads
        self._departures = departures
        self._body = Body(RunCreateRequest, body_limit)
        self._batch: Body[list[RunCreateRequest]] = Body(RunBatchRequest, body_limit)
        self._cancel = Body(RunCancelRequest, body_limit)
        self._heartbeat = heartbeat_seconds
        self._headers = headers or HeaderPicker()

    async def create(self, request: Request) -> Response:
        created, _ = await self._new(request)
        run = created.run
        headers = {"content-location": _path(request, run), **_replayed(created)}
        return json_response(run_wire(run), headers=headers)

    async def stream(self, request: Request) -> ASGIApp:
        created, body = await self._new(request, reading=True)
        run = created.run
        leave = body.get("on_disconnect") == "cancel"
        return event_stream(
            await self._runs.replay(created) if created.replayed else self._runs.read(run),
            Framing.of((), with_ids=run.resumable, namespaces=_namespaces(request)),
            headers={**_locations(_path(request, run), "stream"), **_replayed(created)},
            heartbeat_seconds=self._heartbeat,
            leaving=self._leaving(SERVER, run.thread_id, run.run_id) if leave else None,
            end=self._end(request, run),
        )

    async def wait(self, request: Request) -> ASGIApp:
        created, body = await self._new(request, reading=True)
        run = created.run
        leave = body.get("on_disconnect") == "cancel"
        # The thread is named even where it is temporary: clients read the run's place from it.
        places = _locations(_run_path(run.thread_id, run.run_id), "join")
        return slow_json(
            partial(self._joined, partial(self._runs.wait, created)),
            headers={**places, **_replayed(created)},
            heartbeat_seconds=self._heartbeat,
            leaving=self._leaving(SERVER, run.thread_id, run.run_id) if leave else None,
        )

    async def batch(self, request: Request) -> Response:
        request_id, headers = _request_id(request), self._headers.pick(request.headers.items())
        asked = [
            RunRequest(body, request_id=request_id, headers=headers)
            for body in await self._batch.read(request)
        ]
        key = request.headers.get("idempotency-key")
        runs = await self._runs.create_batch(caller_of(request), asked, key)
        return json_response([run_wire(run) for run in runs])

    async def cancel_many(self, request: Request) -> Response:
        body = await self._cancel.read(request)
        action = _action(request)
        reason = f"{action} requested via POST /runs/cancel"
        given = {"thread_id", "run_ids"} & body.keys()
        if ("status" in body) == bool(given) or len(given) == 1:
            raise InvalidInput("Give either 'status', or both 'thread_id' and 'run_ids'.")
        if "status" in body:
            status = None if body["status"] == "all" else body["status"]
            await self._runs.cancel_all(caller_of(request), status, action, reason=reason)
        else:
            thread_id = parse_uuid(body["thread_id"], "thread")
            run_ids = [parse_uuid(each, "run") for each in body["run_ids"]]
            await self._runs.cancel_many(
                caller_of(request), thread_id, run_ids, action, reason=reason
            )
        return Response(status_code=204)

    async def follow_thread(self, request: Request) -> ASGIApp:
        thread_id = path_uuid(request, "thread")
        cursor, modes = _thread_cursor(request), _thread_modes(request)
        try:
            batches = await self._threads.follow(caller_of(request), thread_id, cursor, modes)
        except ThreadNotFound as error:
            return failed_stream(
                "HTTPException", f"404: {error}", headers={}, heartbeat_seconds=self._heartbeat
            )
        return thread_stream(batches, heartbeat_seconds=self._heartbeat)

    async def list(self, request: Request) -> Response:
        columns = _columns(request)
        status = query_choice(request, "status", get_args(RunStatus))
        runs = await self._runs.list(
            caller_of(request),
            path_uuid(request, "thread"),
            limit=query_int(request, "limit", 10, LIST_MOST),
            offset=query_int(request, "offset", 0, OFFSET_MOST),
            status=cast("RunStatus | None", status),
        )
        return json_response([_selected(run_wire(run), columns) for run in runs])

    async def get(self, request: Request) -> Response:
        run = await self._runs.get(caller_of(request), *_ids(request))
        return json_response(run_wire(run))

    async def delete(self, request: Request) -> Response:
        await self._runs.delete(caller_of(request), *_ids(request))
        return Response(status_code=204)

    async def join(self, request: Request) -> ASGIApp:
        thread_id, run_id = _place(request)
        leave = query_flag(request, "cancel_on_disconnect")
        waiting = await self._runs.join_result(caller_of(request), thread_id, run_id)
        return slow_json(
            partial(self._joined, waiting),
            headers=_locations(_run_path(thread_id, run_id), "join"),
            heartbeat_seconds=self._heartbeat,
            leaving=self._leaving(caller_of(request), thread_id, run_id) if leave else None,
        )

    async def join_stream(self, request: Request) -> ASGIApp:
        thread_id, run_id = _place(request)
        leave = query_flag(request, "cancel_on_disconnect")
        modes = _run_modes(request)
        headers = _locations(_run_path(thread_id, run_id), "stream")
        last = request.headers.get("last-event-id")
        try:
            joined = await self._runs.join(
                caller_of(request), thread_id, run_id, last, _checkpoint(request)
            )
        except RunNotFound as error:
            return failed_stream(
                "HTTPException",
                f"404: {error}",
                headers=headers,
                heartbeat_seconds=self._heartbeat,
            )
        return event_stream(
            joined.reader,
            Framing.of(modes, with_ids=joined.run.resumable, namespaces=_namespaces(request)),
            headers=headers,
            heartbeat_seconds=self._heartbeat,
            leaving=self._leaving(caller_of(request), thread_id, run_id) if leave else None,
            end=self._end(request, joined.run),
        )

    async def cancel(self, request: Request) -> ASGIApp:
        thread_id, run_id = _ids(request)
        wait = query_flag(request, "wait")
        action = _action(request)
        reason = _cancel_reason(request, action)
        await self._runs.cancel(caller_of(request), thread_id, run_id, action, reason=reason)
        if not wait:
            with suppress(TimeoutError):
                async with asyncio.timeout(STOPPING_SECONDS):
                    await self._runs.ended(thread_id, run_id)
            return Response(status_code=202)
        return slow_json(
            partial(self._stopped, thread_id, run_id),
            headers=_locations(_run_path(thread_id, run_id), "join"),
            heartbeat_seconds=self._heartbeat,
        )

    async def _new(
        self, request: Request, *, reading: bool = False
    ) -> tuple[Created, RunCreateRequest]:
        thread_id = path_uuid(request, "thread") if "thread_id" in request.path_params else None
        body = await self._body.read(request)
        asked = RunRequest(
            body,
            thread_id,
            request_id=_request_id(request),
            headers=self._headers.pick(request.headers.items()),
            key=request.headers.get("idempotency-key"),
            reading=reading,
        )
        return await self._runs.create(caller_of(request), asked), body

    def _leaving(self, caller: Caller, thread_id: UUID | None, run_id: UUID) -> Leaving:
        leave = self._departures.leave
        return Leaving(partial(leave, caller, thread_id, run_id, reason=LEFT_REASON))

    def _end(self, request: Request, run: Run) -> RunEnd | None:
        """Return the event that ends the stream of a run, for clients that expect it.

        The official Python client hands events that it does not know to its callers, some of which
        take the last event for the result. No other server sends it this event.
        """
        if request.headers.get("user-agent", "").startswith(_WITHOUT_END):
            return None
        return RunEnd(run.run_id, partial(self._runs.ending, run))

    async def _joined(self, waiting: Waiting) -> Encoded:
        try:
            return await waiting()
        except RunNotFound as error:
            return _not_found(error)

    async def _stopped(self, thread_id: UUID, run_id: UUID) -> Encoded:
        await self._runs.ended(thread_id, run_id)
        return Encoded(b"{}")


def _replayed(created: Created) -> Mapping[str, str]:
    return {"idempotent-replayed": "true"} if created.replayed else {}


def _request_id(request: Request) -> str:
    return request.headers.get("x-request-id") or str(uuid4())


def _action(request: Request) -> CancelAction:
    given = query_choice(request, "action", get_args(CancelAction)) or "interrupt"
    return cast("CancelAction", given)


def _cancel_reason(request: Request, action: CancelAction) -> str:
    """Return the reason that is stored with a cancelled run.

    Raises:
        ContradictoryInput: The request names a reason for a rollback.
        InvalidInput: The request names an unknown reason.
    """
    requested = CANCEL_REASON.format(action=action)
    if query_choice(request, "reason", (TAKEN,)) is None:
        return requested
    if action != "interrupt":
        raise ContradictoryInput("The reason 'taken' needs the action 'interrupt'.")
    return f"{TAKEN}: {requested}"


def _run_modes(request: Request) -> list[str]:
    modes = query_list(request, "stream_mode")
    for mode in modes:
        if mode not in get_args(StreamMode):
            raise InvalidInput(f"Invalid stream mode: {mode[:_SHOWN]}")
    return modes


def _namespaces(request: Request) -> list[str]:
    """Return the graphs that a client wants events of; without names, all of them."""
    return request.query_params.getlist("namespace")


def _checkpoint(request: Request) -> UUID | None:
    """Return the checkpoint that a client shows already, if it names one."""
    given = request.query_params.get("checkpoint_id")
    return None if given is None else parse_uuid(given, "checkpoint")


def _thread_modes(request: Request) -> frozenset[ThreadStreamMode]:
    """Return which events of a thread are asked for, by either name of the parameter."""
    given = query_list(request, "stream_modes") + query_list(request, "stream_mode")
    modes = [mode for text in given for mode in text.split(",")]
    for mode in modes:
        if mode not in get_args(ThreadStreamMode):
            raise InvalidInput(f"Invalid stream mode: {mode[:_SHOWN]}")
    return frozenset(cast("list[ThreadStreamMode]", modes or ["run_modes"]))


def _thread_cursor(request: Request) -> EventId | None:
    """Return the last event a client has; None: it names none.

    Raises:
        InvalidInput: what it names is no event.
    """
    text = request.headers.get("last-event-id")
    if not text:
        return None
    found = START if text in {"-1", "-", "0"} else EventId.parse(text)
    if found is None:
        raise InvalidInput("Invalid last-event-id: must be a valid Redis stream ID")
    return found


def _ids(request: Request) -> tuple[UUID, UUID]:
    return path_uuid(request, "thread"), path_uuid(request, "run")


def _place(request: Request) -> tuple[UUID | None, UUID]:
    """Return the thread and the run of a path that may leave the thread out."""
    stateless = "thread_id" not in request.path_params
    return None if stateless else path_uuid(request, "thread"), path_uuid(request, "run")


def _path(request: Request, run: Run) -> str:
    """Return where the run is, in the form of the route it was created by."""
    stateless = "thread_id" not in request.path_params
    return _run_path(None if stateless else run.thread_id, run.run_id)


def _run_path(thread_id: UUID | None, run_id: UUID) -> str:
    return f"/runs/{run_id}" if thread_id is None else f"/threads/{thread_id}/runs/{run_id}"


def _locations(path: str, again: str) -> Mapping[str, str]:
    return {"location": f"{path}/{again}", "content-location": path}


def _columns(request: Request) -> Wire | None:
    asked = query_list(request, "select")
    unknown = [name for name in asked if name not in COLUMNS]
    if unknown:
        raise InvalidInput(f"Invalid select columns: {unknown}. Expected: {sorted(COLUMNS)}")
    return dict.fromkeys(asked) or None


def _selected(wire: Wire, columns: Wire | None) -> Wire:
    return wire if columns is None else {name: wire[name] for name in columns}


def _not_found(error: RunNotFound) -> Encoded:
    return dump({"__error__": {"error": "HTTPException", "message": f"404: {error}"}})
