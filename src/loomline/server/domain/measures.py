"""The metrics of a process: their names, as dashboards know them, and their bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias


@dataclass(frozen=True, slots=True)
class Counter:
    """A number that only grows while the process lives."""

    name: str
    help: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that describes the present."""

    name: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of values up to each bound, and their sum."""

    name: str
    help: str
    bounds: tuple[float, ...]
    labels: tuple[str, ...] = ()


Recorded: TypeAlias = Counter | Histogram

_REQUEST: Final = ("method", "path", "status")
_REQUEST_MS: Final = (
    1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 5000, 15000, 60000, 300000, 3600000,
)  # fmt: skip
_WAIT_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)

REQUESTS: Final = Counter("lg_api_http_requests", "Requests that were answered", _REQUEST)
LATENCY: Final = Histogram(
    "lg_api_http_requests_latency", "Time to the end of the answer in ms", _REQUEST_MS, _REQUEST
)

DELIVERED: Final = Counter("loomline_webhooks_delivered")
FAILED_ATTEMPTS: Final = Counter("loomline_webhooks_failed_attempts")
WEBHOOKS_GIVEN_UP: Final = Counter("loomline_webhooks_given_up")

CONNECTIONS_REFUSED: Final = Counter("loomline_connections_refused")
CONNECTIONS_EVICTED: Final = Counter("loomline_connections_evicted")
CONNECTIONS_TIMED_OUT: Final = Counter("loomline_connections_timed_out")
CONNECTIONS_INVALID: Final = Counter("loomline_connections_invalid")

RUN_WAIT: Final = Histogram(
    "loomline_run_wait_seconds",
    "From the time a run was due until it was claimed here",
    _WAIT_SECONDS,
)
RUNS_ENDED: Final = Counter(
    "loomline_runs_ended", "Runs that were executed here, by result", ("result",)
)
RUNS_CLAIMED: Final = Counter("loomline_runs_claimed", "Runs that were claimed here")
RUNS_REPEATED: Final = Counter("loomline_runs_repeated", "Claimed runs whose worker has died")
RUNS_REQUEUED: Final = Counter("loomline_runs_requeued", "Runs found without a live worker")
RUNS_GIVEN_UP: Final = Counter("loomline_runs_given_up", "Runs found without one too often")

RECORDED: Final[tuple[Recorded, ...]] = (
    REQUESTS, LATENCY,
    DELIVERED, FAILED_ATTEMPTS, WEBHOOKS_GIVEN_UP,
    CONNECTIONS_REFUSED, CONNECTIONS_EVICTED, CONNECTIONS_TIMED_OUT, CONNECTIONS_INVALID,
    RUN_WAIT, RUNS_ENDED, RUNS_CLAIMED, RUNS_REPEATED, RUNS_REQUEUED, RUNS_GIVEN_UP,
)  # fmt: skip
"""Everything that is recorded when it happens. Metrics without labels are shown from the start."""

WORKERS_MAX: Final = Gauge("lg_api_workers_max")
WORKERS_ACTIVE: Final = Gauge("lg_api_workers_active")
WORKERS_AVAILABLE: Final = Gauge("lg_api_workers_available")
PENDING_RUNS: Final = Gauge("lg_api_num_pending_runs")
RUNNING_RUNS: Final = Gauge("lg_api_num_running_runs")
QUEUE_OLDEST: Final = Gauge("loomline_queue_oldest_seconds")
QUEUE_OLDEST_UNBLOCKED: Final = Gauge("loomline_queue_oldest_unblocked_seconds")
UNKNOWN_GRAPH_RUNS: Final = Gauge("loomline_queue_unknown_graph_runs")
CONNECTIONS_OPEN: Final = Gauge("loomline_connections_open")
STREAM_READERS: Final = Gauge("loomline_stream_readers")
GRAPHS_BLOCKED: Final = Gauge("loomline_graphs_blocked_seconds")
REDIS_AVAILABLE: Final = Gauge("loomline_redis_available")
REDIS_STREAMS: Final = Gauge("loomline_redis_streams")
REDIS_EVENTS_LOST: Final = Gauge("loomline_redis_events_lost")
WEBHOOKS_PENDING: Final = Gauge("loomline_webhooks_pending")
WEBHOOKS_DEAD: Final = Gauge("loomline_webhooks_dead")
WEBHOOKS_OLDEST: Final = Gauge("loomline_webhooks_oldest_pending_seconds")
