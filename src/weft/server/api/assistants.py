"""``/assistants``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from weft.server.api.body import path_uuid
from weft.server.api.wire import assistant_wire, json_response
from weft.server.services.assistants import AssistantService


class AssistantRoutes:
    def __init__(self, assistants: AssistantService) -> None:
        self._assistants = assistants

    async def get(self, request: Request) -> Response:
        assistant = await self._assistants.get(path_uuid(request, "assistant"))
        return json_response(assistant_wire(assistant))
