"""The official Python clients, on the thread protocol.

They leave connections of their streams to the garbage collector, which would complain of them in
whichever test it comes to.
"""

import asyncio
import gc

import pytest
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import get_client, get_sync_client

ASK = {"messages": [{"role": "user", "content": "What is 2 + 3?"}]}
SAID = ["Let me add.", "It is five.", "One side.", "Other side."]


pytestmark = [
    pytest.mark.two_servers,
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


@pytest.fixture(autouse=True)
def what_is_left():
    """Let go of it here."""
    yield
    gc.collect()


@pytest.fixture
async def official(server):
    async with get_client(url=server, api_key=None) as client:
        yield client


@pytest.fixture
def official_sync(server):
    with get_sync_client(url=server, api_key=None) as client:
        yield client


async def texts(messages):
    """Return what the messages say. A message gets its text while one waits for the next."""
    found = [message async for message in messages]
    return sorted([await message.text for message in found])


async def asked(thread):
    """Return what the thread asks, by its question, once it has asked everything."""
    while len(thread.interrupts) < 2:
        await asyncio.sleep(0.01)
    return {each["value"]["question"]: each["interrupt_id"] for each in thread.interrupts}


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_official_client_holds_a_conversation_with_questions(official, transport):
    async with official.threads.stream(assistant_id="assistant", transport=transport) as thread:
        await thread.run.start(input=ASK)
        assert await texts(thread.messages) == sorted(SAID)
        waiting = await asked(thread)
        await thread.run.respond("yes", interrupt_id=waiting["Inside?"])
        await thread.run.respond("very", interrupt_id=waiting["Sure?"])
        state = await asyncio.wait_for(thread.output.with_timeout(20), 20)
        assert state["log"][-2:] == ["Inside? yes", "Sure? very"]


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_official_projections_yield_values_while_the_run_works(official, transport, tmp_path):
    # The client ends its iterators as soon as a connection of its own tells it of a question,
    # however much is still to come on the connection they read; with the reference server too. So
    # the run asks once they have seen what is expected.
    gate = tmp_path / "gate"
    calls, graphs, values, ticks = found = [], [], [], []

    async def read(source, seen):
        async for each in source:
            seen.append(each)
            if all(found) and len(ticks) >= 3 and len(values[-1].get("messages", ())) == 4:
                gate.touch()

    async with (
        asyncio.timeout(150),
        official.threads.stream(assistant_id="assistant", transport=transport) as thread,
    ):
        await thread.run.start(input={**ASK, "gate": str(gate)})
        sources = [thread.tool_calls, thread.subgraphs, thread.values, thread.extensions["ticks"]]
        await asyncio.gather(*map(read, sources, found))
        output = (await calls[0].output)["content"]
    assert [(call.name, call.input, output) for call in calls] == [("add", {"a": 2, "b": 3}, "5")]
    assert [graph.path[0].partition(":")[0] for graph in graphs] == ["child"]
    assert [tick["payload"]["count"] for tick in ticks][:3] == [1, 2, 3]


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_a_streamed_message_has_the_content_of_the_stored_one(client, transport):
    """The pieces of a tool call are told with the id and the name of the call."""
    async with client.threads.stream(assistant_id="assistant", transport=transport) as thread:
        await thread.run.start(input=ASK)
        found = [message async for message in thread.messages]
        streamed = {whole.id: whole for whole in [await message.output for message in found]}
        pieces = [
            (piece["id"], piece["name"], piece["args"])
            for message in found
            async for piece in message.tool_calls
        ]
        state = await client.threads.get_state(thread.thread_id)
    first, last = [each for each in state["values"]["messages"] if each["type"] == "ai"]
    assert pieces == [("call_1", "add", '{"a": 2,'), ("call_1", "add", ' "b": 3}')]
    assert streamed[first["id"]].content == first["content"]
    assert [block["type"] for block in first["content"]] == ["text", "tool_call"]
    # The node iterates this model itself and stores a string, which langchain leaves as it is.
    assert streamed[last["id"]].text == last["content"] == "It is five."


async def test_a_run_that_fails(official):
    async with official.threads.stream(assistant_id="boom") as thread:
        await thread.run.start(input={"topic": "tea"})
        with pytest.raises(RuntimeError, match="boom: tea"):
            await asyncio.wait_for(thread.output.with_timeout(20), 20)


async def test_one_run_after_the_other(official):
    async with official.threads.stream(assistant_id="joke") as thread:
        await thread.run.start(input={"topic": "tea"})
        assert (await thread.output)["topic"] == "tea and cats"
    async with official.threads.stream(thread.thread_id, assistant_id="joke") as again:
        assert (await again.output)["topic"] == "tea and cats"


def test_official_sync_client_streams_a_thread(official_sync):
    with official_sync.threads.stream(assistant_id="assistant") as thread:
        thread.run.start(input=ASK)
        messages = list(thread.messages)
        assert sorted(str(message.text) for message in messages) == sorted(SAID)
        assert thread.interrupted


async def test_a_graph_from_afar(server):
    async with get_client(url=server, api_key=None) as client:
        with get_sync_client(url=server, api_key=None) as sync_client:
            remote = RemoteGraph("assistant", client=client, sync_client=sync_client)
            async with await remote.astream_events(ASK, version="v3") as run:
                assert await texts(run.messages) == sorted(SAID)
                # The messages end at the first question.
                while len(await run.interrupts()) < 2:
                    await asyncio.sleep(0.01)
