"""What every store must do: langgraph's interface, with the server's rules."""

import asyncio
import math
import threading
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from langchain_core.embeddings import Embeddings
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    PutOp,
    SearchOp,
)
from tests.support import StandingClock

from loomline.server.domain.items import UnsupportedOperator, matches
from loomline.server.ports.store import IndexOptions, StoreOptions


class Letters(Embeddings):
    """A vector says how often a text has each of five letters."""

    def __init__(self):
        self.embedded = []

    def embed_documents(self, texts):
        self.embedded += texts
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text):
        return [float(text.count(letter)) for letter in "abcde"]


@pytest.fixture
def store(storage):
    return storage.store


@pytest.fixture
def letters():
    return Letters()


@pytest.fixture
async def indexed(database, clock, letters):
    options = StoreOptions(index=IndexOptions(5, letters, ("text",)))
    async with database.open(clock, options) as storage:
        yield storage.store


def keys(items):
    return [item.key for item in items]


async def test_an_item_is_found_again(store, clock):
    value = {"text": "x", "deep": {"list": [1, 2.5, None, {"ü": True}]}}
    await store.aput(("users", "ann"), "k", value)
    item = await store.aget(("users", "ann"), "k")
    assert (item.namespace, item.key, item.value) == (("users", "ann"), "k", value)
    assert item.created_at == item.updated_at == clock.now()
    assert await store.aget(("users", "ann"), "other") is None
    assert await store.aget(("users",), "k") is None
    assert await store.aget(("users", "ann", "deeper"), "k") is None


async def test_writing_over_keeps_when_it_was_made(store, clock):
    made = clock.now()
    await store.aput(("a",), "k", {"old": 1})
    clock.move(60)
    await store.aput(("a",), "k", {"new": 2})
    item = await store.aget(("a",), "k")
    assert (item.value, item.created_at, item.updated_at) == ({"new": 2}, made, clock.now())


async def test_deleted_item_leaves_no_rows(database, store):
    before = database.rows()
    await store.aput(("a",), "k", {})
    await store.adelete(("a",), "k")
    await store.adelete(("a",), "k")
    assert await store.aget(("a",), "k") is None
    assert database.rows() == before


@pytest.mark.parametrize(
    "namespace", [(), ("",), ("a.b",), ("a", ""), ("langgraph",), ("langgraph", "x")]
)
async def test_namespaces_that_cannot_be(store, namespace):
    with pytest.raises(InvalidNamespaceError):
        await store.aput(namespace, "k", {})


async def test_a_batch_checks_namespaces_too(store):
    with pytest.raises(InvalidNamespaceError):
        await store.abatch([PutOp(("a.b",), "k", {})])
    await store.aput(("a", "langgraph"), "", {"empty": "key"})
    assert (await store.aget(("a", "langgraph"), "")).value == {"empty": "key"}


async def test_values_that_are_no_json(store):
    with pytest.raises(TypeError, match="k"):
        await store.aput(("a",), "k", {"a": object()})
    assert await store.aget(("a",), "k") is None


async def test_prefixes_are_whole_labels(store, clock):
    for number, namespace in enumerate(
        [("a",), ("a", "b"), ("ab",), ("a!",), ("a/",), ("b", "a"), ("Ä", "ö")]
    ):
        clock.move(1)
        await store.aput(namespace, str(number), {})
    assert keys(await store.asearch(("a",))) == ["1", "0"]
    assert keys(await store.asearch(("a", "b"))) == ["1"]
    assert keys(await store.asearch(("Ä",))) == ["6"]
    assert keys(await store.asearch(())) == ["6", "5", "4", "3", "2", "1", "0"]
    assert await store.asearch(("c",)) == []


async def test_the_latest_come_first(store, clock):
    for key in "bac":
        await store.aput(("n",), key, {"v": key})
    assert keys(await store.asearch(("n",))) == ["a", "b", "c"]
    clock.move(1)
    await store.aput(("n",), "c", {"v": 2})
    found = await store.asearch(("n",))
    assert keys(found) == ["c", "a", "b"]
    assert [item.score for item in found] == [None] * 3
    assert keys(await store.asearch(("n",), limit=1, offset=1)) == ["a"]
    assert keys(await store.asearch(("n",), query="words without an index")) == ["c", "a", "b"]


