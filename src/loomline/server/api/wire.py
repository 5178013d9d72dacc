"""Domain objects as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import orjson
from starlette.responses import Response

from loomline.server.domain.filters import Page
from loomline.server.domain.json import Encoded
from loomline.server.domain.runs import Run

# orjson.Fragment has no place in a precise JSON type.
Wire: TypeAlias = dict[str, Any]

T = TypeVar("T")


def json_response(
    value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(orjson.dumps(value), status, headers=headers, media_type="application/json")


def encoded_response(encoded: Encoded, status: int = 200) -> Response:
    """Return what is JSON already."""
    return Response(encoded, status, media_type="application/json")


def selected(wire: Wire, fields: Sequence[str]) -> Wire:
    """Return an object with only some of its fields; all of them where none is named."""
    return {field: wire[field] for field in fields if field in wire} if fields else wire


def page_headers(page: Page[T], offset: int, limit: int) -> dict[str, str]:
    """Return the headers that say where the next page begins and how many rows there are."""
    seen = offset + len(page.rows)
    total = page.total if page.total is not None else seen + page.more
    headers = {"x-pagination-total": str(total)}
    return {**headers, "x-pagination-next": str(offset + limit)} if page.more else headers


def run_wire(run: Run) -> Wire:
    return {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "assistant_id": run.assistant_id,
        "status": run.status,
        "metadata": run.metadata,
        "multitask_strategy": run.multitask_strategy,
        "created_at": run.created_at,
        "updated_at": run.updated_at,
        "kwargs": fragment(run.request.shown()),
        "cancel_reason": run.cancel_reason,
        "langsmith_session_name": None,
    }


def fragment(encoded: Encoded | None) -> orjson.Fragment | None:
    return None if encoded is None else orjson.Fragment(encoded)
