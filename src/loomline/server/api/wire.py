"""Domain objects as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import orjson
from starlette.responses import Response

from loomline.server.domain.assistants import Assistant, AssistantVersion
from loomline.server.domain.filters import Page
from loomline.server.domain.json import Encoded
from loomline.server.domain.runs import Run
from loomline.server.domain.threads import FoundThread, Size, Thread, ThreadSize, Ttl

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


def thread_wire(thread: Thread) -> Wire:
    """Return a thread as clients see it. Before the first run it has no error and interrupts."""
    wire: Wire = {
        "thread_id": thread.thread_id,
        "created_at": thread.created_at,
        "updated_at": thread.updated_at,
        "state_updated_at": thread.state_updated_at,
        "metadata": thread.metadata,
        "status": thread.status,
        "config": thread.config,
        "values": _fragment(thread.values),
    }
    if thread.interrupts is not None:
        wire["error"] = _fragment(thread.error)
        wire["interrupts"] = _fragment(thread.interrupts)
    return wire


def found_thread_wire(found: FoundThread, fields: Sequence[str]) -> Wire:
    """Return a row of a search: the fields asked for, and what was extracted."""
    wire = selected(thread_wire(found.thread), fields)
    if found.extracted is None:
        return wire
    return {**wire, "extracted": _fragment(found.extracted)}


def ttl_wire(ttl: Ttl, expires_at: datetime | None) -> Wire:
    whole = ttl.minutes.is_integer()
    minutes = int(ttl.minutes) if whole else ttl.minutes
    return {"strategy": ttl.strategy, "ttl_minutes": minutes, "expires_at": expires_at}


def thread_size_wire(thread_id: UUID, size: ThreadSize) -> Wire:
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
        "kwargs": _fragment(run.request.shown()),
        "cancel_reason": run.cancel_reason,
        "langsmith_session_name": None,
    }


def assistant_wire(assistant: Assistant) -> Wire:
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


def assistant_version_wire(version: AssistantVersion) -> Wire:
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


def _fragment(encoded: Encoded | None) -> orjson.Fragment | None:
    return None if encoded is None else orjson.Fragment(encoded)
