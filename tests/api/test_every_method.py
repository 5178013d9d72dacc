"""Every method of the clients' resources, ours and the official ones, in both colours.

The scenario is written once. It fails when a client gets a method that it does not call.
"""

import asyncio
import inspect

import langgraph_sdk
import pytest

import loomline

pytestmark = pytest.mark.two_servers

MAKERS = {
    "loomline": loomline.get_client,
    "official": langgraph_sdk.get_client,
    "loomline-sync": loomline.get_sync_client,
    "official-sync": langgraph_sdk.get_sync_client,
}
RESOURCES = ("assistants", "threads", "runs", "crons", "store")

# Streams of a thread have tests of their own.
ELSEWHERE = {("threads", "stream")}

# Our own additions, which the official clients lack.
OURS = {(resource, "search_all") for resource in ("assistants", "threads", "crons", "store")}


class Recorder:
    """A resource of a client of either colour: every method can be awaited, and is noted."""

    def __init__(self, name, resource, called):
        self._name, self._resource, self._called = name, resource, called

    def __getattr__(self, method):
        self._called.add((self._name, method))
        act = getattr(self._resource, method)

        async def call(*args, **kwargs):
            if inspect.iscoroutinefunction(act):
                return await act(*args, **kwargs)
            made = await asyncio.to_thread(act, *args, **kwargs)
            if hasattr(made, "__aiter__"):
                return [part async for part in made]
            if hasattr(made, "__next__"):
                return await asyncio.to_thread(list, made)
            return made

        return call


class Recorded:
    def __init__(self, client):
        self.called = set()
        self.offered = {
            (name, method)
            for name in RESOURCES
            for method in dir(type(getattr(client, name)))
            if not method.startswith("_")
        }
        for name in RESOURCES:
            setattr(self, name, Recorder(name, getattr(client, name), self.called))


async def of_assistants(client):
    made = await client.assistants.create(
        "joke", context={"tone": "dry"}, metadata={"every": "method"}, name="Mine"
    )
    place = made["assistant_id"]
    assert await client.assistants.get(place) == made
    changed = await client.assistants.update(place, context={"tone": "wet"})
    assert (changed["version"], changed["context"]) == (2, {"tone": "wet"})
    assert [each["version"] for each in await client.assistants.get_versions(place)] == [2, 1]
    assert (await client.assistants.set_latest(place, 1))["context"] == {"tone": "dry"}
    found = await client.assistants.search(metadata={"every": "method"}, graph_id="joke")
    assert [each["assistant_id"] for each in found] == [place]
    assert await client.assistants.count(metadata={"every": "method"}) == 1
    assert {node["id"] for node in (await client.assistants.get_graph(place))["nodes"]} >= {
        "__start__",
        "__end__",
    }
    assert (await client.assistants.get_schemas(place))["graph_id"] == "joke"
    assert list(await client.assistants.get_subgraphs("parent", recurse=True))
    await client.assistants.delete(place)
    assert await client.assistants.count(metadata={"every": "method"}) == 0


async def of_threads(client):
    made = await client.threads.create(metadata={"every": "method"}, graph_id="joke")
    place = made["thread_id"]
    assert await client.threads.get(place) == made
    await client.threads.update(place, metadata={"b": 2})
    await client.threads.update_state(place, {"topic": "cats"}, as_node="generate_joke")
    state = await client.threads.get_state(place)
    assert state["values"]["topic"] == "cats"
    assert len(await client.threads.get_history(place, limit=5)) == 1
    (found,) = await client.threads.search(metadata={"every": "method"}, values={"topic": "cats"})
    assert found["metadata"]["b"] == 2
    assert await client.threads.count(metadata={"every": "method"}) == 1
    copied = (await client.threads.copy(place))["thread_id"]
    assert (await client.threads.get_state(copied))["values"] == state["values"]
    assert (await client.threads.prune([copied]))["pruned_count"] == 1
    with pytest.raises(Exception, match="not found"):
        await client.threads.get(copied)
    await client.threads.delete(place)
    assert await client.threads.count(metadata={"every": "method"}) == 0


