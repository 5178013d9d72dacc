"""Searching threads: every database against the definition in three lines of Python."""

import dataclasses
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from tests.conformance.acts import NOW, add, started
from tests.support import new_thread

from loomline.server.domain.extract import Path
from loomline.server.domain.filters import contains
from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import Encoded, dump
from loomline.server.domain.runs import Outcome
from loomline.server.domain.threads import ThreadFilter, ThreadPatch, ThreadQuery, ThreadState

pytestmark = pytest.mark.unsealed

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, 2, -1, 2**53, 2**53 + 1, 2**63, 2**64 - 1]),
    st.sampled_from([0.0, -0.0, 1.0, 0.5, 1e300, 1e23, float(2**53), float(2**63)]),
    st.sampled_from(["", "1", "a", "true", "null", "ä", "😀", "x" * 300, '"', "%", "$.a", "1e23"]),
    st.sampled_from(["a\0", "\0", "\\u0000", "\\\0"]),
)
KEYS = st.sampled_from(["a", "b", "", "0", "a.b", '"', "é", "k" * 200])
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=6,
)
OBJECTS = st.dictionaries(KEYS, DOCUMENTS, max_size=3)


def twisted(value):
    """Return what looks like a value: for each scalar one that is easily taken for it."""
    if isinstance(value, dict):
        return {key: twisted(each) for key, each in value.items()}
    if isinstance(value, list):
        return [twisted(each) for each in reversed(value)]
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return {0: False, 1: True}.get(value, str(value))
    return {"": None, "1": 1, "true": True, "null": None, None: "null"}.get(value, [value])


async def make(storage, metadata=None, values=None, **fields):
    thread = await storage.threads.create(new_thread(metadata=metadata, **({"now": NOW} | fields)))
    if values is not None:
        state = ThreadState("idle", dump(values), Encoded(b"{}"), fields.get("now", NOW))
        await storage.edit(thread.thread_id).commit(state)
    return thread.thread_id


async def search(storage, limit=1000, offset=0, sort_by="updated_at", descending=True, **where):
    query = ThreadQuery(ThreadFilter(**where), limit, offset, sort_by, descending)
    page = await storage.threads.search(query)
    return [found.thread.thread_id for found in page.rows], page.more, page.total


async def ids(storage, **where):
    return set((await search(storage, **where))[0])


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(documents=st.lists(OBJECTS, min_size=1, max_size=6), patterns=st.lists(OBJECTS, max_size=4))
async def test_containment_selects_the_same_threads_as_python(storage, documents, patterns):
    made = {await make(storage, metadata, metadata): metadata for metadata in documents}
    # Of documents that are there, and parts of them: random patterns hardly ever match.
    parts = [dict([pair]) for metadata in documents for pair in metadata.items()]
    parts += [twisted(part) for part in parts]
    try:
        for pattern in [*patterns, *documents, *parts]:
            wanted = {key for key, document in made.items() if contains(document, pattern)}
            assert await ids(storage, metadata=pattern) == wanted
            assert await storage.threads.count(ThreadFilter(metadata=pattern)) == len(wanted)
            assert await ids(storage, values=pattern) == wanted
    finally:
        for thread_id in made:
            await storage.threads.delete(thread_id)


@pytest.mark.parametrize(
    ("document", "pattern", "found"),
    [
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 2**63}, {"a": float(2**63)}, True),
        ({"a": float(2**63)}, {"a": 2**63}, True),
        ({"a": [1e23, "1e23", 1e300]}, {"a": ["1e23", 1e300, 1e23]}, True),
        ({"a": 2**63 + 1}, {"a": float(2**63)}, False),
        ({"a": 2**53 + 1}, {"a": float(2**53)}, False),
        ({"a": 1e-23}, {"a": 1e-23}, True),
        ({"a\0": ["b\0", "\\u0000"]}, {"a\0": ["\\u0000"]}, True),
        ({"a": "\\u0000"}, {"a": "\0"}, False),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": None}, {"a": None}, True),
        ({}, {"a": None}, False),
        ({"a": [1, 2, 2]}, {"a": [2, 1, 1]}, True),
        ({"a": [1, 2]}, {"a": [3]}, False),
        ({"a": [[1, 2]]}, {"a": [[2]]}, True),
        ({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]}, True),
        ({"a": [1]}, {"a": 1}, False),
        ({"a": {"b": 1}}, {"a": {}}, True),
        ({"a": 1}, {"a": {}}, False),
        ({"a": [1]}, {"a": []}, True),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 1}}}, True),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 1}}, False),
        ({str(n): n for n in range(300)}, {"7": 7}, True),
        ({str(n): n for n in range(300)}, {"7": 8}, False),
        ({str(n): n for n in range(300)}, {str(n): n for n in range(200)}, True),
        ({"a": list(range(300))}, {"a": [299]}, True),
        ({"a": "x" * 500 + "y"}, {"a": "x" * 500 + "y"}, True),
        ({"a": "x" * 500 + "y"}, {"a": "x" * 500 + "z"}, False),
    ],
)
async def test_containment_agrees_with_the_expected_result(storage, document, pattern, found):
    assert contains(document, pattern) is found
    thread = await make(storage, document, document)
    assert await ids(storage, metadata=pattern) == ({thread} if found else set())
    assert await ids(storage, values=pattern) == ({thread} if found else set())


