"""Runs through both clients: the official one and ours."""

import asyncio
from uuid import uuid4

import httpx
import pytest

pytestmark = pytest.mark.two_servers

JOKE = {
    "topic": "ice cream and cats",
    "joke": "This is a joke about ice cream and cats",
    "log": [],
}


async def collect(stream):
    return [(part.event, part.data) async for part in stream]


async def until_status(client, thread_id, run_id, *wanted):
    async with asyncio.timeout(150):
        while (run := await client.runs.get(thread_id, run_id))["status"] not in wanted:
            await asyncio.sleep(0.01)
    return run


async def new_thread(client, **fields):
    return (await client.threads.create(**fields))["thread_id"]


async def test_the_stream_of_the_joke(client):
    thread = await new_thread(client)
    parts = await collect(
        client.runs.stream(thread, "joke", input={"topic": "ice cream"}, stream_mode="updates")
    )
    assert parts[0][0] == "metadata"
    assert parts[0][1]["attempt"] == 1
    assert parts[1:] == [
        ("updates", {"refine_topic": {"topic": "ice cream and cats"}}),
        ("updates", {"generate_joke": {"joke": "This is a joke about ice cream and cats"}}),
    ]


def test_the_stream_of_the_joke_synchronously(sync_client):
    parts = list(
        sync_client.runs.stream(None, "joke", input={"topic": "ice cream"}, stream_mode="updates")
    )
    assert [list(part.data)[0] for part in parts[1:]] == ["refine_topic", "generate_joke"]
    assert sync_client.runs.wait(None, "joke", input={"topic": "ice cream"}) == JOKE


async def test_values_and_several_modes_in_order(client):
    parts = await collect(
        client.runs.stream(
            None, "joke", input={"topic": "ice cream"}, stream_mode=["values", "updates", "tasks"]
        )
    )
    assert [event for event, _ in parts] == [
        "metadata", "values", "tasks", "updates", "tasks", "values", "tasks", "updates", "tasks", "values",
    ]  # fmt: skip
    assert parts[1][1] == {"topic": "ice cream", "log": []}
    assert parts[-1][1] == JOKE


async def test_wait_on_a_thread_leaves_its_state_there(client):
    thread = await new_thread(client, metadata={"owner": "ada"})
    assert await client.runs.wait(thread, "joke", input={"topic": "ice cream"}) == JOKE
    found = await client.threads.get(thread)
    assert found["values"] == JOKE
    assert found["status"] == "idle"
    assert found["interrupts"] == {}
    assert found["metadata"]["owner"] == "ada"
    assert found["metadata"]["graph_id"] == "joke"


async def test_background_run_list_get_join(client):
    thread = await new_thread(client)
    run = await client.runs.create(thread, "joke", input={"topic": "ice cream"}, metadata={"a": 1})
    assert run["status"] == "pending"
    assert run["metadata"]["a"] == 1
    assert run["metadata"]["graph_id"] == "joke"
    assert await client.runs.join(thread, run["run_id"]) == JOKE
    found = await client.runs.get(thread, run["run_id"])
    assert found["status"] == "success"
    assert found["kwargs"]["input"] == {"topic": "ice cream"}
    second = await client.runs.create(thread, "joke", input={"topic": "tea"})
    listed = await client.runs.list(thread)
    assert [each["run_id"] for each in listed] == [second["run_id"], run["run_id"]]
    assert [each["run_id"] for each in await client.runs.list(thread, limit=1, offset=1)] == [
        run["run_id"]
    ]
    await client.runs.join(thread, second["run_id"])
    assert await client.runs.list(thread, status="error") == []
    assert await client.runs.list(thread, limit=0) == []
    assert await client.runs.list(thread, limit=1, select=["status"]) == [{"status": "success"}]


async def test_an_interrupt_and_its_answer(client):
    thread = await new_thread(client)
    parts = await collect(
        client.runs.stream(thread, "ask", input={}, stream_mode=["values", "updates"])
    )
    name, data = parts[-1]
    assert name == "values"
    (asked,) = data["__interrupt__"]
    assert asked["value"] == {"question": "Really?"}
    found = await client.threads.get(thread)
    assert found["status"] == "interrupted"
    assert "__interrupt__" not in found["values"]
    assert list(found["interrupts"].values()) == [
        [{"id": asked["id"], "value": {"question": "Really?"}}]
    ]
    result = await client.runs.wait(thread, "ask", command={"resume": "yes"})
    assert result == {"log": ["before", "after"], "answer": "yes"}
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_waiting_for_an_interrupted_run_returns_the_interrupt(client):
    result = await client.runs.wait(await new_thread(client), "ask", input={})
    assert result["log"] == ["before"]
    assert result["__interrupt__"][0]["value"] == {"question": "Really?"}


