"""Searching many threads: whichever way is taken, it finds the same."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from tests.postgres import new_schema
from tests.support import new_thread, open_postgres, open_storage

from loomline.server.domain.filters import contains
from loomline.server.domain.threads import ThreadFilter, ThreadQuery
from loomline.server.storage.postgres import thread_search as postgres
from loomline.server.storage.sqlite import thread_search as sqlite
from loomline.server.storage.sqlite.leaves import MOST, TOO_MANY, document_leaves, pattern_leaves

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
async def filled(request, tmp_path_factory, anyio_backend):
    """More threads than a walk passes: rare ones, common ones, and some at the far end."""
    if request.param == "sqlite":
        opened, ways, padding = open_storage(tmp_path_factory.mktemp("many")), sqlite, 0
    else:
        opened, ways = open_postgres(new_schema()), postgres
        padding = postgres.LARGE // (ways.WALK_LEAST + 2 * ways.FEW)
    async with opened as storage:
        news = [
            new_thread(
                metadata={
                    "rare": number // 10,
                    "common": number % 2,
                    "end": "old" if number < ways.FEW + 20 else "new",
                    "padding": "x" * padding,
                },
                now=START + timedelta(seconds=number // 3),
            )
            for number in range(ways.WALK_LEAST + 2 * ways.FEW)
        ]
        await asyncio.gather(*(storage.threads.create(new) for new in news))
        yield storage, news


@pytest.mark.one_interpreter
@pytest.mark.parametrize("sort_by", ["updated_at", "thread_id", "status"])
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize(
    "pattern",
    [{"rare": 7}, {"common": 1}, {"end": "old"}, {"end": "old", "common": 0}, {"end": "none"}],
)
async def test_every_way_finds_the_same(filled, pattern, sort_by, descending):
    storage, news = filled
    key = {
        "updated_at": lambda new: (new.now, str(new.thread_id)),
        "thread_id": lambda new: str(new.thread_id),
        "status": lambda new: str(new.thread_id),
    }[sort_by]
    wanted = [
        new.thread_id
        for new in sorted(news, key=key, reverse=descending)
        if contains(new.metadata, pattern)
    ]
    for offset in (0, 5, len(wanted) - 3):
        query = ThreadQuery(
            ThreadFilter(metadata=pattern), 7, max(offset, 0), sort_by, descending, False
        )
        page = await storage.threads.search(query)
        expected = wanted[query.offset : query.offset + 7]
        assert [found.thread.thread_id for found in page.rows] == expected
        assert page.more == (query.offset + 7 < len(wanted))
        assert page.total in {None, len(wanted)}
    assert await storage.threads.count(ThreadFilter(metadata=pattern)) == len(wanted)


async def test_leaves_go_with_their_threads(tmp_path):
    def leaves():
        with closing(sqlite3.connect(tmp_path / "loomline.db")) as connection:
            return connection.execute("SELECT count(*) FROM thread_leaves").fetchone()[0]

    async with open_storage(tmp_path) as storage:
        made = await storage.threads.create(new_thread(metadata={"a": [1, 1, 2], "b": {"c": None}}))
        assert leaves() == 3
        await storage.threads.delete(made.thread_id)
        assert leaves() == 0


def test_leaves_of_a_document():
    assert document_leaves({"a": {"b": [1, 1.0, "1", True, None]}, "c": {}}) == [
        '["a","b",0]"1"',
        '["a","b",0]1',
        '["a","b",0]null',
        '["a","b",0]true',
    ]
    assert document_leaves({str(number): 0 for number in range(MOST + 1)}) == [TOO_MANY]
    assert len(document_leaves({"k": "x" * 10_000})[0]) == 40


@pytest.mark.parametrize(
    ("pattern", "exact"),
    [
        ({"a": 1, "b": {"c": "x"}}, True),
        ({"a": [1]}, False),
        ({"a": {}}, False),
        ({"a": {"b": []}}, False),
        ({str(number): 0 for number in range(20)}, False),
    ],
)
def test_patterns_that_leaves_decide(pattern, exact):
    assert pattern_leaves(pattern, 10).exact is exact
