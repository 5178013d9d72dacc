"""Following a thread: numbers, replay, filters, and what each channel holds."""

import asyncio

import httpx
import pytest
from tests.postgres import new_schema
from tests.redis_server import new_prefix
from tests.serving import serving_here
from tests.threads import ALL, Thread, data, events_until_end, is_end

import loomline

pytestmark = [pytest.mark.two_servers, pytest.mark.one_client]

ASK = {"messages": [{"role": "user", "content": "What is 2 + 3?"}]}


@pytest.fixture
def thread(server):
    return Thread(server)


def questions(events):
    return {
        data(event)["payload"]["question"]: data(event)["interrupt_id"]
        for event in events
        if event["method"] == "input.requested"
    }


async def converse(thread):
    """Have the whole conversation; return its events."""
    await thread.start("assistant", ASK)
    first = await thread.until_end()
    asked = questions(first)
    answers = [
        {"namespace": [], "interrupt_id": asked[question], "response": text}
        for question, text in (("Inside?", "yes"), ("Sure?", "very"))
    ]
    assert (await thread.command("input.respond", responses=answers))["result"] == {}
    return await thread.until_end(2)


@pytest.fixture
async def conversation(thread):
    return await converse(thread)


def of(events, method, namespace=None):
    return [
        event
        for event in events
        if event["method"] == method and namespace in (None, event["params"]["namespace"])
    ]


def texts(events):
    """Return what each message says, by its id, from the deltas alone."""
    found = {}
    for event in of(events, "messages"):
        delta = data(event).get("delta", {})
        found.setdefault(data(event)["id"], "")
        found[data(event)["id"]] += delta.get("text", "")
    return found


async def test_both_transports_show_the_same_events_in_the_same_order(thread):
    async with thread.sse() as one, thread.subscribed() as other:
        readers = [asyncio.create_task(events_until_end(each, 2)) for each in (one, other)]
        late = await converse(thread)
        seen, seen_too = await asyncio.gather(*readers)
    assert seen == seen_too == late
    numbers = [event["seq"] for event in seen]
    assert numbers == list(range(1, len(seen) + 1))
    assert len({event["event_id"] for event in seen}) == len(seen)
    assert {event["method"] for event in seen} == {*ALL, "input.requested", "input.answered"} - {
        "input"
    }


@pytest.mark.timeout(400)
@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_a_connection_that_is_cut_anywhere_goes_on_where_it_was(thread, transport):
    whole = await converse(thread)
    for cut in range(len(whole)):
        if transport == "sse":
            async with thread.sse(since=whole[cut - 1]["seq"] if cut else 0) as events:
                rest = await events_until_end(events, sum(map(is_end, whole[cut:])))
        else:
            async with thread.websocket() as socket:
                since = whole[cut - 1]["seq"] if cut else 0
                answer, rest = await socket.ask("subscription.reconnect", channels=ALL, since=since)
            assert answer["result"]["replayed_events"] == len(rest)
        assert rest == whole[cut:], cut


@pytest.mark.timeout(400)  # a connection for each event
async def test_a_live_connection_that_is_cut_again_and_again_loses_nothing(thread):
    found = []
    task = asyncio.create_task(converse(thread))
    while sum(map(is_end, found)) < 2:
        async with thread.sse(since=found[-1]["seq"] if found else 0) as events:
            found.append(await anext(events))
    assert [*map(timeless, found)] == [*map(timeless, await task)]


def timeless(event):
    """Drop the time of a run's end: a busy worker logs it so late that readers make it up."""
    params = event["params"] | ({"timestamp": None} if is_end(event) else {})
    return event | {"params": params}


async def test_messages_tell_which_message_they_belong_to(conversation):
    said = texts(conversation)
    assert set(said.values()) >= {
        "Let me add.", "It is five.", "One side.", "Other side.", "Deep thoughts.",
    }  # fmt: skip
    for message_id, text in said.items():
        (start, *_, finish) = [
            event for event in of(conversation, "messages") if data(event)["id"] == message_id
        ]
        assert data(start)["event"] == "message-start"
        assert data(finish)["event"] == "message-finish"
        assert (data(start)["role"] == "tool") == (not text)