VALUES = {
    "one": {"n": 1, "s": "b", "deep": {"x": 1, "y": "z"}, "list": [1, 2]},
    "two": {"n": 2.5, "s": "a", "deep": {"x": 2}, "list": [2, 1], "none": None},
    "text": {"n": "1", "s": "ä", "flag": True},
    "bare": {},
}

FILTERS = [
    ({}, {"one", "two", "text", "bare"}),
    ({"n": 1}, {"one"}),
    ({"n": 1.0}, {"one"}),
    ({"n": "1"}, {"text"}),
    ({"flag": True}, {"text"}),
    ({"flag": 1}, set()),
    ({"n": None}, {"bare"}),
    ({"none": None}, {"one", "two", "text", "bare"}),
    ({"deep": {"x": 1}}, {"one"}),
    ({"deep": {"x": {"$gte": 1}}}, {"one", "two"}),
    ({"deep": {"x": {"$gte": 1}, "y": "z"}}, {"one"}),
    ({"list": [1, 2]}, {"one"}),
    ({"list": [1]}, set()),
    ({"n": {"$gt": 1}}, {"two"}),
    ({"n": {"$gte": 1, "$lt": 2.5}}, {"one"}),
    ({"n": {"$lte": 2.5}}, {"one", "two"}),
    ({"n": {"$gt": "0"}}, {"text"}),
    ({"s": {"$gt": "a"}}, {"one", "text"}),
    ({"s": {"$lt": "b"}}, {"two"}),
    ({"flag": {"$gt": 0}}, set()),
    ({"n": {"$eq": 1}}, {"one"}),
    ({"n": {"$ne": 1}}, {"two", "text", "bare"}),
    ({"deep": {"$eq": {"x": 2}}}, {"two"}),
    ({"deep": {"$ne": {"x": 2}}}, {"one", "text", "bare"}),
    ({"missing": {"$gt": 0}}, set()),
    ({"missing": {"$eq": None}}, {"one", "two", "text", "bare"}),
    ({"n": {"$gte": 1}, "s": "b"}, {"one"}),
    ({"n": {}}, set()),
    ({"deep": {}}, {"one", "two"}),
]


@pytest.mark.parametrize(("pattern", "expected"), FILTERS)
async def test_filter_selects_the_expected_store_items(store, pattern, expected):
    await store.abatch([PutOp(("f",), key, value) for key, value in VALUES.items()])
    assert set(keys(await store.asearch(("f",), filter=pattern))) == expected


async def test_unknown_filter_operator_is_refused_with_its_name(store):
    for pattern in ({"n": {"$foo": 1}}, {"deep": {"x": {"$in": [1]}}}):
        with pytest.raises(UnsupportedOperator, match=r"Unsupported operator: \$"):
            await store.asearch(("f",), filter=pattern)


LEAVES = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, "", "a", "ab", "ä"])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2)
    ),
    max_leaves=5,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)
CONDITIONS = st.dictionaries(
    st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), JSON, min_size=1, max_size=2
)
PATTERNS = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(
        JSON | CONDITIONS,
        lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
        max_leaves=3,
    ),
    max_size=2,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(OBJECTS, min_size=1, max_size=4), PATTERNS)
async def test_filters_select_the_same_items_as_the_definition(store, values, pattern):
    await store.abatch(
        [
            PutOp(("h",), str(place), values[place] if place < len(values) else None)
            for place in range(4)
        ]
    )
    found = await store.asearch(("h",), filter=pattern)
    assert set(keys(found)) == {
        str(place) for place, value in enumerate(values) if matches(value, pattern)
    }


