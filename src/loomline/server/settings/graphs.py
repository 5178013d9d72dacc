"""The entries ``graphs`` and ``dependencies``: what is served, and where its code is."""

from __future__ import annotations

import json
from pathlib import Path

from loomline.server.graphs.spec import GraphSpec
from loomline.server.settings.document import (
    Document,
    Json,
    Section,
    SettingsError,
    found_path,
    is_place,
    looked,
    spec_of,
)


def graph_specs(document: Document) -> tuple[GraphSpec, ...]:
    """Return where the graphs are.

    Raises:
        SettingsError: there are none, or something does not fit.
    """
    given = document.values.get("graphs")
    section = document.section("graphs") if given is None or isinstance(given, dict) else None
    if section is None or not section.values:
        raise SettingsError(
            f'{document.place} must have an entry "graphs" like'
            ' {"graphs": {"agent": "./agent.py:graph"}}.'
        )
    return tuple(_graph(name, entry, section) for name, entry in section.values.items())


def _graph(name: str, entry: Json, section: Section) -> GraphSpec:
    description = entry.get("description") if isinstance(entry, dict) else None
    source = entry.get("path") if isinstance(entry, dict) else entry
    if not isinstance(source, str) or not is_place(source):
        raise SettingsError(
            f"The graph '{name}' in {section.place} must be given as \"file.py:variable\" or"
            f' "package.module:variable", not as {json.dumps(source)}.'
        )
    if description is not None and not isinstance(description, str):
        raise SettingsError(
            f"The description of the graph '{name}' in {section.place} must be a text."
        )
    return spec_of(name, source, section.folder, description)


def python_path(document: Document) -> tuple[Path, ...]:
    """Return the folder of the file, and the local ones among the dependencies.

    Raises:
        SettingsError: the dependencies are no list.
    """
    found = (found_path(each, document.folder) for each in _local(document))
    return tuple(dict.fromkeys([document.folder, *found]))


def path_warnings(document: Document) -> tuple[str, ...]:
    """Return a sentence for each folder of ``dependencies`` that does not exist.

    Raises:
        SettingsError: the dependencies are no list.
    """
    return tuple(
        f"The folder '{each}' of \"dependencies\" in {document.place} does not exist. Looked for"
        f" it at {looked(each, document.folder)}. Correct the path, or remove the entry."
        for each in _local(document)
        if not found_path(each, document.folder).exists()
    )


def _local(document: Document) -> list[str]:
    given = document.values.get("dependencies", [])
    if not isinstance(given, list):
        raise SettingsError(f'"dependencies" in {document.place} must be a list of texts.')
    return [each for each in given if isinstance(each, str) and each.startswith((".", "/"))]