async def test_a_streamed_message_block_by_block(conversation):
    parts = [
        event for event in of(conversation, "messages", []) if event["params"].get("node") == "plan"
    ]
    for event in parts:
        assert data(event).pop("id") == f"lc_run--{data(event).pop('run_id')}"
    call = {"type": "tool_call", "id": "call_1", "name": "add", "args": {"a": 2, "b": 3}}
    assert [data(event) for event in parts] == [
        {"event": "message-start", "role": "ai"},
        {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}},
        *(
            {"event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": text}}
            for text in ("Let me ", "add.")
        ),
        {
            "event": "content-block-start", "index": 1,
            "content": {
                "type": "tool_call_chunk", "id": "call_1", "name": "add", "args": "", "index": 0,
            },
        },
        *(
            {"event": "content-block-delta", "index": 1, "delta": {"type": "tool-call-delta", "args": args}}
            for args in ('{"a": 2,', ' "b": 3}')
        ),
        {"event": "content-block-finish", "index": 0, "content": {"type": "text", "text": "Let me add."}},
        {"event": "content-block-finish", "index": 1, "content": call},
        {
            "event": "message-finish",
            "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 3},
            "metadata": {"model_name": "scripted-1"},
        },
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("graph", "end"),
    [
        ("talker", "completed"),
        ("told_inside", "completed"),
        ("told_then_asked", "interrupted"),
        ("told_while_asking", "interrupted"),
        ("told_then_failed", "failed"),
    ],
)
async def test_a_streamed_message_is_in_the_values_before_the_run_ends(thread, graph, end):
    """Clients drop a message at the end of the run if no values have shown it."""
    await thread.start(graph, ASK | {"tokens": 3})
    events = await thread.until_end()
    assert data(events[-1])["event"] == end
    streamed = {
        data(event)["id"]
        for event in of(events, "messages")
        if data(event)["event"] == "message-finish"
    }
    shown = data(of(events, "values", [])[-1])["messages"]
    assert len(streamed) == (2 if graph == "told_inside" else 1)
    assert streamed == {message["id"] for message in shown if message["type"] == "ai"}


async def test_a_model_that_a_node_iterates_itself_streams_as_well(conversation):
    parts = [
        event for event in of(conversation, "messages") if event["params"].get("node") == "answer"
    ]
    assert [data(event)["event"] for event in parts] == [
        "message-start", "content-block-start", *["content-block-delta"] * 3,
        "content-block-finish", "message-finish",
    ]  # fmt: skip
    ids = {data(event)["id"] for event in parts}
    state = data(of(conversation, "values", [])[-1])
    assert ids == {state["messages"][-1]["id"]}
    assert data(parts[-1])["usage"] == {"input_tokens": 3, "output_tokens": 3, "total_tokens": 3}


async def test_tools_channel_shows_each_call_from_start_to_finish(conversation):
    started, finished = [data(event) for event in of(conversation, "tools")]
    assert started == {
        "event": "tool-started", "tool_call_id": "call_1", "tool_name": "add",
        "input": {"a": 2, "b": 3},
    }  # fmt: skip
    assert finished["event"] == "tool-finished"
    assert finished["output"]["content"] == "5"
    result = [data(event) for event in of(conversation, "messages", ["tools:call_1"])]
    assert [each["event"] for each in result] == [
        "message-start", "content-block-start", "content-block-delta", "content-block-finish",
        "message-finish",
    ]  # fmt: skip
    assert result[0] == {
        "event": "message-start", "role": "tool", "tool_call_id": "call_1", "id": "tool-call_1",
    }  # fmt: skip
    assert result[2]["content"] == {"type": "text", "text": "5"}


async def test_messages_in_states_have_their_plain_form(conversation):
    messages = data(of(conversation, "values", [])[-1])["messages"]
    assert [message["type"] for message in messages] == ["human", "ai", "tool", "ai"]
    for message in messages:
        assert "additional_kwargs" not in message
        assert "usage_metadata" not in message
    assert messages[1]["tool_calls"][0]["name"] == "add"
    assert messages[2]["tool_call_id"] == "call_1"


async def test_every_graph_has_a_beginning_and_an_end(conversation):
    (started,) = [
        event for event in of(conversation, "lifecycle") if data(event)["event"] == "started"
    ][:1]
    (segment,) = started["params"]["namespace"]
    assert segment.startswith("child:")
    assert data(started) == {
        "event": "started", "namespace": [segment], "graph_name": "child",
        "trigger_call_id": segment.partition(":")[2],
    }  # fmt: skip
    child = [data(event) for event in of(conversation, "lifecycle", [segment])]
    assert [each["event"] for each in child] == ["started", "interrupted", "started", "completed"]
    assert [data(event) for event in of(conversation, "lifecycle", [])] == [
        {"event": event, "graph_name": "assistant"}
        for event in ("running", "interrupted", "running", "completed")
    ]


