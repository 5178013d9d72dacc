"""What every database must do with assistants."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from tests.conformance.acts import NOW, add, thread_of

from loomline.server.domain.assistants import (
    Assistant,
    AssistantFilter,
    AssistantPatch,
    AssistantQuery,
    default_assistant,
)
from loomline.server.domain.errors import (
    AssistantExists,
    AssistantNotFound,
    AssistantVersionNotFound,
    ContradictoryInput,
    ThreadNotFound,
)
from loomline.server.domain.ids import default_assistant_id

LATER = NOW + timedelta(minutes=1)


def assistant(number=0, **changes):
    made = Assistant(
        assistant_id=UUID(int=(4 << 76) | number),
        graph_id="agent",
        name="Untitled",
        description=None,
        config={"tags": ["a"], "configurable": {"k": 1}},
        context={"k": 1},
        metadata={"a": {"b": 1}, "kept": True},
        version=1,
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(made, **changes)


async def stored(storage, number=0, **changes):
    return await storage.assistants.create(assistant(number, **changes), "raise")


async def found(storage, where=None, **query):
    page = await storage.assistants.search(
        AssistantQuery(where or AssistantFilter(), **{"limit": 10} | query)
    )
    return [row.assistant_id.int & 0xFFFF for row in page.rows], page.more, page.total


async def test_default_assistants_are_stored_once(storage):
    first = default_assistant("agent", "agent", "An agent", NOW)
    await storage.assistants.ensure([first])
    await storage.assistants.ensure([default_assistant("agent", "renamed", None, NOW)])
    assert await storage.assistants.get(default_assistant_id("agent")) == first
    (version,) = await storage.assistants.versions(
        first.assistant_id, metadata={}, limit=10, offset=0
    )
    assert (version.version, version.description) == (1, "An agent")
    with pytest.raises(AssistantNotFound):
        await storage.assistants.get(uuid4())


async def test_an_id_is_taken_once(storage):
    made = await stored(storage)
    assert made == assistant() == await storage.assistants.get(made.assistant_id)
    with pytest.raises(AssistantExists):
        await storage.assistants.create(assistant(name="other"), "raise")
    assert await storage.assistants.create(assistant(name="other"), "do_nothing") == made
    assert (
        len(await storage.assistants.versions(made.assistant_id, metadata={}, limit=10, offset=0))
        == 1
    )


async def test_a_patch_is_a_version(storage):
    made = await stored(storage)
    patch = AssistantPatch(
        LATER, graph_id="other", name="N", description="D", context={"k": 2}, metadata={"a": None}
    )
    after = await storage.assistants.update(made.assistant_id, patch)
    assert after == await storage.assistants.get(made.assistant_id)
    assert after == replace(
        made,
        graph_id="other",
        name="N",
        description="D",
        config={"tags": ["a"], "configurable": {"k": 2}},
        context={"k": 2},
        metadata={"a": None, "kept": True},
        version=2,
        updated_at=LATER,
    )
    again = await storage.assistants.update(made.assistant_id, AssistantPatch(LATER))
    assert again == replace(after, version=3)
    with pytest.raises(AssistantNotFound):
        await storage.assistants.update(uuid4(), patch)
    with pytest.raises(ContradictoryInput):
        await storage.assistants.update(
            made.assistant_id,
            AssistantPatch(LATER, config={"configurable": {"a": 1}}, context={"b": 1}),
        )
    assert (await storage.assistants.get(made.assistant_id)).version == 3


async def test_every_field_of_a_version_comes_back(storage):
    made = await stored(storage)
    patch = AssistantPatch(
        LATER, graph_id="other", name="N", description="D", config={}, metadata={"more": 1}
    )
    changed = await storage.assistants.update(made.assistant_id, patch)
    back = await storage.assistants.set_latest(made.assistant_id, 1, LATER)
    assert (
        back == replace(made, updated_at=LATER) == await storage.assistants.get(made.assistant_id)
    )
    forth = await storage.assistants.set_latest(made.assistant_id, 2, LATER)
    assert forth == changed
    await storage.assistants.set_latest(made.assistant_id, 1, LATER)
    third = await storage.assistants.update(made.assistant_id, AssistantPatch(LATER, name="third"))
    assert (third.version, third.graph_id) == (3, "agent")
    with pytest.raises(AssistantVersionNotFound):
        await storage.assistants.set_latest(made.assistant_id, 99, LATER)
    with pytest.raises(AssistantNotFound):
        await storage.assistants.set_latest(uuid4(), 1, LATER)


async def test_versions_are_listed_newest_first(storage):
    made = await stored(storage)
    for number in range(2, 5):
        await storage.assistants.update(
            made.assistant_id, AssistantPatch(LATER, metadata={"n": number})
        )

    async def numbers(metadata=None, limit=10, offset=0):
        rows = await storage.assistants.versions(
            made.assistant_id, metadata=metadata or {}, limit=limit, offset=offset
        )
        return [row.version for row in rows]

    assert await numbers() == [4, 3, 2, 1]
    assert await numbers(limit=2, offset=1) == [3, 2]
    assert await numbers({"n": 3.0}) == [3]
    assert await numbers({"n": "3"}) == []
    rows = await storage.assistants.versions(made.assistant_id, metadata={}, limit=10, offset=0)
    assert [row.created_at for row in rows] == [LATER, LATER, LATER, NOW]
    with pytest.raises(AssistantNotFound):
        await storage.assistants.versions(uuid4(), metadata={}, limit=10, offset=0)


async def test_concurrent_patches_are_all_kept(storage):
    made = await stored(storage)
    patches = [AssistantPatch(LATER, metadata={f"m{number}": number}) for number in range(10)]
    await asyncio.gather(
        *(storage.assistants.update(made.assistant_id, patch) for patch in patches)
    )
    after = await storage.assistants.get(made.assistant_id)
    assert after.version == 11
    assert {f"m{number}" for number in range(10)} <= set(after.metadata)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, [1, 2, 3]),
        ({"graph_id": "other"}, [2]),
        ({"name": "WEATHER"}, [1, 2]),
        ({"name": "üNIT"}, [1]),
        ({"name": "%"}, [1]),
        ({"name": "_"}, [2]),
        ({"metadata": {"n": 1}}, [1]),
        ({"metadata": {"n": True}}, [2]),
        ({"metadata": {"tags": ["b", "b"]}}, [1]),
        ({"metadata": {"tags": "b"}}, []),
        ({"metadata": {"deep": {"x": {"y": None}}}}, [3]),
        ({"metadata": {"deep": {"x": {"z": None}}}}, []),
        ({"name": "weather", "metadata": {"n": 1}}, [1]),
    ],
    ids=str,
)
async def test_assistant_filter_selects_and_counts_the_expected_rows(storage, conditions, expected):
    await stored(storage, 1, name="Weather Ünit 100%", metadata={"tags": ["a", "b"], "n": 1})
    await stored(storage, 2, name="weather_two", metadata={"n": True}, graph_id="other")
    await stored(storage, 3, name="News", metadata={"deep": {"x": {"y": None, "z": 2}}})
    rows, _, total = await found(storage, AssistantFilter(**conditions))
    assert sorted(rows) == expected
    assert total == len(rows) == await storage.assistants.count(AssistantFilter(**conditions))


async def test_assistants_are_sorted_and_paged_by_every_column(storage):
    for number, name in enumerate(["b", "A", "a", "C", "b"]):
        await stored(
            storage,
            number,
            name=name,
            graph_id=name,
            created_at=NOW + timedelta(seconds=number // 2),
            updated_at=NOW - timedelta(seconds=number),
        )
    assert await found(storage) == ([4, 3, 2, 1, 0], False, 5)
    assert await found(storage, descending=False) == ([0, 1, 2, 3, 4], False, 5)
    assert await found(storage, sort_by="updated_at") == ([0, 1, 2, 3, 4], False, 5)
    assert await found(storage, sort_by="assistant_id", descending=False, limit=2) == (
        [0, 1],
        True,
        5,
    )
    assert await found(storage, sort_by="name", descending=False) == ([1, 2, 0, 4, 3], False, 5)
    assert await found(storage, sort_by="graph_id", limit=2, offset=2) == ([0, 2], True, 5)
    assert await found(storage, sort_by="graph_id", limit=2, offset=3) == ([2, 1], False, 5)
    assert await found(storage, offset=7) == ([], False, 5)


async def test_deleting_leaves_no_row(database, storage):
    before = database.rows()
    made = await stored(storage)
    await storage.assistants.update(made.assistant_id, AssistantPatch(LATER))
    assert await storage.assistants.delete(made.assistant_id, delete_threads=False) == ()
    assert database.rows() == before
    with pytest.raises(AssistantNotFound):
        await storage.assistants.delete(made.assistant_id, delete_threads=False)


async def test_deletion_with_threads_removes_the_assistants_threads(storage):
    made = await stored(storage)
    mine = {"assistant_id": str(made.assistant_id)}
    first = await thread_of(storage, metadata=mine)
    run = await add(storage, first, assistant_id=made.assistant_id)
    other = await thread_of(storage, metadata={"assistant_id": str(uuid4())})
    kept = await stored(storage, 1)
    assert await storage.assistants.delete(kept.assistant_id, delete_threads=True) == ()
    assert await storage.assistants.delete(made.assistant_id, delete_threads=True) == (run,)
    with pytest.raises(ThreadNotFound):
        await storage.threads.get(first)
    assert (await storage.threads.get(other)).thread_id == other