async def test_stopping_before_and_after_nodes(client):
    thread = await new_thread(client)
    parts = await collect(
        client.runs.stream(
            thread,
            "joke",
            input={"topic": "x"},
            stream_mode="updates",
            interrupt_before=["generate_joke"],
        )
    )
    assert parts[-1] == ("updates", {"__interrupt__": []})
    found = await client.threads.get(thread)
    assert (found["status"], found["interrupts"]) == ("interrupted", {})
    result = await client.runs.wait(thread, "joke", input=None)
    assert result["joke"] == "This is a joke about x and cats"


async def test_a_node_that_raises(client):
    thread = await new_thread(client)
    parts = await collect(client.runs.stream(thread, "boom", input={"topic": "x"}))
    assert parts[-1] == ("error", {"error": "ValueError", "message": "boom: x"})
    found = await client.threads.get(thread)
    assert found["status"] == "error"
    assert found["error"] == {"error": "ValueError", "message": "boom: x"}
    assert found["values"]["log"] == ["first"]
    (run,) = await client.runs.list(thread)
    assert run["status"] == "error"
    with pytest.raises(Exception, match="ValueError: boom: y"):
        await client.runs.wait(thread, "boom", input={"topic": "y"})
    joined = await client.runs.join(thread, run["run_id"])
    assert joined == {"__error__": {"error": "ValueError", "message": "boom: x"}}
    # The server is unharmed, and so is the thread.
    assert (await client.runs.wait(thread, "joke", input={"topic": "ice cream"}))["joke"]
    assert (await client.threads.get(thread))["error"] is None


async def test_texts_that_may_hold_secrets_are_not_shown(client):
    parts = await collect(client.runs.stream(None, "secret", input={}))
    assert parts[-1] == ("error", {"error": "OSError", "message": "An internal error occurred"})


async def test_a_node_that_exits_fails_its_run_and_nothing_else(client):
    result = await client.runs.wait(None, "leaves", input={}, raise_error=False)
    assert result["__error__"]["error"] == "SystemExit"
    assert (await client.runs.wait(None, "joke", input={"topic": "x"}))["joke"]


async def test_messages_tuple_mode_streams_single_tokens(client):
    thread = await new_thread(client)
    hi = {"messages": [{"role": "user", "content": "hi"}]}
    parts = await collect(
        client.runs.stream(thread, "chat", input=hi, stream_mode="messages-tuple")
    )
    messages = [data for event, data in parts if event == "messages"]
    assert "".join(message["content"] for message, _ in messages) == "Hello you"
    assert {message["type"] for message, _ in messages} == {"AIMessageChunk"}
    assert {metadata["langgraph_node"] for _, metadata in messages} == {"talk"}
    assert len({message["id"] for message, _ in messages}) == 1
    assert (await client.threads.get(thread))["values"]["messages"][1]["content"] == "Hello you"


async def test_messages_mode_streams_accumulated_messages(client):
    hi = {"messages": [{"role": "user", "content": "hi"}]}
    parts = await collect(client.runs.stream(None, "chat", input=hi, stream_mode="messages"))
    assert parts[1][0] == "messages/metadata"
    partial = [data[0] for event, data in parts if event == "messages/partial"]
    assert [message["content"] for message in partial][:3] == ["H", "He", "Hel"]
    assert partial[-1]["content"] == "Hello you"
    assert {message["type"] for message in partial} == {"ai"}


async def test_custom_mode_streams_the_data_of_nodes(client):
    parts = await collect(client.runs.stream(None, "progress", input={}, stream_mode="custom"))
    assert parts[1:] == [("custom", {"progress": 1}), ("custom", "plain")]


async def test_subgraphs_send_under_their_namespace(client):
    parts = await collect(
        client.runs.stream(
            None, "parent", input={"topic": "tea"}, stream_mode="updates", stream_subgraphs=True
        )
    )
    names = [event for event, _ in parts]
    assert names[0] == "metadata"
    assert names[1] == names[4] == "updates"
    assert names[2] == names[3]
    assert names[2].startswith("updates|child:")
    alone = await collect(
        client.runs.stream(None, "parent", input={"topic": "tea"}, stream_mode="updates")
    )
    assert [event for event, _ in alone] == ["metadata", "updates", "updates"]


