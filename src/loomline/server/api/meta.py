"""Routes about the server itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from loomline.server.api.entries import Entry, Resource
from loomline.server.api.pages import page_headers
from loomline.server.api.queries import FlagQuery
from loomline.server.api.schemas import (
    ANY,
    FLAG,
    HTML,
    MAYBE_STRING,
    OBJECT,
    STRING,
    Named,
    fields,
    mapping,
)
from loomline.server.api.wire import Wire, json_response

CHECK_DB: Final = FlagQuery("check_db", help="Whether to ask the database as well.")

HEALTH: Final[Named] = Named("Health", fields({"ok": FLAG, "services": OBJECT}))

_HOST: Final = fields(
    {
        "kind": STRING,
        "project_id": MAYBE_STRING,
        "host_revision_id": MAYBE_STRING,
        "revision_id": MAYBE_STRING,
        "tenant_id": MAYBE_STRING,
    }
)
INFO: Final[Named] = Named(
    "Info",
    fields(
        {
            "version": STRING,
            "langgraph_py_version": STRING,
            "flags": mapping(FLAG),
            "host": _HOST,
            "metadata": _HOST,
        }
    ),
)


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that the server tells about itself."""

    version: str
    langgraph_version: str


class HealthRoutes(Resource):
    """The health check, which no option switches off."""

    tag = "system"
    group: ClassVar[str | None] = None
    open = True

    def __init__(self, ping: Callable[[], Awaitable[None]]) -> None:
        self._ping = ping

    async def ok(self, request: Request) -> Response:
        if CHECK_DB.read(request):
            await self._ping()
        return json_response({"ok": True, "services": {}})

    def table(self) -> Sequence[Entry]:
        return [self.entry("/ok")]

    def entry(self, path: str) -> Entry:
        """Return the health check at a path."""
        return Entry(
            "GET", path, self.ok, "Tell whether the server works", HEALTH,
            query=(CHECK_DB,), errors=(422, 503),
        )  # fmt: skip


class MetaRoutes(Resource):
    """Facts about the server, and the description of its API."""

    tag = "system"
    group: ClassVar[str | None] = "meta"
    open = True

    def __init__(
        self,
        facts: Facts,
        health: HealthRoutes,
        openapi: Callable[[], bytes],
        docs: Callable[[], str],
    ) -> None:
        self._facts = facts
        self._health = health
        self._openapi = openapi
        self._document: bytes | None = None
        self._docs = docs
        self._page: tuple[str, Mapping[str, str]] | None = None

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

    def table(self) -> Sequence[Entry]:
        return [
            self._health.entry("/"),
            Entry("GET", "/info", self.info, "Describe the server", INFO),
            Entry("GET", "/openapi.json", self.openapi, "Describe the API", ANY),
            Entry("GET", "/docs", self.docs, "Show the API as a page", HTML),
        ]


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
