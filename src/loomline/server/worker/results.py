"""The result of a run, and all that is derived from it, from the reports of the root graph.

Every consumer of a result (answers of ``wait`` and ``join``, the last event of a log, the values of
the thread, webhooks) gets it from here. The result is the value that ``ainvoke`` would return.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from langgraph.types import Interrupt

from loomline.server.domain.json import EMPTY_OBJECT, Encoded
from loomline.server.domain.outputs import Output
from loomline.server.domain.run_results import INTERRUPT
from loomline.server.graphs.serde import encode
from loomline.server.graphs.states import Summary
from loomline.server.worker.chunks import ROOT, Namespace
from loomline.server.worker.stream import Graph


def output_of(graph: Graph) -> Output:
    """Return the part of the state that the output schema of a graph shows."""
    return Output.among(graph.output_channels, graph.stream_channels_asis)


@dataclass(slots=True)
class Report:
    """The report of a run by its root graph, as far as it has come.

    Args:
        output: The graph's output.
        of_state: Whether the reported values are those of the whole state, as in the thread
            protocol, and not only those of the output.
        state: The thread's newest state, once it has been read at the end of the run.
        paused: Whether the graph has reported that it stops for an answer or at a breakpoint.
        asked: The questions that the run has asked, in their order.
        channels: The names of the channels of the whole state.
    """

    output: Output = field(default_factory=Output)
    of_state: bool = False
    state: Summary | None = None
    paused: bool = False
    asked: list[Interrupt[Any]] = field(default_factory=list)
    channels: tuple[str, ...] = ()
    _values: object = None
    _has_values: bool = False

    def begin(self, graph: Graph, *, of_state: bool) -> None:
        """Note the graph that is going to report."""
        self.output, self.of_state = output_of(graph), of_state
        whole = graph.stream_channels_asis
        self.channels = () if isinstance(whole, str) else tuple(whole)

    def note(self, namespace: Namespace, mode: str, payload: object) -> None:
        """Take in a chunk of the stream."""
        if namespace != ROOT:
            return
        if mode == "values":
            self._values, self._has_values = without_questions(payload), True
        elif mode == "updates" and isinstance(payload, Mapping) and INTERRUPT in payload:
            # Nodes of the same step may still report after the node that asks.
            self.paused = True
            self.asked.extend(payload[INTERRUPT])

    @property
    def tells_state(self) -> bool:
        """Whether the last values are the thread's newest state, so that it need not be read.

        After a pause the state has the results of the nodes of the last step that did not ask.
        """
        return self._has_values and not self.paused and (self.of_state or self.output.whole)

    @property
    def latest(self) -> object:
        """The output as it is by now, without questions."""
        if not self._has_values:
            state = EMPTY_OBJECT if self.state is None else self.state.values
            return orjson.loads(self.output.of_encoded(state))
        if self.of_state and isinstance(self._values, Mapping):
            return self.output.of(self._values)
        return self._values

    def thread_values(self) -> Encoded | None:
        """Return the values for the thread's row; None: they stay as they are."""
        if self.state is not None:
            return self.state.values
        return encode(self._values) if self.tells_state else None

    def result(self, thread_values: Encoded | None) -> Encoded:
        """Return the run's result: the output, and all questions that it has asked.

        Args:
            thread_values: The values for the thread's row, which need not be encoded twice.
        """
        if not self.asked:
            same = thread_values is not None and self.output.whole
            return thread_values if same and thread_values else encode(self.latest)
        latest = self.latest
        known = dict(latest) if isinstance(latest, Mapping) else {}
        return encode({**known, INTERRUPT: self.asked})


def without_questions(values: object) -> object:
    """Return values without the questions that langgraph adds to them."""
    if isinstance(values, Mapping) and INTERRUPT in values:
        return {key: value for key, value in values.items() if key != INTERRUPT}
    return values
