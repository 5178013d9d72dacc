"""Encrypts anew what is encrypted in a database: after keys have changed, row by row."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias, cast

import orjson

from loomline.server.domain.json import Json, JsonObject
from loomline.server.ports.sealing import Acting
from loomline.server.storage.sealed_rows import SEALED_VALUES
from loomline.server.storage.sealing import (
    BLOB_PREFIX,
    WHOLE,
    Sealer,
    Seals,
    blob_context,
    is_escaped,
    is_sealed,
)

Key: TypeAlias = tuple[object, ...]

CONTENT: Final = ""
"""What stands for the field of a checkpoint itself, of which handlers know the values alone."""

PAGE: Final = 100
"""Rows that are in memory at a time."""

PIECE_BYTES: Final = 256 * 1024
"""The most that one transaction replaces, unless a single row has more."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with something encrypted.

    ``json`` names columns with the field that handlers know them by; ``blob`` is the columns with
    the type and the content of bytes.
    """

    name: str
    key: Sequence[str]
    model: str
    json: Mapping[str, str] = field(default_factory=dict)
    blob: tuple[str, str] | None = None


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


# Where objects are encrypted whose members are, too: the field that they are then.
_INSIDE: Final[Mapping[tuple[str, str], str]] = {
    ("config", "configurable"): "configurable",
    ("payload", "config"): "config",
    ("payload", "metadata"): "metadata",
    **{("notice", name): name for name in ("metadata", "kwargs", "error")},
    **{(name, WHOLE): name for name in ("values", "interrupts", "error", "last_events")},
}
_FIELDS: Final[Mapping[str, str]] = {"configurable": "config"}


class _Renewal:
    def __init__(self, sealer: Sealer, table: Table) -> None:
        self._sealer = sealer
        self._table = table

    async def row(self, row: Row) -> Row:
        fields = self._table.json.values()
        return Row(
            row.key,
            [await self._text(name, text) for name, text in zip(fields, row.json, strict=True)],
            None if row.blob is None else await self._blob(*row.blob),
        )

    async def _text(self, name: str, text: str | None) -> str | None:
        if text is None:
            return None
        value = orjson.loads(text)
        if not isinstance(value, dict):
            return text
        return orjson.dumps(await self._object(name, value)).decode()

    async def _object(self, name: str, value: JsonObject) -> JsonObject:
        return {key: await self._member(name, key, each) for key, each in value.items()}

    async def _member(self, name: str, key: str, value: Json) -> Json:
        if (name, key) == (CONTENT, SEALED_VALUES) and isinstance(value, str):
            return await self._values(value)
        if not isinstance(value, dict):
            return value
        inner = _INSIDE.get((name, key))
        if inner is not None:
            return await self._object(inner, value)
        if is_sealed(value) and not is_escaped(value):
            seals = self._acting(cast("JsonObject", value.get("context", {})))
            opened = await seals.open({key: value})
            return (await seals.seal(self._table.model, _FIELDS.get(name, name), opened))[key]
        # Anything else that looks encrypted is somebody's plain text.
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
