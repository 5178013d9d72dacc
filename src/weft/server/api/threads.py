"""``/threads``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from weft.server.api.body import Body, path_uuid
from weft.server.api.wire import json_response, thread_wire
from weft.server.services.requests import ThreadCreateRequest
from weft.server.services.threads import ThreadService


class ThreadRoutes:
    def __init__(self, threads: ThreadService, body_limit: int) -> None:
        self._threads = threads
        self._create = Body(ThreadCreateRequest, body_limit)

    async def create(self, request: Request) -> Response:
        body = await self._create.read(request)
        return json_response(thread_wire(await self._threads.create(body)))

    async def get(self, request: Request) -> Response:
        thread = await self._threads.get(path_uuid(request, "thread"))
        return json_response(thread_wire(thread))

    async def delete(self, request: Request) -> Response:
        await self._threads.delete(path_uuid(request, "thread"))
        return Response(status_code=204)