async def test_each_question_of_a_run_is_told_once_before_its_end(conversation):
    end = next(number for number, event in enumerate(conversation) if is_end(event))
    asked = of(conversation[:end], "input.requested")
    assert len(asked) == 2
    places = {data(event)["payload"]["question"]: event["params"]["namespace"] for event in asked}
    assert places["Sure?"] == []
    assert places["Inside?"][0].startswith("child:")
    assert all(data(event)["value"] == data(event)["payload"] for event in asked)


async def test_answered_questions_are_named_when_the_run_that_answers_them_starts(conversation):
    asked = questions(conversation)
    (place,) = [n for n, each in enumerate(conversation) if each["method"] == "input.answered"]
    event, before = conversation[place], conversation[place - 1]
    assert (before["method"], data(before)["event"]) == ("lifecycle", "running")
    assert event["params"]["namespace"] == []
    assert data(event) == {"interrupt_ids": [asked["Inside?"], asked["Sure?"]]}


async def test_answered_questions_of_a_plain_run_are_named_as_well(client, thread):
    await thread.start("assistant", ASK)
    asked = questions(await thread.until_end())
    answers = {asked["Inside?"]: "yes", asked["Sure?"]: "very"}
    await client.runs.wait(thread.id, "assistant", command={"resume": answers})
    seen = await thread.until_end(2, channels=["input", "lifecycle"])
    (event,) = of(seen, "input.answered")
    assert data(event) == {"interrupt_ids": [*answers]}
    numbers = [each["seq"] for each in seen]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize(
    ("resume", "reason"), [({"0" * 32: "x"}, "not_pending"), ("all", "ambiguous")]
)
async def test_refused_answers_name_the_questions_that_still_wait(thread, resume, reason):
    await thread.start("assistant", ASK)
    asked = questions(await thread.until_end())
    body = {"assistant_id": "assistant", "command": {"resume": resume}, "strict_resume": True}
    async with httpx.AsyncClient(timeout=150) as http:
        refused = (await http.post(f"{thread.path}/runs/wait", json=body)).json()["__error__"]
    failed = data((await thread.until_end(2, channels=["lifecycle"]))[-1])
    assert (failed["event"], failed["reason"]) == ("failed", reason)
    assert failed["interrupt_ids"] == (list(resume) if reason == "not_pending" else [])
    assert sorted(failed["pending_ids"]) == sorted(asked.values())
    assert refused["error"] == "UnknownInterruptError"
    assert refused["pending_ids"] == failed["pending_ids"]


async def test_checkpoints_come_right_before_their_values(conversation):
    root = [event for event in conversation if event["params"]["namespace"] == []]
    kinds = [event["method"] for event in root if event["method"] in {"checkpoints", "values"}]
    # First what the input is, which has no values; at the end of the first run the values again.
    assert kinds[:3] == ["checkpoints", "checkpoints", "values"]
    known = None
    for event in of(root, "checkpoints"):
        assert set(data(event)) <= {"id", "parent_id", "step", "source"}
        if known and data(event)["id"] != known:
            assert data(event)["parent_id"] == known
        known = data(event)["id"]


async def test_channels_of_the_graph_itself(thread, conversation):
    named = await thread.until_end(2, channels=["custom:ticks", "lifecycle"], namespaces=[[]])
    ticks = [data(event) for event in of(named, "custom")]
    assert ticks[:2] == [
        {"name": "ticks", "payload": {"count": 1}},
        {"name": "ticks", "payload": {"count": 2}},
    ]
    progress = await thread.until_end(2, channels=["custom:progress", "lifecycle"])
    assert [data(event) for event in of(progress, "custom")] == [{"name": "progress", "payload": 1}]


async def test_filters_leave_numbers_alone(thread, conversation):
    values = await thread.until_end(2, channels=["values", "lifecycle"], namespaces=[[]], depth=0)
    assert values == [
        event
        for event in conversation
        if event["method"] in {"values", "lifecycle"} and event["params"]["namespace"] == []
    ]
    inside = await thread.until_end(
        2, channels=["updates", "lifecycle"], namespaces=[["child"], []]
    )
    assert any(event["params"]["namespace"] for event in of(inside, "updates"))
    async with thread.sse(["updates", "lifecycle"], namespaces=[["child"]], depth=1) as events:
        assert (await anext(events))["params"]["namespace"][0].startswith("child:")


