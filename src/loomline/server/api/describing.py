"""One OpenAPI document of our routes and those of the user's application."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import orjson

from loomline.server.domain.json import dump

# Documents are whatever their authors and FastAPI put there.
_Json: TypeAlias = Any

_SCHEMA = "#/components/schemas/"


def merged(ours: bytes, theirs: Mapping[str, _Json]) -> bytes:
    """Return our document with the paths of another one in it; where both have one, theirs counts.

    Schemas of theirs that are named like one of ours are renamed.
    """
    if not theirs.get("paths"):
        return ours
    document = orjson.loads(ours)
    known = document["components"]["schemas"]
    theirs = _renamed(theirs, known)
    document["paths"] = {**document["paths"], **theirs["paths"]}
    components = theirs.get("components") or {}
    document["components"] = {
        **document["components"],
        **{kind: each for kind, each in components.items() if kind != "schemas"},
        "schemas": {**known, **components.get("schemas", {})},
    }
    return dump(document)


def _renamed(theirs: Mapping[str, _Json], known: Mapping[str, _Json]) -> dict[str, _Json]:
    schemas = (theirs.get("components") or {}).get("schemas") or {}
    clashes = {name: f"Custom{name}" for name in schemas if name in known}
    text = orjson.dumps(theirs).decode()
    if clashes:
        names = "|".join(map(re.escape, sorted(clashes, key=len, reverse=True)))
        pattern = rf'"{_SCHEMA}({names})"'
        text = re.sub(pattern, lambda match: f'"{_SCHEMA}{clashes[match[1]]}"', text)
    renamed: dict[str, _Json] = orjson.loads(text)
    if clashes:
        own = renamed["components"]["schemas"]
        renamed["components"]["schemas"] = {clashes.get(key, key): own[key] for key in own}
    return renamed
