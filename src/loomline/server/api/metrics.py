"""What is measured of the server, in the words that dashboards for the reference know."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from loomline.server.api.connections import Connections
from loomline.server.api.entries import Entry, Resource
from loomline.server.api.errors import Handler
from loomline.server.api.queries import StringQuery
from loomline.server.api.schemas import OBJECT, STRING, Content
from loomline.server.api.wire import Wire, json_response
from loomline.server.domain.measures import REQUEST_MS, Histogram, WorkerMeasures
from loomline.server.domain.runs import QueueStats
from loomline.server.domain.webhooks import OutboxReport

FORMAT: Final = StringQuery("format", help="'json', or anything else for Prometheus.")
METRICS: Final = Content({"text/plain": {"schema": STRING}, "application/json": {"schema": OBJECT}})


class Meter:
    """Counts requests by route. It belongs to the event loop of the API.

    Paths are templates and methods those of the route table, so there are only so many series.
    """

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, int], int] = {}
        self.latency: dict[tuple[str, str, int], Histogram] = {}

    def note(self, method: str, path: str, status: int, ms: float) -> None:
        key = (method, path, status)
        if key not in self.requests:
            self.requests[key], self.latency[key] = 0, Histogram(REQUEST_MS)
        self.requests[key] += 1
        self.latency[key].add(ms)

    def measured(self, handler: Handler, method: str, path: str) -> Handler:
        """Return the handler with every request through it counted, once it has been answered."""

        async def endpoint(request: Request) -> ASGIApp:
            began = time.perf_counter()
            answer = await handler(request)

            async def send_answer(scope: Scope, receive: Receive, send: Send) -> None:
                try:
                    await answer(scope, receive, send)
                finally:
                    status = getattr(answer, "status_code", 200)
                    self.note(method, path, status, (time.perf_counter() - began) * 1000)

            return send_answer

        return endpoint


class Workers(Protocol):
    """What there is to execute runs."""

    @property
    def active(self) -> int: ...

    @property
    def concurrency(self) -> int: ...

    @property
    def measures(self) -> WorkerMeasures: ...


class MetricRoutes(Resource):
    """Numbers of this process, and of the queue that all processes share.

    Args:
        meter: The requests.
        workers: What executes runs here.
        queue: The queue.
        more: Other numbers by the names of their metrics.
        outbox: The webhooks.
        connections: The connections to this process.
    """

    tag = "system"
    group = "meta"
    open = True

    def __init__(
        self,
        meter: Meter,
        workers: Workers,
        queue: Callable[[], Awaitable[QueueStats]],
        more: Callable[[], Mapping[str, float]],
        outbox: Callable[[], Awaitable[OutboxReport]],
        *,
        connections: Connections,
    ) -> None:
        self._meter = meter
        self._workers = workers
        self._queue = queue
        self._more = more
        self._outbox = outbox
        self._connections = connections

    async def metrics(self, request: Request) -> Response:
        queue, report = await self._queue(), await self._outbox()
        if FORMAT.read(request) == "json":
            return json_response({**self._json(queue), "webhooks": _outbox_wire(report)})
        registry = CollectorRegistry()
        for collector in (GCCollector, PlatformCollector, ProcessCollector):
            collector(registry=registry)
        gauges = {**self._gauges(queue), **_outbox_gauges(report)}
        counters = {
            "loomline_webhooks_delivered": report.delivered,
            "loomline_webhooks_failed_attempts": report.failed,
            "loomline_webhooks_given_up": report.given_up,
            **{
                f"loomline_connections_{reason}": count
                for reason, count in self._connections.closed.items()
            },
        }
        registry.register(_Requests(self._meter, gauges, counters))
        registry.register(_Work(self._workers.measures))
        # Said by hand: Starlette would add the character set a second time.
        headers = {"content-type": CONTENT_TYPE_PLAIN_1_0_0}
        return Response(generate_latest(registry), headers=headers)

    def table(self) -> Sequence[Entry]:
        return [
            Entry(
                "GET", "/metrics", self.metrics, "Measure the server, for Prometheus or as JSON",
                METRICS, query=(FORMAT,), errors=(503,),
            ),
        ]  # fmt: skip

    def _gauges(self, queue: QueueStats) -> Mapping[str, float]:
        active, most = self._workers.active, self._workers.concurrency
        return {
            "lg_api_workers_max": most,
            "lg_api_workers_active": active,
            "lg_api_workers_available": most - active,
            "lg_api_num_pending_runs": queue.pending,
            "lg_api_num_running_runs": queue.running,
            "loomline_queue_oldest_seconds": queue.longest_wait_seconds or 0.0,
            "loomline_queue_oldest_unblocked_seconds": queue.longest_unblocked_wait_seconds or 0.0,
            "loomline_queue_unknown_graph_runs": queue.unknown_graph,
            "loomline_connections_open": self._connections.open,
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
                    {"method": method, "path": path, "status": status, "count": count}
                    for (method, path, status), count in self._meter.requests.items()
                ]
            },
            "workers": {"max": most, "active": active, "available": most - active},
        }


def _outbox_gauges(report: OutboxReport) -> Mapping[str, float]:
    return {
        "loomline_webhooks_pending": report.outbox.pending,
        "loomline_webhooks_dead": report.outbox.dead,
        "loomline_webhooks_oldest_pending_seconds": report.outbox.oldest_seconds or 0.0,
    }


def _outbox_wire(report: OutboxReport) -> Wire:
    return {
        "n_pending": report.outbox.pending,
        "n_dead": report.outbox.dead,
        "oldest_pending_secs": report.outbox.oldest_seconds,
        "delivered_total": report.delivered,
        "failed_attempts_total": report.failed,
        "given_up_total": report.given_up,
    }


class _Work(Collector):
    """What the worker of this process has done."""

    def __init__(self, measures: WorkerMeasures) -> None:
        self._measures = measures

    def collect(self) -> Iterable[Metric]:
        measures = self._measures
        waited = HistogramMetricFamily(
            "loomline_run_wait_seconds", "From the time a run was due until it was claimed here"
        )
        waited.add_metric([], measures.waited.cumulated(), measures.waited.sum)
        ended = CounterMetricFamily(
            "loomline_runs_ended", "Runs that were executed here, by result", labels=("result",)
        )
        for result, count in measures.ended.items():
            ended.add_metric([result], count)
        yield waited
        yield ended
        for name, text, value in (
            ("loomline_runs_claimed", "Runs that were claimed here", measures.claimed),
            (
                "loomline_runs_repeated",
                "Claimed runs whose worker has died",
                measures.repeated,
            ),
            ("loomline_runs_requeued", "Runs found without a live worker", measures.requeued),
            ("loomline_runs_given_up", "Runs found without one too often", measures.given_up),
        ):
            yield CounterMetricFamily(name, text, value=value)


class _Requests(Collector):
    """The requests, and what there is to say about this moment."""

    def __init__(
        self, meter: Meter, gauges: Mapping[str, float], counters: Mapping[str, float]
    ) -> None:
        self._meter = meter
        self._gauges = gauges
        self._counters = counters

    def collect(self) -> Iterable[Metric]:
        names = ("method", "path", "status")
        requests = CounterMetricFamily(
            "lg_api_http_requests", "Requests that were answered", labels=names
        )
        for (method, path, status), count in self._meter.requests.items():
            requests.add_metric((method, path, str(status)), count)
        latency = HistogramMetricFamily(
            "lg_api_http_requests_latency", "Time to the end of the answer in ms", labels=names
        )
        for (method, path, status), each in self._meter.latency.items():
            latency.add_metric((method, path, str(status)), each.cumulated(), each.sum)
        yield requests
        yield latency
        for name, value in self._counters.items():
            yield CounterMetricFamily(name, "", value=value)
        for name, value in self._gauges.items():
            yield GaugeMetricFamily(name, "", value=value)