async def test_the_next_run_goes_on_counting(thread, conversation):
    last = conversation[-1]["seq"]
    await thread.start("talker", ASK | {"tokens": 3})
    more = await thread.until_end(since=last)
    assert [event["seq"] for event in more] == list(range(last + 1, last + 1 + len(more)))


async def test_runs_of_the_plain_api_are_there_too(client, server):
    made = await client.threads.create()
    thread = Thread(server, made["thread_id"])
    async with thread.sse() as events:
        modes = ["values", "updates", "custom", "tasks", "checkpoints"]
        await client.runs.create(
            thread.id, "ask", input={"log": []}, stream_mode=modes, stream_resumable=True
        )
        live = await events_until_end(events)
    assert [data(event)["event"] for event in of(live, "lifecycle")] == ["running", "interrupted"]
    (asked,) = of(live, "input.requested")
    assert data(asked)["payload"] == {"question": "Really?"}
    assert data(of(live, "values")[-1]) == {"log": ["before"]}
    assert [(event["params"].get("node"), data(event)) for event in of(live, "updates")] == [
        ("before", {"log": ["before"]})
    ]
    assert of(live, "tasks")
    assert of(live, "checkpoints")
    assert await thread.until_end() == live
    answer = await thread.command(
        "input.respond", namespace=[], interrupt_id=data(asked)["interrupt_id"], response="yes"
    )
    assert answer["type"] == "success"
    both = await thread.until_end(2)
    assert both[: len(live)] == live
    assert data(of(both, "values")[-1])["answer"] == "yes"
    numbers = [event["seq"] for event in both]
    assert numbers == sorted(set(numbers))


async def test_a_thread_that_comes_to_be_while_it_is_followed(thread):
    async with thread.sse() as events:
        await thread.start("joke", {"topic": "tea"})
        assert is_end((await events_until_end(events))[-1])


async def test_an_idle_stream_has_heartbeats(thread):
    async with (
        httpx.AsyncClient(timeout=150) as http,
        http.stream(
            "POST", f"{thread.path}/stream/events", json={"channels": ["values"]}
        ) as response,
    ):
        lines = response.aiter_lines()
        assert [await anext(lines), await anext(lines)] == [": heartbeat"] * 2


async def test_the_same_node_several_times_at_once(thread):
    await thread.start("chorus", {"log": []})
    events = await thread.until_end()
    assert set(texts(events).values()) == {"Ada sings.", "Bob sings.", "Cy sings."}
    asked = [event for event in events if event["method"] == "input.requested"]
    places = {data(event)["payload"]["name"]: event["params"]["namespace"] for event in asked}
    assert set(places) == {"Ada", "Bob", "Cy"}
    for voice, inner in places.values():
        assert (voice.partition(":")[0], inner.partition(":")[0]) == ("voice", "again")
    assert len({voice for voice, _ in places.values()}) == 3
    ids = {data(event)["payload"]["name"]: data(event)["interrupt_id"] for event in asked}
    await thread.command("input.respond", interrupt_id=ids["Bob"], response="first")
    events = await thread.until_end(2)
    left = [event for event in events if event["method"] == "input.requested"][3:]
    assert {data(event)["payload"]["name"] for event in left} == {"Ada", "Cy"}
    rest = [{"interrupt_id": ids[name], "response": "then"} for name in ("Ada", "Cy")]
    await thread.command("input.respond", responses=rest)
    events = await thread.until_end(3)
    log = data(of(events, "values", [])[-1])["log"]
    assert {"Ada then", "Bob first", "Cy then"} <= set(log)


