"""``langgraph.json``: the file and its sections, read with errors that name what does not fit."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from loomline.server.graphs.spec import SCRIPTS, GraphSpec

# The parsed file holds whatever its author wrote.
Json: TypeAlias = Any

_KINDS: Final = {"app": "application"}

_MINUTES_MOST: Final = 100 * 365 * 1440

# How images of the official tools carry the sections of the file they were built from.
VARIABLES: Final = {
    "graphs": "LANGSERVE_GRAPHS",
    "auth": "LANGGRAPH_AUTH",
    "checkpointer": "LANGGRAPH_CHECKPOINTER",
    "encryption": "LANGGRAPH_ENCRYPTION",
    "http": "LANGGRAPH_HTTP",
    "priority": "LANGGRAPH_PRIORITY",
    "store": "LANGGRAPH_STORE",
    "webhooks": "LANGGRAPH_WEBHOOKS",
}


class SettingsError(Exception):
    """A setting that cannot be used. The text says which one and what to do."""


@dataclass(frozen=True, slots=True)
class Section:
    """One object of the file. A value that is null is as good as absent.

    ``place`` is what errors call where it stands; ``folder`` is what its paths are relative to.
    """

    name: str
    values: Mapping[str, Json]
    place: str
    folder: Path

    def error(self, key: str, must: str) -> SettingsError:
        return SettingsError(f'"{self.name}.{key}" in {self.place} {must}.')

    def value(self, key: str, default: Json = None) -> Json:
        found = self.values.get(key)
        return default if found is None else found

    def part(self, key: str) -> Section | None:
        """Return the object under a key, None where there is none."""
        found = self.value(key)
        if found is None:
            return None
        if not isinstance(found, dict):
            raise self.error(key, "must be an object")
        return Section(f"{self.name}.{key}", found, self.place, self.folder)

    def inner(self, key: str) -> Section:
        """Return the object under a key, an empty one where there is none."""
        return self.part(key) or Section(f"{self.name}.{key}", {}, self.place, self.folder)

    def flag(self, key: str, *, default: bool = False) -> bool:
        found = self.value(key, default=default)
        if not isinstance(found, bool):
            raise self.error(key, "must be true or false")
        return found

    def text(self, key: str) -> str | None:
        found = self.value(key)
        if found is not None and not isinstance(found, str):
            raise self.error(key, "must be a text")
        return found

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        found = self.value(key, list(default))
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise self.error(key, "must be a list of texts")
        return tuple(found)

    def whole(self, key: str, default: int, *, least: int, most: int) -> int:
        found = self.value(key, default)
        if isinstance(found, bool) or not isinstance(found, int) or not least <= found <= most:
            raise self.error(key, f"must be a whole number from {least} to {most}")
        return found

    def number(self, key: str, default: float, *, least: float, most: float) -> float:
        found = self.value(key, default)
        if isinstance(found, bool) or not isinstance(found, (int, float)):
            raise self.error(key, "must be a number")
        if not least <= found <= most:
            raise self.error(key, f"must be a number from {least:g} to {most:g}")
        return found

    def minutes(self, key: str) -> float | None:
        value = self.value(key)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (number and 0 < value <= _MINUTES_MOST):
            raise self.error(key, "must be a number of minutes above 0")
        return None if value is None else float(value)

    def spec(self, key: str, name: str = "") -> GraphSpec | None:
        """Return where the object is that a key names; ``name`` is what errors call it."""
        source = self.text(key)
        if source is None:
            return None
        if not is_place(source):
            must = (
                'must be given as "file.py:variable" or "module:variable", not as'
                f" {json.dumps(source)}"
            )
            raise self.error(key, must)
        found = spec_of(name or f"{self.name}.{key}", source, self.folder)
        return replace(found, kind=_KINDS.get(key, "object"))


@dataclass(frozen=True, slots=True)
class Document:
    """The parsed file. ``borrowed`` are sections it does not have, from the environment."""

    path: Path
    values: Mapping[str, Json]
    borrowed: Mapping[str, Section] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"'{self.path}'"

    @property
    def folder(self) -> Path:
        return self.path.parent

    def gives(self, name: str) -> bool:
        """Return whether a section is there, even an empty one."""
        return name in self.values or name in self.borrowed

    def section(self, name: str) -> Section:
        """Return a section, an empty one where it is absent.

        Raises:
            SettingsError: it is no object.
        """
        found = self.values.get(name)
        if found is None:
            return self.borrowed.get(name) or Section(name, {}, self.place, self.folder)
        if not isinstance(found, dict):
            raise SettingsError(f'"{name}" in {self.place} must be an object.')
        return Section(name, found, self.place, self.folder)

    def complemented(self, variables: Mapping[str, str]) -> Document:
        """Return the document with the sections that only the environment has.

        Raises:
            SettingsError: one of them is not the JSON of an object.
        """
        absent = {
            name: variable
            for name, variable in VARIABLES.items()
            if self.values.get(name) is None and variables.get(variable)
        }
        borrowed: dict[str, Section] = {}
        for name, variable in absent.items():
            found = parse_json(variables[variable], variable)
            if found is not None and not isinstance(found, dict):
                raise SettingsError(f'{variable} must contain a JSON object, like "{name}".')
            if found is not None:
                borrowed[name] = Section(name, found, variable, self.folder)
        return replace(self, borrowed=borrowed)

    def overruled(self, variables: Mapping[str, str]) -> tuple[str, ...]:
        """Return a sentence for each variable whose section the file has as well."""
        return tuple(
            f'{variable} is left out: {self.place} has a section "{name}", which counts.'
            for name, variable in VARIABLES.items()
            if self.values.get(name) is not None and variables.get(variable)
        )


def read_document(path: Path) -> Document:
    """Read the file.

    Raises:
        SettingsError: it is not there, cannot be read, or is not the JSON of an object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(
            f"There is no file '{path}'. Start in the folder of your langgraph.json, or name it"
            " with --config."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SettingsError(f"'{path}' cannot be read: {reason}.") from None
    document = parse_json(text, f"'{path}'")
    if not isinstance(document, dict):
        raise SettingsError(f"'{path}' must contain a JSON object.")
    return Document(path, document)


def parse_json(text: str, place: str) -> Json:
    """Parse what stands at a place.

    Raises:
        SettingsError: it is not JSON.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise SettingsError(f"{place} is not valid JSON: {error.msg} at {where}.") from None
    except (RecursionError, ValueError):
        raise SettingsError(f"{place} is nested too deeply, or has too long a number.") from None


def is_place(source: str) -> bool:
    """Return whether a text names a variable of a file or of a module."""
    return re.fullmatch(r".+:[^:/\\]+", source) is not None


def is_file(place: str) -> bool:
    """Return whether the part before the colon is a file, not a module."""
    return "/" in place or "\\" in place or place.endswith((".py", *SCRIPTS))


def found_path(given: str, folder: Path) -> Path:
    """Return where a path of the file leads: from the file's folder, else the working directory.

    A path that exists in neither is one of the file's folder.
    """
    paths = [path.resolve() for path in (folder / given, Path(given))]
    return next((path for path in paths if path.exists()), paths[0])


def looked(given: str, folder: Path) -> str:
    """Return the places of a path, for messages."""
    paths = dict.fromkeys((folder / given).resolve() for folder in (folder, Path.cwd()))
    return " and ".join(f"'{path}'" for path in paths)


def spec_of(name: str, source: str, folder: Path, description: str | None = None) -> GraphSpec:
    """Return where the object is that ``file.py:variable`` or ``module:variable`` names."""
    place, _, attribute = source.rpartition(":")
    if not is_file(place):
        return GraphSpec(name, source, attribute, None, place, description)
    path = found_path(place, folder)
    searched = looked(place, folder)
    return GraphSpec(name, source, attribute, path, None, description, searched)