async def test_metadata_is_found_as_it_is_now(storage):
    thread = await make(storage, {"a": 1, "b": [1]})
    await storage.threads.update(thread, ThreadPatch(NOW, {"a": 2, "c": None}))
    assert await ids(storage, metadata={"a": 1}) == set()
    assert await ids(storage, metadata={"a": 2, "b": [1], "c": None}) == {thread}
    await add(storage, thread, graph_id="found")
    assert await ids(storage, metadata={"graph_id": "found", "a": 2}) == {thread}
    copied = (await storage.threads.copy(thread, uuid7(), NOW)).thread_id
    assert await ids(storage, metadata={"graph_id": "found", "a": 2}) == {thread, copied}
    await storage.threads.delete(thread)
    assert await ids(storage, metadata={"a": 2}) == {copied}


async def test_search_filters_are_combined_with_and(storage):
    one = await make(storage, {"a": 1}, {"v": [1]})
    two = await make(storage, {"a": 1}, {"v": [2]})
    three = await make(storage, {"a": 2})
    await add(storage, three)
    assert await ids(storage) == {one, two, three}
    assert await ids(storage, ids=[one, three, uuid7(), one]) == {one, three}
    assert await ids(storage, metadata={"a": 1}, values={"v": [2]}) == {two}
    assert await ids(storage, values={"v": []}) == {one, two}
    assert await ids(storage, status="busy") == {three}
    assert await ids(storage, status="idle", ids=[one, three]) == {one}
    assert await ids(storage, status="error") == set()
    assert await storage.threads.count(ThreadFilter()) == 3
    assert await storage.threads.count(ThreadFilter(status="idle", metadata={"a": 1})) == 2


@pytest.fixture
async def many(storage):
    """Threads whose times and states are in different orders, some of them equal."""
    made = []
    for number in range(12):
        now = NOW + timedelta(seconds=number * 5 % 7)
        thread = await make(storage, {"kind": number % 3}, now=now)
        if number % 4 == 0:
            later = NOW + timedelta(seconds=20 + number % 8)
            state = ThreadState("interrupted", Encoded(b"{}"), Encoded(b"{}"), later)
            await storage.edit(thread).commit(state)
        made.append(await storage.threads.get(thread))
    return made


SORTS = ["thread_id", "status", "created_at", "updated_at", "state_updated_at"]


def in_order(threads, sort_by, descending):
    def key(thread):
        return (str(getattr(thread, sort_by)), str(thread.thread_id))

    return [thread.thread_id for thread in sorted(threads, key=key, reverse=descending)]


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("sort_by", SORTS)
async def test_threads_are_sorted_and_paged_by_every_column(storage, many, sort_by, descending):
    for where in ({}, {"metadata": {"kind": 1}}, {"status": "idle"}):
        chosen = [
            each
            for each in many
            if contains(each.metadata, where.get("metadata", {}))
            and where.get("status", each.status) == each.status
        ]
        wanted = in_order(chosen, sort_by, descending)
        for offset in range(0, len(wanted) + 3, 3):
            found, more, total = await search(storage, 3, offset, sort_by, descending, **where)
            assert found == wanted[offset : offset + 3]
            assert more == (offset + 3 < len(wanted))
            assert total in {None, len(wanted)}


async def test_a_rare_value_is_counted(storage, many):
    for sort_by in SORTS:
        assert (await search(storage, 1, 0, sort_by, metadata={"kind": 0}))[1:] == (True, 4)
    assert (await search(storage, 100))[1:] == (False, 12)


async def test_values_only_where_they_are_wanted(storage):
    await make(storage, {"m": [1]}, {"items": ["a", "b"], "n": {"k": None}})
    query = ThreadQuery(ThreadFilter(values={"n": {"k": None}}), 10, with_values=False)
    (found,) = (await storage.threads.search(query)).rows
    assert (found.thread.values, found.extracted) == (None, None)
    (found,) = (await storage.threads.search(dataclasses.replace(query, with_values=True))).rows
    assert found.thread.values == b'{"items":["a","b"],"n":{"k":null}}'


async def test_search_extracts_values_by_their_paths(storage):
    await make(storage, {"m": [{"x": 1}]}, {"items": ["a", "b"]})
    await make(storage)
    paths = {
        "last": Path("values", ("items", -1)),
        "x": Path("metadata", ("m", 0, "x")),
        "far": Path("values", ("items", 2)),
        "through": Path("values", ("items", "a")),
        "odd": Path("values", None),
        "asked": Path("interrupts", ()),
    }
    query = ThreadQuery(
        ThreadFilter(), 10, sort_by="thread_id", descending=False, with_values=False, extract=paths
    )
    # Two ids of one millisecond are in no order.
    rows = (await storage.threads.search(query)).rows
    first, second = sorted(rows, key=lambda row: row.extracted)
    none = dict.fromkeys(paths)
    assert first.extracted == dump({**none, "last": "b", "x": 1, "asked": {}})
    assert second.extracted == dump(none)


async def test_searching_sees_the_end_of_a_run(storage):
    thread = await make(storage)
    held = await started(storage, thread)
    outcome = Outcome("success", "interrupted", Encoded(b'{"a":1}'), Encoded(b'{"t":[]}'))
    await storage.runs.finish(held, outcome)
    assert await ids(storage, status="interrupted", values={"a": 1}) == {thread}
