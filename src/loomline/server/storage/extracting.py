"""Rows of a search as it wants them, whatever the database."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from loomline.server.domain.extract import Path
from loomline.server.domain.json import Encoded, Json, dump
from loomline.server.domain.threads import FoundThread, Thread, ThreadQuery


def needs_values(query: ThreadQuery) -> bool:
    """Return whether the rows of a search must be read with their values."""
    return query.with_values or any(path.root == "values" for path in query.extract.values())


def found_thread(thread: Thread, paths: Mapping[str, Path]) -> FoundThread:
    return FoundThread(thread, _extracted(thread, paths) if paths else None)


def _extracted(thread: Thread, paths: Mapping[str, Path]) -> Encoded:
    roots = {path.root for path in paths.values()}
    row: dict[str, Json] = {"metadata": thread.metadata, "config": thread.config}
    for name, content in (("values", thread.values), ("interrupts", thread.interrupts)):
        if name in roots and content is not None:
            row[name] = orjson.loads(content)
    return dump({alias: path.resolve(row) for alias, path in paths.items()})
