"""The plain events of a run that has events of the thread protocol."""

from __future__ import annotations

from collections.abc import Mapping

from loomline.server.domain.events import Event
from loomline.server.domain.outputs import Output
from loomline.server.domain.run_results import INTERRUPT
from loomline.server.worker.chunks import ROOT, ChunkEncoder, Namespace
from loomline.server.worker.protocol import PLAIN_MODES
from loomline.server.worker.results import Report

# Keys of an update that do not name a node.
_OWN = frozenset({INTERRUPT, "__metadata__"})


class PlainView:
    """Shows the output only, although the graph of the run reports its whole state.

    Without the thread protocol langgraph itself leaves out the rest.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._encoder = ChunkEncoder(PLAIN_MODES)
        self._last: Mapping[str, object] = {}

    def events(self, namespace: Namespace, mode: str, payload: object) -> list[Event]:
        output = self._report.output
        if output.whole or namespace != ROOT or not isinstance(payload, Mapping):
            return self._encoder.events(namespace, mode, payload)
        if mode == "values":
            return self._values(output, payload)
        if mode == "updates":
            payload = {
                key: update if key in _OWN else _shown(output, update)
                for key, update in payload.items()
            }
        return self._encoder.events(namespace, mode, payload)

    def _values(self, output: Output, values: Mapping[str, object]) -> list[Event]:
        shown = output.of(values)
        if not isinstance(shown, Mapping):
            return self._encoder.events(ROOT, "values", shown)
        last, self._last = self._last, shown
        if INTERRUPT in values:
            return self._encoder.events(ROOT, "values", {**shown, INTERRUPT: values[INTERRUPT]})
        return [] if _same(shown, last) else self._encoder.events(ROOT, "values", shown)


def _same(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    """Return whether the values are the same objects: comparing large ones would take long."""
    return one.keys() == other.keys() and all(one[key] is other[key] for key in one)


def _shown(output: Output, update: object) -> object:
    """Return the output's part of a node's update, in the form that langgraph gives it."""
    if isinstance(update, list):
        shown = [each for each in (_shown(output, part) for part in update) if each is not None]
        return shown if len(shown) > 1 else next(iter(shown), None)
    if not isinstance(update, Mapping):
        return update
    return output.of(update) or None
