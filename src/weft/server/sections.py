"""Sections of ``langgraph.json`` about the web side, secrets and limits, as frozen objects."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast

from weft.server.graphs.spec import GraphSpec

# The parsed file holds whatever its author wrote.
_Json: TypeAlias = Any

Group: TypeAlias = Literal[
    "assistants", "threads", "runs", "store", "mcp", "a2a", "meta", "ui", "webhooks"
]
"""What ``http.disable_*`` can switch off."""

GROUPS: Final[tuple[Group, ...]] = (
    "assistants", "threads", "runs", "store", "mcp", "a2a", "meta", "ui", "webhooks",
)  # fmt: skip

MiddlewareOrder: TypeAlias = Literal["middleware_first", "auth_first"]


class SettingsError(Exception):
    """A setting that cannot be used. The text says which one and what to do."""


@dataclass(frozen=True, slots=True)
class HeaderRules:
    """Which headers are meant: names and ``*`` wildcards. Excludes win; no includes: none."""

    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CorsSettings:
    """The section ``http.cors``: what browsers of other origins may do."""

    allow_origins: tuple[str, ...] = ("*",)
    allow_origin_regex: str | None = None
    allow_methods: tuple[str, ...] = ("*",)
    allow_headers: tuple[str, ...] = ("*",)
    allow_credentials: bool = False
    expose_headers: tuple[str, ...] = ()
    max_age_seconds: int = 600


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The section ``http``. ``disabled`` names groups of routes that are not there."""

    app: GraphSpec | None = None
    disabled: frozenset[Group] = frozenset()
    cors: CorsSettings = CorsSettings()
    configurable_headers: HeaderRules = HeaderRules()
    logging_headers: HeaderRules = HeaderRules()
    mount_prefix: str = ""
    middleware_order: MiddlewareOrder = "middleware_first"
    enable_custom_route_auth: bool = False


@dataclass(frozen=True, slots=True)
class SerdeSettings:
    """The section ``checkpointer.serde``: types that checkpoints may be made of besides the safe.

    A module alone allows all its types; with a name it allows one.
    """

    msgpack_types: tuple[tuple[str, ...], ...] = ()
    json_types: tuple[tuple[str, ...], ...] = ()
    pickle: bool = False


def http_settings(
    document: Mapping[str, _Json], environment: Mapping[str, str], folder: Path, path: Path
) -> HttpSettings:
    """Return the section ``http``.

    Raises:
        SettingsError: something does not fit.
    """
    reader = _Reader("http", section(document, "http", path), path)
    order = reader.value("middleware_order", "middleware_first")
    if order not in {"middleware_first", "auth_first"}:
        raise reader.error("middleware_order", 'must be "middleware_first" or "auth_first"')
    return HttpSettings(
        app=_spec(reader, "app", folder),
        disabled=frozenset(each for each in GROUPS if reader.flag(f"disable_{each}")),
        cors=_cors(reader.inner("cors")),
        configurable_headers=_rules(reader, "configurable_headers"),
        logging_headers=_rules(reader, "logging_headers"),
        mount_prefix=_prefix(reader, environment),
        middleware_order=cast("MiddlewareOrder", order),
        enable_custom_route_auth=reader.flag("enable_custom_route_auth"),
    )


def encryption_spec(document: Mapping[str, _Json], folder: Path, path: Path) -> GraphSpec | None:
    """Return where the user's ``Encryption`` is, None where there is none.

    Raises:
        SettingsError: something does not fit.
    """
    return _spec(_Reader("encryption", section(document, "encryption", path), path), "path", folder)


def serde_settings(document: Mapping[str, _Json], path: Path) -> SerdeSettings:
    """Return the section ``checkpointer.serde``.

    Raises:
        SettingsError: something does not fit.
    """
    checkpointer = section(document, "checkpointer", path)
    found = section(checkpointer, "serde", path, "checkpointer.serde")
    reader = _Reader("checkpointer.serde", found, path)
    return SerdeSettings(
        msgpack_types=_types(reader, "allowed_msgpack_modules"),
        json_types=_types(reader, "allowed_json_modules"),
        pickle=reader.flag("pickle_fallback"),
    )


def section(
    document: Mapping[str, _Json], name: str, path: Path, shown: str = ""
) -> Mapping[str, _Json]:
    """Return an object of the file, an empty one where it is absent.

    Raises:
        SettingsError: it is no object.
    """
    found = document.get(name)
    if found is not None and not isinstance(found, dict):
        raise SettingsError(f"\"{shown or name}\" in '{path}' must be an object.")
    return found or {}