async def test_checkpoints_and_debug_modes_show_each_step(client):
    thread = await new_thread(client)
    parts = await collect(
        client.runs.stream(
            thread, "joke", input={"topic": "x"}, stream_mode=["checkpoints", "debug"]
        )
    )
    checkpoints = [data for event, data in parts if event == "checkpoints"]
    assert [each["next"] for each in checkpoints] == [
        ["__start__"],
        ["refine_topic"],
        ["generate_joke"],
        [],
    ]
    assert [each["metadata"]["step"] for each in checkpoints] == [-1, 0, 1, 2]
    for each in checkpoints:
        assert set(each["config"]["configurable"]) <= {
            "thread_id",
            "checkpoint_ns",
            "checkpoint_id",
        }
        assert each["config"]["configurable"]["thread_id"] == thread
    kinds = [data["type"] for event, data in parts if event == "debug"]
    assert kinds.count("checkpoint") == 4
    assert kinds.count("task") == kinds.count("task_result") == 2
    debug = [
        data["payload"]
        for event, data in parts
        if event == "debug" and data["type"] == "checkpoint"
    ]
    assert debug[0]["parent_checkpoint"] is None
    assert debug[1]["parent_checkpoint"]["checkpoint_id"] == debug[0]["checkpoint"]["checkpoint_id"]


async def test_events_mode_streams_langchain_events_of_the_run(client):
    parts = await collect(
        client.runs.stream(None, "joke", input={"topic": "x"}, stream_mode=["events", "values"])
    )
    run_id = parts[0][1]["run_id"]
    events = [data for event, data in parts if event == "events"]
    root = [event["event"] for event in events if not event["parent_ids"]]
    assert root == ["on_chain_start", "on_chain_end"]
    assert events[0]["run_id"] == run_id
    assert events[0]["name"] == "joke"
    assert {"refine_topic", "generate_joke"} <= {event["name"] for event in events}
    assert [data for event, data in parts if event == "values"][-1]["joke"]


async def test_context_reaches_the_graph_both_ways(client):
    thread = await new_thread(client)
    seen = (
        await client.runs.wait(
            thread, "context", input={}, context={"color": "blue"}, metadata={"tag": "t"}
        )
    )["seen"]
    assert seen["color"] == seen["configurable"]["color"] == "blue"
    assert seen["configurable"]["thread_id"] == thread
    assert seen["configurable"]["graph_id"] == "context"
    assert seen["configurable"]["user_id"] == ""
    assert seen["metadata"] == {"run_attempt": 1, "tag": "t", "graph_id": "context"}
    config = {"configurable": {"color": "green", "thread_id": "not mine", "other": 1}}
    seen = (await client.runs.wait(thread, "context", input={}, config=config))["seen"]
    assert seen["color"] == "green"
    assert seen["configurable"]["thread_id"] == thread


async def test_a_factory_makes_the_graph_for_each_run(client):
    config = {"configurable": {"color": "blue"}}
    assert (await client.runs.wait(None, "made", input={}, config=config))["log"] == ["blue"]


async def test_cancel_a_running_run(client):
    thread = await new_thread(client)
    run = await client.runs.create(thread, "sleepy", input={})
    await until_status(client, thread, run["run_id"], "running")
    await client.runs.cancel(thread, run["run_id"], wait=True)
    cancelled = await client.runs.get(thread, run["run_id"])
    reason = "interrupt requested via POST /threads/{thread_id}/runs/{run_id}/cancel"
    assert (cancelled["status"], cancelled["cancel_reason"]) == ("interrupted", reason)
    found = await client.threads.get(thread)
    assert found["status"] == "interrupted"
    assert found["error"]["error"] == "UserInterrupt"
    with pytest.raises(httpx.HTTPStatusError, match="No matching runs to cancel"):
        await client.runs.cancel(thread, run["run_id"])
    result = await client.runs.wait(thread, "sleepy", input={"seconds": 0})
    assert result["log"][-1] == "last"


async def test_cancel_with_rollback_leaves_no_trace(client):
    thread = await new_thread(client)
    before = await client.runs.wait(thread, "joke", input={"topic": "x"})
    run = await client.runs.create(thread, "sleepy", input={})
    await until_status(client, thread, run["run_id"], "running")
    await client.runs.cancel(thread, run["run_id"], wait=True, action="rollback")
    with pytest.raises(httpx.HTTPStatusError, match="Run not found"):
        await client.runs.get(thread, run["run_id"])
    found = await client.threads.get(thread)
    assert (found["status"], found["values"]) == ("idle", before)


