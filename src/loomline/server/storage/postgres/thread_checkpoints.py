"""The checkpoints of a thread as a whole: copied with it, and weighed."""

from __future__ import annotations

from loomline.server.domain.threads import Size, ThreadSize
from loomline.server.storage.postgres.connection import Connection

_PLACE = "checkpoint_ns, checkpoint_id, task_id, idx, run_id, task_path, channel, type, blob"

_METADATA = """
    CASE WHEN {0} ->> 'thread_id' IS NULL THEN {0}
         ELSE {0} || jsonb_build_object('thread_id', %(target)s::text) END
"""
# A copy names no run: what happens to the runs of the source does not concern it. Writes of several
# runs to one position stay apart all the same, in their order.
_COPIES = (
    f"""INSERT INTO loomline_checkpoint_facts (thread_id, facts_id, content)
        SELECT %(target)s, facts_id, {_METADATA.format("content::jsonb")}
        FROM loomline_checkpoint_facts WHERE thread_id = %(source)s""",
    f"""INSERT INTO checkpoints
            (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint,
             metadata, facts_id)
        SELECT %(target)s, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint,
               {_METADATA.format("metadata")}, facts_id
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
_FACTS = """
    SELECT coalesce(sum(octet_length(content::text)), 0) FROM loomline_checkpoint_facts
    WHERE thread_id = %s
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
    """Return the number and the size of the checkpoints of a thread."""
    checkpoints = connection.execute(_CHECKPOINTS, (thread_id,))
    facts = connection.execute(_FACTS, (thread_id,))
    writes = connection.execute(_WRITES, (thread_id,))
    channels = connection.execute(_CHANNELS, {"thread": thread_id})
    ((count, size),) = checkpoints.fetchall()
    ((shared,),) = facts.fetchall()
    ((written, weight),) = writes.fetchall()
    return ThreadSize(
        checkpoints=Size(count, int(size + shared)),
        channels={channel: Size(versions, int(size)) for channel, versions, size in channels},
        pending_writes=Size(written, int(weight)),
    )
