"""The entry ``env``: variables that are set before graphs are imported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import StringIO
from typing import Final

from dotenv import dotenv_values

from loomline.server.settings.document import Document, Json, SettingsError, found_path

_USUAL: Final = ".env"
"""A file that is mostly kept out of repositories: a start without it is no mistake."""


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
    path = found_path(env, document.folder)
    if path.name == _USUAL and not path.exists():
        return {}, ()
    try:
        return parse_env(path.read_text(encoding="utf-8-sig")), ()
    except (OSError, UnicodeDecodeError):
        return {}, (f"The file '{path}' (\"env\") cannot be read and is left out.",)


def as_text(value: Json) -> str:
    """Return a value as a variable would hold it."""
    return json.dumps(value) if isinstance(value, (bool, dict, list)) else str(value)


def parse_env(text: str) -> dict[str, str]:
    """Return the variables of a ``.env`` file, as python-dotenv reads it."""
    found = dotenv_values(stream=StringIO(text))
    return {name: value for name, value in found.items() if value is not None}