async def test_cancel_a_queued_run(client):
    thread = await new_thread(client)
    first = await client.runs.create(thread, "sleepy", input={})
    second = await client.runs.create(thread, "joke", input={"topic": "x"})
    await client.runs.cancel(thread, second["run_id"])
    assert (await client.runs.get(thread, second["run_id"]))["status"] == "interrupted"
    (cancelled, going) = await client.runs.list(thread, select=["cancel_reason"])
    assert cancelled["cancel_reason"].startswith("interrupt requested via POST")
    assert going == {"cancel_reason": None}
    assert (await client.threads.get(thread))["status"] == "busy"
    await client.runs.cancel(thread, first["run_id"], wait=True)


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_a_new_run_takes_the_place_of_the_old(client, strategy):
    thread = await new_thread(client)
    old = await client.runs.create(
        thread, "sleepy", input={}, stream_mode="updates", stream_resumable=True
    )
    queued = await client.runs.create(thread, "joke", input={"topic": "x"})
    async for part in client.runs.join_stream(thread, old["run_id"], last_event_id="-1"):
        if part.event == "updates":
            break
    result = await client.runs.wait(
        thread, "sleepy", input={"seconds": 0}, multitask_strategy=strategy
    )
    if strategy == "interrupt":
        assert result["log"] == ["first", "first", "slept", "last"]
        for run in (old, queued):
            assert (await client.runs.get(thread, run["run_id"]))["status"] == "interrupted"
    else:
        assert result["log"] == ["first", "slept", "last"]
        for run in (old, queued):
            with pytest.raises(httpx.HTTPStatusError, match="Run not found"):
                await client.runs.get(thread, run["run_id"])


async def test_a_busy_thread_can_reject_or_queue(client):
    thread = await new_thread(client)
    first = await client.runs.create(thread, "sleepy", input={})
    with pytest.raises(httpx.HTTPStatusError, match="already running"):
        await client.runs.create(thread, "joke", input={"topic": "x"}, multitask_strategy="reject")
    queued = await client.runs.create(thread, "joke", input={"topic": "queued"})
    await client.runs.cancel(thread, first["run_id"])
    assert (await client.runs.join(thread, queued["run_id"]))["topic"] == "queued and cats"


async def test_stateless_runs_leave_no_thread(client):
    run = await client.runs.create(None, "joke", input={"topic": "x"})
    async with asyncio.timeout(150):
        while True:
            try:
                await client.threads.get(run["thread_id"])
            except httpx.HTTPStatusError as error:
                assert error.response.status_code == 404
                break
    kept = await client.runs.create(None, "joke", input={"topic": "x"}, on_completion="keep")
    await until_status(client, kept["thread_id"], kept["run_id"], "success")
    assert (await client.threads.get(kept["thread_id"]))["values"]["joke"]


async def test_ids_of_a_run_are_told_at_once(client):
    seen = []
    thread = await new_thread(client)
    async for _ in client.runs.stream(
        thread, "joke", input={"topic": "x"}, on_run_created=seen.append
    ):
        assert seen
    assert seen[0]["thread_id"] == thread
    assert (await client.runs.get(thread, seen[0]["run_id"]))["status"] == "success"


async def test_a_thread_can_be_made_with_its_first_run(client):
    thread = str(uuid4())
    await client.runs.wait(thread, "joke", input={"topic": "x"}, if_not_exists="create")
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_two_viewers_see_every_event(client):
    thread = await new_thread(client)
    run = await client.runs.create(
        thread, "joke", input={"topic": "x"}, stream_mode=["values", "updates"], after_seconds=1
    )
    both = await asyncio.gather(
        *(collect(client.runs.join_stream(thread, run["run_id"])) for _ in range(2))
    )
    assert both[0] == both[1]
    assert [event for event, _ in both[0]] == [
        "metadata",
        "values",
        "updates",
        "values",
        "updates",
        "values",
    ]


async def test_a_resumable_run_can_be_replayed_from_any_event(client):
    thread = await new_thread(client)
    parts = [
        part
        async for part in client.runs.stream(
            thread,
            "joke",
            input={"topic": "x"},
            stream_mode=["values", "updates"],
            stream_resumable=True,
        )
    ]
    (run,) = await client.runs.list(thread)
    assert len({part.id for part in parts}) == len(parts) == 6
    replay = [
        part async for part in client.runs.join_stream(thread, run["run_id"], last_event_id="-1")
    ]
    assert replay == parts
    for index, part in enumerate(parts):
        rest = [
            each
            async for each in client.runs.join_stream(thread, run["run_id"], last_event_id=part.id)
        ]
        assert rest == parts[index + 1 :]
    only = [
        p
        async for p in client.runs.join_stream(
            thread, run["run_id"], last_event_id="-1", stream_mode="updates"
        )
    ]
    assert [part.event for part in only] == ["updates", "updates"]
    assert [p async for p in client.runs.join_stream(thread, run["run_id"])] == []


