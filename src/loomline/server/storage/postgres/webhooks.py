"""The outbox of webhooks in PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from loomline.server.domain.lifecycle import Notice
from loomline.server.storage.postgres.connection import Connection
from loomline.server.storage.postgres.dialect import DIALECT
from loomline.server.storage.webhooks import Outbox

_OUTBOX: Final = Outbox(DIALECT)


def note_end(connection: Connection, end: Notice, now: datetime) -> None:
    """Put the end of a run into the outbox, if the run has a webhook."""
    _OUTBOX.note(connection, end, now)
