"""``/assistants``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from starlette.requests import Request
from starlette.responses import Response

from loomline.server.api.authentication import caller_of
from loomline.server.api.body import Body, path_uuid
from loomline.server.api.entries import Entry, Resource
from loomline.server.api.queries import ConsentQuery, LevelsQuery
from loomline.server.api.schemas import (
    ANY,
    COUNT,
    FLAG,
    ID,
    MAYBE_OBJECT,
    MAYBE_STRING,
    OBJECT,
    STRING,
    TIME,
    Named,
    array,
    fields,
    mapping,
)
from loomline.server.api.wire import (
    Wire,
    encoded_response,
    json_response,
    page_headers,
    selected,
)
from loomline.server.domain.assistants import Assistant, AssistantVersion
from loomline.server.domain.json import JsonObject
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

_PATH: Final = "/assistants/{assistant_id}"

RECURSE: Final = ConsentQuery("recurse", help="'true': look into subgraphs of subgraphs as well.")
XRAY: Final = LevelsQuery("xray", help="'true', 'false', or how many levels of subgraphs to draw.")
DELETE_THREADS: Final = ConsentQuery(
    "delete_threads", help="'true': its threads go with it, with everything on them."
)

_VERSION: Final[JsonObject] = {
    "assistant_id": ID,
    "graph_id": STRING,
    "config": OBJECT,
    "context": OBJECT,
    "metadata": OBJECT,
    "name": STRING,
    "created_at": TIME,
    "version": {"type": "integer", "minimum": 1},
    "description": MAYBE_STRING,
}
ASSISTANT: Final[Named] = Named("Assistant", fields({**_VERSION, "updated_at": TIME}))
ASSISTANTS: Final = array(ASSISTANT.row("AssistantRow"))
ASSISTANT_VERSION: Final[Named] = Named("AssistantVersion", fields(_VERSION))

_NODE: Final = Named(
    "GraphNode",
    fields({"id": {"type": ["string", "integer"]}}, type=STRING, data=ANY, metadata=OBJECT),
)
_EDGE: Final = Named(
    "GraphEdge",
    fields(
        {"source": {"type": ["string", "integer"]}, "target": {"type": ["string", "integer"]}},
        conditional=FLAG,
        data=ANY,
    ),
)
GRAPH: Final[Named] = Named("Graph", fields({"nodes": array(_NODE), "edges": array(_EDGE)}))

_SCHEMAS: Final[JsonObject] = {
    "input_schema": MAYBE_OBJECT,
    "output_schema": MAYBE_OBJECT,
    "state_schema": MAYBE_OBJECT,
    "config_schema": MAYBE_OBJECT,
    "context_schema": MAYBE_OBJECT,
}
GRAPH_SCHEMAS: Final[Named] = Named("GraphSchemas", fields({"graph_id": STRING, **_SCHEMAS}))
SUBGRAPH_SCHEMAS: Final[Named] = Named("SubgraphSchemas", fields(_SCHEMAS))


class AssistantRoutes(Resource):
    """Assistants, their versions and the drawings of their graphs."""

    tag = "assistants"
    group: ClassVar[str | None] = "assistants"

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
            _assistant_wire(await self._assistants.create(caller_of(request), body))
        )

    async def get(self, request: Request) -> Response:
        assistant = await self._assistants.get(caller_of(request), path_uuid(request, "assistant"))
        return json_response(_assistant_wire(assistant))

    async def search(self, request: Request) -> Response:
        body = await self._search.read(request)
        page = await self._assistants.search(caller_of(request), body)
        rows = [selected(_assistant_wire(row), body.get("select", ())) for row in page.rows]
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
        return json_response(_assistant_wire(assistant))

    async def delete(self, request: Request) -> Response:
        threads = DELETE_THREADS.read(request)
        await self._assistants.delete(
            caller_of(request), path_uuid(request, "assistant"), delete_threads=threads
        )
        return Response(status_code=204)

    async def versions(self, request: Request) -> Response:
        body = await self._versions.read(request)
        versions = await self._assistants.versions(
            caller_of(request), path_uuid(request, "assistant"), body
        )
        return json_response([_version_wire(version) for version in versions])

    async def set_latest(self, request: Request) -> Response:
        body = await self._latest.read(request)
        assistant_id = path_uuid(request, "assistant")
        assistant = await self._assistants.set_latest(
            caller_of(request), assistant_id, body["version"]
        )
        return json_response(_assistant_wire(assistant))

    async def graph(self, request: Request) -> Response:
        xray = XRAY.read(request)
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
            recurse=RECURSE.read(request),
        )
        return encoded_response(found)

    def table(self) -> Sequence[Entry]:
        return [*self._collection(), *self._single(), *self._drawn()]

    def _collection(self) -> Sequence[Entry]:
        return [
            Entry(
                "POST", "/assistants/search", self.search, "Search assistants", ASSISTANTS,
                body=AssistantSearchRequest, errors=(400, 404, 413, 422, 503),
            ),
            Entry(
                "POST", "/assistants/count", self.count, "Count assistants", COUNT,
                body=AssistantCountRequest, errors=(400, 404, 413, 422, 503),
            ),
            Entry(
                "POST", "/assistants", self.create, "Create an assistant", ASSISTANT,
                body=AssistantCreateRequest, errors=(400, 404, 409, 413, 422, 503),
            ),
        ]  # fmt: skip

    def _single(self) -> Sequence[Entry]:
        return [
            Entry("GET", _PATH, self.get, "Get an assistant", ASSISTANT, errors=(404, 422, 503)),
            Entry(
                "PATCH", _PATH, self.update, "Change an assistant, which makes it a new version",
                ASSISTANT, body=AssistantPatchRequest, errors=(400, 404, 413, 422, 503),
            ),
            Entry(
                "DELETE", _PATH, self.delete, "Delete an assistant and its versions", None,
                query=(DELETE_THREADS,), errors=(404, 422, 503), status=204,
            ),
            Entry(
                "POST", f"{_PATH}/versions", self.versions,
                "List the versions of an assistant, newest first", array(ASSISTANT_VERSION),
                body=AssistantVersionsRequest, errors=(400, 404, 413, 422, 503),
            ),
            Entry(
                "POST", f"{_PATH}/latest", self.set_latest,
                "Make an assistant again what it was in a version", ASSISTANT,
                body=AssistantLatestRequest, errors=(400, 404, 413, 422, 503),
            ),
        ]  # fmt: skip

    def _drawn(self) -> Sequence[Entry]:
        errors = (404, 422, 503)
        return [
            Entry(
                "GET", f"{_PATH}/graph", self.graph, "Draw the graph of an assistant", GRAPH,
                query=(XRAY,), errors=errors, named=True,
            ),
            Entry(
                "GET", f"{_PATH}/schemas", self.schemas, "Get the JSON schemas of the graph",
                GRAPH_SCHEMAS, errors=errors, named=True,
            ),
            Entry(
                "GET", f"{_PATH}/subgraphs", self.subgraphs,
                "Get the JSON schemas of all subgraphs", mapping(SUBGRAPH_SCHEMAS),
                query=(RECURSE,), errors=errors, named=True,
            ),
            Entry(
                "GET", f"{_PATH}/subgraphs/{{namespace}}", self.subgraphs,
                "Get the JSON schemas of one subgraph", mapping(SUBGRAPH_SCHEMAS),
                query=(RECURSE,), errors=errors, named=True,
            ),
        ]  # fmt: skip


def _assistant_wire(assistant: Assistant) -> Wire:
    return {
        "assistant_id": assistant.assistant_id,
        "graph_id": assistant.graph_id,
        "config": assistant.config,
        "context": assistant.context,
        "metadata": assistant.metadata,
        "name": assistant.name,
        "created_at": assistant.created_at,
        "updated_at": assistant.updated_at,
        "version": assistant.version,
        "description": assistant.description,
    }


def _version_wire(version: AssistantVersion) -> Wire:
    return {
        "assistant_id": version.assistant_id,
        "graph_id": version.graph_id,
        "config": version.config,
        "context": version.context,
        "metadata": version.metadata,
        "name": version.name,
        "created_at": version.created_at,
        "version": version.version,
        "description": version.description,
    }
