"""``/threads``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from loomline.schema import ThreadStatus
from loomline.server.api.authentication import caller_of
from loomline.server.api.body import Body, path_uuid
from loomline.server.api.entries import Entry, Resource
from loomline.server.api.queries import ListQuery
from loomline.server.api.schemas import (
    ANY,
    COUNT,
    ID,
    INTERRUPT,
    MAYBE_TIME,
    NUMBER,
    OBJECT,
    STRING,
    TIME,
    Named,
    array,
    fields,
    mapping,
    maybe,
    one_of,
)
from loomline.server.api.wire import (
    Wire,
    fragment,
    json_response,
    page_headers,
    selected,
)
from loomline.server.domain.json import JsonObject
from loomline.server.domain.threads import FoundThread, Size, Thread, ThreadSize, Ttl, TtlStrategy
from loomline.server.services.thread_requests import (
    ThreadCountRequest,
    ThreadCreateRequest,
    ThreadPatchRequest,
    ThreadPruneRequest,
    ThreadSearchRequest,
)
from loomline.server.services.threads import ThreadService

_PATH: Final = "/threads/{thread_id}"

INCLUDE: Final = ListQuery("include", commas=True, help="'ttl' shows when the thread expires.")

_THREAD: Final[JsonObject] = {
    "thread_id": ID,
    "created_at": TIME,
    "updated_at": TIME,
    "state_updated_at": TIME,
    "metadata": OBJECT,
    "status": one_of(ThreadStatus),
    "config": OBJECT,
    "values": ANY,
}
_FAILURE: Final = Named("Failure", fields({"error": STRING, "message": STRING}))
_TTL: Final = Named(
    "ThreadTtl",
    fields({"strategy": one_of(TtlStrategy), "ttl_minutes": NUMBER, "expires_at": MAYBE_TIME}),
)
# A thread has these only after its first run or change of state.
_AFTER_RUN: Final[JsonObject] = {
    "error": maybe(_FAILURE),
    "interrupts": mapping(array(INTERRUPT)),
}
THREAD: Final[Named] = Named("Thread", fields(_THREAD, **_AFTER_RUN, ttl=_TTL))
THREADS: Final = array(Named("ThreadRow", fields({}, **_THREAD, **_AFTER_RUN, extracted=OBJECT)))

_SIZE: Final[JsonObject] = {"count": COUNT, "bytes": COUNT}
_CHANNEL_SIZE: Final = fields({"versions": COUNT, "bytes": COUNT})
THREAD_SIZE: Final[Named] = Named(
    "ThreadSize",
    fields(
        {
            "thread_id": ID,
            "total_bytes": COUNT,
            "checkpoints": fields(_SIZE),
            "channel_values": fields({**_SIZE, "by_channel": mapping(_CHANNEL_SIZE)}),
            "pending_writes": fields(_SIZE),
        }
    ),
)


class ThreadRoutes(Resource):
    """Threads, without their states and runs."""

    tag = "threads"
    group: ClassVar[str | None] = "threads"

    def __init__(self, threads: ThreadService, body_limit: int) -> None:
        self._threads = threads
        self._create = Body(ThreadCreateRequest, body_limit)
        self._patch = Body(ThreadPatchRequest, body_limit)
        self._search = Body(ThreadSearchRequest, body_limit)
        self._count = Body(ThreadCountRequest, body_limit)
        self._prune = Body(ThreadPruneRequest, body_limit)

    async def create(self, request: Request) -> Response:
        body = await self._create.read(request)
        return json_response(_thread_wire(await self._threads.create(caller_of(request), body)))

    async def get(self, request: Request) -> Response:
        thread = await self._threads.get(caller_of(request), path_uuid(request, "thread"))
        wire = _thread_wire(thread)
        if thread.ttl is not None and "ttl" in map(str.strip, INCLUDE.read(request)):
            wire["ttl"] = _ttl_wire(thread.ttl, thread.expires_at)
        return json_response(wire)

    async def search(self, request: Request) -> Response:
        body = await self._search.read(request)
        page = await self._threads.search(caller_of(request), body)
        select = body.get("select", [])
        rows: list[Wire] = [_found_thread_wire(row, select) for row in page.rows]
        headers = page_headers(page, body.get("offset", 0), body.get("limit", 10))
        return json_response(rows, headers=headers)

    async def count(self, request: Request) -> Response:
        return json_response(
            await self._threads.count(caller_of(request), await self._count.read(request))
        )

    async def update(self, request: Request) -> Response:
        thread_id = path_uuid(request, "thread")
        minimal = "return=minimal" in request.headers.get("prefer", "").replace(" ", "").lower()
        body = await self._patch.read(request)
        thread = await self._threads.update(
            caller_of(request), thread_id, body, with_values=not minimal
        )
        if minimal:
            return Response(status_code=204)
        return json_response(_thread_wire(thread))

    async def copy(self, request: Request) -> Response:
        return json_response(
            _thread_wire(await self._threads.copy(caller_of(request), path_uuid(request, "thread")))
        )

    async def prune(self, request: Request) -> Response:
        pruned = await self._threads.prune(caller_of(request), await self._prune.read(request))
        return json_response({"pruned_count": pruned})

    async def storage(self, request: Request) -> Response:
        thread_id = path_uuid(request, "thread")
        return json_response(
            _thread_size_wire(thread_id, await self._threads.size(caller_of(request), thread_id))
        )

    async def delete(self, request: Request) -> Response:
        await self._threads.delete(caller_of(request), path_uuid(request, "thread"))
        return Response(status_code=204)

    def table(self) -> Sequence[Entry]:
        return [*self._collection(), *self._single()]

    def _collection(self) -> Sequence[Entry]:
        return [
            Entry(
                "POST", "/threads", self.create, "Create a thread", THREAD,
                body=ThreadCreateRequest, errors=(400, 404, 409, 413, 422, 503),
            ),
            Entry(
                "POST", "/threads/search", self.search, "Search threads", THREADS,
                body=ThreadSearchRequest, errors=(400, 413, 422, 503),
            ),
            Entry(
                "POST", "/threads/count", self.count, "Count threads", COUNT,
                body=ThreadCountRequest, errors=(400, 413, 422, 503),
            ),
            Entry(
                "POST", "/threads/prune", self.prune,
                "Delete threads, or cut them down to their latest state",
                fields({"pruned_count": COUNT}),
                body=ThreadPruneRequest, errors=(400, 413, 422, 503),
            ),
        ]  # fmt: skip

    def _single(self) -> Sequence[Entry]:
        errors = (404, 422, 503)
        return [
            Entry(
                "GET", _PATH, self.get, "Get a thread", THREAD, query=(INCLUDE,), errors=errors,
            ),
            Entry(
                "PATCH", _PATH, self.update, "Change a thread", THREAD,
                body=ThreadPatchRequest, errors=(400, 404, 413, 422, 503), minimal=True,
            ),
            Entry(
                "DELETE", _PATH, self.delete, "Delete a thread and all that is on it", None,
                errors=errors, status=204,
            ),
            Entry("POST", f"{_PATH}/copy", self.copy, "Copy a thread", THREAD, errors=errors),
            Entry(
                "GET", f"{_PATH}/storage", self.storage,
                "Tell how much the checkpoints of a thread take", THREAD_SIZE, errors=errors,
            ),
        ]  # fmt: skip


def _thread_wire(thread: Thread) -> Wire:
    """Return a thread as clients see it. Before the first run it has no error and interrupts."""
    wire: Wire = {
        "thread_id": thread.thread_id,
        "created_at": thread.created_at,
        "updated_at": thread.updated_at,
        "state_updated_at": thread.state_updated_at,
        "metadata": thread.metadata,
        "status": thread.status,
        "config": thread.config,
        "values": fragment(thread.values),
    }
    if thread.interrupts is not None:
        wire["error"] = fragment(thread.error)
        wire["interrupts"] = fragment(thread.interrupts)
    return wire


def _found_thread_wire(found: FoundThread, fields: Sequence[str]) -> Wire:
    """Return a row of a search: the selected fields and the extracted values."""
    wire = selected(_thread_wire(found.thread), fields)
    if found.extracted is None:
        return wire
    return {**wire, "extracted": fragment(found.extracted)}


def _ttl_wire(ttl: Ttl, expires_at: datetime | None) -> Wire:
    whole = ttl.minutes.is_integer()
    minutes = int(ttl.minutes) if whole else ttl.minutes
    return {"strategy": ttl.strategy, "ttl_minutes": minutes, "expires_at": expires_at}


def _thread_size_wire(thread_id: UUID, size: ThreadSize) -> Wire:
    channels = size.channels
    values = Size(
        sum(each.count for each in channels.values()),
        sum(each.bytes for each in channels.values()),
    )
    return {
        "thread_id": thread_id,
        "total_bytes": size.checkpoints.bytes + values.bytes + size.pending_writes.bytes,
        "checkpoints": _size_wire(size.checkpoints),
        "channel_values": {
            **_size_wire(values),
            "by_channel": {
                name: {"versions": each.count, "bytes": each.bytes}
                for name, each in channels.items()
            },
        },
        "pending_writes": _size_wire(size.pending_writes),
    }


def _size_wire(size: Size) -> Wire:
    return {"count": size.count, "bytes": size.bytes}