async def test_errors_end_a_run(thread):
    await thread.start("secret", {"topic": "tea"})
    assert data((await thread.until_end())[-1]) == {
        "event": "failed", "graph_name": "secret", "error": "An internal error occurred",
    }  # fmt: skip
    await thread.start("boom", {"topic": "tea"})
    events = await thread.until_end(2)
    assert data(events[-1])["error"] == "boom: tea"
    assert data(of(events, "updates")[-1]) == {"first": {"log": ["first"]}}


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_a_run_that_is_stopped(client, server, thread, action):
    run = await thread.start("sleepy", {"seconds": 60})
    async with thread.sse() as events:
        async for event in events:
            if event["method"] == "updates":
                break
        await client.runs.cancel(thread.id, run, action=action)
        assert data((await events_until_end(events))[-1])["event"] == "interrupted"
    assert (await client.threads.get(thread.id))["status"] == (
        "interrupted" if action == "interrupt" else "idle"
    )


async def test_a_run_that_is_cancelled_before_it_begins(client, thread):
    going = await thread.start("sleepy", {"seconds": 60})
    async with thread.sse(["lifecycle"]) as events, thread.subscribed(["lifecycle"]) as socket:
        begun = await anext(events)  # if it had not begun, the other one would end first
        waiting = await thread.start("sleepy", {"seconds": 60})
        await client.runs.cancel(thread.id, waiting)
        await client.runs.cancel(thread.id, going)
        seen = [begun, *await events_until_end(events, 2)]
        assert await events_until_end(socket, 2) == seen
        ids = [event["event_id"].split(":")[1] for event in seen]
        assert ids == [going, going, waiting, waiting]
        assert [data(event)["event"] for event in seen] == ["running", "interrupted"] * 2
        await thread.start("joke", {"topic": "tea"})
        seen += await events_until_end(events)
    numbers = [event["seq"] for event in seen]
    assert numbers == sorted(set(numbers))
    assert [data(event)["event"] for event in seen[4:]] == ["running", "completed"]


async def test_who_waits_for_a_run_learns_that_it_was_cancelled_in_the_queue(server, thread):
    going = await thread.start("sleepy", {"seconds": 60})
    async with loomline.get_client(url=server, api_key=None) as client:
        async with client.threads.stream(thread.id, assistant_id="sleepy") as stream:
            run = await stream.run.start(input={"seconds": 60})
            values = asyncio.create_task(collected(stream.values))
            await client.runs.cancel(thread.id, run["run_id"])
            await client.runs.cancel(thread.id, going)
            await values
        runs = await client.runs.list(thread.id)
    assert [run["status"] for run in runs] == ["interrupted"] * 2


async def collected(source):
    return [each async for each in source]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_runs_cancelled_before_they_begin_are_told_in_the_order_of_their_ends(
    tmp_path, redis_url, order
):
    flags = {"database_url": new_schema(), "redis_url": redis_url, "redis_prefix": new_prefix()}
    with serving_here(tmp_path, worker="false", **flags) as address:
        thread = Thread(address)
        async with httpx.AsyncClient() as http:
            runs = [await thread.start("joke", {"topic": "tea"}) for _ in range(2)]
            ended = [runs[place] for place in order]
            async with thread.sse(["lifecycle"]) as live:
                for run in ended:
                    await http.post(f"{thread.path}/runs/{run}/cancel")
                told = await events_until_end(live, 2)
        seen = await thread.until_end(2)
        assert seen == told
        assert [event["event_id"] for event in seen] == [
            f"synth:{run}:{name}" for run in ended for name in ("running", "end")
        ]
        assert [event["seq"] for event in seen] == [1, 2, 3, 4]
        assert await thread.until_end(since=2) == seen[2:]


async def test_the_state_is_stored_when_a_run_is_said_to_have_ended(client, thread):
    async with thread.sse(["lifecycle", "input"]) as events:
        for number in range(10):
            await thread.start("joke", {"topic": str(number)})
            await events_until_end(events)
            state = await client.threads.get_state(thread.id)
            assert state["values"]["topic"] == f"{number} and cats"
            assert state["next"] == []


async def test_a_run_with_the_protocol_is_a_run_like_others(client, thread):
    run = await thread.start("joke", {"topic": "tea"}, metadata={"mine": 1})
    assert (await client.runs.join(thread.id, run))["topic"] == "tea and cats"
    found = await client.runs.get(thread.id, run)
    assert found["status"] == "success"
    assert found["metadata"]["mine"] == 1
    assert found["kwargs"]["stream_mode"][:3] == ["values", "updates", "messages"]
    assert found["kwargs"]["subgraphs"] is True
    joined = client.runs.join_stream(thread.id, run, last_event_id="-1")
    parts = [part.event async for part in joined]
    assert parts == ["metadata", "values", "updates", "values", "updates", "values"]
