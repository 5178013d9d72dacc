"""Conditions on metadata: every database against the definition in Python, on every kind of row."""

import dataclasses
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from tests.conformance.acts import NOW
from tests.support import ASSISTANT, new_run, new_thread

from loomline.server.domain.access import EVERYTHING, AllOf, AnyOf, Equal, Has, both, meets
from loomline.server.domain.assistants import (
    Assistant,
    AssistantFilter,
    AssistantPatch,
    AssistantQuery,
)
from loomline.server.domain.crons import Cron, CronFilter, CronQuery
from loomline.server.domain.errors import (
    AssistantExists,
    AssistantNotFound,
    CronNotFound,
    NothingToCancel,
    RunNotFound,
    ThreadExists,
    ThreadNotFound,
)
from loomline.server.domain.filters import contains
from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import Encoded, dump
from loomline.server.domain.runs import Stop
from loomline.server.domain.threads import (
    ThreadFilter,
    ThreadPatch,
    ThreadQuery,
    ThreadState,
)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2**53, 2**53 + 1, 2**63, 0.0, 1.0, 0.5, 1e23, float(2**53)]),
    st.sampled_from(["", "a", "1", "true", "null", "ä", "x" * 300, '"', "all", "$eq", "any"]),
)
KEYS = st.sampled_from(["a", "b", "", "0", '"', "$or", "k" * 200])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=2)),
    max_leaves=5,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=3)
