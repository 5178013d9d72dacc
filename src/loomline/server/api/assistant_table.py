"""The routes of ``/assistants``."""

from __future__ import annotations

from loomline.server.api.assistants import AssistantRoutes
from loomline.server.api.entries import Entry, Query
from loomline.server.services.assistant_requests import (
    AssistantCountRequest,
    AssistantCreateRequest,
    AssistantLatestRequest,
    AssistantPatchRequest,
    AssistantSearchRequest,
    AssistantVersionsRequest,
)

_PATH = "/assistants/{assistant_id}"
_RECURSE = Query("recurse", "string", "'true': look into subgraphs of subgraphs as well.")
_XRAY = Query("xray", "levels", "'true', 'false', or how many levels of subgraphs to draw.")


def assistant_table(assistants: AssistantRoutes) -> list[Entry]:
    return [*_collection(assistants), *_single(assistants), *_looks(assistants)]


def _collection(assistants: AssistantRoutes) -> list[Entry]:
    return [
        Entry(
            "POST", "/assistants/search", assistants.search, "assistants", "Search assistants",
            "assistants", body=AssistantSearchRequest, errors=(400, 404, 413, 422, 503),
        ),
        Entry(
            "POST", "/assistants/count", assistants.count, "assistants", "Count assistants",
            "count", body=AssistantCountRequest, errors=(400, 404, 413, 422, 503),
        ),
        Entry(
            "POST", "/assistants", assistants.create, "assistants", "Create an assistant",
            "assistant", body=AssistantCreateRequest, errors=(400, 404, 409, 413, 422, 503),
        ),
    ]  # fmt: skip


def _single(assistants: AssistantRoutes) -> list[Entry]:
    delete_threads = Query(
        "delete_threads", "string", "'true': its threads go with it, with everything on them."
    )
    return [
        Entry(
            "GET", _PATH, assistants.get, "assistants", "Get an assistant", "assistant",
            errors=(404, 422, 503),
        ),
        Entry(
            "PATCH", _PATH, assistants.update, "assistants",
            "Change an assistant, which makes it a new version", "assistant",
            body=AssistantPatchRequest, errors=(400, 404, 413, 422, 503),
        ),
        Entry(
            "DELETE", _PATH, assistants.delete, "assistants",
            "Delete an assistant and its versions", "empty", query=(delete_threads,),
            errors=(404, 422, 503), status=204,
        ),
        Entry(
            "POST", f"{_PATH}/versions", assistants.versions, "assistants",
            "List the versions of an assistant, newest first", "assistant_versions",
            body=AssistantVersionsRequest, errors=(400, 404, 413, 422, 503),
        ),
        Entry(
            "POST", f"{_PATH}/latest", assistants.set_latest, "assistants",
            "Make an assistant again what it was in a version", "assistant",
            body=AssistantLatestRequest, errors=(400, 404, 413, 422, 503),
        ),
    ]  # fmt: skip


def _looks(assistants: AssistantRoutes) -> list[Entry]:
    return [
        Entry(
            "GET", f"{_PATH}/graph", assistants.graph, "assistants",
            "Draw the graph of an assistant", "graph", query=(_XRAY,), errors=(404, 422, 503),
            named=True,
        ),
        Entry(
            "GET", f"{_PATH}/schemas", assistants.schemas, "assistants",
            "Get the JSON schemas of the graph", "schemas", errors=(404, 422, 503), named=True,
        ),
        Entry(
            "GET", f"{_PATH}/subgraphs", assistants.subgraphs, "assistants",
            "Get the JSON schemas of all subgraphs", "subgraphs", query=(_RECURSE,),
            errors=(404, 422, 503), named=True,
        ),
        Entry(
            "GET", f"{_PATH}/subgraphs/{{namespace}}", assistants.subgraphs, "assistants",
            "Get the JSON schemas of one subgraph", "subgraphs", query=(_RECURSE,),
            errors=(404, 422, 503), named=True,
        ),
    ]  # fmt: skip
