"""The SQL of SQLite where it differs from that of other databases."""

from __future__ import annotations

import sqlite3
from typing import Final
from uuid import UUID

from loomline.server.domain.access import encode
from loomline.server.domain.json import Encoded, dump
from loomline.server.storage.records import Codec, Codecs, same
from loomline.server.storage.sqlite.rows import micros, moment, obj, text
from loomline.server.storage.tables import Dialect

CODECS: Final = Codecs(
    id=Codec(str, UUID),
    string=Codec(same, same),
    number=Codec(same, same),
    flag=Codec(same, bool),
    moment=Codec(micros, moment),
    object=Codec(text, obj),
    document=Codec(text, obj),
    encoded=Codec(lambda value: value.decode(), lambda stored: Encoded(stored.encode())),
    content=Codec(same, same),
)

# One writer executes all transactions that change rows, so no row has to be locked.
DIALECT: Final[Dialect[sqlite3.Connection]] = Dialect(
    execute=lambda connection, statement, values: connection.execute(statement, values),
    codecs=CODECS,
    condition=encode,
    prefix="",
    lock="",
    hold="",
    skip="",
    json_contains="json_contains({}, ?)",
    json_meets="json_meets({}, ?)",
    json_has_string="{} ->> '$.{}' = ?",
    json_merge="json_merge({}, ?)",
    text_has="instr({}, ?) > 0",
    one_of="{} IN (SELECT value FROM json_each(?))",
    many=lambda values: dump(values).decode(),
    arrival="rowid",
)
