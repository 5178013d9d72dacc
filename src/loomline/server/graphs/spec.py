"""Where a graph comes from, as ``langgraph.json`` says it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """One entry of ``graphs``. ``source`` is the text of the entry, for error messages.

    Exactly one of ``path`` (a file) and ``module`` (a dotted name) is set.
    """

    graph_id: str
    source: str
    attribute: str
    path: Path | None = None
    module: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """How the store makes vectors. ``embed`` is a function, or ``provider:model`` as a text.

    ``fields`` are paths into values; ``$`` is the whole value.
    """

    dims: int
    embed: GraphSpec | str
    fields: tuple[str, ...] = ("$",)
