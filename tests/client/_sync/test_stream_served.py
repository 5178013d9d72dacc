# Generated from test_stream_served.py by tools/unasync.py. Do not edit.
"""Thread streaming with our own server: a conversation with tools, subgraphs and questions."""

import pytest
from tests.serving import serving_here

from loomline.client import get_sync_client

ASK = {"messages": [{"role": "user", "content": "What is 2 + 3?"}]}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving_here(tmp_path_factory.mktemp("data")) as url:
        yield url


@pytest.fixture(params=["sse", "websocket"])
def transport(request):
    return request.param


def test_conversation_with_questions_works_against_the_server(served, transport):
    with get_sync_client(url=served, api_key=None) as client:
        stream = client.threads.stream(assistant_id="assistant", transport=transport)
        with stream as thread:
            thread.run.start(input=ASK)
            said = [(m.node, m.text.get(), m) for m in thread.messages]
            assert sorted(text for _, text, _ in said) == [
                "It is five.",
                "Let me add.",
                "One side.",
                "Other side.",
            ]
            (plan,) = [m for _, text, m in said if text == "Let me add."]
            (call,) = plan.tool_calls.get()
            assert call["args"] == {"a": 2, "b": 3}
            assert (plan.output).tool_calls[0]["name"] == "add"
            calls = [(c.name, c.input, (c.output)["content"]) for c in thread.tool_calls]
            assert calls == [("add", {"a": 2, "b": 3}, "5")]
            ticks = [data["payload"]["count"] for data in thread.extensions["ticks"]]
            assert ticks == list(range(1, len(ticks) + 1))
            children = [child for child in thread.subgraphs]
            (child,) = [each for each in children if each.graph_name == "child"]
            assert child.status == "interrupted"
            assert [m.text.get() for m in child.messages] == ["Deep thoughts."]
            thread.run._session.hub.changed.until(lambda: len(thread.interrupts) == 2, 10)
            asked = {i["value"]["question"]: i for i in thread.interrupts}
            assert set(asked) == {"Inside?", "Sure?"}
            inside = asked["Inside?"]["interrupt_id"]
            thread.run.respond("yes", interrupt_id=inside)
            assert [event for event in thread.subscribe(["messages"])] == []
            assert [i["value"]["question"] for i in thread.interrupts] == ["Sure?"]
            thread.run.respond("very")
            values = [value for value in thread.values]
            out = thread.output
            assert out["log"][-2:] == values[-1]["log"][-2:]
            assert {"Inside? yes", "Sure? very"} <= set(out["log"])
            assert not thread.interrupted


def test_runs_one_after_the_other_and_another_reader(served, transport):
    with get_sync_client(url=served, api_key=None) as client:
        stream = client.threads.stream(assistant_id="talker", transport=transport)
        with stream as thread:
            for tokens in (3, 4):
                thread.run.start(input={"tokens": tokens})
                (message,) = [m for m in thread.messages]
                words = [f"w{number} " for number in range(tokens)]
                assert message.text.get() == "".join(words)
                assert len((thread.output)["messages"]) == tokens - 2
        again = client.threads.stream(thread.thread_id, assistant_id="talker", transport=transport)
        with again as thread:
            assert [len(value["messages"]) for value in thread.values] == [2]
            assert len((thread.output)["messages"]) == 2
            thread.run.start(input={"tokens": 5})
            (message,) = [m for m in thread.messages]
            assert message.text.get() == "w0 w1 w2 w3 w4 "
            found = []
            events = thread.events
            while len(found) < 3:
                event = next(events)
                if event["method"] == "messages" and event["params"]["data"]["event"] == (
                    "message-start"
                ):
                    found.append(event["params"]["data"]["id"])
            assert len(set(found)) == 3
            events.close()


def test_a_run_that_fails(served, transport):
    with get_sync_client(url=served, api_key=None) as client:
        stream = client.threads.stream(assistant_id="boom", transport=transport)
        with stream as thread:
            thread.run.start(input={})
            assert [event for event in thread.subscribe(["input"])] == []
            with pytest.raises(RuntimeError, match="Run errored"):
                thread.output


def test_a_run_that_is_cancelled(served, transport):
    with get_sync_client(url=served, api_key=None) as client:
        stream = client.threads.stream(assistant_id="sleepy", transport=transport)
        with stream as thread:
            started = thread.run.start(input={})
            events = thread.subscribe(["lifecycle"])
            assert (next(events))["params"]["data"]["event"] == "running"
            client.runs.cancel(thread.thread_id, started["run_id"])
            assert [e["params"]["data"]["event"] for e in events] == ["interrupted"]
            with pytest.raises(RuntimeError, match="cancelled"):
                thread.output


def test_a_run_that_another_client_has_started(served, transport):
    with get_sync_client(url=served, api_key=None) as client:
        thread_id = (client.threads.create())["thread_id"]
        run = client.runs.create(thread_id, "sleepy", input={})
        stream = client.threads.stream(thread_id, assistant_id="sleepy", transport=transport)
        with stream as thread:
            events = thread.subscribe(["lifecycle"])
            assert (next(events))["params"]["data"]["event"] == "running"
            client.runs.cancel(thread_id, run["run_id"])
            assert [e["params"]["data"]["event"] for e in events] == ["interrupted"]


def test_graph_of_a_threads_assistant_is_drawn(served):
    client = get_sync_client(url=served, api_key=None)
    with client, client.threads.stream(assistant_id="talker") as thread:
        tree = thread.agent.get_tree()
        assert "talk" in {node["id"] for node in tree["nodes"]}
