"""The entry ``env``: variables that are set before graphs are imported."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from loomline.server.settings.document import Document, Json, SettingsError

_ENV_LINE: Final = re.compile(
    r"""\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*
    (?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>[^']*)'|(?P<bare>.*?))\s*(?:(?<=[\s"'])\#.*)?""",
    re.VERBOSE,
)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}


def env_variables(document: Document) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Return the variables, and warnings.

    Raises:
        SettingsError: the entry is neither an object nor a text.
    """
    env = document.values.get("env", {})
    if isinstance(env, dict):
        return {str(name): as_text(value) for name, value in env.items()}, ()
    if not isinstance(env, str):
        raise SettingsError(f'"env" in {document.place} must be an object or the path of a file.')
    path = document.folder / env
    try:
        return parse_env(path.read_text(encoding="utf-8-sig")), ()
    except (OSError, UnicodeDecodeError):
        return {}, (f"The file '{path}' (\"env\") cannot be read and is left out.",)


def as_text(value: Json) -> str:
    """Return a value as a variable would hold it."""
    return json.dumps(value) if isinstance(value, (bool, dict, list)) else str(value)


def parse_env(text: str) -> dict[str, str]:
    """Return the variables of a ``KEY=VALUE`` file with quotes and comments."""
    matches = (_ENV_LINE.fullmatch(line) for line in text.splitlines())
    return {match["name"]: _unquoted(match) for match in matches if match is not None}


def _unquoted(match: re.Match[str]) -> str:
    if match["double"] is not None:
        return re.sub(r"\\(.)", lambda each: _ESCAPES.get(each[1], each[1]), match["double"])
    return match["single"] if match["single"] is not None else match["bare"]
