"""Counters, gauges, histograms and spans of a process."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Literal, Protocol, Self, TypeAlias

from loomline.server.domain.measures import Counter, Gauge, Histogram

SpanKind: TypeAlias = Literal["claim", "request", "run", "storage", "webhook"]
"""What a span lasts as long as: the claim of some runs, an HTTP request until the end of its
answer, the execution of a run, a transaction with its wait for a connection, or an attempt to
send a webhook."""

Fact: TypeAlias = str | int | float | bool


class Span(Protocol):
    """An operation in progress."""

    def note(self, **facts: Fact) -> None:
        """Add facts that are known only during the operation, such as its result."""
        ...


class Measures(Protocol):
    """Receives the measurements of a process. Every method may be called from any thread.

    Labels are given in the order in which the metric lists them.
    """

    def count(self, counter: Counter, *labels: str, amount: int = 1) -> None:
        """Add to a counter."""
        ...

    def gauge(self, gauge: Gauge, value: float) -> None:
        """Set a gauge to its present value."""
        ...

    def observe(self, histogram: Histogram, value: float, *labels: str) -> None:
        """Add a value to a histogram."""
        ...

    def span(self, kind: SpanKind, name: str = "", **facts: Fact) -> AbstractContextManager[Span]:
        """Return a context manager that lasts as long as an operation.

        Args:
            kind: The kind of the operation.
            name: The operation, where a kind has several: of few different values.
            facts: Labels of this operation alone, such as the id of a run.
        """
        ...


class NoSpan:
    """A span that records nothing. One object serves all operations: it has no state."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def note(self, **facts: Fact) -> None:
        """Drop the facts."""


NO_SPAN = NoSpan()


class NoMeasures:
    """``Measures`` of a process without an observer, such as a migration of a database."""

    def count(self, counter: Counter, *labels: str, amount: int = 1) -> None:
        """Drop the count."""

    def gauge(self, gauge: Gauge, value: float) -> None:
        """Drop the value."""

    def observe(self, histogram: Histogram, value: float, *labels: str) -> None:
        """Drop the value."""

    def span(
        self,
        kind: SpanKind,  # noqa: ARG002 - the parameters of the port
        name: str = "",  # noqa: ARG002
        **facts: Fact,  # noqa: ARG002
    ) -> AbstractContextManager[Span]:
        """Return a span that records nothing."""
        return NO_SPAN


NO_MEASURES = NoMeasures()
