"""``/assistants``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from loomline.server.api.authentication import caller_of
from loomline.server.api.body import Body, path_uuid
from loomline.server.api.wire import (
    assistant_version_wire,
    assistant_wire,
    encoded_response,
    json_response,
    page_headers,
    selected,
)
from loomline.server.domain.errors import InvalidInput
from loomline.server.services.assistant_requests import (
    AssistantCountRequest,
    AssistantCreateRequest,
    AssistantLatestRequest,
    AssistantPatchRequest,
    AssistantSearchRequest,
    AssistantVersionsRequest,
)
from loomline.server.services.assistants import AssistantService
from loomline.server.services.drawings import DrawingService

_LEVELS_MOST = 1000


class AssistantRoutes:
    def __init__(
        self, assistants: AssistantService, drawings: DrawingService, body_limit: int
    ) -> None:
        self._assistants = assistants
        self._drawings = drawings
        self._create = Body(AssistantCreateRequest, body_limit)
        self._patch = Body(AssistantPatchRequest, body_limit)
        self._search = Body(AssistantSearchRequest, body_limit)
        self._count = Body(AssistantCountRequest, body_limit)
        self._versions = Body(AssistantVersionsRequest, body_limit)
        self._latest = Body(AssistantLatestRequest, body_limit)

    async def create(self, request: Request) -> Response:
        body = await self._create.read(request)
        return json_response(
            assistant_wire(await self._assistants.create(caller_of(request), body))
        )

    async def get(self, request: Request) -> Response:
        assistant = await self._assistants.get(caller_of(request), path_uuid(request, "assistant"))
        return json_response(assistant_wire(assistant))

    async def search(self, request: Request) -> Response:
        body = await self._search.read(request)
        page = await self._assistants.search(caller_of(request), body)
        rows = [selected(assistant_wire(row), body.get("select", ())) for row in page.rows]
        headers = page_headers(page, body.get("offset", 0), body.get("limit", 10))
        return json_response(rows, headers=headers)

    async def count(self, request: Request) -> Response:
        return json_response(
            await self._assistants.count(caller_of(request), await self._count.read(request))
        )

    async def update(self, request: Request) -> Response:
        body = await self._patch.read(request)
        assistant = await self._assistants.update(
            caller_of(request), path_uuid(request, "assistant"), body
        )
        return json_response(assistant_wire(assistant))

    async def delete(self, request: Request) -> Response:
        # Anything but a clear yes keeps the threads.
        threads = request.query_params.get("delete_threads") in {"true", "True"}
        await self._assistants.delete(
            caller_of(request), path_uuid(request, "assistant"), delete_threads=threads
        )
        return Response(status_code=204)

    async def versions(self, request: Request) -> Response:
        body = await self._versions.read(request)
        versions = await self._assistants.versions(
            caller_of(request), path_uuid(request, "assistant"), body
        )
        return json_response([assistant_version_wire(version) for version in versions])

    async def set_latest(self, request: Request) -> Response:
        body = await self._latest.read(request)
        assistant_id = path_uuid(request, "assistant")
        assistant = await self._assistants.set_latest(
            caller_of(request), assistant_id, body["version"]
        )
        return json_response(assistant_wire(assistant))

    async def graph(self, request: Request) -> Response:
        xray = _xray(request.query_params.get("xray", "false"))
        return encoded_response(
            await self._drawings.graph(
                caller_of(request), request.path_params["assistant_id"], xray
            )
        )

    async def schemas(self, request: Request) -> Response:
        return encoded_response(
            await self._drawings.schemas(caller_of(request), request.path_params["assistant_id"])
        )

    async def subgraphs(self, request: Request) -> Response:
        found = await self._drawings.subgraphs(
            caller_of(request),
            request.path_params["assistant_id"],
            request.path_params.get("namespace"),
            recurse=request.query_params.get("recurse") in {"true", "True"},
        )
        return encoded_response(found)


def _xray(text: str) -> bool | int:
    """Return whether to look into subgraphs, or how many levels deep.

    Raises:
        InvalidInput: it is neither true nor false nor a number of levels.
    """
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if text.isascii() and text.isdigit() and len(text) <= 40 and int(text) > 0:
        return min(int(text), _LEVELS_MOST)
    raise InvalidInput(
        f"Invalid xray value '{text[:50]}': must be true, false or a number of levels from 1"
    )
