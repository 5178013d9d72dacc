"""Where a graph comes from, as ``langgraph.json`` says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SCRIPTS: Final = (".ts", ".js", ".mts", ".mjs", ".cts", ".cjs", ".tsx", ".jsx")
"""How the names of files in JavaScript and TypeScript end."""


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """One entry of ``graphs``. ``source`` is the text of the entry, for error messages.

    ``searched`` names the places in which a file was looked for, and ``kind`` is the kind of the
    object: both are for error messages as well.
    Exactly one of ``path`` (a file) and ``module`` (a dotted name) is set.
    """

    graph_id: str
    source: str
    attribute: str
    path: Path | None = None
    module: str | None = None
    description: str | None = None
    searched: str | None = field(default=None, compare=False)
    kind: str = field(default="graph", compare=False)


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """How the store makes vectors. ``embed`` is a function, or ``provider:model`` as a text.

    ``fields`` are paths into values; ``$`` is the whole value.
    """

    dims: int
    embed: GraphSpec | str
    fields: tuple[str, ...] = ("$",)
