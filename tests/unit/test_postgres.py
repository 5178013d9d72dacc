"""The parts of PostgreSQL alone: connections that break, several processes, the drain, adopted tables."""

import asyncio
import dataclasses
import threading
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypedDict

import psycopg
import pytest
from langchain_core.embeddings import FakeEmbeddings
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import StateGraph
from langgraph.store.base import PutOp
from langgraph.types import Command, interrupt
from psycopg import errors
from tests.conformance.acts import (
    DONE,
    NOW,
    ROLLED_BACK,
    add,
    checkpoint,
    claim,
    root,
    started,
    thread_of,
)
from tests.postgres import Server, new_schema, server_url
from tests.support import CONNECTIONS, new_run, new_thread, open_postgres

from loomline.server.domain.assistants import AssistantPatch, default_assistant
from loomline.server.domain.errors import LeaseLost, StorageUnavailable, ThreadNotFound
from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import Encoded
from loomline.server.domain.runs import Stop
from loomline.server.domain.threads import ThreadState, Ttl
from loomline.server.ports.store import IndexOptions, StoreOptions
from loomline.server.storage.pool import QUEUE_MOST
from loomline.server.storage.sinks import PENDING_BYTES


@pytest.fixture
def url():
    return new_schema()


@pytest.fixture
async def storage(url):
    async with open_postgres(url) as opened:
        yield opened