async def test_namespaces_are_listed_by_conditions_and_depth(store):
    for namespace in [("a",), ("a", "b"), ("a", "b", "c"), ("a", "d", "c"), ("a!", "b"), ("z",)]:
        await store.aput(namespace, "k1", {})
        await store.aput(namespace, "k2", {})
    everything = [("a",), ("a", "b"), ("a", "b", "c"), ("a", "d", "c"), ("a!", "b"), ("z",)]
    assert await store.alist_namespaces() == everything
    assert await store.alist_namespaces(limit=2, offset=1) == everything[1:3]
    assert await store.alist_namespaces(prefix=("a", "b")) == everything[1:3]
    assert await store.alist_namespaces(prefix=("a", "*", "c")) == everything[2:4]
    assert await store.alist_namespaces(suffix=("c",)) == everything[2:4]
    assert await store.alist_namespaces(suffix=("b", "*")) == [("a", "b", "c")]
    assert await store.alist_namespaces(prefix=("a",), suffix=("b",)) == [("a", "b")]
    assert await store.alist_namespaces(max_depth=1) == [("a",), ("a!",), ("z",)]
    assert await store.alist_namespaces(prefix=("a",), max_depth=2) == [
        ("a",),
        ("a", "b"),
        ("a", "d"),
    ]
    assert await store.alist_namespaces(prefix=("q",)) == []


async def test_a_batch_reads_before_it_writes(store):
    await store.aput(("a",), "k", {"v": 1})
    results = await store.abatch(
        [
            PutOp(("a",), "k", {"v": 2}),
            PutOp(("a",), "new", {"v": 3}),
            GetOp(("a",), "k"),
            SearchOp(("a",)),
            PutOp(("a",), "new", {"v": 4}),
            ListNamespacesOp(),
        ]
    )
    assert results[:2] == [None, None]
    assert results[2].value == {"v": 1}
    assert keys(results[3]) == ["k"]
    assert results[4:] == [None, [("a",)]]
    assert (await store.aget(("a",), "k")).value == {"v": 2}
    assert (await store.aget(("a",), "new")).value == {"v": 4}


async def test_a_batch_is_written_as_one(store):
    with pytest.raises(TypeError):
        await store.abatch([PutOp(("a",), "good", {}), PutOp(("a",), "bad", {"x": object()})])
    assert await store.aget(("a",), "good") is None


def check_sync_interface(store, label):
    """The whole interface, from a thread without an event loop."""
    place = ("sync", label)
    store.put(place, "k", {"v": label})
    assert store.get(place, "k").value == {"v": label}
    assert keys(store.search(place, filter={"v": label})) == ["k"]
    assert store.list_namespaces(prefix=place) == [place]
    store.delete(place, "k")
    assert store.get(place, "k") is None
    return "done"


async def test_sync_methods_from_many_threads(store):
    results = await asyncio.gather(
        *(asyncio.to_thread(check_sync_interface, store, str(n)) for n in range(8))
    )
    assert results == ["done"] * 8


async def test_sync_methods_on_an_event_loop(store):
    assert check_sync_interface(store, "loop") == "done"


async def test_store_is_usable_from_another_event_loop(store):
    async def there():
        await store.aput(("loop",), "k", {"v": 1})
        return (await store.aget(("loop",), "k")).value

    assert await asyncio.to_thread(asyncio.run, there()) == {"v": 1}
    assert (await store.aget(("loop",), "k")).value == {"v": 1}


async def test_concurrent_writers_of_one_item(store):
    await asyncio.gather(*(store.aput(("c",), "k", {"n": n}) for n in range(50)))
    assert len(await store.asearch(("c",), limit=100)) == 1


@pytest.fixture
async def short_lived(database, clock):
    async with database.open(clock, StoreOptions(default_ttl_minutes=10)) as storage:
        yield storage.store


async def test_expired_item_is_never_returned(store, clock):
    await store.aput(("t",), "short", {"v": 1}, ttl=1.5)
    await store.aput(("t",), "long", {"v": 1}, ttl=100)
    await store.aput(("t",), "ever", {"v": 1})
    clock.move(89)
    assert await store.aget(("t",), "short", refresh_ttl=False)
    clock.move(1)
    assert await store.aget(("t",), "short") is None
    assert set(keys(await store.asearch(("t",), filter={"v": 1}))) == {"long", "ever"}
    await store.aput(("gone",), "k", {}, ttl=1)
    clock.move(60)
    assert ("gone",) not in await store.alist_namespaces()


