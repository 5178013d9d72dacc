"""The metrics of a process over HTTP, under the names that dashboards for the reference know."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import ClassVar, Final, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from loomline.server.api.connections import Connections
from loomline.server.api.entries import Entry, Resource
from loomline.server.api.errors import Handler
from loomline.server.api.queries import StringQuery
from loomline.server.api.schemas import OBJECT, STRING, Content
from loomline.server.api.wire import Wire, json_response
from loomline.server.domain.measures import (
    CONNECTIONS_OPEN,
    DELIVERED,
    FAILED_ATTEMPTS,
    LATENCY,
    PENDING_RUNS,
    QUEUE_OLDEST,
    QUEUE_OLDEST_UNBLOCKED,
    REQUESTS,
    RUNNING_RUNS,
    UNKNOWN_GRAPH_RUNS,
    WEBHOOKS_DEAD,
    WEBHOOKS_GIVEN_UP,
    WEBHOOKS_OLDEST,
    WEBHOOKS_PENDING,
    WORKERS_ACTIVE,
    WORKERS_AVAILABLE,
    WORKERS_MAX,
    Counter,
    Gauge,
)
from loomline.server.domain.runs import QueueStats
from loomline.server.domain.webhooks import OutboxStats
from loomline.server.ports.measures import Measures

# The version of Prometheus' text format. Starlette would add the character set a second time.
_HEADERS = {"content-type": "text/plain; version=1.0.0; charset=utf-8"}

FORMAT: Final = StringQuery("format", help="'json', or anything else for Prometheus.")
METRICS: Final = Content({"text/plain": {"schema": STRING}, "application/json": {"schema": OBJECT}})


def measured(handler: Handler, method: str, path: str, measures: Measures) -> Handler:
    """Return the handler with every request through it measured to the end of its answer.

    Paths are templates and methods those of the route table, so the number of series is bounded.
    """

    async def endpoint(request: Request) -> ASGIApp:
        began = time.perf_counter()
        with ExitStack() as stack:
            span = stack.enter_context(measures.span("request", f"{method} {path}"))
            answer = await handler(request)
            rest = stack.pop_all()

        async def send_answer(scope: Scope, receive: Receive, send: Send) -> None:
            with rest:
                try:
                    await answer(scope, receive, send)
                finally:
                    status = getattr(answer, "status_code", 200)
                    span.note(status=status)
                    labels = (method, path, str(status))
                    measures.count(REQUESTS, *labels)
                    measures.observe(LATENCY, (time.perf_counter() - began) * 1000, *labels)

        return send_answer

    return endpoint


class Workers(Protocol):
    """The capacity of this process to execute runs."""

    @property
    def active(self) -> int: ...

    @property
    def concurrency(self) -> int: ...


class Scraped(Measures, Protocol):
    """Measures that can be read."""

    def counts(self, counter: Counter) -> Mapping[tuple[str, ...], int]: ...

    def exposition(self) -> bytes: ...


class MetricRoutes(Resource):
    """Numbers of this process, and of the queue that all processes share.

    Args:
        measures: The measures of this process.
        workers: What executes runs here.
        queue: The queue.
        more: Other gauges.
        outbox: The webhooks.
        connections: The connections to this process.
    """

    tag = "system"
    group: ClassVar[str | None] = "meta"
    open = True

    def __init__(
        self,
        measures: Scraped,
        workers: Workers,
        queue: Callable[[], Awaitable[QueueStats]],
        more: Callable[[], Mapping[Gauge, float]],
        outbox: Callable[[], Awaitable[OutboxStats]],
        *,
        connections: Connections,
    ) -> None:
        self._measures = measures
        self._workers = workers
        self._queue = queue
        self._more = more
        self._outbox = outbox
        self._connections = connections

    async def metrics(self, request: Request) -> Response:
        queue, outbox = await self._queue(), await self._outbox()
        if FORMAT.read(request) == "json":
            return json_response({**self._json(queue), "webhooks": self._webhooks(outbox)})
        for gauge, value in {**self._gauges(queue), **_outbox_gauges(outbox)}.items():
            self._measures.gauge(gauge, value)
        return Response(self._measures.exposition(), headers=_HEADERS)

    def table(self) -> Sequence[Entry]:
        return [
            Entry(
                "GET", "/metrics", self.metrics, "Measure the server, for Prometheus or as JSON",
                METRICS, query=(FORMAT,), errors=(503,),
            ),
        ]  # fmt: skip

    def _gauges(self, queue: QueueStats) -> Mapping[Gauge, float]:
        active, most = self._workers.active, self._workers.concurrency
        return {
            WORKERS_MAX: most,
            WORKERS_ACTIVE: active,
            WORKERS_AVAILABLE: most - active,
            PENDING_RUNS: queue.pending,
            RUNNING_RUNS: queue.running,
            QUEUE_OLDEST: queue.longest_wait_seconds or 0.0,
            QUEUE_OLDEST_UNBLOCKED: queue.longest_unblocked_wait_seconds or 0.0,
            UNKNOWN_GRAPH_RUNS: queue.unknown_graph,
            CONNECTIONS_OPEN: self._connections.open,
            **self._more(),
        }

    def _json(self, queue: QueueStats) -> Wire:
        active, most = self._workers.active, self._workers.concurrency
        return {
            "queue": {
                "n_pending": queue.pending,
                "n_running": queue.running,
                "pending_runs_wait_time_max_secs": queue.longest_wait_seconds,
                "pending_runs_wait_time_med_secs": queue.median_wait_seconds,
                "pending_unblocked_runs_wait_time_max_secs": queue.longest_unblocked_wait_seconds,
            },
            "api": {
                "http_requests_total": [
                    {"method": method, "path": path, "status": int(status), "count": count}
                    for (method, path, status), count in self._measures.counts(REQUESTS).items()
                ]
            },
            "workers": {"max": most, "active": active, "available": most - active},
        }

    def _webhooks(self, outbox: OutboxStats) -> Wire:
        return {
            "n_pending": outbox.pending,
            "n_dead": outbox.dead,
            "oldest_pending_secs": outbox.oldest_seconds,
            "delivered_total": self._total(DELIVERED),
            "failed_attempts_total": self._total(FAILED_ATTEMPTS),
            "given_up_total": self._total(WEBHOOKS_GIVEN_UP),
        }

    def _total(self, counter: Counter) -> int:
        return sum(self._measures.counts(counter).values())


def _outbox_gauges(outbox: OutboxStats) -> Mapping[Gauge, float]:
    return {
        WEBHOOKS_PENDING: outbox.pending,
        WEBHOOKS_DEAD: outbox.dead,
        WEBHOOKS_OLDEST: outbox.oldest_seconds or 0.0,
    }
