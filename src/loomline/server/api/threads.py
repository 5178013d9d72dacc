"""``/threads``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from loomline.server.api.authentication import caller_of
from loomline.server.api.body import Body, path_uuid, query_list
from loomline.server.api.wire import (
    Wire,
    found_thread_wire,
    json_response,
    page_headers,
    thread_size_wire,
    thread_wire,
    ttl_wire,
)
from loomline.server.services.thread_requests import (
    ThreadCountRequest,
    ThreadCreateRequest,
    ThreadPatchRequest,
    ThreadPruneRequest,
    ThreadSearchRequest,
)
from loomline.server.services.threads import ThreadService


class ThreadRoutes:
    def __init__(self, threads: ThreadService, body_limit: int) -> None:
        self._threads = threads
        self._create = Body(ThreadCreateRequest, body_limit)
        self._patch = Body(ThreadPatchRequest, body_limit)
        self._search = Body(ThreadSearchRequest, body_limit)
        self._count = Body(ThreadCountRequest, body_limit)
        self._prune = Body(ThreadPruneRequest, body_limit)

    async def create(self, request: Request) -> Response:
        body = await self._create.read(request)
        return json_response(thread_wire(await self._threads.create(caller_of(request), body)))

    async def get(self, request: Request) -> Response:
        thread = await self._threads.get(caller_of(request), path_uuid(request, "thread"))
        wire = thread_wire(thread)
        if thread.ttl is not None and "ttl" in _included(request):
            wire["ttl"] = ttl_wire(thread.ttl, thread.expires_at)
        return json_response(wire)

    async def search(self, request: Request) -> Response:
        body = await self._search.read(request)
        page = await self._threads.search(caller_of(request), body)
        select = body.get("select", [])
        rows: list[Wire] = [found_thread_wire(row, select) for row in page.rows]
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
        return json_response(thread_wire(thread))

    async def copy(self, request: Request) -> Response:
        return json_response(
            thread_wire(await self._threads.copy(caller_of(request), path_uuid(request, "thread")))
        )

    async def prune(self, request: Request) -> Response:
        pruned = await self._threads.prune(caller_of(request), await self._prune.read(request))
        return json_response({"pruned_count": pruned})

    async def storage(self, request: Request) -> Response:
        thread_id = path_uuid(request, "thread")
        return json_response(
            thread_size_wire(thread_id, await self._threads.size(caller_of(request), thread_id))
        )

    async def delete(self, request: Request) -> Response:
        await self._threads.delete(caller_of(request), path_uuid(request, "thread"))
        return Response(status_code=204)


def _included(request: Request) -> set[str]:
    given = query_list(request, "include")
    return {name.strip() for each in given for name in each.split(",")}
