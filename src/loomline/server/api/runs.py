"""``/runs`` and ``/threads/{thread_id}/runs``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import ClassVar, Final, get_args
from uuid import UUID, uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from loomline.schema import CancelAction, MultitaskStrategy, RunStatus, StreamMode
from loomline.server.api.authentication import caller_of
from loomline.server.api.body import Body, path_uuid
from loomline.server.api.entries import Entry, Resource
from loomline.server.api.queries import (
    ChoiceQuery,
    FlagQuery,
    IntegerQuery,
    RepeatedQuery,
    UuidQuery,
    WordsQuery,
    unknown_mode,
)
from loomline.server.api.schemas import (
    ANY,
    ID,
    MAYBE_STRING,
    OBJECT,
    STREAM,
    TIME,
    Named,
    array,
    fields,
    one_of,
)
from loomline.server.api.stream import (
    Framing,
    Leaving,
    RunEnd,
    event_stream,
    failed_stream,
    slow_json,
)
from loomline.server.api.wire import json_response, run_wire, selected
from loomline.server.authz.users import SERVER, Caller
from loomline.server.domain.errors import ContradictoryInput, InvalidInput, RunNotFound
from loomline.server.domain.json import Encoded, JsonObject, dump
from loomline.server.domain.runs import Created, Run
from loomline.server.services.departures import Departures
from loomline.server.services.headers import HeaderPicker
from loomline.server.services.requests import (
    RunBatchRequest,
    RunCancelRequest,
    RunCreateRequest,
)
from loomline.server.services.run_request import RunRequest, parse_uuid
from loomline.server.services.runs import RunService, Waiting

_THREAD: Final = "/threads/{thread_id}"
_RUN: Final = f"{_THREAD}/runs/{{run_id}}"

STOPPING_SECONDS = 0.25
"""The most that the answer to a cancellation waits for the run to stop.