async def of_runs(client):
    thread = (await client.threads.create())["thread_id"]
    topic = {"topic": "x"}
    result = await client.runs.wait(thread, "joke", input=topic)
    parts = await client.runs.stream(thread, "joke", input=topic, stream_mode="values")
    assert (parts[0].event, parts[-1].data) == ("metadata", result)
    run = await client.runs.create(thread, "joke", input=topic, stream_resumable=True)
    assert await client.runs.join(thread, run["run_id"]) == result
    joined = await client.runs.join_stream(thread, run["run_id"], last_event_id="-1")
    assert joined[-1].data == result
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "success"
    assert len(await client.runs.list(thread)) == 3
    await client.runs.delete(thread, run["run_id"])
    assert len(await client.runs.list(thread)) == 2
    sleepy = await client.runs.create(thread, "sleepy", input={})
    await client.runs.cancel(thread, sleepy["run_id"], wait=True)
    sleepy = await client.runs.create(thread, "sleepy", input={})
    await client.runs.cancel_many(thread_id=thread, run_ids=[sleepy["run_id"]])
    await client.runs.join(thread, sleepy["run_id"])
    assert (await client.runs.get(thread, sleepy["run_id"]))["status"] == "interrupted"
    batch = await client.runs.create_batch([{"assistant_id": "joke", "input": topic}] * 2)
    for each in batch:
        await client.runs.join(each["thread_id"], each["run_id"])
    await client.threads.delete(thread)


async def of_crons(client):
    made = await client.crons.create(
        "joke", schedule="0 0 1 1 *", input={"topic": "x"}, metadata={"every": "method"}
    )
    changed = await client.crons.update(made["cron_id"], schedule="0 0 2 1 *")
    assert changed["schedule"] == "0 0 2 1 *"
    (found,) = await client.crons.search(assistant_id=made["assistant_id"])
    assert found["cron_id"] == made["cron_id"]
    thread = (await client.threads.create())["thread_id"]
    await client.crons.create_for_thread(thread, "joke", schedule="@yearly")
    assert await client.crons.count(thread_id=thread) == 1
    await client.crons.delete(made["cron_id"])
    await client.threads.delete(thread)
    assert await client.crons.count() == 0


async def of_store(client):
    place = ["every", "method"]
    await client.store.put_item(place, "key", {"a": 1})
    item = await client.store.get_item(place, "key")
    assert (item["namespace"], item["value"]) == (place, {"a": 1})
    found = (await client.store.search_items(place, filter={"a": 1}))["items"]
    assert [each["key"] for each in found] == ["key"]
    assert (await client.store.list_namespaces(prefix=["every"]))["namespaces"] == [place]
    await client.store.delete_item(place, "key")
    assert (await client.store.search_items(place))["items"] == []


async def of_everything(client):
    """What only our clients have: all pages, one after the other."""
    thread = (await client.threads.create(metadata={"all": 1}))["thread_id"]
    await client.store.put_item(["all"], "key", {"a": 1})
    assert [each["graph_id"] for each in await client.assistants.search_all(graph_id="ask")]
    assert len(await client.threads.search_all(metadata={"all": 1})) == 1
    assert await client.crons.search_all() == []
    assert [each["key"] for each in await client.store.search_all(["all"])] == ["key"]
    await client.store.delete_item(["all"], "key")
    await client.threads.delete(thread)


def is_end(part, run):
    return part.event == "metadata" and part.data == {
        "status": "run_done",
        "run_id": run["run_id"],
    }


async def of_a_followed_thread(client, made):
    """The endless stream of a thread, left at the end of a run."""
    client.called.add(("threads", "join_stream"))
    thread = (await client.threads.create())["thread_id"]
    run = await client.runs.create(thread, "joke", input={"topic": "x"}, stream_resumable=True)
    stream = made.threads.join_stream(thread, last_event_id="-")
    if inspect.iscoroutine(stream):
        stream = await stream

    async def follow():
        async for part in stream:
            if is_end(part, run):
                return True
        return False

    def follow_sync():
        return any(is_end(part, run) for part in stream)

    is_async = hasattr(stream, "__aiter__")
    assert await (follow() if is_async else asyncio.to_thread(follow_sync))
    await (stream.aclose() if is_async else asyncio.to_thread(stream.close))
    await client.threads.delete(thread)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", MAKERS)
async def test_every_client_method_works_against_the_server(serving, kind):
    with serving() as server:
        made = MAKERS[kind](url=server, api_key=None)
        client = Recorded(made)
        for scenario in (of_assistants, of_threads, of_runs, of_crons, of_store):
            await scenario(client)
        if kind.startswith("loomline"):
            await of_everything(client)
        await of_a_followed_thread(client, made)
        assert client.offered - client.called == ELSEWHERE & client.offered
        closed = made.aclose() if hasattr(made, "aclose") else asyncio.to_thread(made.close)
        await closed


def test_both_clients_offer_the_expected_methods():
    ours = Recorded(loomline.get_client(url="http://localhost")).offered
    theirs = Recorded(langgraph_sdk.get_client(url="http://localhost")).offered
    assert theirs - ours <= ELSEWHERE
    assert ours - theirs == OURS