def outside(url, statement, *parameters):
    """Execute a statement on a connection of its own; return the rows, if there are any."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


# ------------------------------------------------------------------------------- opening


async def test_two_starts_at_once_make_the_schema_once(url):
    async def opened():
        async with open_postgres(url) as storage:
            await storage.threads.create(new_thread())

    await asyncio.gather(opened(), opened(), opened())
    made = [
        version for (version,) in outside(url, "SELECT version FROM loomline_migrations ORDER BY 1")
    ]
    assert made == list(range(1, len(made) + 1))
    assert outside(url, "SELECT count(*) FROM loomline_threads") == [(3,)]


async def test_a_database_of_a_newer_version_is_left_alone(url):
    async with open_postgres(url):
        pass
    outside(url, "INSERT INTO loomline_migrations (version) VALUES (999)")
    with pytest.raises(StorageUnavailable, match="newer version of Loomline"):
        async with open_postgres(url):
            pass


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("postgresql://me:secret@127.0.0.1:1/db", r"at '127.0.0.1:1' cannot be reached"),
        ("postgresql://me:secret@[::broken/db", "cannot be read"),
        ("secret", "cannot be read"),
    ],
)
async def test_an_address_that_leads_nowhere(address, sentence):
    with pytest.raises(StorageUnavailable, match=sentence) as caught:
        async with open_postgres(address):
            pass
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [("dbname", "does not have this database"), ("user", "does not let this user in")],
)
async def test_a_database_or_a_user_that_is_not_there(changed, sentence):
    given = psycopg.conninfo.conninfo_to_dict(server_url()) | {changed: "nobody_has_this"}
    with pytest.raises(StorageUnavailable, match=sentence):
        async with open_postgres(psycopg.conninfo.make_conninfo(**given)):
            pass


async def test_a_user_who_may_not_make_tables(url):
    role = f"loomline_test_{uuid7().hex}"
    outside(url, f"CREATE ROLE {role} LOGIN")
    try:
        given = psycopg.conninfo.conninfo_to_dict(url) | {"user": role}
        outside(url, f"GRANT USAGE ON SCHEMA {given['options'].partition('=')[2]} TO {role}")
        with pytest.raises(StorageUnavailable, match="may not make tables"):
            async with open_postgres(psycopg.conninfo.make_conninfo(**given)):
                pass
    finally:
        outside(url, f"DROP OWNED BY {role}")
        outside(url, f"DROP ROLE {role}")


async def test_closing_twice_and_using_it_afterwards(url):
    async with open_postgres(url) as storage:
        held = await started(storage, await thread_of(storage))
        thread = held.run.thread_id
        await checkpoint(storage.run_checkpointer(held, wait=False), thread, held.run.run_id)
        await storage.close()
    for act in (
        lambda: storage.threads.create(new_thread()),
        lambda: storage.threads.get(thread),
        lambda: checkpoint(
            storage.run_checkpointer(held, wait=False), thread, held.run.run_id, "more"
        ),
    ):
        with pytest.raises(StorageUnavailable, match="shutting down"):
            await act()
    async with open_postgres(url) as storage:
        assert await storage.checkpointer().aget_tuple(root(thread)) is not None


@pytest.mark.one_interpreter
@pytest.mark.slow
async def test_a_database_without_vectors():
    server = Server()
    try:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE ROLE plain LOGIN")
            connection.execute("CREATE DATABASE small")
        given = psycopg.conninfo.conninfo_to_dict(server.url) | {"dbname": "small"}
        outside(psycopg.conninfo.make_conninfo(**given), "GRANT ALL ON SCHEMA public TO plain")
        url = psycopg.conninfo.make_conninfo(**given | {"user": "plain"})
        async with open_postgres(url) as storage:
            await storage.store.aput(("a",), "k", {"v": 1})
            assert len(await storage.store.asearch(("a",), query="words", filter={"v": 1})) == 1
        indexed = StoreOptions(index=IndexOptions(3, FakeEmbeddings(size=3)))
        with pytest.raises(StorageUnavailable, match="pgvector"):
            async with open_postgres(url, store=indexed):
                pass
    finally:
        server.remove()


async def test_vectors_that_are_too_long(url):
    options = StoreOptions(index=IndexOptions(16_001, FakeEmbeddings(size=16_001)))
    with pytest.raises(StorageUnavailable, match=r"store\.index\.dims"):
        async with open_postgres(url, store=options):
            pass


async def test_items_outlive_a_change_of_the_index(url):
    def options(dims):
        return StoreOptions(index=IndexOptions(dims, FakeEmbeddings(size=dims)))

    async with open_postgres(url, store=options(3)) as storage:
        await storage.store.aput(("a",), "old", {"text": "x"})
        await storage.store.aput(("a",), "changed", {"text": "x"})
    async with open_postgres(url, store=options(4)) as storage:
        await storage.store.aput(("a",), "new", {"text": "x"})
        found = await storage.store.asearch(("a",), query="y")
        assert [(item.key, item.score is None) for item in found][0] == ("new", False)
        assert [item.score for item in found[1:]] == [None, None]
    async with open_postgres(url) as storage:
        await storage.store.aput(("a",), "changed", {"text": "y"})
        await storage.store.adelete(("a",), "old")
    assert outside(url, "SELECT dims FROM loomline_store_vectors") == [(4,)]


async def test_long_places_and_large_numbers(storage):
    namespace, key = tuple("x" * 3000 + str(n) for n in range(3)), "k" * 100_000
    value = {"n": 1e23, "big": 2**63, "near": 2**53 + 1, "nul": "a\0b"}
    await storage.store.aput(namespace, key, value)
    for pattern in ({"n": 1e23}, {"big": float(2**63)}, {"nul": "a\0b"}, {"n": {"$gte": 1e23}}):
        assert len(await storage.store.asearch(namespace[:2], filter=pattern)) == 1
    assert await storage.store.asearch(namespace, filter={"near": float(2**53)}) == []
    assert (await storage.store.aget(namespace, key)).value["n"] == 1e23
    assert await storage.store.asearch(("x" * 3000,)) == []


# ----------------------------------------------------------------- connections that break


@pytest.fixture
async def alone():
    """A storage on a server of its own, and that server."""
    server = Server()
    try:
        async with open_postgres(server.url) as storage:
            yield storage, server
    finally:
        server.remove()


@pytest.mark.slow
async def test_a_server_that_goes_and_comes_back(alone):
    storage, server = alone
    thread = await thread_of(storage)
    server.stop()
    for act in (storage.ping, lambda: storage.threads.get(thread), lambda: thread_of(storage)):
        with pytest.raises(StorageUnavailable, match="does not answer") as caught:
            await act()
        assert "/" not in str(caught.value)
    server.start()
    assert (await storage.threads.get(thread)).thread_id == thread
    await asyncio.gather(*(thread_of(storage) for _ in range(20)))
    # Idle connections that are ended are replaced without anybody noticing.
    outside(
        server.url,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name = 'loomline'",
    )
    await asyncio.gather(*(thread_of(storage) for _ in range(20)))


@pytest.mark.slow
async def test_checkpoints_that_meet_a_server_that_is_away(alone):
    storage, server = alone
    thread = await thread_of(storage)
    held = await started(storage, thread)
    saver = storage.run_checkpointer(held, wait=False)
    kept = await checkpoint(saver, thread, held.run.run_id)
    await storage.flush(held)
    server.stop()
    await checkpoint(saver, thread, held.run.run_id)
    with pytest.raises(StorageUnavailable):
        await storage.flush(held)
    with pytest.raises(StorageUnavailable):
        await checkpoint(saver, thread, held.run.run_id)
    with pytest.raises(StorageUnavailable):
        await storage.runs.release(held)
    server.start()
    with pytest.raises(StorageUnavailable):
        await storage.runs.finish(held, DONE)
    await storage.runs.release(held)
    assert (await started_again(storage)).run.run_id == held.run.run_id
    found = await storage.checkpointer().aget_tuple(root(thread))
    assert found.config == kept


async def started_again(storage):
    (held,) = await claim(storage)
    return held


async def test_a_connection_that_is_ended_in_a_transaction(storage):
    def work(connection):
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())").fetchone()

    with pytest.raises(StorageUnavailable, match="does not answer") as caught:
        await storage._database.write(work)
    assert "terminat" not in str(caught.value)
    await asyncio.gather(*(thread_of(storage) for _ in range(20)))


async def test_a_failed_statement_leaves_the_connections_usable(storage, url):
    with pytest.raises(StorageUnavailable, match="it refused a statement") as caught:
        await storage._database.write(
            lambda c: c.execute("INSERT INTO loomline_threads DEFAULT VALUES")
        )
    assert "loomline_threads" not in str(caught.value)
    with pytest.raises(StorageUnavailable):
        await asyncio.to_thread(storage._database.write_blocking, lambda c: c.execute("no SQL"))
    await asyncio.gather(*(thread_of(storage) for _ in range(20)))
    assert outside(url, "SELECT count(*) FROM loomline_threads") == [(20,)]


@asynccontextmanager
async def cut_off(url, obstacle):
    """Let what is begun meanwhile run into a lock, and end its connection there."""
    with psycopg.connect(url) as blocker:
        blocker.execute(obstacle)
        yield
        with psycopg.connect(url, autocommit=True) as killer:
            ended = (
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE %s = ANY(pg_blocking_pids(pid))"
            )
            while not killer.execute(ended, (blocker.info.backend_pid,)).fetchone()[0]:
                await asyncio.sleep(0)


async def acts_that_write_much(storage):
    """Acts of several statements, each with an obstacle far inside of it."""
    thread = await thread_of(storage, metadata={"kept": True})
    saver = storage.checkpointer()
    await checkpoint(saver, thread, uuid7())
    edit = storage.edit(thread)
    await checkpoint(edit.checkpointer, thread, uuid7())
    state = ThreadState("idle", Encoded(b"{}"), Encoded(b"{}"), NOW)
    assistant = default_assistant("graph", "name", None, NOW)
    await storage.assistants.ensure([assistant])
    assistant_id = assistant.assistant_id
    await storage.store.aput(("a",), "two", {})
    puts = [PutOp(("a",), key, {"new": True}) for key in ("one", "two")]
    lock = "LOCK TABLE {}".format
    return [
        (lambda: storage.threads.copy(thread, uuid7(), NOW), lock("loomline_displaced_writes")),
        (lambda: edit.commit(state), lock("loomline_thread_values")),
        (lambda: storage.threads.prune([thread], "delete"), lock("loomline_displaced_writes")),
        (
            lambda: storage.assistants.update(assistant_id, AssistantPatch(NOW, name="new")),
            lock("loomline_assistant_versions"),
        ),
        (
            lambda: storage.assistants.delete(assistant_id, delete_threads=True),
            lock("loomline_threads"),
        ),
        (lambda: storage.store.abatch(puts), "SELECT 1 FROM loomline_store_items FOR UPDATE"),
        (lambda: add(storage, thread), lock("loomline_runs")),
    ]


def contents(url):
    tables = outside(url, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    return {name: sorted(map(repr, outside(url, f"SELECT * FROM {name}"))) for (name,) in tables}


async def test_interrupted_transactions_leave_no_rows(storage, url):
    acts = await acts_that_write_much(storage)
    before = contents(url)
    for act, obstacle in acts:
        async with cut_off(url, obstacle):
            task = asyncio.create_task(act())
        with pytest.raises(StorageUnavailable, match="does not answer"):
            await task
        assert contents(url) == before


async def test_who_loses_against_another_transaction_comes_again(storage):
    attempts = []

    def work(connection):
        attempts.append(None)
        if len(attempts) < 3:
            raise errors.DeadlockDetected
        return "done"

    assert await storage._database.write(work) == "done"

    def never(connection):
        raise errors.SerializationFailure

    with pytest.raises(StorageUnavailable):
        await storage._database.write(never)


# ------------------------------------------------------------- loops, threads, cancellation


async def test_callers_on_several_loops(storage):
    def elsewhere():
        async def create():
            return [await storage.threads.create(new_thread()) for _ in range(20)]

        return asyncio.run(create())

    made = await asyncio.gather(*(asyncio.to_thread(elsewhere) for _ in range(4)))
    for thread in (each for part in made for each in part):
        assert await storage.threads.get(thread.thread_id) == thread


class Gate:
    """A work that keeps its thread until it is opened."""

    def __init__(self):
        self.reached, self._open = threading.Event(), threading.Event()

    def __call__(self, connection):
        self.reached.set()
        self._open.wait(150)

    def open(self):
        self._open.set()


@asynccontextmanager
async def busy(storage):
    """Keep all threads busy; then let them go, and wait for it."""
    gates = [Gate() for _ in range(CONNECTIONS)]
    tasks = [asyncio.create_task(storage._database.write(gate)) for gate in gates]
    for gate in gates:
        assert await asyncio.to_thread(gate.reached.wait, 150)
    try:
        yield
    finally:
        for gate in gates:
            gate.open()
        await asyncio.gather(*tasks)


async def test_a_cancelled_caller_leaves_no_lock_behind(storage):
    thread = await thread_of(storage)
    gate = Gate()

    def work(connection):
        connection.execute("SELECT 1 FROM loomline_threads FOR UPDATE").fetchall()
        gate(connection)

    task = asyncio.create_task(storage._database.write(work))
    assert await asyncio.to_thread(gate.reached.wait, 150)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.open()
    await add(storage, thread)


@pytest.mark.one_interpreter
async def test_too_many_requests_are_refused_and_the_rest_is_done(storage):
    async with busy(storage):
        works = [
            asyncio.create_task(storage._database.call(lambda: None))
            for _ in range(QUEUE_MOST - CONNECTIONS)
        ]
        await asyncio.sleep(0)
        with pytest.raises(StorageUnavailable, match="too many requests"):
            await storage.threads.create(new_thread())
    await asyncio.gather(*works)
    await storage.threads.create(new_thread())


# ------------------------------------------------------------------------- several processes


async def test_workers_of_several_processes_share_the_queue(url):
    async with open_postgres(url) as one, open_postgres(url) as two:
        for thread in [await thread_of(one) for _ in range(20)]:
            await add(one, thread)
            await add(two, thread)
        taken = await asyncio.gather(*(claim(each, 3) for _ in range(10) for each in (one, two)))
        claims = [held for each in taken for held in each]
        assert len({held.run.thread_id for held in claims}) == len(claims) == 20
        await asyncio.gather(*(two.runs.finish(held, DONE) for held in claims))
        assert len(await claim(one, 99)) == 20


async def test_sweepers_of_several_processes_do_not_get_into_each_others_way(url):
    async with open_postgres(url) as one, open_postgres(url) as two:
        for _ in range(100):
            made = dataclasses.replace(new_thread(now=NOW), ttl=Ttl(1, "delete"))
            await one.threads.create(made)
        later = NOW + timedelta(minutes=2)
        found = await asyncio.gather(
            *(storage.threads.expire(later, 10) for _ in range(10) for storage in (one, two))
        )
        found.append(await one.threads.expire(later, 1000))
        swept = [thread for each in found for thread in each.threads]
        assert len(swept) == len(set(swept)) == 100


async def test_concurrent_acts_on_one_thread_are_serialised(url):
    async with open_postgres(url) as one, open_postgres(url) as two:
        thread = await thread_of(one)
        strategies = ["enqueue", "interrupt", "rollback"]
        for number in range(8):
            acts = [
                each.runs.create(new_run(thread, strategy=strategies[(number + place) % 3]))
                for place, each in enumerate((one, two, one))
            ]
            _, _, _, claims, *_ = await asyncio.gather(
                *acts, claim(one), two.runs.reclaim(max_attempts=3, orphaned=True)
            )
            for held in claims:
                try:
                    await checkpoint(
                        one.run_checkpointer(held, wait=False), thread, held.run.run_id
                    )
                    await one.runs.finish(held, DONE)
                except LeaseLost:
                    pass
        runs = await one.runs.list(thread, limit=99, offset=0, status=None)
        assert sum(run.status == "running" for run in runs) <= 1


async def test_a_thread_never_has_two_running_runs(storage, url):
    thread = await thread_of(storage)
    await started(storage, thread)
    other = await add(storage, thread)
    with pytest.raises(errors.UniqueViolation):
        outside(url, "UPDATE loomline_runs SET status = 'running' WHERE run_id = %s", other)


async def test_a_run_whose_worker_is_just_writing_is_not_taken_away(storage, url):
    held = await started(storage, await thread_of(storage))
    with psycopg.connect(url) as worker:
        worker.execute("SELECT loomline_hold(%s, %s, 0)", (held.run.run_id, held.token))
        found = await storage.runs.reclaim(max_attempts=3, orphaned=True)
        assert found.requeued == ()
    found = await storage.runs.reclaim(max_attempts=3, orphaned=True)
    assert found.requeued == (held.run.run_id,)


# ------------------------------------------------------------------------------- checkpoints


async def test_claims_that_write_at_once_share_a_transaction(storage, url):
    held = [await started(storage, await thread_of(storage)) for _ in range(3)]
    async with busy(storage):  # only the drain can write
        for each in held:
            saver = storage.run_checkpointer(each, wait=False)
            await checkpoint(saver, each.run.thread_id, each.run.run_id)
        await asyncio.gather(*(storage.flush(each) for each in held))
    assert len(outside(url, "SELECT DISTINCT xmin::text FROM checkpoint_blobs")) == 1


async def test_a_bad_checkpoint_fails_its_own_run_alone(storage, url):
    first, bad, good = [await started(storage, await thread_of(storage)) for _ in range(3)]
    with psycopg.connect(url) as blocker:
        blocker.execute("LOCK TABLE checkpoint_blobs")
        for each in (first, bad, good):
            thread = each.run.thread_id
            await checkpoint(storage.run_checkpointer(each, wait=False), thread, each.run.run_id)
            if each is first:
                await asyncio.to_thread(until_somebody_waits, url)
        saver = storage.run_checkpointer(bad, wait=False)
        nul = {"configurable": {"thread_id": str(bad.run.thread_id), "checkpoint_ns": "\0"}}
        await saver.aput(nul, empty_checkpoint(), {}, {})
    await storage.flush(good)
    with pytest.raises(StorageUnavailable):
        await storage.flush(bad)
    with pytest.raises(StorageUnavailable):
        await storage.runs.finish(bad, DONE)
    await storage.runs.release(bad)
    assert not (await storage.runs.finish(good, DONE)).waiting
    assert (await storage.runs.get(None, bad.run.run_id)).status == "pending"
    assert await storage.checkpointer().aget_tuple(root(good.run.thread_id)) is not None
    assert await storage.checkpointer().aget_tuple(root(bad.run.thread_id)) is None


def until_somebody_waits(url):
    while not outside(
        url,
        "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'checkpoint_blobs'::regclass",
    ):
        pass


async def test_tables_of_a_newer_langgraph_are_used_and_said(url, caplog):
    async with open_postgres(url):
        pass
    outside(url, "INSERT INTO checkpoint_migrations (v) VALUES (99)")
    async with open_postgres(url):
        assert "newer version of langgraph" in caplog.text


async def test_a_run_waits_when_too_much_of_it_is_unwritten(storage, url):
    held = await started(storage, await thread_of(storage))
    saver = storage.run_checkpointer(held, wait=False)
    with psycopg.connect(url) as blocker:
        blocker.execute("LOCK TABLE checkpoints")
        await checkpoint(saver, held.run.thread_id, held.run.run_id)
        big = asyncio.create_task(
            checkpoint(saver, held.run.thread_id, held.run.run_id, "x" * PENDING_BYTES)
        )
        done, _ = await asyncio.wait([big], timeout=0.1)
        assert not done
    await big
    await storage.runs.finish(held, DONE)
    assert outside(url, "SELECT count(*) FROM checkpoints") == [(2,)]


async def test_the_end_of_a_run_takes_its_unwritten_checkpoints_along(storage, url):
    held = await started(storage, await thread_of(storage))
    saver = storage.run_checkpointer(held, wait=False)
    await asyncio.gather(
        *(checkpoint(saver, held.run.thread_id, held.run.run_id) for _ in range(5))
    )
    await storage.runs.finish(held, DONE)
    assert outside(url, "SELECT count(*) FROM checkpoints") == [(5,)]
    assert storage._savers.sinks._sinks == {}


async def test_nul_characters_become_something_that_can_be_stored(storage):
    thread = await thread_of(storage, metadata={"a\0": "b\0", "c": "\\u0000"})
    assert (await storage.threads.get(thread)).metadata == {
        "a\N{REPLACEMENT CHARACTER}": "b\N{REPLACEMENT CHARACTER}", "c": "\\u0000",
    }  # fmt: skip
    saver = storage.checkpointer()
    saved = empty_checkpoint()
    saved["channel_values"], saved["channel_versions"] = {"text": "a\0"}, {"text": "1"}
    await saver.aput(root("t"), saved, {"deep": ["a\0"]}, {"text": "1"})
    found = await saver.aget_tuple(root("t"))
    assert found.checkpoint["channel_values"] == {"text": "a\0"}
    assert found.metadata["deep"] == ["a\N{REPLACEMENT CHARACTER}"]


async def test_a_request_keeps_its_text(storage):
    """Numbers, order and escapes of what only passes through are those of the request."""
    text = b'{"z":1e22,"a":[1.0,-0.0],"n":"\\u0000"}'
    thread = await thread_of(storage)
    run = await add(storage, thread, kwargs=text)
    assert (await storage.runs.get(thread, run)).request.encoded == text


async def test_deleting_a_thread_that_is_not_known_leaves_its_checkpoints(storage):
    """They may be from before the database was adopted."""
    thread = uuid7()
    saved = await checkpoint(storage.checkpointer(), thread, "r")
    with pytest.raises(ThreadNotFound):
        await storage.threads.delete(thread)
    assert await storage.checkpointer().aget_tuple(saved) is not None


# ----------------------------------------------------------------------- the stock tables


class State(TypedDict):
    text: str
    items: list[int]


def first(state):
    return {"text": state["text"] + "1", "items": [1, 2, 3]}


def second(state):
    return {"text": state["text"] + interrupt("why") + interrupt("how")}


GRAPH = StateGraph(State).add_sequence([first, second]).set_entry_point("first").compile()


def on(saver):
    return GRAPH.copy(update={"checkpointer": saver})


@pytest.fixture
async def stock(url):
    async with AsyncPostgresSaver.from_conn_string(url) as saver:
        await saver.setup()
        yield saver


def shown(states):
    return [
        (each.config, each.values, each.next, each.metadata, each.interrupts) for each in states
    ]


async def history(saver, thread):
    return shown([each async for each in on(saver).aget_state_history(root(thread))])


async def test_threads_of_the_stock_saver_are_adopted(url, stock):
    threads = [uuid7() for _ in range(3)]
    for thread in threads:
        await on(stock).ainvoke({"text": "a"}, root(thread))
    before = [await history(stock, thread) for thread in threads]
    async with open_postgres(url) as storage:
        ours = storage.checkpointer()
        assert [await history(ours, thread) for thread in threads] == before
        await storage.runs.create(new_run(threads[0], create_thread=True))
        (held,) = await claim(storage)
        assert not held.fresh
        behind = storage.run_checkpointer(held, wait=False)
        await on(behind).ainvoke(Command(resume="b"), root(threads[0]))
        await storage.runs.finish(held, DONE)
        # And the other way round: the stock saver reads our rows, and goes on.
        assert await history(stock, threads[0]) == await history(ours, threads[0])
        await stock.setup()
        result = await on(stock).ainvoke(Command(resume="c"), root(threads[0]))
        assert result == {"text": "a1bc", "items": [1, 2, 3]}
        assert await history(stock, threads[0]) == await history(ours, threads[0])


async def test_the_stock_saver_reads_and_continues_a_thread_of_loomline(url, stock):
    thread = uuid7()
    async with open_postgres(url) as storage:
        await storage.runs.create(new_run(thread, create_thread=True))
        (held,) = await claim(storage)
        behind = storage.run_checkpointer(held, wait=False)
        await on(behind).ainvoke({"text": "a"}, {**root(thread), "metadata": {"topic": "t"}})
        await storage.runs.finish(held, DONE)
        ours = [each async for each in on(behind).aget_state_history(root(thread))]
    theirs = [each async for each in on(stock).aget_state_history(root(thread))]
    assert {each.metadata.pop("topic") for each in ours} == {"t"}
    assert shown(theirs) == shown(ours)
    assert (await on(stock).ainvoke(Command(resume="b"), root(thread)))["text"] == "a1"
    result = await on(stock).ainvoke(Command(resume="c"), root(thread))
    assert result == {"text": "a1bc", "items": [1, 2, 3]}
    # Another input is seen only if its version comes after the versions of Loomline.
    again = await on(stock).ainvoke({"text": "z"}, root(thread))
    assert [each.value for each in again["__interrupt__"]] == ["why"]
    assert again["text"] == "z1"


async def test_rollback_restores_writes_of_the_stock_saver(url, stock):
    thread = uuid7()
    await on(stock).ainvoke({"text": "a"}, root(thread))
    await on(stock).ainvoke(Command(resume="b"), root(thread))
    before = await history(stock, thread)
    async with open_postgres(url) as storage:
        await storage.runs.create(new_run(thread, create_thread=True))
        (held,) = await claim(storage)
        behind = storage.run_checkpointer(held, wait=False)
        result = await on(behind).ainvoke(Command(resume="regretted"), root(thread))
        assert result["text"] == "a1bregretted"
        await storage.runs.finish(held, ROLLED_BACK)
        assert await history(storage.checkpointer(), thread) == before
    assert await history(stock, thread) == before
    assert outside(url, "SELECT count(*) FROM loomline_displaced_writes") == [(0,)]


async def asked(saver, thread):
    state = await on(saver).aget_state(root(thread))
    return [each.value for each in state.interrupts]


async def test_copy_is_independent_of_later_changes_to_its_source(url, stock):
    thread, copy = uuid7(), uuid7()
    await on(stock).ainvoke({"text": "a"}, root(thread))
    async with open_postgres(url) as storage:
        saver = storage.checkpointer()
        await storage.runs.create(new_run(thread, create_thread=True))
        (held,) = await claim(storage)
        behind = storage.run_checkpointer(held, wait=False)
        await on(behind).ainvoke(Command(resume="b"), root(thread))
        await storage.flush(held)
        await saver.acopy_thread(str(thread), str(copy))
        displaced = "SELECT count(*) FROM loomline_displaced_writes WHERE thread_id = %s"
        assert outside(url, displaced, str(thread)) == outside(url, displaced, str(copy)) != [(0,)]
        await storage.runs.finish(held, ROLLED_BACK)
        assert await asked(saver, thread) == ["why"]
        assert await asked(saver, copy) == ["how"]


async def test_copy_keeps_the_order_of_displaced_writes(url):
    source, copy = str(uuid7()), str(uuid7())
    async with open_postgres(url) as storage:
        for run, seq in (("a", 2_000_002), ("b", 2_000_001)):
            outside(
                url,
                "INSERT INTO loomline_displaced_writes (thread_id, checkpoint_ns, checkpoint_id, task_id,"
                " idx, run_id, task_path, channel, type, blob, seq) OVERRIDING SYSTEM VALUE"
                " VALUES (%s, '', 'c', 't', 0, %s, '', 'x', 'json', '1', %s) RETURNING 1",
                source, run, seq,
            )  # fmt: skip
        await storage.checkpointer().acopy_thread(source, copy)
    order = "SELECT run_id FROM loomline_displaced_writes WHERE thread_id = %s ORDER BY seq"
    assert outside(url, order, copy) == [("b",), ("a",)]


async def test_a_stop_survives_in_the_database(storage):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    stop = Stop("rollback", "because")
    await storage.runs.cancel(thread, [held.run.run_id], stop)
    assert (await storage.runs.renew("worker", [held], 15)).stops == {held.run.run_id: stop}


@pytest.mark.one_interpreter
async def test_statements_of_a_run_never_scan_whole_tables(url):
    """No statement of a run reads a table from its beginning to its end."""
    async with open_postgres(url) as storage:
        for _ in range(300):
            held = await started(storage, await thread_of(storage))
            saver = storage.run_checkpointer(held, wait=False)
            await checkpoint(saver, held.run.thread_id, held.run.run_id)
            await storage.flush(held)
            await saver.aget_tuple(root(held.run.thread_id))
            await storage.runs.renew("worker", [held], 15)
            await storage.runs.finish(held, DONE)
    read = dict(
        outside(
            url,
            "SELECT relname, seq_tup_read FROM pg_stat_user_tables"
            " WHERE schemaname = current_schema()",
        )
    )
    many = {name: number for name, number in read.items() if number > 10_000}
    assert not many  # 300 * 300 / 2 would be more