LEAVES = st.one_of(
    st.builds(Equal, KEYS, VALUES),
    st.builds(Has, KEYS, st.lists(SCALARS, max_size=3).map(tuple)),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(AllOf, st.lists(inner, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


def related(document):
    """Return conditions about what is in a document: random ones hardly ever hold."""
    equal = [Equal(key, value) for key, value in document.items()]
    has = [
        Has(key, tuple(each for each in value if not isinstance(each, (dict, list))))
        for key, value in document.items()
        if isinstance(value, list)
    ]
    found = [*equal, *has]
    mixed = [AllOf((*found, AnyOf((*found[1:], Equal("nowhere", 1)))))] if found else []
    return [*found, AllOf(tuple(found)), *mixed]


def assistant(metadata):
    return Assistant(
        assistant_id=uuid4(), graph_id="g", name="n", description=None, config={}, context={},
        metadata=metadata, version=1, created_at=NOW, updated_at=NOW,
    )  # fmt: skip


def cron(metadata, thread_id=None):
    return Cron(
        cron_id=uuid4(), assistant_id=ASSISTANT, thread_id=thread_id, user_id="ada",
        schedule="@daily", timezone=None, end_time=None, payload={}, metadata=metadata,
        on_run_completed=None, enabled=True, next_run_date=None, created_at=NOW, updated_at=NOW,
        user=Encoded(b'{"identity":"ada"}'),
    )  # fmt: skip


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    documents=st.lists(DOCUMENTS, min_size=1, max_size=4),
    conditions=st.lists(CONDITIONS, max_size=4),
    pattern=DOCUMENTS,
)
async def test_conditions_select_the_same_rows_as_python(storage, documents, conditions, pattern):
    threads, assistants, crons = {}, {}, {}
    for document in documents:
        threads[(await storage.threads.create(new_thread(metadata=document))).thread_id] = document
        made = await storage.assistants.create(assistant(document), "raise")
        assistants[made.assistant_id] = document
        crons[(await storage.crons.create(cron(document))).cron_id] = document
    try:
        for access in [
            *conditions,
            *[each for document in documents for each in related(document)],
        ]:
            await _compare(storage, access, {}, threads, assistants, crons)
        for access in conditions:
            await _compare(storage, access, pattern, threads, assistants, crons)
    finally:
        for thread_id in threads:
            await storage.threads.delete(thread_id)
        for assistant_id in assistants:
            await storage.assistants.delete(assistant_id, delete_threads=False)
        for cron_id in crons:
            await storage.crons.delete(cron_id)


async def _compare(storage, access, pattern, threads, assistants, crons):

    def wanted(rows):
        return {
            key for key, each in rows.items() if meets(each, access) and contains(each, pattern)
        }

    where = ThreadFilter(metadata=pattern, access=access)
    page = await storage.threads.search(ThreadQuery(where, 1000))
    assert {found.thread.thread_id for found in page.rows} == wanted(threads)
    assert await storage.threads.count(where) == len(wanted(threads))
    every = AssistantFilter(metadata=pattern, access=access)
    page = await storage.assistants.search(AssistantQuery(every, 1000))
    assert {found.assistant_id for found in page.rows} == wanted(assistants)
    assert await storage.assistants.count(every) == page.total == len(wanted(assistants))
    every = CronFilter(metadata=pattern, access=access)
    page = await storage.crons.search(CronQuery(every, 1000))
    assert {found.cron_id for found in page.rows} == wanted(crons)
    assert await storage.crons.count(every) == page.total == len(wanted(crons))
    for thread_id, document in threads.items():
        if meets(document, access):
            assert (await storage.threads.get(thread_id, access=access)).thread_id == thread_id
        else:
            with pytest.raises(ThreadNotFound):
                await storage.threads.get(thread_id, access=access)


ADA, BOB = Equal("owner", "ada"), Equal("owner", "bob")
OWNED = {"owner": "ada", "teams": ["x", "y"]}


async def refused(error, act):
    with pytest.raises(error):
        await act


async def test_threads_of_others_are_not_there(storage, database):
    thread = (await storage.threads.create(new_thread(metadata=OWNED))).thread_id
    before = database.rows()
    again = new_thread(thread, if_exists="do_nothing")
    acts = storage.threads
    await refused(ThreadExists, acts.create(again, access=BOB))
    await refused(ThreadNotFound, acts.get(thread, with_values=False, access=BOB))
    await refused(
        ThreadNotFound, acts.update(thread, ThreadPatch(NOW, {"owner": "bob"}), access=BOB)
    )
    await refused(ThreadNotFound, acts.copy(thread, uuid7(), NOW, access=BOB))
    await refused(ThreadNotFound, acts.size(thread, access=BOB))
    await refused(ThreadNotFound, acts.delete(thread, access=BOB))
    for strategy in ("delete", "keep_latest"):
        assert (await acts.prune([thread], strategy, access=BOB)).threads == ()
    state = ThreadState("idle", dump({}), Encoded(b"{}"), NOW)
    await refused(ThreadNotFound, storage.edit(thread).commit(state, access=BOB))
    await refused(ThreadExists, storage.edit(thread).commit(state, again, access=BOB))
    await refused(ThreadNotFound, storage.crons.create(cron({}, thread), access=BOB))
    assert database.rows() == before
    assert (await acts.get(thread)).metadata == OWNED
    assert (await acts.create(again, access=ADA)).thread_id == thread
    copied = await acts.copy(thread, uuid7(), NOW, metadata={"owner": "eve"}, access=ADA)
    assert copied.metadata == {**OWNED, "owner": "eve"}
    await storage.edit(thread).commit(state, access=ADA)
    assert (await acts.update(thread, ThreadPatch(NOW, {"n": 1}), access=ADA)).metadata["n"] == 1
    both_threads = [thread, copied.thread_id]
    assert (await acts.prune(both_threads, "delete", access=ADA)).threads == (thread,)
    await acts.delete(copied.thread_id, access=Equal("owner", "eve"))


async def test_runs_of_others_are_not_there(storage, database):
    thread = (await storage.threads.create(new_thread(metadata=OWNED))).thread_id
    user = Encoded(b'{"identity":"ada"}')
    run = (await storage.runs.create(new_run(thread, access=ADA, user=user, now=NOW))).run
    before = database.rows()
    acts, stop = storage.runs, Stop("interrupt", "why")
    for create in (True, False):
        new = new_run(thread, access=BOB, create_thread=create, strategy="interrupt")
        await refused(ThreadNotFound, acts.create(new))
    await refused(RunNotFound, acts.get(thread, run.run_id, access=BOB))
    await refused(RunNotFound, acts.get(None, run.run_id, access=BOB))
    await refused(ThreadNotFound, acts.list(thread, limit=9, offset=0, status=None, access=BOB))
    await refused(NothingToCancel, acts.cancel(thread, [run.run_id], stop, access=BOB))
    await refused(RunNotFound, acts.delete(thread, run.run_id, access=BOB))
    assert await acts.active(None, after=None, limit=9, access=BOB) == []
    assert database.rows() == before
    assert list(await acts.active(None, after=None, limit=9, access=ADA)) == [(thread, run.run_id)]
    assert (await acts.get(None, run.run_id, access=ADA)).user == user
    (claim,) = await acts.claim("w", 9, 10)
    assert claim.run.user == user
    await acts.cancel(thread, [run.run_id], stop, access=ADA)


async def test_a_thread_made_by_a_run_begins_with_its_metadata(storage):
    thread = uuid7()
    new = new_run(thread, create_thread=True, thread_metadata=OWNED, access=BOB)
    await storage.runs.create(new)
    assert (await storage.threads.get(thread)).metadata.items() >= OWNED.items()


async def test_assistants_of_others_are_not_there(storage):
    made = await storage.assistants.create(assistant(OWNED), "raise")
    thread = new_thread(metadata={"assistant_id": str(made.assistant_id), **OWNED})
    await storage.threads.create(thread)
    acts, key = storage.assistants, made.assistant_id
    await refused(AssistantExists, acts.create(made, "do_nothing", access=BOB))
    await refused(AssistantNotFound, acts.get(key, access=BOB))
    await refused(AssistantNotFound, acts.update(key, AssistantPatch(NOW, name="b"), access=BOB))
    await refused(AssistantNotFound, acts.versions(key, metadata={}, limit=9, offset=0, access=BOB))
    await refused(AssistantNotFound, acts.set_latest(key, 1, NOW, access=BOB))
    await refused(AssistantNotFound, acts.delete(key, delete_threads=True, access=BOB))
    assert await acts.create(made, "do_nothing", access=ADA) == made == await acts.get(key)
    # Its threads are a thing of their own.
    await acts.delete(key, delete_threads=True, access=ADA, threads_access=BOB)
    assert await storage.threads.get(thread.thread_id)


async def test_crons_of_others_are_not_there(storage):
    thread = (await storage.threads.create(new_thread(metadata=OWNED))).thread_id
    made = await storage.crons.create(cron(OWNED, thread), access=ADA)
    lone = await storage.crons.create(cron(OWNED))
    acts, key = storage.crons, made.cron_id
    await refused(CronNotFound, acts.get(key, access=BOB))
    await refused(CronNotFound, acts.update(key, {"enabled": False}, NOW, access=BOB))
    await refused(CronNotFound, acts.delete(key, access=BOB))
    assert await acts.get(key) == made == await acts.get(key, access=ADA)
    assert await acts.count(CronFilter(thread_access=ADA)) == 2
    assert await acts.count(CronFilter(thread_access=BOB)) == 1
    page = await acts.search(CronQuery(CronFilter(access=ADA, thread_access=BOB), 9))
    assert list(page.rows) == [lone]
    changed = await acts.update(key, {"enabled": False}, NOW, access=ADA)
    assert changed == dataclasses.replace(
        made,
        enabled=False,
        payload={"enabled": False},
        updated_at=NOW,
        next_run_date=changed.next_run_date,
    )
    await acts.delete(key, access=ADA)


def test_conjunction_with_everything_changes_nothing():
    assert both(EVERYTHING, EVERYTHING) == EVERYTHING
    assert both(ADA, EVERYTHING) == both(EVERYTHING, ADA) == ADA
    assert both(ADA, BOB) == AllOf((ADA, BOB))
