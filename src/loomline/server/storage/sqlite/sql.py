"""The statements on runs, and on threads where runs change them."""

from loomline.server.storage.run_rows import RUN_COLUMNS
from loomline.server.storage.sqlite.checkpoint_keys import HAS_CHECKPOINTS

# Named, because by itself the database takes the index of all runs, which grows with the thread.
ACTIVE_RUNS = """
    SELECT run_id, status FROM runs INDEXED BY runs_active
    WHERE thread_id = ? AND status IN ('pending', 'running') ORDER BY created_at, rowid
"""

OVER = """
    SELECT value FROM json_each(?)
    WHERE (SELECT status FROM runs WHERE run_id = value) IN ('pending', 'running') IS NOT TRUE
"""

# The first reason counts, as with MARK_STOP.
END_PENDING = """
    UPDATE runs SET status = 'interrupted', updated_at = ?, stop_reason = coalesce(stop_reason, ?)
    WHERE run_id = ?
"""

MARK_STOP = """
    UPDATE runs SET stop_action = ?, stop_reason = ? WHERE run_id = ? AND stop_action IS NULL
"""

DELETE_ACTIVE_RUNS = """
    DELETE FROM runs INDEXED BY runs_active
    WHERE thread_id = ? AND status IN ('pending', 'running')
"""

DELETE_RUN = "DELETE FROM runs WHERE run_id = ?"

# Of each thread the first in line, if nothing of the thread is running and the thread is not being
# pruned: a run from an older checkpoint would lose it. Runs that are due at the
# same time are in line as they came: that is what the rowid says.
# The next priority that runs wait with. The index is named, because the other one is scanned whole.
NEXT_PRIORITY = """
    SELECT min(priority) FROM runs INDEXED BY runs_by_priority
    WHERE status = 'pending' AND priority > ?
"""

# Of one priority at a time, since an index can give the order of due runs for that only.
CLAIMABLE = f"""
    SELECT run_id, {HAS_CHECKPOINTS}, stop_action, stop_reason, claims,
           (SELECT event_number FROM threads t WHERE t.thread_id = r.thread_id)
    FROM runs r INDEXED BY runs_by_priority
    WHERE status = 'pending' AND priority = :priority AND created_at <= :now
      AND paused_until <= :now
      AND (:graphs IS NULL OR graph_id IN (SELECT value FROM json_each(:graphs)))
      AND NOT EXISTS (
        SELECT 1 FROM runs o WHERE o.thread_id = r.thread_id AND o.status = 'running')
      AND NOT EXISTS (
        SELECT 1 FROM upkeep u WHERE u.thread_id = r.thread_id AND u.work = 'prune')
      AND NOT EXISTS (
        SELECT 1 FROM runs o WHERE o.thread_id = r.thread_id
          AND o.status IN ('pending', 'running')
          AND (o.created_at, o.rowid) < (r.created_at, r.rowid))
    ORDER BY created_at, r.rowid LIMIT :limit
"""

CLAIM = f"""
    UPDATE runs SET status = 'running', attempt = attempt + 1, claims = claims + 1, worker = ?,
                    token = ?, lease_until = ?, updated_at = ?,
                    number_before = coalesce(number_before, ?)
    WHERE run_id = ?
    RETURNING {RUN_COLUMNS}
"""

NEXT_DUE = "SELECT min(created_at) FROM runs WHERE status = 'pending' AND created_at > ?"

RENEW = """
    UPDATE runs SET lease_until = ? WHERE run_id = ? AND token = ? AND worker = ?
    RETURNING stop_action, stop_reason
"""

# The token of a run, and the number of the last batch of checkpoint rows under that token.
FENCE = """
    SELECT r.token, coalesce(b.number, 0)
    FROM runs r LEFT JOIN run_batches b ON b.run_id = r.run_id AND b.token = r.token
    WHERE r.run_id = ?
"""

BEGIN_BATCHES = "INSERT OR REPLACE INTO run_batches (run_id, token, number) VALUES (?, ?, 0)"

# The fence and the count in one statement: the row goes with the token (a trigger removes it).
COUNT_BATCH = """
    UPDATE run_batches SET number = :number
    WHERE run_id = :run AND token = :token AND number = :number - 1
"""

# Without a number, the end has that of the thread's last event.
END_RUN = """
    UPDATE runs
    SET status = ?, error = ?, updated_at = ?, token = NULL, lease_until = NULL,
        last_number = coalesce(
            ?, (SELECT event_number FROM threads t WHERE t.thread_id = runs.thread_id)),
        output = ?, last_events = ?
    WHERE run_id = ?
"""

# Of runs that end before they begin. Those of runs that are removed go by a trigger.
FORGET_ANSWERS = "DELETE FROM run_answers WHERE thread_id = ? AND run_id = ?"

# A run that has not begun yet answers the question as it is asked now.
ASK_AGAIN = """
    DELETE FROM run_answers
    WHERE thread_id = ? AND interrupt_id IN (SELECT value FROM json_each(?))
      AND (SELECT status FROM runs r WHERE r.run_id = run_answers.run_id) IS NOT 'pending'
"""

RELEASE = """
    UPDATE runs SET status = 'pending', attempt = attempt - 1, updated_at = ?, paused_until = ?,
                    token = NULL, lease_until = NULL
    WHERE run_id = ?
"""

REQUEUE = """
    UPDATE runs SET status = 'pending', updated_at = ?, token = NULL, lease_until = NULL
    WHERE run_id = ?
"""

EXPIRED = f"""
    SELECT {RUN_COLUMNS} FROM runs
    WHERE status = 'running' AND (? OR lease_until < ?)
"""

# The first condition is that of an index.
HAS_PENDING = """
    SELECT 1 FROM runs
    WHERE thread_id = ? AND status IN ('pending', 'running') AND status = 'pending' LIMIT 1
"""

LET_EXPIRE = "UPDATE threads SET ttl_minutes = ?, ttl_strategy = 'delete' WHERE thread_id = ?"

SET_QUESTIONS = "UPDATE threads SET interrupts = ? WHERE thread_id = ?"

THREAD_ENDS_RUN = """
    UPDATE threads SET status = ?, settled_status = ?, interrupts = ?, error = ?, updated_at = ?,
                       state_updated_at = ?, event_number = event_number + max(0, ?)
    WHERE thread_id = ?
"""

EVENT_NUMBER = "SELECT event_number FROM threads WHERE thread_id = ?"

SKIP_NUMBERS = "UPDATE threads SET event_number = event_number + ? WHERE thread_id = ?"

HAS_BEGUN = """
    SELECT 1 FROM runs INDEXED BY runs_active
    WHERE thread_id = ? AND status IN ('pending', 'running') AND number_before IS NOT NULL LIMIT 1
"""

# A run that had begun and was put back into the queue has events before those of the others.
WITHOUT_NUMBER = """
    SELECT run_id FROM runs INDEXED BY runs_without_number
    WHERE thread_id = ? AND status = 'interrupted' AND last_number IS NULL
    ORDER BY number_before IS NULL, updated_at, rowid
"""

NUMBER_END = """
    UPDATE runs SET number_before = coalesce(number_before, ?), last_number = ? WHERE run_id = ?
"""

RAISE_NUMBER = "UPDATE threads SET event_number = max(event_number, ?) WHERE thread_id = ?"

SETTLE = """
    UPDATE threads SET status = settled_status, updated_at = ?
    WHERE thread_id = ? AND NOT EXISTS (
        SELECT 1 FROM runs WHERE thread_id = ? AND status IN ('pending', 'running'))
"""