async def test_reading_begins_the_minutes_anew(store, clock):
    made = clock.now()
    for key in ("get", "search", "neither"):
        await store.aput(("t",), key, {"how": key}, ttl=1)
    for _ in range(3):
        clock.move(40)
        await store.aget(("t",), "get", refresh_ttl=True)
        await store.asearch(("t",), filter={"how": "search"}, refresh_ttl=True)
        await store.aget(("t",), "neither", refresh_ttl=False)
        await store.asearch(("t",), filter={"how": "neither"}, refresh_ttl=False)
    found = await store.asearch(("t",))
    assert set(keys(found)) == {"get", "search"}
    assert {item.updated_at for item in found} == {made}


async def test_defaults_of_the_configuration(short_lived, clock):
    await short_lived.aput(("t",), "default", {})
    await short_lived.aput(("t",), "ever", {}, ttl=None)
    clock.move(9 * 60)
    assert await short_lived.aget(("t",), "default")
    clock.move(9 * 60)
    assert await short_lived.aget(("t",), "default")
    clock.move(10 * 60)
    assert keys(await short_lived.asearch(("t",))) == ["ever"]


async def test_reads_that_do_not_refresh_by_default(database, clock):
    options = StoreOptions(default_ttl_minutes=1, refresh_on_read=False)
    async with database.open(clock, options) as storage:
        store = storage.store
        await store.aput(("t",), "k", {})
        clock.move(40)
        assert await store.aget(("t",), "k")
        clock.move(40)
        assert await store.aget(("t",), "k") is None


async def test_writing_over_applies_the_ttl_again(store, clock):
    await store.aput(("t",), "k", {"v": 1}, ttl=1)
    clock.move(40)
    await store.aput(("t",), "k", {"v": 2})
    clock.move(4000)
    assert (await store.aget(("t",), "k")).value == {"v": 2}
    assert await store.expire(clock.now(), 10) == 0


async def test_an_expired_item_comes_back_as_a_new_one(store, clock):
    await store.aput(("t",), "k", {"v": 1}, ttl=1)
    clock.move(60)
    await store.aput(("t",), "k", {"v": 2})
    assert (await store.aget(("t",), "k")).created_at == clock.now()


async def test_sweep_deletes_expired_items_in_batches(database, store, clock):
    before = database.rows()
    for number in range(5):
        await store.aput(("t",), str(number), {}, ttl=number + 1)
    await store.aput(("t",), "ever", {})
    assert await store.expire(clock.now(), 10) == 0
    later = clock.now() + timedelta(minutes=4)
    assert await store.expire(later, 3) == 3
    assert await store.expire(later, 3) == 1
    assert await store.expire(later, 3) == 0
    assert set(keys(await store.asearch(("t",)))) == {"4", "ever"}
    await store.adelete(("t",), "4")
    await store.adelete(("t",), "ever")
    assert database.rows() == before


async def test_a_ttl_beyond_all_dates(store, clock):
    await store.aput(("t",), "k", {}, ttl=1e300)
    clock.move(10**9)
    assert await store.aget(("t",), "k")


async def test_search_by_meaning_orders_items_by_similarity(indexed, clock):
    texts = {"a": "aaa", "ab": "ab", "b": "b", "none": "xyz"}
    for key, text in texts.items():
        clock.move(1)
        await indexed.aput(("v",), key, {"text": text})
    await indexed.aput(("v",), "no vector", {"text": "a"}, index=False)
    clock.move(1)
    await indexed.aput(("v",), "no field", {"other": "a"})
    found = await indexed.asearch(("v",), query="a")
    assert keys(found) == ["a", "ab", "b", "none", "no field", "no vector"]
    scores = [item.score for item in found]
    assert scores[:4] == pytest.approx([1.0, math.sqrt(0.5), 0.0, 0.0], abs=1e-6)
    assert scores[4:] == [None, None]
    assert keys(await indexed.asearch(("v",), query="a", limit=3, offset=3)) == [
        "none",
        "no field",
        "no vector",
    ]
    assert keys(await indexed.asearch(("v",), query="a", limit=2, offset=5)) == ["no vector"]
    assert keys(await indexed.asearch(("v",), query="")) == [
        "no field",
        "no vector",
        "none",
        "b",
        "ab",
        "a",
    ]
    assert keys(await indexed.asearch(("v",), query="a", filter={"text": {"$gt": "b"}})) == ["none"]
    assert keys(await indexed.asearch(("elsewhere",), query="a")) == []