class _Reader:
    """Reads values of one section, with errors that name them."""

    def __init__(self, name: str, values: Mapping[str, _Json], path: Path) -> None:
        self._name = name
        self._values = values
        self._path = path

    def error(self, key: str, must: str) -> SettingsError:
        return SettingsError(f"\"{self._name}.{key}\" in '{self._path}' {must}.")

    def value(self, key: str, default: _Json = None) -> _Json:
        found = self._values.get(key)
        return default if found is None else found

    def inner(self, key: str) -> _Reader:
        shown = f"{self._name}.{key}"
        return _Reader(shown, section(self._values, key, self._path, shown), self._path)

    def flag(self, key: str) -> bool:
        found = self.value(key, default=False)
        if not isinstance(found, bool):
            raise self.error(key, "must be true or false")
        return found

    def text(self, key: str) -> str | None:
        found = self.value(key)
        if found is not None and not isinstance(found, str):
            raise self.error(key, "must be a text")
        return found

    def texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        found = self.value(key, list(default))
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise self.error(key, "must be a list of texts")
        return tuple(found)


def _spec(reader: _Reader, key: str, folder: Path) -> GraphSpec | None:
    source = reader.text(key)
    if source is None:
        return None
    if not re.fullmatch(r".+:[^:/\\]+", source):
        must = f'must be given as "file.py:variable", not as {json.dumps(source)}'
        raise reader.error(key, must)
    place, _, attribute = source.rpartition(":")
    name = f"{reader._name}.{key}"  # noqa: SLF001 - the two belong together
    if "/" in place or "\\" in place or place.endswith(".py"):
        return GraphSpec(name, source, attribute, (folder / place).resolve())
    return GraphSpec(name, source, attribute, None, place)


def _cors(reader: _Reader) -> CorsSettings:
    plain = CorsSettings()
    pattern = reader.text("allow_origin_regex")
    if pattern is not None:
        _check_pattern(reader, pattern)
    age = reader.value("max_age", plain.max_age_seconds)
    if isinstance(age, bool) or not isinstance(age, int) or not 0 <= age <= 10**9:
        raise reader.error("max_age", "must be a whole number of seconds")
    return CorsSettings(
        # Who names a pattern means it: the default would allow everybody besides.
        allow_origins=reader.texts("allow_origins", () if pattern else plain.allow_origins),
        allow_origin_regex=pattern,
        allow_methods=reader.texts("allow_methods", plain.allow_methods),
        allow_headers=reader.texts("allow_headers", plain.allow_headers),
        allow_credentials=reader.flag("allow_credentials"),
        expose_headers=reader.texts("expose_headers", plain.expose_headers),
        max_age_seconds=age,
    )


def _check_pattern(reader: _Reader, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise reader.error("allow_origin_regex", f"is no regular expression: {error}") from None


def _rules(reader: _Reader, key: str) -> HeaderRules:
    inner = reader.inner(key)
    return HeaderRules(
        includes=inner.texts("includes", inner.texts("include", ())),
        excludes=inner.texts("excludes", inner.texts("exclude", ())),
    )


def _prefix(reader: _Reader, environment: Mapping[str, str]) -> str:
    given = reader.text("mount_prefix")
    prefix = environment.get("MOUNT_PREFIX", "") if given is None else given
    if prefix in {"", "/"}:
        return ""
    # "/noauth" is the root path of calls from inside.
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", prefix) or prefix.startswith("/noauth"):
        raise reader.error("mount_prefix", f'must be a path like "/agents", not "{prefix}"')
    return prefix.rstrip("/")


def _types(reader: _Reader, key: str) -> tuple[tuple[str, ...], ...]:
    found = reader.value(key, [])
    if not isinstance(found, list):
        raise reader.error(key, "must be a list")
    return tuple(_type(reader, key, each) for each in found)


def _type(reader: _Reader, key: str, given: _Json) -> tuple[str, ...]:
    """Return a module, or a module and a name: from a list, or from ``package.module:Name``."""
    parts = given.split(":") if isinstance(given, str) else given
    texts = isinstance(parts, list) and all(isinstance(each, str) and each for each in parts)
    if not texts or not 1 <= len(parts) <= 2:
        raise reader.error(key, 'must list texts like "package.module:Name" or "package.module"')
    return tuple(parts)
