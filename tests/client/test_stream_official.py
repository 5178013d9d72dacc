"""Our thread streaming against that of the official client: same server, same calls."""

import langgraph_sdk
import pytest
from tests.client.thread_server import thread_server

import loomline

RUN = "11111111-1111-4111-8111-111111111111"
CLIENTS = (loomline, langgraph_sdk)


def script(server):
    """Return a server that asks one question in its run."""

    def start(run_id):
        server.lifecycle("running", run_id)
        server.emit("values", {"n": 1})
        server.emit("values", {"inner": 1}, ["child:1"])
        server.emit("custom", {"name": "ticks", "payload": 1})
        server.emit("custom", {"name": "ticks", "payload": 2})
        server.lifecycle("completed", run_id)

    server.on_start(start, RUN)
    server.state["values"] = {"n": 1}


async def one(client, read, **options):
    """Run something with one client on a server of its own; return what it found and asked."""
    with thread_server() as server:
        script(server)
        made = client.get_client(url=server.url, api_key=None)
        # Not a thread that was named: leaving its context early, the official client may hang.
        async with made, made.threads.stream(assistant_id="agent", **options) as thread:
            found = await read(thread, server)
        asked = [
            (method, path.replace(thread.thread_id, "t"), body)
            for method, path, _, body in server.requests
        ]
        commands = [each for each in asked if each[1].endswith(("/commands", "/state", "/graph"))]
        return found, commands


async def both(read, **options):
    ours, official = [await one(client, read, **options) for client in CLIENTS]
    assert ours == official
    return ours[0]


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_values_equal_those_of_the_official_client(transport):
    async def read(thread, server):
        await thread.run.start(input={"a": 1}, config={"tags": ["x"]}, metadata={"m": 1})
        return [value async for value in thread.values]

    assert await both(read, transport=transport) == [{"n": 1}, {"n": 1}, {"inner": 1}]


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_events_equal_those_of_the_official_client(transport):
    async def read(thread, server):
        await thread.run.start()
        wanted = ["values", "custom", "lifecycle"]
        return [event async for event in thread.subscribe(wanted)]

    assert len(await both(read, transport=transport)) == 6


async def test_events_of_a_namespace():
    async def read(thread, server):
        await thread.run.start()
        events = thread.subscribe(["values"], namespaces=[["child"]], depth=0)
        return [event["seq"] async for event in events]

    assert await both(read) == [3]


async def test_extensions_equal_those_of_the_official_client():
    async def read(thread, server):
        await thread.run.start()
        return [data async for data in thread.extensions["ticks"]]

    assert len(await both(read)) == 2


async def test_interleaved_parts_equal_those_of_the_official_client():
    async def read(thread, server):
        await thread.run.start()
        return [part async for part in thread.interleave_projections(["values", "ticks"])]

    assert len(await both(read)) == 4


async def test_output_and_graph_equal_those_of_the_official_client():
    async def read(thread, server):
        await thread.run.start(langsmith_tracing={"project_name": "p"})
        tree = await thread.agent.get_tree(xray=2)
        return await thread.output, tree, thread.interrupted, thread.interrupts

    await both(read)


async def test_failure_equals_that_of_the_official_client():
    async def read(thread, server):
        server.on_start(lambda run_id: server.lifecycle("failed", run_id, error="boom"), RUN)
        await thread.run.start()
        found = [event["method"] async for event in thread.subscribe(["lifecycle"])]
        with pytest.raises(RuntimeError) as caught:
            await thread.output
        return found, str(caught.value)

    assert await both(read) == (["lifecycle"], "Run errored: boom")


async def test_refusal_equals_that_of_the_official_client():
    async def read(thread, server):
        refused = {"error": "invalid_argument", "message": "no"}
        server.commands["run.start"] = lambda params: refused
        with pytest.raises(RuntimeError) as caught:
            await thread.run.start()
        return str(caught.value)

    assert await both(read) == "Protocol error [invalid_argument]: no"


async def test_wrong_use_raises_as_in_the_official_client():
    async def read(thread, server):
        found = []
        for wrong in (
            lambda: thread.extensions[""],
            lambda: anext(aiter(thread.interleave_projections(["lifecycle"]))),
        ):
            with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words differ
                await wrong()
            found.append(type(caught.value))
        with pytest.raises(RuntimeError):
            await thread.run.respond("x")
        return found

    await both(read)
