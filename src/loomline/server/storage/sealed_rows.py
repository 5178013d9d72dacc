"""Rows of checkpoints, encrypted on their way to the database and decrypted on their way back."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Sequence
from typing import Final, cast

import orjson

from loomline.server.domain.json import JsonObject
from loomline.server.ports.sealing import ACTING
from loomline.server.storage.checkpoints import (
    BlobRow,
    FactsRow,
    PutRow,
    Rows,
    Stored,
    StoredBlob,
    StoredWrite,
    WriteRow,
)
from loomline.server.storage.sealing import BLOB_PREFIX, Sealer, Seals, is_system
from loomline.server.storage.steps import Steps

SEALED_VALUES: Final = "sealed_values"

# langgraph and the database look for these in the metadata of checkpoints.
_PLAIN: Final = frozenset({
    "counters_since_delta_snapshot", "parents", "source", "step",
})  # fmt: skip


class RowSealer:
    """Encrypts and decrypts rows, on behalf of whoever acts when it is made."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._acting = ACTING.get()

    def seal(self, rows: Rows) -> Steps[Rows]:
        return self._sealer.steps(lambda seals: _seal(self._ours(seals), rows))

    def open(self, found: Sequence[Stored]) -> Steps[Sequence[Stored]]:
        if not any(map(_is_sealed, found)):
            return found
        opened: Sequence[Stored] = yield from self._sealer.steps(
            lambda seals: _open_all(seals, found)
        )
        return opened

    def _ours(self, seals: Seals) -> Seals:
        return Seals(self._sealer, self._acting) if self._acting is not None else seals


async def _seal(seals: Seals, rows: Rows) -> Rows:
    return Rows(
        facts=[await _seal_facts(seals, row) for row in rows.facts],
        checkpoints=[await _seal_checkpoint(seals, row) for row in rows.checkpoints],
        blobs=await seals.each(lambda row: _seal_blob(seals, row), rows.blobs),
        new_writes=await seals.each(lambda row: _seal_write(seals, row), rows.new_writes),
        over_writes=await seals.each(lambda row: _seal_write(seals, row), rows.over_writes),
        size=rows.size,
    )


async def _seal_facts(seals: Seals, row: FactsRow) -> FactsRow:
    return row._replace(content=await _seal_metadata(seals, row.content))


async def _seal_checkpoint(seals: Seals, row: PutRow) -> PutRow:
    content = orjson.loads(row.content)
    values = content["channel_values"]
    if seals.blobs and values:
        _, sealed = await seals.seal_blob("json", orjson.dumps(values))
        content[SEALED_VALUES] = base64.b64encode(sealed).decode()
        # Which channels have a value is looked up without decrypting them.
        content["channel_values"] = dict.fromkeys(values)
    return row._replace(
        content=orjson.dumps(content).decode(),
        metadata=await _seal_metadata(seals, row.metadata),
    )


async def _seal_metadata(seals: Seals, encoded: str) -> str:
    metadata: JsonObject = orjson.loads(encoded)
    plain = {key: each for key, each in metadata.items() if is_plain(key)}
    rest = {key: each for key, each in metadata.items() if not is_plain(key)}
    return orjson.dumps({**plain, **await seals.seal("checkpoint", "metadata", rest)}).decode()


async def _seal_blob(seals: Seals, row: BlobRow) -> BlobRow:
    kind, content = await seals.seal_blob(row.kind, row.content)
    return row._replace(kind=kind, content=content)


async def _seal_write(seals: Seals, row: WriteRow) -> WriteRow:
    kind, content = await seals.seal_blob(row.kind, row.content)
    return row._replace(kind=kind, content=content)


async def _open_all(seals: Seals, found: Sequence[Stored]) -> list[Stored]:
    return await seals.each(lambda stored: _open(seals, stored), found)


async def _open(seals: Seals, stored: Stored) -> Stored:
    async def blob(row: StoredBlob) -> StoredBlob:
        return StoredBlob(row.channel, *await seals.open_blob(row.kind, row.content))

    async def write(row: StoredWrite) -> StoredWrite:
        opened = await seals.open_blob(row.kind, row.content)
        return StoredWrite(row.task_id, row.channel, *opened)

    return dataclasses.replace(
        stored,
        content=await _open_content(seals, stored.content),
        metadata=await _open_metadata(seals, stored.metadata),
        facts=None if stored.facts is None else await _open_metadata(seals, stored.facts),
        blobs=await seals.each(blob, stored.blobs),
        writes=await seals.each(write, stored.writes),
    )


async def _open_metadata(seals: Seals, encoded: str | bytes) -> bytes:
    return orjson.dumps(await seals.open(cast("JsonObject", orjson.loads(encoded))))


async def _open_content(seals: Seals, encoded: str | bytes) -> str | bytes:
    content = orjson.loads(encoded)
    if SEALED_VALUES not in content:
        return encoded
    sealed = base64.b64decode(content.pop(SEALED_VALUES))
    _, values = await seals.open_blob(f"{BLOB_PREFIX}json", sealed)
    content["channel_values"] = orjson.loads(values)
    return orjson.dumps(content)


def is_plain(key: str) -> bool:
    """Return whether a name in the metadata of a checkpoint is never encrypted."""
    return key in _PLAIN or is_system(key)


def _is_sealed(stored: Stored) -> bool:
    def has(text: str | bytes, part: str) -> bool:
        return part in text if isinstance(text, str) else part.encode() in text

    return (
        has(stored.content, SEALED_VALUES)
        or has(stored.metadata, "loomline:sealed")
        or (stored.facts is not None and has(stored.facts, "loomline:sealed"))
        or any(blob.kind.startswith(BLOB_PREFIX) for blob in stored.blobs)
        or any(write.kind.startswith(BLOB_PREFIX) for write in stored.writes)
    )
