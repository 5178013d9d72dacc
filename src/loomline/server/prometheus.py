"""``Measures`` that Prometheus scrapes."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeAlias

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from loomline.server.domain.measures import RECORDED, Counter, Gauge, Histogram, Recorded
from loomline.server.ports.measures import NO_SPAN, Fact, Span, SpanKind

Labels: TypeAlias = tuple[str, ...]


class PrometheusMeasures:
    """Counts in this process, and describes the counts in Prometheus' text format."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Counter, dict[Labels, int]] = {}
        self._buckets: dict[Histogram, dict[Labels, _Buckets]] = {}
        self._gauges: dict[Gauge, float] = {}
        for metric in RECORDED:
            if isinstance(metric, Counter):
                self._counts[metric] = defaultdict(int, {} if metric.labels else {(): 0})
            else:
                self._buckets[metric] = {} if metric.labels else {(): _Buckets(metric.bounds)}
        self._registry = CollectorRegistry()
        for collector in (GCCollector, PlatformCollector, ProcessCollector):
            collector(registry=self._registry)
        self._registry.register(_Recorded(self))

    def count(self, counter: Counter, *labels: str, amount: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[counter][labels] += amount

    def gauge(self, gauge: Gauge, value: float) -> None:
        """Set a gauge to its present value."""
        with self._lock:
            self._gauges[gauge] = value

    def observe(self, histogram: Histogram, value: float, *labels: str) -> None:
        """Add a value to a histogram."""
        with self._lock:
            kinds = self._buckets[histogram]
            if labels not in kinds:
                kinds[labels] = _Buckets(histogram.bounds)
            kinds[labels].add(value)

    def span(
        self,
        kind: SpanKind,  # noqa: ARG002 - the parameters of the port
        name: str = "",  # noqa: ARG002
        **facts: Fact,  # noqa: ARG002
    ) -> AbstractContextManager[Span]:
        """Return a span that records nothing: Prometheus has no spans."""
        return NO_SPAN

    def counts(self, counter: Counter) -> Mapping[Labels, int]:
        """Return the present counts by their labels."""
        with self._lock:
            return dict(self._counts[counter])

    def exposition(self) -> bytes:
        """Return all metrics, and those of the interpreter and its process."""
        return generate_latest(self._registry)

    def families(self) -> Iterable[Metric]:
        """Return all metrics of this process at the same moment."""
        with self._lock:
            recorded = [self._family(metric) for metric in RECORDED]
            return [*recorded, *(GaugeMetricFamily(g.name, "", v) for g, v in self._gauges.items())]

    def _family(self, metric: Recorded) -> Metric:
        if isinstance(metric, Counter):
            counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, count in self._counts[metric].items():
                counter.add_metric(labels, count)
            return counter
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, buckets in self._buckets[metric].items():
            histogram.add_metric(labels, buckets.cumulated(), buckets.sum)
        return histogram


@dataclass(slots=True)
class _Buckets:
    """Counts of values up to each bound; the last count is for values beyond all bounds."""

    bounds: tuple[float, ...]
    sum: float = 0.0
    counts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulated(self) -> list[tuple[str, float]]:
        """Return pairs of a bound, as metrics are written, and the count of values up to it."""
        total, found = 0, []
        for bound, count in zip((*self.bounds, math.inf), self.counts, strict=True):
            total += count
            found.append((f"{float(bound)}".replace("inf", "+Inf"), float(total)))
        return found


class _Recorded(Collector):
    """Hands the metrics to the registry of the client library."""

    def __init__(self, measures: PrometheusMeasures) -> None:
        self._measures = measures

    def collect(self) -> Iterable[Metric]:
        return self._measures.families()
