"""The route table: what the router serves and what the OpenAPI document describes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from starlette.requests import Request
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Scope

from loomline.schema import CancelAction, RunStatus, StreamMode, ThreadStreamMode
from loomline.server.api.assistant_table import assistant_table
from loomline.server.api.assistants import AssistantRoutes
from loomline.server.api.cron_table import cron_table
from loomline.server.api.crons import CronRoutes
from loomline.server.api.entries import Entry, Query
from loomline.server.api.errors import Handler, guarded
from loomline.server.api.limits import StreamLimit
from loomline.server.api.meta import MetaRoutes
from loomline.server.api.metrics import MetricRoutes, measured
from loomline.server.api.protocol import ProtocolRoutes
from loomline.server.api.protocol_table import protocol_table
from loomline.server.api.runs import COLUMNS, LIST_MOST, TAKEN, RunRoutes
from loomline.server.api.states import StateRoutes
from loomline.server.api.store import StoreRoutes
from loomline.server.api.store_table import store_table
from loomline.server.api.thread_table import thread_table
from loomline.server.api.threads import ThreadRoutes
from loomline.server.ports.measures import Measures
from loomline.server.services.requests import RunBatchRequest, RunCancelRequest, RunCreateRequest


@dataclass(frozen=True, slots=True)
class Handlers:
    """The handlers of all routes."""

    meta: MetaRoutes
    metrics: MetricRoutes
    assistants: AssistantRoutes
    threads: ThreadRoutes
    states: StateRoutes
    runs: RunRoutes
    store: StoreRoutes
    crons: CronRoutes
    protocol: ProtocolRoutes


_RUN = "/threads/{thread_id}/runs/{run_id}"
_ACTION = Query(
    "action", "string", "'interrupt' keeps what the run did, 'rollback' undoes it.",
    words=get_args(CancelAction),
)  # fmt: skip
_MODES = Query(
    "stream_mode", "strings", "Only events of these modes.", words=get_args(StreamMode)
)  # fmt: skip
_NAMESPACES = Query(
    "namespace", "strings", "Only events of these graphs; the root graph is an empty string."
)
_AFTER = Query(
    "checkpoint_id", "uuid", "With the last event -1: only events after this checkpoint."
)
_LEAVE = Query("cancel_on_disconnect", "boolean", "Stop the run when this client goes away.")


def table(handlers: Handlers) -> list[Entry]:
    """Return every route, those that are asked for most often first."""
    return [
        *cron_table(handlers.crons),
        *_run_routes(handlers.runs),
        *protocol_table(handlers.protocol),
        *thread_table(handlers.threads, handlers.states),
        *assistant_table(handlers.assistants),
        *store_table(handlers.store),
        *_meta_routes(handlers.meta, handlers.metrics),
    ]


def starlette_routes(
    entries: Sequence[Entry], measures: Measures, streams: StreamLimit | None = None
) -> list[Route]:
    """Return the routes for the router, one per path: it names them all where a method is wrong.

    ``streams`` counts the answers that stay open.
    """
    places: dict[str, dict[str, Handler]] = {}
    for entry in entries:
        handler = entry.handler
        if streams is not None and _stays_open(entry):
            handler = streams.limited(handler)
        handler = measured(guarded(handler), entry.method, entry.path, measures)
        places.setdefault(entry.path, {})[entry.method] = handler
    return [
        Route(path, _by_method(handlers), methods=list(handlers))
        for path, handlers in places.items()
    ]


def path_params(routes: Sequence[Route], scope: Scope) -> Mapping[str, Any]:
    """Return what a path names, for a route of any method; nothing where no route has it."""
    for route in routes:
        match, found = route.matches(scope)
        if match is not Match.NONE:
            params: Mapping[str, Any] = found["path_params"]
            return params
    return {}


def enabled(entries: Sequence[Entry], disabled: Collection[str]) -> list[Entry]:
    """Return the routes that are left when groups of them are switched off."""
    return [entry for entry in entries if _group(entry.path) not in disabled]


def _group(path: str) -> str | None:
    """Return the group that a route is switched off with; None: it always stays."""
    if path == "/ok":
        return None
    if path.startswith("/threads/{thread_id}/runs"):
        return "runs"
    first = path.split("/")[1]
    return _GROUPS.get(first, first)


_GROUPS: Mapping[str, str] = {
    "": "meta", "info": "meta", "metrics": "meta", "docs": "meta", "openapi.json": "meta",
    ".well-known": "a2a",
}  # fmt: skip


def _stays_open(entry: Entry) -> bool:
    return entry.answer == "stream" or entry.path.endswith(("/wait", "/join"))


def _by_method(handlers: Mapping[str, Handler]) -> Handler:
    async def endpoint(request: Request) -> ASGIApp:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return endpoint


def _run_routes(runs: RunRoutes) -> list[Entry]:
    return [*_created_runs(runs), *_existing_runs(runs)]


def _created_runs(runs: RunRoutes) -> list[Entry]:
    return [
        *_creating(runs, "/threads/{thread_id}", "on a thread"),
        *_creating(runs, "", "on a thread of its own"),
        Entry(
            "POST", "/runs/batch", runs.batch, "runs",
            "Start runs in the background, each on a thread of its own", "all_runs",
            body=RunBatchRequest, errors=(400, 404, 413, 422, 429, 503), idempotent=True,
        ),
    ]  # fmt: skip


def _creating(runs: RunRoutes, prefix: str, where: str) -> list[Entry]:
    errors = (400, 404, 409, 413, 422, 429, 503)
    return [
        Entry(
            "POST", f"{prefix}/runs/stream", runs.stream, "runs",
            f"Start a run {where} and stream its events", "stream",
            query=(_NAMESPACES,), body=RunCreateRequest, errors=errors, idempotent=True,
        ),
        Entry(
            "POST", f"{prefix}/runs/wait", runs.wait, "runs",
            f"Start a run {where} and wait for its result", "json",
            body=RunCreateRequest, errors=errors, idempotent=True,
        ),
        Entry(
            "POST", f"{prefix}/runs", runs.create, "runs",
            f"Start a run {where} in the background", "run",
            body=RunCreateRequest, errors=errors, idempotent=True,
        ),
    ]  # fmt: skip


def _existing_runs(runs: RunRoutes) -> list[Entry]:
    return [
        Entry(
            "GET", f"{_RUN}/stream", runs.join_stream, "runs", "Follow the events of a run",
            "stream", errors=(422, 503), resumes=True,
            query=(_MODES, _LEAVE, _NAMESPACES, _AFTER),
        ),
        Entry(
            "GET", f"{_RUN}/join", runs.join, "runs", "Wait for the result of a run", "json",
            query=(_LEAVE,), errors=(422, 503),
        ),
        Entry(
            "GET", "/runs/{run_id}/stream", runs.join_stream, "runs",
            "Follow the events of a run on a thread of its own", "stream", errors=(422, 503),
            query=(_MODES, _LEAVE, _NAMESPACES, _AFTER), resumes=True,
        ),
        Entry(
            "GET", "/runs/{run_id}/join", runs.join, "runs",
            "Wait for the result of a run on a thread of its own", "json",
            query=(_LEAVE,), errors=(422, 503),
        ),
        Entry(
            "POST", f"{_RUN}/cancel", runs.cancel, "runs", "Stop a run", "json",
            query=(
                Query("wait", "boolean", "Answer only when the run has ended."),
                _ACTION,
                Query(
                    "reason", "string", "'taken': another run goes on with the input of this one.",
                    words=(TAKEN,),
                ),
            ),
            errors=(404, 422, 503), status=202,
        ),
        Entry(
            "POST", "/runs/cancel", runs.cancel_many, "runs", "Stop several runs", "empty",
            body=RunCancelRequest, query=(_ACTION,), errors=(404, 413, 422, 503), status=204,
        ),
        Entry(
            "GET", "/threads/{thread_id}/stream", runs.follow_thread, "threads",
            "Follow all runs of a thread", "stream", errors=(422, 503), resumes=True,
            query=(
                Query(
                    "stream_modes", "strings", "Events of runs, of their ends, new states.",
                    words=get_args(ThreadStreamMode),
                ),
                Query("stream_mode", "strings", "The same.", words=get_args(ThreadStreamMode)),
            ),
        ),
        Entry("GET", _RUN, runs.get, "runs", "Get a run", "run", errors=(404, 422, 503)),
        Entry(
            "DELETE", _RUN, runs.delete, "runs", "Delete a run and its checkpoints", "empty",
            errors=(404, 422, 503), status=204,
        ),
        Entry(
            "GET", "/threads/{thread_id}/runs", runs.list, "runs", "List the runs of a thread",
            "runs", errors=(404, 422, 503),
            query=(
                Query("limit", "integer", "How many runs; 10 unless told.", most=LIST_MOST),
                Query("offset", "integer", "How many of the newest runs to skip."),
                Query("status", "string", "Only runs with this status.", words=get_args(RunStatus)),
                Query("select", "strings", "Only these fields of each run.", words=COLUMNS),
            ),
        ),
    ]  # fmt: skip


def _meta_routes(meta: MetaRoutes, metrics: MetricRoutes) -> list[Entry]:
    check = Query("check_db", "boolean", "Whether to ask the database as well.")
    return [
        Entry("GET", "/ok", meta.ok, "system", "Tell whether the server works", "health",
              query=(check,), errors=(422, 503)),
        Entry("GET", "/", meta.ok, "system", "Tell whether the server works", "health",
              query=(check,), errors=(422, 503)),
        Entry(
            "GET", "/metrics", metrics.metrics, "system",
            "Measure the server, for Prometheus or as JSON", "metrics", errors=(503,),
            query=(Query("format", "string", "'json', or anything else for Prometheus."),),
        ),
        Entry("GET", "/info", meta.info, "system", "Describe the server", "info"),
        Entry("GET", "/openapi.json", meta.openapi, "system", "Describe the API", "json"),
        Entry("GET", "/docs", meta.docs, "system", "Show the API as a page", "html"),
    ]  # fmt: skip
