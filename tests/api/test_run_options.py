"""What a run may be told besides its input: times, modes, how strictly to resume."""

import time

import httpx
import pytest

pytestmark = pytest.mark.two_servers


@pytest.fixture
async def http(server):
    async with httpx.AsyncClient(base_url=server, timeout=25) as made:
        yield made


@pytest.fixture
async def thread(client):
    return (await client.threads.create())["thread_id"]


async def wait(http, thread, graph, **fields):
    body = {"assistant_id": graph, **fields}
    return (await http.post(f"/threads/{thread}/runs/wait", json=body)).json()


TIMEOUT = {"__error__": {"error": "TimeoutError", "message": ""}}


@pytest.mark.one_client
async def test_a_run_with_less_time(client, http, thread):
    result = await wait(http, thread, "sleepy", input={}, timeout_seconds=0.3)
    assert result == TIMEOUT
    (run,) = await client.runs.list(thread)
    assert (run["status"], run["kwargs"]["timeout_seconds"]) == ("timeout", 0.3)
    found = await client.threads.get(thread)
    assert (found["status"], found["values"]["log"]) == ("error", ["first"])
    assert found["error"] == TIMEOUT["__error__"]
    assert (await wait(http, thread, "sleepy", input={"seconds": 0}))["log"][-1] == "last"


@pytest.mark.one_client
async def test_a_run_that_blocks_is_ended_all_the_same(client, http, thread):
    began = time.monotonic()
    result = await wait(http, thread, "blocking", input={"seconds": 9}, timeout_seconds=0.3)
    assert result == TIMEOUT
    assert time.monotonic() - began < 7
    (run,) = await client.runs.list(thread)
    assert run["status"] == "timeout"
    # The next run on the thread waits for the event loop alone.
    assert (await wait(http, thread, "joke", input={"topic": "tea"}))["topic"] == "tea and cats"
    events = await http.get(f"/threads/{thread}/runs/{run['run_id']}/stream")
    assert events.status_code == 200


@pytest.mark.one_client
async def test_a_blocking_run_ends_its_stream_with_the_error(http, thread):
    body = {"assistant_id": "blocking", "input": {"seconds": 4}, "timeout_seconds": 0.2}
    answer = await http.post(f"/threads/{thread}/runs/stream", json=body)
    assert answer.text.count("event: error") == 1
    assert "TimeoutError" in answer.text


async def test_strict_resume_refuses_unknown_interrupts(client, thread):
    await client.runs.wait(thread, "ask", input={})
    wrong = {"0" * 32: "no"}
    with pytest.raises(Exception, match="UnknownInterruptError: Unknown or already-consumed"):
        await client.runs.wait(thread, "ask", command={"resume": wrong}, strict_resume=True)
    state = await client.threads.get_state(thread)
    (interrupt,) = state["tasks"][0]["interrupts"]
    right = {interrupt["id"]: "yes"}
    values = await client.runs.wait(thread, "ask", command={"resume": right}, strict_resume=True)
    assert values["answer"] == "yes"


async def test_resuming_without_being_strict(client, thread):
    await client.runs.wait(thread, "ask", input={})
    await client.runs.wait(thread, "ask", command={"resume": {"0" * 32: "no"}})
    assert (await client.threads.get(thread))["status"] == "interrupted"
    values = await client.runs.wait(thread, "ask", command={"resume": "yes"}, strict_resume=False)
    assert values["answer"] == "yes"


async def test_info_announces_that_resuming_can_be_strict(http):
    assert (await http.get("/info")).json()["flags"]["strict_resume"] is True


async def events(client, thread, graph, modes, **fields):
    stream = client.runs.stream(thread, graph, stream_mode=modes, **fields)
    return [(part.event, part.data) async for part in stream if part.event != "metadata"]


async def test_tools_mode_streams_each_call_separately(client, thread):
    found = await events(client, thread, "tooling", ["tools"], input={"messages": []})
    assert {name for name, _ in found} == {"tools"}
    by_call = {"c1": [], "c2": []}
    for _, data in found:
        by_call[data["toolCallId"]].append(data)
    begun, finished = by_call["c1"]
    assert begun == {
        "event": "on_tool_start",
        "toolCallId": "c1",
        "name": "add",
        "input": {"a": 1, "b": 2},
    }
    assert (finished["event"], finished["output"]["content"]) == ("on_tool_end", "3")
    assert finished["output"]["type"] == "tool"
    assert by_call["c2"][1] == {
        "event": "on_tool_error",
        "toolCallId": "c2",
        "name": by_call["c2"][0]["name"],
        "error": "no 3",
    }


async def test_lifecycle_of_a_graph_without_subgraphs_has_no_events(client, thread):
    assert await events(client, thread, "joke", ["lifecycle"], input={"topic": "tea"}) == []


async def test_lifecycle_of_subgraphs_tells_beginnings_and_ends(client, thread):
    found = await events(
        client, thread, "family", ["lifecycle"], input={"topic": "tea"}, stream_subgraphs=True
    )
    told = [(len(data["namespace"]), data["event"]) for _, data in found]
    assert told == [(1, "started"), (2, "started"), (2, "completed"), (1, "completed")]
    for name, data in found:
        assert name == "|".join(["lifecycle", *data["namespace"]])
        assert data.keys() == {"event", "namespace"}


@pytest.mark.one_client
@pytest.mark.one_server
@pytest.mark.parametrize(
    "fields",
    [
        {"langsmith_tracer": {"project_name": "mine", "example_id": "x"}},
        {"langsmith_tracer": {}},
        {"langsmith_tracer": None},
        {"feedback_keys": ["thumbs"]},
    ],
)
async def test_fields_of_other_products_are_accepted_without_effect(http, thread, fields):
    values = await wait(http, thread, "joke", input={"topic": "tea"}, **fields)
    assert values["topic"] == "tea and cats"
