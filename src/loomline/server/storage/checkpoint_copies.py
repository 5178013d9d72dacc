"""Copies of the checkpoints of a thread, and their size, for every database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, NamedTuple

from loomline.server.domain.threads import Size, ThreadSize
from loomline.server.storage.checkpoints import Connection
from loomline.server.storage.tables import Dialect


class CopiedTable(NamedTuple):
    """A table with rows of a thread's checkpoints.

    ``columns`` are all columns that a copy has, except for ``thread_id``. ``metadata`` is the
    column that may name the thread. ``order`` ends the query where the order of the rows counts.
    """

    name: str
    columns: str
    metadata: str = ""
    order: str = ""


class Copied(NamedTuple):
    """The keys of two threads in the rows of checkpoints, and the id of the new thread."""

    source: str
    target: str
    target_id: str


def copying(table: CopiedTable, copied: Copied) -> tuple[str, tuple[object, ...]]:
    """Return the statement that copies the rows of a thread as they are, without an order."""
    return _copying(table, table.columns, table.columns), (copied.target, copied.source)


def forking(table: CopiedTable, copied: Copied, renamed: str) -> tuple[str, tuple[object, ...]]:
    """Return the statement that copies the rows of a thread to a thread with another history.

    The checkpoints of the copy name no run, since changes to the runs of the source do not concern
    them. Writes keep their runs: writes of several runs to one position stay apart.

    Args:
        table: The table.
        copied: The threads.
        renamed: The expression of the metadata in the column ``{0}``, with the id ``?`` in the
            place of a thread's id.
    """
    if not table.metadata:
        return copying(table, copied)
    columns = table.columns.replace(" run_id,", "")
    chosen = columns.replace(table.metadata, renamed.format(table.metadata))
    values = (copied.target, copied.target_id, copied.source)
    return _copying(table, columns, chosen), values


def _copying(table: CopiedTable, columns: str, chosen: str) -> str:
    return (
        f"INSERT INTO {table.name} (thread_id, {columns})"
        f" SELECT ?, {chosen} FROM {table.name} WHERE thread_id = ?"
    )


@dataclass(frozen=True, slots=True)
class SizeStatements(Generic[Connection]):
    """Statements that weigh the checkpoints of a thread, with its key as each ``?``.

    Args:
        dialect: The SQL of the database.
        checkpoints: Returns the number and the bytes of the checkpoints without their channels.
        facts: Returns the bytes of the facts of runs.
        writes: Returns the number and the bytes of the pending writes.
        channels: Returns the name, the number of versions and the bytes of each channel.
    """

    dialect: Dialect[Connection]
    checkpoints: str
    facts: str
    writes: str
    channels: str

    def size(self, connection: Connection, thread_key: str) -> ThreadSize:
        """Return the number and the size of the checkpoints of a thread."""
        # All statements are sent before an answer is awaited, where the database can do that.
        checkpoints, facts, writes, channels = (
            self.dialect.execute(connection, each, (thread_key,) * each.count("?"))
            for each in (self.checkpoints, self.facts, self.writes, self.channels)
        )
        ((count, size),) = checkpoints.fetchall()
        ((shared,),) = facts.fetchall()
        ((written, weight),) = writes.fetchall()
        return ThreadSize(
            checkpoints=Size(count, int(size + shared)),
            channels={
                channel: Size(versions, int(bytes_))
                for channel, versions, bytes_ in channels.fetchall()
            },
            pending_writes=Size(written, int(weight)),
        )
