"""Functions that statements call: decisions of the domain, made where the rows are."""

from __future__ import annotations

import sqlite3
from functools import lru_cache

import orjson

from loomline.server.domain.access import decode, meets
from loomline.server.domain.filters import contains
from loomline.server.domain.items import matches
from loomline.server.domain.json import Json, dump
from loomline.server.storage.sqlite.leaves import json_leaves


def register(connection: sqlite3.Connection) -> None:
    """Teach a connection the functions of the domain that its statements call."""
    connection.create_function("json_contains", 2, _json_contains, deterministic=True)
    connection.create_function("json_meets", 2, _json_meets, deterministic=True)
    connection.create_function("json_merge", 2, _json_merge, deterministic=True)
    connection.create_function("item_matches", 2, _item_matches, deterministic=True)
    connection.create_function("json_leaves", 1, json_leaves, deterministic=True)
    # SQLite's own lower() knows ASCII only.
    connection.create_function("folded", 1, str.casefold, deterministic=True)


def _item_matches(value: str, pattern: str) -> bool:
    return matches(orjson.loads(value), _pattern(pattern))


def _json_meets(document: str, condition: str) -> bool:
    return meets(orjson.loads(document), decode(condition))


def _json_contains(document: str | bytes | None, pattern: str) -> bool:
    return document is not None and contains(orjson.loads(document), _pattern(pattern))


def _json_merge(document: str, changes: str) -> str:
    return dump({**orjson.loads(document), **orjson.loads(changes)}).decode()


# One statement asks with the same pattern for every row.
@lru_cache(maxsize=8)
def _pattern(text: str) -> Json:
    decoded: Json = orjson.loads(text)
    return decoded