async def test_the_best_field_of_an_item_counts(indexed, letters):
    await indexed.aput(
        ("v",), "many", {"parts": [{"t": "c"}, {"t": "a"}], "e": "e"}, index=["parts[*].t", "e"]
    )
    await indexed.aput(("v",), "one", {"text": "aab"})
    assert letters.embedded == ["c", "a", "e", "aab"]
    for query, first in (("a", "many"), ("e", "many"), ("aab", "one")):
        found = await indexed.asearch(("v",), query=query)
        assert keys(found)[0] == first
        assert found[0].score == pytest.approx(1.0, abs=1e-6)
        assert len(found) == 2


async def test_writing_over_indexes_again(database, indexed):
    before = database.rows()
    await indexed.aput(("v",), "k", {"text": "a"})
    await indexed.aput(("v",), "k", {"text": "b"})
    (found,) = await indexed.asearch(("v",), query="b")
    assert found.score == pytest.approx(1.0)
    await indexed.aput(("v",), "k", {"text": "b"}, index=False)
    assert [item.score for item in await indexed.asearch(("v",), query="b")] == [None]
    await indexed.aput(("v",), "k", {"text": "b"})
    await indexed.adelete(("v",), "k")
    assert database.rows() == before


async def test_sweeping_takes_the_vectors_too(database, indexed, clock):
    before = database.rows()
    await indexed.aput(("v",), "k", {"text": "a"}, ttl=1)
    clock.move(60)
    assert await indexed.asearch(("v",), query="a") == []
    assert await indexed.expire(clock.now(), 10) == 1
    assert database.rows() == before


async def test_the_whole_value_is_indexed_where_no_field_is_named(database, clock, letters):
    async with database.open(clock, StoreOptions(index=IndexOptions(5, letters))) as storage:
        await storage.store.aput(("v",), "k", {"b": 1, "a": "x"})
        await storage.store.aput(("v",), "nothing", {"b": 1}, index=[])
    assert letters.embedded == ['{"a": "x", "b": 1}']


async def test_sync_search_by_meaning(indexed):
    indexed.put(("v",), "k", {"text": "a"})
    assert indexed.search(("v",), query="a")[0].score == pytest.approx(1.0)


async def test_vectors_of_the_wrong_size(database, clock, letters):
    async with database.open(clock, StoreOptions(index=IndexOptions(7, letters))) as storage:
        with pytest.raises(ValueError, match="7 numbers"):
            await storage.store.aput(("v",), "k", {"text": "a"})
        assert await storage.store.aget(("v",), "k") is None


async def test_the_store_outlives_the_server(database):
    clock = StandingClock()
    async with database.open(clock) as storage:
        await storage.store.aput(("a",), "k", {"v": 1})
        await storage.store.aput(("a",), "short", {}, ttl=1)
    clock.move(60)
    async with database.open(clock) as storage:
        assert keys(await storage.store.asearch(())) == ["k"]


async def test_readers_and_writers_at_the_same_time(store):
    stop = threading.Event()

    def write():
        for number in range(60):
            store.put(("busy",), str(number % 7), {"n": number})
        stop.set()

    def read():
        while not stop.is_set():
            assert len(store.search(("busy",), limit=100)) <= 7

    await asyncio.gather(asyncio.to_thread(write), asyncio.to_thread(read), asyncio.to_thread(read))
    assert len(await store.asearch(("busy",))) == 7
