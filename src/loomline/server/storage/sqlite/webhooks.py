"""The outbox of webhooks in SQLite."""

from __future__ import annotations

import sqlite3
from typing import Final

from loomline.server.domain.lifecycle import Notice
from loomline.server.storage.sqlite.dialect import DIALECT
from loomline.server.storage.sqlite.pieces import PIECE_BYTES, PIECE_ROWS
from loomline.server.storage.sqlite.rows import moment
from loomline.server.storage.webhooks import Outbox, Piece

# A webhook may hold the values of a thread.
PIECE: Final = Piece(PIECE_ROWS, PIECE_BYTES, "length(payload) + coalesce(length(content), 0)")

_OUTBOX: Final = Outbox(DIALECT)


def note_end(connection: sqlite3.Connection, end: Notice, now: int) -> None:
    """Put the end of a run into the outbox, if the run has a webhook."""
    _OUTBOX.note(connection, end, moment(now))
