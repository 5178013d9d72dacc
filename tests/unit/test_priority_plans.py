"""A claim looks due runs up in an index, with any number of urgent runs that are not due yet."""

import sqlite3
from contextlib import closing
from datetime import timedelta

import psycopg
import pytest
from tests.conformance.acts import NOW, add, claim, thread_of
from tests.postgres import new_schema
from tests.support import StandingClock, open_postgres, open_storage

from loomline.server.storage.postgres import sql as postgres
from loomline.server.storage.sqlite import sql as sqlite

pytestmark = pytest.mark.one_interpreter

FUTURE = 20_000
LATER = NOW + timedelta(days=1)


async def fill(storage):
    """Add many urgent runs that are not due, and a few of other priorities that are."""
    for _ in range(3):
        await add(storage, await thread_of(storage), priority=5)
    await add(storage, await thread_of(storage))
    thread = await thread_of(storage)
    await add(storage, thread, priority=-5, due=LATER)


async def test_a_claim_on_sqlite_reads_due_runs_from_the_index(tmp_path):
    async with open_storage(tmp_path, StandingClock()) as storage:
        await fill(storage)
        assert len(await claim(storage, limit=10)) == 4
    given = {"now": 0, "graphs": None, "limit": 1, "priority": 0}
    with closing(sqlite3.connect(tmp_path / "loomline.db")) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {sqlite.CLAIMABLE}", given).fetchall()
        (first, *_) = plan = [row[3] for row in rows]
        after = connection.execute(f"EXPLAIN QUERY PLAN {sqlite.NEXT_PRIORITY}", (0,)).fetchall()
    assert first == "SEARCH r USING INDEX runs_by_priority (priority=? AND created_at<?)"
    assert not [line for line in plan if "TEMP B-TREE" in line or line.startswith("SCAN r")]
    assert "runs_by_priority (priority>?)" in after[0][3]


@pytest.mark.parametrize("analyzed", [False, True])
async def test_a_claim_on_postgresql_reads_no_runs_that_are_not_due(analyzed):
    url = new_schema()
    async with open_postgres(url, StandingClock()) as storage:
        await fill(storage)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO loomline_runs (run_id, thread_id, assistant_id, graph_id, status,"
                " metadata, kwargs, multitask_strategy, temporary, resumable, created_at,"
                " updated_at, priority)"
                " SELECT gen_random_uuid(), thread_id, assistant_id, graph_id, status, metadata,"
                " kwargs, multitask_strategy, temporary, resumable, created_at, updated_at, priority"
                " FROM loomline_runs, generate_series(1, %s) WHERE priority = -5",
                (FUTURE,),
            )
            if analyzed:
                connection.execute("ANALYZE loomline_runs")
            values = {"worker": "w", "limit": 10, "now": NOW, "lease": 15.0, "graphs": None}
            connection.execute("BEGIN")
            rows = connection.execute(f"EXPLAIN (ANALYZE, TIMING OFF) {postgres.CLAIM}", values)
            plan = "\n".join(line for (line,) in rows)
            connection.execute("ROLLBACK")
        assert "using loomline_runs_by_priority on loomline_runs r" in plan, plan
        assert "Seq Scan on loomline_runs" not in plan, plan
        assert "Rows Removed by Filter: 1" not in plan, plan
        assert len(await claim(storage, limit=10)) == 4
        assert await storage.runs.next_due(NOW) == LATER