Nearly every run has stopped by then, and programs look at its status right after the answer.
"""

CANCEL_REASON = "{action} requested via POST /threads/{{thread_id}}/runs/{{run_id}}/cancel"
TAKEN = "taken"

_WITHOUT_END = "langgraph-sdk-py/"
LEFT_REASON = "client disconnected from the run stream (on_disconnect=cancel)"

_FIELDS: Final[JsonObject] = {
    "run_id": ID,
    "thread_id": ID,
    "assistant_id": ID,
    "status": one_of(RunStatus),
    "metadata": OBJECT,
    "multitask_strategy": one_of(MultitaskStrategy),
    "created_at": TIME,
    "updated_at": TIME,
    "kwargs": OBJECT,
    "cancel_reason": MAYBE_STRING,
    "langsmith_session_name": MAYBE_STRING,
}
RUN: Final[Named] = Named("Run", fields(_FIELDS))
RUNS: Final = array(RUN.row("RunRow"))


def _unknown_columns(unknown: Sequence[str]) -> str:
    return f"Invalid select columns: {unknown}. Expected: {sorted(_FIELDS)}"


ACTION: Final[ChoiceQuery[CancelAction]] = ChoiceQuery(
    "action", words=get_args(CancelAction), default="interrupt",
    help="'interrupt' keeps what the run did, 'rollback' undoes it.",
)  # fmt: skip
REASON: Final[ChoiceQuery[str | None]] = ChoiceQuery(
    "reason", words=(TAKEN,), default=None,
    help="'taken': another run goes on with the input of this one.",
)  # fmt: skip
WAIT: Final = FlagQuery("wait", help="Answer only when the run has ended.")
LEAVE: Final = FlagQuery("cancel_on_disconnect", help="Stop the run when this client goes away.")
MODES: Final = WordsQuery(
    "stream_mode", words=get_args(StreamMode), refusal=unknown_mode,
    help="Only events of these modes.",
)  # fmt: skip
NAMESPACES: Final = RepeatedQuery(
    "namespace", help="Only events of these graphs; the root graph is an empty string."
)
AFTER: Final = UuidQuery(
    "checkpoint_id", kind="checkpoint",
    help="With the last event -1: only events after this checkpoint.",
)  # fmt: skip
LIMIT: Final = IntegerQuery("limit", default=10, most=10_000, help="Number of runs to return.")
OFFSET: Final = IntegerQuery("offset", default=0, help="How many of the newest runs to skip.")
STATUS: Final[ChoiceQuery[RunStatus | None]] = ChoiceQuery(
    "status", words=get_args(RunStatus), default=None, help="Only runs with this status."
)
COLUMNS: Final = WordsQuery(
    "select", words=tuple(_FIELDS), refusal=_unknown_columns,
    help="Only these fields of each run.",
)  # fmt: skip


class RunRoutes(Resource):
    """Runs: started, waited for, followed, listed and stopped."""

    tag = "runs"
    group: ClassVar[str | None] = "runs"

    def __init__(
        self,
        runs: RunService,
        departures: Departures,
        *,
        body_limit: int,
        heartbeat_seconds: float,
        headers: HeaderPicker | None = None,
    ) -> None:
        self._runs = runs
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
            Framing.of((), with_ids=run.resumable, namespaces=NAMESPACES.read(request)),
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
        action = ACTION.read(request)
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

    async def list(self, request: Request) -> Response:
        columns = COLUMNS.read(request)
        status = STATUS.read(request)
        runs = await self._runs.list(
            caller_of(request),
            path_uuid(request, "thread"),
            limit=LIMIT.read(request),
            offset=OFFSET.read(request),
            status=status,
        )
        return json_response([selected(run_wire(run), columns) for run in runs])

    async def get(self, request: Request) -> Response:
        run = await self._runs.get(caller_of(request), *_ids(request))
        return json_response(run_wire(run))

    async def delete(self, request: Request) -> Response:
        await self._runs.delete(caller_of(request), *_ids(request))
        return Response(status_code=204)

    async def join(self, request: Request) -> ASGIApp:
        thread_id, run_id = _place(request)
        leave = LEAVE.read(request)
        waiting = await self._runs.join_result(caller_of(request), thread_id, run_id)
        return slow_json(
            partial(self._joined, waiting),
            headers=_locations(_run_path(thread_id, run_id), "join"),
            heartbeat_seconds=self._heartbeat,
            leaving=self._leaving(caller_of(request), thread_id, run_id) if leave else None,
        )

    async def join_stream(self, request: Request) -> ASGIApp:
        thread_id, run_id = _place(request)
        leave = LEAVE.read(request)
        modes = MODES.read(request)
        headers = _locations(_run_path(thread_id, run_id), "stream")
        last = request.headers.get("last-event-id")
        try:
            joined = await self._runs.join(
                caller_of(request), thread_id, run_id, last, AFTER.read(request)
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
            Framing.of(modes, with_ids=joined.run.resumable, namespaces=NAMESPACES.read(request)),
            headers=headers,
            heartbeat_seconds=self._heartbeat,
            leaving=self._leaving(caller_of(request), thread_id, run_id) if leave else None,
            end=self._end(request, joined.run),
        )

    async def cancel(self, request: Request) -> ASGIApp:
        thread_id, run_id = _ids(request)
        wait = WAIT.read(request)
        action = ACTION.read(request)
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

    def table(self) -> Sequence[Entry]:
        return [*self._starts(), *self._readings(), *self._single(), *self._cancels()]

    def _starts(self) -> Sequence[Entry]:
        return [
            *self._starts_below(_THREAD, "on a thread"),
            *self._starts_below("", "on a thread of its own"),
            Entry(
                "POST", "/runs/batch", self.batch,
                "Start runs in the background, each on a thread of its own", array(RUN),
                body=RunBatchRequest, errors=(400, 404, 413, 422, 429, 503), idempotent=True,
            ),
        ]  # fmt: skip

    def _starts_below(self, prefix: str, where: str) -> Sequence[Entry]:
        errors = (400, 404, 409, 413, 422, 429, 503)
        return [
            Entry(
                "POST", f"{prefix}/runs/stream", self.stream,
                f"Start a run {where} and stream its events", STREAM,
                query=(NAMESPACES,), body=RunCreateRequest, errors=errors, idempotent=True,
            ),
            Entry(
                "POST", f"{prefix}/runs/wait", self.wait,
                f"Start a run {where} and wait for its result", ANY,
                body=RunCreateRequest, errors=errors, idempotent=True,
            ),
            Entry(
                "POST", f"{prefix}/runs", self.create,
                f"Start a run {where} in the background", RUN,
                body=RunCreateRequest, errors=errors, idempotent=True,
            ),
        ]  # fmt: skip

    def _readings(self) -> Sequence[Entry]:
        return [
            *self._readings_below(_THREAD, ""),
            *self._readings_below("", " on a thread of its own"),
        ]

    def _readings_below(self, prefix: str, where: str) -> Sequence[Entry]:
        return [
            Entry(
                "GET", f"{prefix}/runs/{{run_id}}/stream", self.join_stream,
                f"Follow the events of a run{where}", STREAM,
                query=(MODES, LEAVE, NAMESPACES, AFTER), errors=(422, 503), resumes=True,
            ),
            Entry(
                "GET", f"{prefix}/runs/{{run_id}}/join", self.join,
                f"Wait for the result of a run{where}", ANY, query=(LEAVE,), errors=(422, 503),
            ),
        ]  # fmt: skip

    def _single(self) -> Sequence[Entry]:
        return [
            Entry("GET", _RUN, self.get, "Get a run", RUN, errors=(404, 422, 503)),
            Entry(
                "DELETE", _RUN, self.delete, "Delete a run and its checkpoints", None,
                errors=(404, 422, 503), status=204,
            ),
            Entry(
                "GET", f"{_THREAD}/runs", self.list, "List the runs of a thread", RUNS,
                query=(LIMIT, OFFSET, STATUS, COLUMNS), errors=(404, 422, 503),
            ),
        ]  # fmt: skip

    def _cancels(self) -> Sequence[Entry]:
        return [
            Entry(
                "POST", f"{_RUN}/cancel", self.cancel, "Stop a run", ANY,
                query=(WAIT, ACTION, REASON), errors=(400, 404, 422, 503), status=202,
            ),
            Entry(
                "POST", "/runs/cancel", self.cancel_many, "Stop several runs", None,
                body=RunCancelRequest, query=(ACTION,), errors=(404, 413, 422, 503), status=204,
            ),
        ]  # fmt: skip


def _replayed(created: Created) -> Mapping[str, str]:
    return {"idempotent-replayed": "true"} if created.replayed else {}


def _request_id(request: Request) -> str:
    return request.headers.get("x-request-id") or str(uuid4())


def _cancel_reason(request: Request, action: CancelAction) -> str:
    """Return the reason that is stored with a cancelled run.

    Raises:
        ContradictoryInput: The request names a reason for a rollback.
        InvalidInput: The request names an unknown reason.
    """
    requested = CANCEL_REASON.format(action=action)
    if REASON.read(request) is None:
        return requested
    if action != "interrupt":
        raise ContradictoryInput("The reason 'taken' needs the action 'interrupt'.")
    return f"{TAKEN}: {requested}"


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


def _not_found(error: RunNotFound) -> Encoded:
    return dump({"__error__": {"error": "HTTPException", "message": f"404: {error}"}})
