"""The statements on runs, and on threads where runs change them.

Who changes the runs of a thread locks the thread first, then the runs. Who locks several runs of
different threads does so in the order of their ids.

"LATERAL ... LIMIT 1" and scalar subqueries force a look into an index for each row, the order being
that of the index. The planner knows little about fresh rows and arrays, and would else read whole
tables to join them.
"""

from __future__ import annotations

from loomline.server.domain.runs import PRIORITIES
from loomline.server.storage.run_rows import RUN_COLUMNS

LOCK_THREAD = "SELECT metadata FROM loomline_threads WHERE thread_id = %s FOR UPDATE"

ACTIVE_RUNS = """
    SELECT run_id, status FROM loomline_runs
    WHERE thread_id = %s AND status IN ('pending', 'running') ORDER BY created_at, seq
"""

# A claim passes over rows that are locked, so none of the pending runs begins before the end of the
# transaction that locks them.
LOCK_ACTIVE_RUNS = f"{ACTIVE_RUNS} FOR UPDATE"

OVER = """
    SELECT given.run_id FROM unnest(%s::uuid[]) given (run_id)
    WHERE (SELECT r.status FROM loomline_runs r WHERE r.run_id = given.run_id LIMIT 1)
        IN ('pending', 'running') IS NOT TRUE
"""

# The first reason counts, as with MARK_STOP.
END_PENDING = """
    UPDATE loomline_runs
    SET status = 'interrupted', updated_at = %s, stop_reason = coalesce(stop_reason, %s)
    WHERE run_id = ANY(%s)
"""

MARK_STOP = """
    UPDATE loomline_runs SET stop_action = %s, stop_reason = %s
    WHERE run_id = ANY(%s) AND stop_action IS NULL
"""

DELETE_RUN = """
    WITH answers AS (
        DELETE FROM loomline_run_answers WHERE thread_id = %(thread)s AND run_id = %(run)s)
    DELETE FROM loomline_runs WHERE run_id = %(run)s
"""

# Counted from the moment of the write: the statement may have waited for a lock, and longer than a
# lease lasts.
_LEASE = """%(now)s::timestamptz + (clock_timestamp() - transaction_timestamp())
                                       + %(lease)s * interval '1 second'"""

# Of each thread the first in line, if nothing of the thread is running. What another worker is
# about to take is passed over. An index can give the order of due runs for one priority only, so
# the priorities are looked at one after the other; the outer limit ends that as soon as there are
# enough runs.
CLAIM = f"""
    WITH due AS MATERIALIZED (
        SELECT due_id FROM generate_series({PRIORITIES.start}, {PRIORITIES.stop - 1}) AS wanted
        CROSS JOIN LATERAL (
            SELECT run_id AS due_id FROM loomline_runs r
            WHERE status = 'pending' AND priority = wanted AND created_at <= %(now)s
              AND (paused_until IS NULL OR paused_until <= %(now)s)
              AND (%(graphs)s::text[] IS NULL OR graph_id = ANY(%(graphs)s::text[]))
              AND (SELECT count(*) FROM loomline_runs o
                   WHERE o.thread_id = r.thread_id AND o.status = 'running') = 0
              AND seq = (SELECT o.seq FROM loomline_runs o
                         WHERE o.thread_id = r.thread_id AND o.status IN ('pending', 'running')
                         ORDER BY o.created_at, o.seq LIMIT 1)
            ORDER BY created_at, seq LIMIT %(limit)s FOR UPDATE SKIP LOCKED) due
        LIMIT %(limit)s)
    UPDATE loomline_runs SET status = 'running', attempt = attempt + 1, claims = claims + 1,
                         batches = 0, worker = %(worker)s, token = gen_random_uuid(),
                         lease_until = {_LEASE}, updated_at = %(now)s,
                         number_before = coalesce(number_before, loomline_event_number(thread_id))
    FROM due WHERE loomline_runs.run_id = due.due_id
    RETURNING {RUN_COLUMNS}, token, stop_action, stop_reason,
              (SELECT c.thread_id FROM checkpoints c
               WHERE c.thread_id = loomline_runs.thread_id::text
               ORDER BY c.checkpoint_ns, c.checkpoint_id LIMIT 1) IS NOT NULL, claims,
              loomline_event_number(thread_id), priority, seq
"""

NEXT_DUE = f"""
    SELECT min(created_at)
    FROM generate_series({PRIORITIES.start}, {PRIORITIES.stop - 1}) AS wanted
    CROSS JOIN LATERAL (
        SELECT created_at FROM loomline_runs
        WHERE status = 'pending' AND priority = wanted AND created_at > %s
        ORDER BY created_at LIMIT 1) next
"""

RENEW = f"""
    WITH held AS MATERIALIZED (
        SELECT h.run_id AS held_id
        FROM unnest(%(runs)s::uuid[], %(tokens)s::uuid[]) c (run_id, token)
        CROSS JOIN LATERAL (
            SELECT run_id FROM loomline_runs r
            WHERE r.run_id = c.run_id AND r.token = c.token AND r.worker = %(worker)s
            LIMIT 1 FOR UPDATE) h)
    UPDATE loomline_runs SET lease_until = {_LEASE} FROM held WHERE run_id = held_id
    RETURNING token, run_id, stop_action, stop_reason
"""

# The number of the claim's last batch of checkpoint rows must be the given one; null: any number.
HOLD = "SELECT loomline_hold(%s, %s, %s)"

