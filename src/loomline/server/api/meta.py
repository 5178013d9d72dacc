"""Routes about the server itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from loomline.server.api.body import query_flag
from loomline.server.api.pages import page_headers
from loomline.server.api.wire import Wire, json_response


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server says about itself."""

    version: str
    langgraph_version: str


class MetaRoutes:
    def __init__(
        self,
        facts: Facts,
        ping: Callable[[], Awaitable[None]],
        openapi: Callable[[], bytes],
        docs: Callable[[], str],
    ) -> None:
        self._facts = facts
        self._ping = ping
        self._openapi = openapi
        self._document: bytes | None = None
        self._docs = docs
        self._page: tuple[str, Mapping[str, str]] | None = None

    async def ok(self, request: Request) -> Response:
        if query_flag(request, "check_db"):
            await self._ping()
        return json_response({"ok": True, "services": {}})

    async def info(self, _: Request) -> Response:
        return json_response(_info(self._facts))

    async def openapi(self, _: Request) -> Response:
        if self._document is None:
            self._document = self._openapi()
        return Response(self._document, media_type="application/json")

    async def docs(self, _: Request) -> Response:
        if self._page is None:
            html = self._docs()
            self._page = html, page_headers(html)
        html, headers = self._page
        return HTMLResponse(html, headers=headers)


def _info(facts: Facts) -> Wire:
    host = {
        "kind": "self-hosted",
        "project_id": None,
        "host_revision_id": None,
        "revision_id": None,
        "tenant_id": None,
    }
    return {
        "version": facts.version,
        "langgraph_py_version": facts.langgraph_version,
        "flags": {
            "assistants": True,
            "crons": True,
            "strict_resume": True,
            "stream_namespaces": True,
            "langsmith": False,
            "langsmith_tracing_replicas": False,
            "langsmith_tracing_session_on_runs": False,
        },
        "host": host,
        # The published description of this route calls it so.
        "metadata": host,
    }
