"""Thread streaming with our own server: a conversation with tools, subgraphs and questions."""

import pytest
from tests.serving import serving_here

from loomline.client import get_client

ASK = {"messages": [{"role": "user", "content": "What is 2 + 3?"}]}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving_here(tmp_path_factory.mktemp("data")) as url:
        yield url


@pytest.fixture(params=["sse", "websocket"])
def transport(request):
    return request.param


async def test_conversation_with_questions_works_against_the_server(served, transport):
    async with get_client(url=served, api_key=None) as client:
        stream = client.threads.stream(assistant_id="assistant", transport=transport)
        async with stream as thread:
            await thread.run.start(input=ASK)
            said = [(m.node, await m.text.get(), m) async for m in thread.messages]
            assert sorted(text for _, text, _ in said) == [
                "It is five.",
                "Let me add.",
                "One side.",
                "Other side.",
            ]
            (plan,) = [m for _, text, m in said if text == "Let me add."]
            (call,) = await plan.tool_calls.get()
            assert call["args"] == {"a": 2, "b": 3}
            assert (await plan.output).tool_calls[0]["name"] == "add"
            calls = [
                (c.name, c.input, (await c.output)["content"]) async for c in thread.tool_calls
            ]
            assert calls == [("add", {"a": 2, "b": 3}, "5")]
            ticks = [data["payload"]["count"] async for data in thread.extensions["ticks"]]
            assert ticks == list(range(1, len(ticks) + 1))
            children = [child async for child in thread.subgraphs]
            (child,) = [each for each in children if each.graph_name == "child"]
            assert child.status == "interrupted"
            assert [await m.text.get() async for m in child.messages] == ["Deep thoughts."]
            await thread.run._session.hub.changed.until(lambda: len(thread.interrupts) == 2, 10)
            asked = {i["value"]["question"]: i for i in thread.interrupts}
            assert set(asked) == {"Inside?", "Sure?"}
            inside = asked["Inside?"]["interrupt_id"]
            await thread.run.respond("yes", interrupt_id=inside)
            assert [event async for event in thread.subscribe(["messages"])] == []
            assert [i["value"]["question"] for i in thread.interrupts] == ["Sure?"]
            await thread.run.respond("very")
            values = [value async for value in thread.values]
            out = await thread.output
            assert out["log"][-2:] == values[-1]["log"][-2:]
            assert {"Inside? yes", "Sure? very"} <= set(out["log"])
            assert not thread.interrupted


async def test_runs_one_after_the_other_and_another_reader(served, transport):
    async with get_client(url=served, api_key=None) as client:
        stream = client.threads.stream(assistant_id="talker", transport=transport)
        async with stream as thread:
            for tokens in (3, 4):
                await thread.run.start(input={"tokens": tokens})
                (message,) = [m async for m in thread.messages]
                words = [f"w{number} " for number in range(tokens)]
                assert await message.text.get() == "".join(words)
                assert len((await thread.output)["messages"]) == tokens - 2
        again = client.threads.stream(thread.thread_id, assistant_id="talker", transport=transport)
        async with again as thread:
            assert [len(value["messages"]) async for value in thread.values] == [2]
            assert len((await thread.output)["messages"]) == 2
            await thread.run.start(input={"tokens": 5})
            (message,) = [m async for m in thread.messages]
            assert await message.text.get() == "w0 w1 w2 w3 w4 "
            found = []
            events = thread.events
            while len(found) < 3:
                event = await anext(events)
                if event["method"] == "messages" and event["params"]["data"]["event"] == (
                    "message-start"
                ):
                    found.append(event["params"]["data"]["id"])
            assert len(set(found)) == 3
            await events.aclose()


async def test_a_run_that_fails(served, transport):
    async with get_client(url=served, api_key=None) as client:
        stream = client.threads.stream(assistant_id="boom", transport=transport)
        async with stream as thread:
            await thread.run.start(input={})
            assert [event async for event in thread.subscribe(["input"])] == []
            with pytest.raises(RuntimeError, match="Run errored"):
                await thread.output


async def test_a_run_that_is_cancelled(served, transport):
    async with get_client(url=served, api_key=None) as client:
        stream = client.threads.stream(assistant_id="sleepy", transport=transport)
        async with stream as thread:
            started = await thread.run.start(input={})
            events = thread.subscribe(["lifecycle"])
            assert (await anext(events))["params"]["data"]["event"] == "running"
            await client.runs.cancel(thread.thread_id, started["run_id"])
            assert [e["params"]["data"]["event"] async for e in events] == ["interrupted"]
            with pytest.raises(RuntimeError, match="cancelled"):
                await thread.output


async def test_a_run_that_another_client_has_started(served, transport):
    async with get_client(url=served, api_key=None) as client:
        thread_id = (await client.threads.create())["thread_id"]
        run = await client.runs.create(thread_id, "sleepy", input={})
        stream = client.threads.stream(thread_id, assistant_id="sleepy", transport=transport)
        async with stream as thread:
            events = thread.subscribe(["lifecycle"])
            assert (await anext(events))["params"]["data"]["event"] == "running"
            await client.runs.cancel(thread_id, run["run_id"])
            assert [e["params"]["data"]["event"] async for e in events] == ["interrupted"]


async def test_graph_of_a_threads_assistant_is_drawn(served):
    client = get_client(url=served, api_key=None)
    async with client, client.threads.stream(assistant_id="talker") as thread:
        tree = await thread.agent.get_tree()
        assert "talk" in {node["id"] for node in tree["nodes"]}