# For several claims at once: a claim that is lost does not affect the writes of the others. Each
# claim's batch is counted if it is the next one. The answer has the numbers from before.
HOLD_MANY = """
    WITH held AS MATERIALIZED (
        SELECT h.run_id AS held_id, h.token, h.batches, c.number
        FROM unnest(%s::uuid[], %s::uuid[], %s::int[]) c (run_id, token, number)
        CROSS JOIN LATERAL (
            SELECT run_id, token, batches FROM loomline_runs r
            WHERE r.run_id = c.run_id AND r.token = c.token
            LIMIT 1 FOR NO KEY UPDATE) h),
    counted AS (
        UPDATE loomline_runs SET batches = held.number FROM held
        WHERE run_id = held.held_id AND held.batches = held.number - 1)
    SELECT token, batches FROM held
"""

# Without a number, the end has that of the thread's last event.
END_RUN = """
    UPDATE loomline_runs
    SET status = %s, error = %s, updated_at = %s, token = NULL, lease_until = NULL,
        last_number = coalesce(%s::bigint, loomline_event_number(thread_id)), output = %s,
        last_events = %s
    WHERE run_id = %s
"""

# Of runs that end before they begin.
FORGET_ANSWERS = "DELETE FROM loomline_run_answers WHERE thread_id = %s AND run_id = ANY(%s)"

# A run that has not begun yet answers the question as it is asked now.
ASK_AGAIN = """
    DELETE FROM loomline_run_answers a
    WHERE thread_id = %s AND interrupt_id = ANY(%s)
      AND (SELECT status FROM loomline_runs r WHERE r.run_id = a.run_id)
          IS DISTINCT FROM 'pending'
"""

RELEASE = """
    UPDATE loomline_runs SET status = 'pending', attempt = attempt - 1, updated_at = %s,
                         paused_until = %s, token = NULL, lease_until = NULL
    WHERE run_id = %s
"""

REQUEUE = """
    UPDATE loomline_runs SET status = 'pending', updated_at = %s, token = NULL, lease_until = NULL
    WHERE run_id = %s
"""

LOOK_EXPIRED = """
    SELECT 1 FROM loomline_runs WHERE status = 'running' AND (%s OR lease_until < %s) LIMIT 1
"""

LOCK_EXPIRED_THREADS = """
    SELECT 1 FROM loomline_threads WHERE thread_id IN (
        SELECT thread_id FROM loomline_runs WHERE status = 'running' AND (%s OR lease_until < %s))
    ORDER BY thread_id FOR UPDATE
"""

# A run that is locked at this moment has a worker that is alive.
EXPIRED = f"""
    SELECT {RUN_COLUMNS} FROM loomline_runs
    WHERE status = 'running' AND (%s OR lease_until < %s) ORDER BY seq FOR UPDATE SKIP LOCKED
"""

LET_EXPIRE = """
    UPDATE loomline_threads SET ttl_minutes = %s, ttl_strategy = 'delete' WHERE thread_id = %s
"""

_ACTIVE = """
    (SELECT r.seq FROM loomline_runs r
     WHERE r.thread_id = t.thread_id AND r.status IN ('pending', 'running')
     ORDER BY r.created_at, r.seq LIMIT 1)
"""

SET_QUESTIONS = "UPDATE loomline_threads SET interrupts = %s WHERE thread_id = %s"

THREAD_ENDS_RUN = f"""
    UPDATE loomline_threads t
    SET status = CASE WHEN {_ACTIVE} IS NULL THEN %(status)s ELSE 'busy' END,
        settled_status = %(status)s, interrupts = %(interrupts)s, error = %(error)s,
        updated_at = %(now)s, state_updated_at = %(now)s,
        event_number = event_number + greatest(0, %(used)s)
    WHERE thread_id = %(thread)s
    RETURNING status = 'busy'
"""

SKIP_NUMBERS = """
    UPDATE loomline_threads SET event_number = event_number + %s WHERE thread_id = %s
"""

_BEGUN = """
    EXISTS (SELECT 1 FROM loomline_runs b
            WHERE b.thread_id = %(thread)s AND b.status IN ('pending', 'running')
              AND b.number_before IS NOT NULL)
"""

KEEP_NUMBERS = f"""
    UPDATE loomline_threads SET event_number = event_number + %(count)s
    WHERE thread_id = %(thread)s AND {_BEGUN}
"""

# A run that had begun and was put back into the queue has events before those of the others.
NUMBER_ENDS = f"""
    WITH ended AS MATERIALIZED (
        SELECT run_id AS ended_id,
               coalesce(%(after)s::bigint, loomline_event_number(thread_id)) + %(numbers)s::bigint
                   * row_number() OVER (ORDER BY number_before IS NOT NULL DESC, updated_at, seq)
                   AS last
        FROM loomline_runs
        WHERE thread_id = %(thread)s AND status = 'interrupted' AND last_number IS NULL
          AND NOT {_BEGUN}),
    numbered AS (
        UPDATE loomline_runs
        SET number_before = coalesce(number_before, last - %(numbers)s::bigint), last_number = last
        FROM ended WHERE run_id = ended_id)
    UPDATE loomline_threads
    SET event_number = greatest(event_number, (SELECT max(last) FROM ended))
    WHERE thread_id = %(thread)s AND EXISTS (SELECT 1 FROM ended)
"""

SETTLE = f"""
    UPDATE loomline_threads t SET status = settled_status, updated_at = %s
    WHERE thread_id = %s AND {_ACTIVE} IS NULL
"""
