"""The checkpoints of a thread as a whole: copied with it, and weighed."""

from __future__ import annotations

from loomline.server.domain.threads import Size, ThreadSize
from loomline.server.storage.postgres.connection import Connection

_PLACE = "checkpoint_ns, checkpoint_id, task_id, idx, run_id, task_path, channel, type, blob"

# No run is named: what becomes of the runs of the source is not the copy's concern. What several
# runs have written to one place stays apart all the same, in the order it came.
_COPIES = (
    """INSERT INTO checkpoints
           (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint,
            metadata)
       SELECT %(target)s, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint,
              CASE WHEN metadata ->> 'thread_id' IS NULL THEN metadata
                   ELSE metadata || jsonb_build_object('thread_id', %(target)s::text) END
       FROM checkpoints WHERE thread_id = %(source)s""",
    """INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
       SELECT %(target)s, checkpoint_ns, channel, version, type, blob
       FROM checkpoint_blobs WHERE thread_id = %(source)s""",
    f"""INSERT INTO checkpoint_writes (thread_id, {_PLACE})
        SELECT %(target)s, {_PLACE} FROM checkpoint_writes WHERE thread_id = %(source)s""",
    f"""INSERT INTO loomline_displaced_writes (thread_id, {_PLACE})
        SELECT %(target)s, {_PLACE} FROM loomline_displaced_writes WHERE thread_id = %(source)s
        ORDER BY seq""",
)

# Without the values that stand in the checkpoints: those are counted with the channels.
_CHECKPOINTS = """
    SELECT count(*), coalesce(sum(
        octet_length((checkpoint - 'channel_values')::text) + octet_length(metadata::text)), 0)
    FROM checkpoints WHERE thread_id = %s
"""
_WRITES = """
    SELECT count(*), coalesce(sum(octet_length(blob)), 0) FROM checkpoint_writes
    WHERE thread_id = %s
"""
_CHANNELS = """
    SELECT channel, count(*), sum(bytes) FROM (
        SELECT channel, octet_length(blob) AS bytes FROM checkpoint_blobs
        WHERE thread_id = %(thread)s AND type <> 'empty'
        UNION ALL
        SELECT channel, bytes FROM (
            SELECT DISTINCT c.checkpoint_ns, v.key AS channel,
                   c.checkpoint -> 'channel_versions' ->> v.key AS version,
                   octet_length(v.value::text) AS bytes
            FROM checkpoints c, jsonb_each(c.checkpoint -> 'channel_values') v
            WHERE c.thread_id = %(thread)s AND c.checkpoint -> 'channel_versions' ? v.key) i) b
    GROUP BY channel ORDER BY channel COLLATE "C"
"""


def copy_checkpoints(connection: Connection, source: str, target: str) -> None:
    """Copy everything a thread has been through to another one that is new."""
    for statement in _COPIES:
        connection.execute(statement, {"source": source, "target": target})


def checkpoints_size(connection: Connection, thread_id: str) -> ThreadSize:
    """Return what the checkpoints of a thread take."""
    checkpoints = connection.execute(_CHECKPOINTS, (thread_id,))
    writes = connection.execute(_WRITES, (thread_id,))
    channels = connection.execute(_CHANNELS, {"thread": thread_id})
    ((count, size),) = checkpoints.fetchall()
    ((written, weight),) = writes.fetchall()
    return ThreadSize(
        checkpoints=Size(count, int(size)),
        channels={channel: Size(versions, int(size)) for channel, versions, size in channels},
        pending_writes=Size(written, int(weight)),
    )