async def test_a_replay_ends_with_the_error(client):
    thread = await new_thread(client)
    run = await client.runs.create(thread, "boom", input={"topic": "x"}, stream_resumable=True)
    await client.runs.join(thread, run["run_id"])
    replay = [
        part
        async for part in client.runs.join_stream(
            thread, run["run_id"], last_event_id="-1", stream_mode="values"
        )
    ]
    assert replay[-1].event == "error"


async def test_leaving_a_stream_leaves_the_run_alone(server):
    body = {"assistant_id": "sleepy", "input": {"seconds": 0.3}}
    async with httpx.AsyncClient(base_url=server) as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        async with http.stream("POST", f"/threads/{thread}/runs/stream", json=body) as response:
            place = response.headers["content-location"]
        joined = await http.get(f"{place}/join")
        assert joined.json()["log"] == ["first", "slept", "last"]


@pytest.mark.parametrize("route", ["stream", "wait"])
async def test_leaving_cancels_where_asked(server, route):
    body = {"assistant_id": "sleepy", "input": {}, "on_disconnect": "cancel"}
    async with httpx.AsyncClient(base_url=server) as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        async with http.stream("POST", f"/threads/{thread}/runs/{route}", json=body) as response:
            place = response.headers["content-location"]
            # One that has not begun would leave no error on the thread.
            while (await http.get(place)).json()["status"] == "pending":
                pass
        await http.get(f"{place}/join")
        run = (await http.get(place)).json()
        assert run["status"] == "interrupted"
        assert "client disconnected" in run["cancel_reason"]
        found = (await http.get(f"/threads/{thread}")).json()
        assert "client disconnected" in found["error"]["message"]


@pytest.mark.parametrize("begun", [True, False])
async def test_cancel_reason_taken_is_stored_first_in_the_reason(server, begun):
    body = {"assistant_id": "sleepy", "input": {}, "after_seconds": 0 if begun else 1000}
    async with httpx.AsyncClient(base_url=server) as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        run = (await http.post(f"/threads/{thread}/runs", json=body)).json()["run_id"]
        place = f"/threads/{thread}/runs/{run}"
        while begun and (await http.get(place)).json()["status"] == "pending":
            pass
        await http.post(f"{place}/cancel?wait=1&action=interrupt&reason=taken")
        assert (await http.get(place)).json()["cancel_reason"].startswith("taken: ")


async def test_deleting_a_thread_stops_its_run(client):
    thread = await new_thread(client)
    run = await client.runs.create(thread, "sleepy", input={})
    await until_status(client, thread, run["run_id"], "running")
    await client.threads.delete(thread)
    with pytest.raises(httpx.HTTPStatusError, match="not found"):
        await client.threads.get(thread)
    joined = await client.runs.join(thread, run["run_id"])
    assert joined["__error__"]["message"] == "404: Run not found"


async def test_deleted_run_is_stopped_and_not_found(client):
    thread = await new_thread(client)
    run = await client.runs.create(thread, "sleepy", input={})
    await until_status(client, thread, run["run_id"], "running")
    await client.runs.delete(thread, run["run_id"])
    assert (await client.threads.get(thread))["status"] == "idle"
    with pytest.raises(httpx.HTTPStatusError, match="Run not found"):
        await client.runs.delete(thread, run["run_id"])


@pytest.mark.one_client
async def test_a_node_that_blocks_its_loop_delays_other_runs_and_no_request(
    client, tmp_path, apart
):
    thread = await new_thread(client)
    blocking = await client.runs.create(thread, "blocking", input={"folder": str(tmp_path)})
    await until_status(client, thread, blocking["run_id"], "running")
    other = await new_thread(client)
    delayed = await client.runs.create(other, "joke", input={"topic": "x"})
    reading = asyncio.create_task(client.threads.get_state(thread))
    for _ in range(10):
        assert (await client.runs.get(thread, blocking["run_id"]))["status"] == "running"
        assert (await client.runs.get(other, delayed["run_id"]))["status"] in {"pending", "running"}
    # A server without a worker reads states on a loop of its own.
    assert apart or not reading.done()
    (tmp_path / "go").touch()
    assert (await client.runs.join(other, delayed["run_id"]))["joke"]
    assert "values" in await reading
    assert (await client.runs.join(thread, blocking["run_id"]))["log"] == ["blocked"]
