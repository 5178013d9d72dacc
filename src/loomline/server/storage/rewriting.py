"""Encrypts anew what is encrypted in a database: after keys have changed, row by row."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias, cast

import orjson

from loomline.server.domain.json import Json, JsonObject
from loomline.server.ports.sealing import Acting
from loomline.server.storage.sealed_fields import BLOBS, COLUMNS, Fields, SealedField
from loomline.server.storage.sealed_rows import SEALED_VALUES
from loomline.server.storage.sealing import (
    BLOB_PREFIX,
    Sealer,
    Seals,
    blob_context,
    is_escaped,
    is_sealed,
)

Key: TypeAlias = tuple[object, ...]

PAGE: Final = 100
"""Rows that are in memory at a time."""

PIECE_BYTES: Final = 256 * 1024
"""The most that one transaction replaces, unless a single row has more."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row that has something encrypted. ``json`` is in the order of the table's columns."""

    key: Key
    json: Sequence[str | None] = ()
    blob: tuple[str, bytes] | None = None

    @property
    def size(self) -> int:
        """Return about how many bytes the row has."""
        content = 0 if self.blob is None else len(self.blob[1])
        return content + sum(len(text) for text in self.json if text is not None)


@dataclass(frozen=True, slots=True)
class Table:
    """A table with encrypted columns.

    ``json`` are the columns with JSON, ``blob`` is the columns with the type and the content of
    bytes.
    """

    name: str
    key: Sequence[str]
    json: Fields = field(default_factory=dict)
    blob: tuple[str, str] | None = None

    def row(self, found: Sequence[object]) -> Row:
        """Return a row from its key, its columns with JSON as strings, and its bytes."""
        size, end = len(self.key), len(self.key) + len(self.json)
        texts = [None if text is None else str(text) for text in found[size:end]]
        key = tuple(found[:size])
        if self.blob is None:
            return Row(key, texts)
        kind, content = found[end:]
        assert isinstance(content, bytes)
        return Row(key, texts, (str(kind), content))


KEYS: Final[Mapping[str, Sequence[str]]] = {
    "assistants": ("assistant_id",),
    "assistant_versions": ("assistant_id", "version"),
    "threads": ("thread_id",),
    "thread_values": ("thread_id",),
    "runs": ("run_id",),
    "crons": ("cron_id",),
    "webhooks": ("webhook_id",),
    "store_items": ("item_id",),
    "checkpoint_facts": ("thread_id", "facts_id"),
}
"""The keys of the tables that have the same key in every database."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a driver stores a table: its name, its key, and the columns that it names differently."""

    name: str
    key: Sequence[str]
    renamed: Mapping[str, str] = field(default_factory=dict)


def tables(layouts: Mapping[str, Layout]) -> Sequence[Table]:
    """Return the tables of a driver with all columns that ``sealed_fields`` lists.

    Raises:
        KeyError: the driver has no layout for one of the tables.
    """
    return [_table(name, layouts[name]) for name in (*COLUMNS, *BLOBS)]


def _table(name: str, layout: Layout) -> Table:
    renamed = layout.renamed
    json = {renamed.get(column, column): each for column, each in COLUMNS.get(name, {}).items()}
    if name not in BLOBS:
        return Table(layout.name, layout.key, json)
    kind, content = (renamed.get(column, column) for column in BLOBS[name])
    return Table(layout.name, layout.key, json, (kind, content))


class Rewriter(Protocol):
    """What a driver can do with encrypted rows."""

    @property
    def tables(self) -> Sequence[Table]: ...

    def page(self, table: Table, after: Key | None, limit: int) -> Awaitable[Sequence[Row]]:
        """Return rows with something encrypted behind a place, in the order of their keys."""
        ...

    def replace(self, table: Table, rows: Sequence[tuple[Row, Row]]) -> Awaitable[None]:
        """Store what rows have become; those that somebody has changed meanwhile stay."""
        ...


async def rewrite(rewriter: Rewriter, sealer: Sealer) -> int:
    """Decrypt and encrypt everything that is encrypted; return how many rows that were.

    Raises:
        EncryptionFailed: a handler has failed. What is done until then stays.
    """
    count = 0
    for table in rewriter.tables:
        after: Key | None = None
        while rows := await rewriter.page(table, after, PAGE):
            after = rows[-1].key
            count += len(rows)
            for piece in _pieces(await _renewed(sealer, table, rows)):
                await rewriter.replace(table, piece)
    return count


def _pieces(rows: Sequence[tuple[Row, Row]]) -> Iterator[Sequence[tuple[Row, Row]]]:
    """Divide rows, so that no write holds up those of a server for long."""
    piece: list[tuple[Row, Row]] = []
    size = 0
    for row in rows:
        piece.append(row)
        size += row[1].size
        if size >= PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


async def _renewed(sealer: Sealer, table: Table, rows: Sequence[Row]) -> Sequence[tuple[Row, Row]]:
    async def one(row: Row) -> tuple[Row, Row]:
        return row, await _Renewal(sealer, table).row(row)

    return await sealer.run(lambda seals: seals.each(one, rows))


class _Renewal:
    def __init__(self, sealer: Sealer, table: Table) -> None:
        self._sealer = sealer
        self._table = table

    async def row(self, row: Row) -> Row:
        fields = self._table.json.values()
        return Row(
            row.key,
            [await self._text(each, text) for each, text in zip(fields, row.json, strict=True)],
            None if row.blob is None else await self._blob(*row.blob),
        )

    async def _text(self, sealed: SealedField, text: str | None) -> str | None:
        if text is None:
            return None
        value = orjson.loads(text)
        if not isinstance(value, dict):
            return text
        return orjson.dumps(await self._object(sealed, value)).decode()

    async def _object(self, sealed: SealedField, value: JsonObject) -> JsonObject:
        return {key: await self._member(sealed, key, each) for key, each in value.items()}

    async def _member(self, sealed: SealedField, key: str, value: Json) -> Json:
        if (sealed.form, key) == ("checkpoint", SEALED_VALUES) and isinstance(value, str):
            return await self._values(value)
        if not isinstance(value, dict):
            return value
        inner = sealed.inside(key)
        if inner is not None:
            return await self._object(inner, value)
        if is_sealed(value) and not is_escaped(value):
            seals = self._acting(cast("JsonObject", value.get("context", {})))
            opened = await seals.open({key: value})
            return (await seals.seal(sealed.model, sealed.name, opened))[key]
        # A user's plain value may look encrypted.
        return value

    async def _values(self, text: str) -> str:
        _, content = await self._blob(f"{BLOB_PREFIX}json", base64.b64decode(text))
        return base64.b64encode(content).decode()

    async def _blob(self, kind: str, content: bytes) -> tuple[str, bytes]:
        if not kind.startswith(BLOB_PREFIX):
            return kind, content
        seals = self._acting(blob_context(content))
        return await seals.seal_blob(*await seals.open_blob(kind, content))

    def _acting(self, context: JsonObject) -> Seals:
        return Seals(self._sealer, Acting(metadata=context))
