"""The commands of the thread protocol, over HTTP and in band, right and wrong ones."""

import asyncio
import json

import httpx
import pytest
from tests.postgres import new_schema
from tests.redis_server import new_prefix
from tests.serving import serving_here
from tests.threads import ALL, Thread, data, events_until_end, is_end, new_thread_id
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

pytestmark = [pytest.mark.two_servers, pytest.mark.one_client]

NO_COMMAND = "Protocol commands must include an integer id and string method."


@pytest.fixture
def thread(server):
    return Thread(server)


def error(code, message, number=1):
    return {
        "type": "error", "id": number, "error": code, "message": message,
    }  # fmt: skip


def questions(events):
    """Return the ids of the questions that events ask, in their order."""
    return [data(each)["interrupt_id"] for each in events if each["method"] == "input.requested"]


async def interrupted(thread, assistant="ask"):
    """Return the ids of what a run on the thread asks."""
    await thread.start(assistant, {"log": []})
    events = await thread.until_end()
    return [data(event)["interrupt_id"] for event in events if event["method"] == "input.requested"]


@pytest.mark.one_server
@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ("{", {"detail": "Invalid JSON body"}),
        ("\0", {"detail": "Invalid JSON body"}),
        ("[" * 2000, {"detail": "Invalid JSON body"}),
        ("[]", error("invalid_argument", NO_COMMAND, None)),
        ('{"method":"run.start"}', error("invalid_argument", NO_COMMAND, None)),
        ('{"id":"1","method":"run.start"}', error("invalid_argument", NO_COMMAND, None)),
        ('{"id":true,"method":"run.start"}', error("invalid_argument", NO_COMMAND, None)),
        ('{"id":1.5,"method":"run.start"}', error("invalid_argument", NO_COMMAND, None)),
        ('{"id":7}', error("invalid_argument", NO_COMMAND, 7)),
        ('{"id":7,"method":null}', error("invalid_argument", NO_COMMAND, 7)),
    ],
)
async def test_invalid_command_is_refused_with_its_error(thread, body, answer):
    response = await thread.post(body)
    assert (response.status_code, response.json()) == (400, answer)


@pytest.mark.one_server
@pytest.mark.parametrize(
    ("method", "params", "code", "message"),
    [
        ("run.fly", {}, "unknown_command", "Unknown protocol command: run.fly"),
        ("input.inject", {}, "unknown_command", "Unknown protocol command: input.inject"),
        ("run.start", {}, "invalid_argument", "run.start requires an assistant_id."),
        ("run.start", {"assistant_id": 3}, "invalid_argument", "run.start requires an assistant_id."),
        ("run.start", {"assistant_id": ""}, "invalid_argument", "run.start requires an assistant_id."),
        (
            "run.start", {"assistant_id": "joke", "metadata": 3},
            "unknown_error", "422: 'metadata' must be an object, got 3",
        ),
        ("input.respond", {}, "invalid_argument", "input.respond requires an interrupt_id."),
        (
            "input.respond", {"responses": []},
            "invalid_argument", "input.respond requires at least one response.",
        ),
        (
            "input.respond", {"responses": [3]},
            "invalid_argument", "input.respond requires an interrupt_id.",
        ),
        ("agent.getTree", {}, "no_such_run", "No active run is bound to this thread."),
        ("subscription.unsubscribe", {}, "no_such_subscription", "There is no such subscription."),
        ("state.get", {"namespace": 3}, "invalid_argument", "namespace must be a list of texts."),
        (
            "state.listCheckpoints", {"limit": 0},
            "invalid_argument", "limit must be a whole number above 0.",
        ),
        ("state.fork", {"checkpoint_id": 3}, "unknown_error", "422: Invalid checkpoint ID"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("over", ["http", "websocket"])
async def test_commands_that_cannot_be_done(thread, over, method, params, code, message):
    if over == "http":
        assert await thread.command(method, **params) == error(code, message)
        return
    async with thread.websocket() as socket:
        answer, _ = await socket.ask(method, **params)
        assert answer == {**error(code, message), "meta": {"applied_through_seq": 0}}
        answer, _ = await socket.ask("run.start", assistant_id="joke", input={"topic": "tea"})
        assert answer["type"] == "success"


@pytest.mark.parametrize("method", ["input.respond", "state.get", "state.listCheckpoints"])
async def test_a_thread_that_does_not_exist(thread, method):
    answer = await thread.command(method, interrupt_id="x", response=1)
    assert answer["error"] == "no_such_run"
    assert thread.id in answer["message"]


async def test_an_assistant_that_does_not_exist(thread):
    answer = await thread.command("run.start", assistant_id="nobody")
    assert answer["error"] == "unknown_error"
    assert answer["message"].startswith("422: Invalid assistant: 'nobody'.")


async def test_ids_of_threads_that_are_none(server):
    thread = Thread(server, "x")
    answer = await thread.command("run.start", assistant_id="joke")
    assert answer == error("unknown_error", "422: Invalid thread ID: must be a UUID")
    async with httpx.AsyncClient() as http:
        response = await http.post(f"{thread.path}/stream/events", json={"channels": ALL})
    assert response.status_code == 422
    with pytest.raises(ConnectionClosedError) as refused:
        async with thread.websocket() as socket:
            await socket.receive()
    assert refused.value.rcvd.code == 4422


@pytest.mark.one_server
@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ("{", "Invalid JSON body"),
        ("3", "channels is required and must be a non-empty array"),
        ("{}", "channels is required and must be a non-empty array"),
        ('{"channels":[]}', "channels is required and must be a non-empty array"),
        ('{"channels":"values"}', "channels is required and must be a non-empty array"),
    ],
)
async def test_streams_that_cannot_be(thread, body, detail):
    async with httpx.AsyncClient() as http:
        response = await http.post(f"{thread.path}/stream/events", content=body)
    assert (response.status_code, response.json()) == (400, {"detail": detail})


@pytest.mark.one_server
@pytest.mark.parametrize("channel", ["bogus", "custom:", 3, None])
async def test_channels_that_do_not_exist(thread, channel):
    async with httpx.AsyncClient() as http:
        body = {"channels": ["values", channel]}
        response = await http.post(f"{thread.path}/stream/events", json=body)
    assert response.status_code == 400
    assert response.json()["detail"].startswith("channels contains unsupported entries: ")


async def test_superfluous_fields_of_a_command_are_ignored(thread):
    await thread.start("joke", {"topic": "tea"}, config=3, multitaskStrategy="none", more=1)
    events = await thread.until_end(namespaces=3, depth="x", since="y", more=1)
    assert events[0]["seq"] == 1


async def test_input_is_the_answer_where_a_thread_asks(client, thread):
    await interrupted(thread)
    await thread.start("ask", {"any": "thing"})
    await thread.until_end(2)
    values = (await client.threads.get_state(thread.id))["values"]
    assert values == {"log": ["before", "after"], "answer": {"any": "thing"}}


async def test_without_input_a_run_goes_on(thread):
    (asked,) = await interrupted(thread)
    await thread.start("ask")
    events = await thread.until_end(2)
    assert questions(events) == [asked, asked]
    assert data(events[-1])["event"] == "interrupted"


async def test_an_answer_for_one_of_two_questions(thread):
    first = await interrupted(thread, "assistant")
    assert len(first) == 2
    await thread.command("input.respond", interrupt_id=first[0], response="yes")
    events = await thread.until_end(2)
    assert questions(events) == [*first, first[1]]
    answer = await thread.command("input.respond", interrupt_id=first[0], response="yes")
    assert answer["error"] == "no_such_interrupt"
    assert (await thread.command("input.respond", interrupt_id=first[1], response=1))[
        "result"
    ] == {}
    assert data((await thread.until_end(3))[-1])["event"] == "completed"


async def test_an_answer_counts_once(thread):
    (asked,) = await interrupted(thread)
    answers = await asyncio.gather(
        *[thread.command("input.respond", interrupt_id=asked, response="yes") for _ in range(3)]
    )
    kinds = sorted(answer.get("error", "success") for answer in answers)
    assert kinds == ["no_such_interrupt", "no_such_interrupt", "success"]
    message = f"Unknown or already-consumed interrupt: {asked}"
    assert message in {answer.get("message") for answer in answers}


@pytest.fixture(scope="module")
def two_servers(tmp_path_factory, redis_url):
    """The addresses of two servers of one database."""
    flags = {"database_url": new_schema(), "redis_url": redis_url, "redis_prefix": new_prefix()}
    folder = tmp_path_factory.mktemp("data")
    with (
        serving_here(folder, **flags) as one,
        serving_here(folder, worker="false", **flags) as other,
    ):
        yield one, other


@pytest.mark.parametrize("attempt", range(10))
async def test_an_answer_counts_once_whichever_servers_are_asked(two_servers, attempt):
    threads = [Thread(two_servers[0]), *map(Thread, two_servers)]
    for thread in threads:
        thread.id = threads[0].id
    (asked,) = await interrupted(threads[0])
    answers = await asyncio.gather(
        *[
            each.command("input.respond", interrupt_id=asked, response=str(number))
            for number, each in enumerate(threads)
        ]
    )
    kinds = sorted(answer.get("error", "success") for answer in answers)
    assert kinds == ["no_such_interrupt", "no_such_interrupt", "success"]
    (end,) = (await threads[0].until_end(2))[-1:]
    assert data(end)["event"] == "completed"


async def test_an_answer_with_an_update(client, thread):
    (asked,) = await interrupted(thread)
    await thread.command(
        "input.respond", interrupt_id=asked, response="yes", update={"log": ["by hand"]},
        metadata={"who": "me"},
    )  # fmt: skip
    await thread.until_end(2)
    assert "by hand" in (await client.threads.get_state(thread.id))["values"]["log"]
    newest, *_ = await client.runs.list(thread.id)
    assert newest["metadata"]["who"] == "me"


@pytest.mark.parametrize("spelling", ["multitaskStrategy", "multitask_strategy"])
async def test_a_thread_that_is_busy(thread, spelling):
    await thread.start("sleepy", {"seconds": 60})
    answer = await thread.command("run.start", assistant_id="joke", **{spelling: "reject"})
    assert answer["error"] == "invalid_argument"
    assert answer["message"].startswith("Thread is already running a task.")
    await thread.start("joke", {"topic": "tea"}, **{spelling: "interrupt"})
    ends = [data(event)["event"] for event in await thread.until_end(2) if is_end(event)]
    assert ends == ["interrupted", "completed"]


async def test_the_tree_of_a_run(thread):
    run = await thread.start("family", {"topic": "tea"})
    await thread.until_end()
    answer = await thread.command("agent.getTree", run_id=run)
    root = answer["result"]["tree"]
    assert (root["namespace"], root["graph_name"], root["status"]) == ([], "family", "completed")
    (parent,) = root["children"]
    (child,) = parent["children"]
    assert [each["graph_name"] for each in (parent, child)] == ["parent", "child"]
    assert child["namespace"][:1] == parent["namespace"]
    other = await thread.command("agent.getTree", run_id=new_thread_id())
    assert other["error"] == "no_such_run"


async def test_state_commands_return_the_selected_state(thread):
    await thread.start("joke", {"topic": "tea"})
    await thread.until_end()
    state = (await thread.command("state.get", namespace=[]))["result"]
    assert state["values"]["topic"] == "tea and cats"
    part = (await thread.command("state.get", namespace=[], keys=["joke"]))["result"]
    assert list(part["values"]) == ["joke"]
    nowhere = await thread.command("state.get", namespace=["child:1"])
    assert nowhere["error"] == "no_such_namespace"
    listed = (await thread.command("state.listCheckpoints", limit=2))["result"]["checkpoints"]
    assert [each["step"] for each in listed] == [2, 1]
    assert listed[0]["id"] == state["checkpoint"]["id"]
    older = await thread.command("state.listCheckpoints", before=listed[1]["id"])
    first = older["result"]["checkpoints"][-1]
    assert first["step"] == -1
    forked = await thread.command("state.fork", checkpoint_id=listed[1]["id"])
    assert forked["result"]["thread_id"] == thread.id
    assert data((await thread.until_end(2))[-1])["event"] == "completed"
    missing = await thread.command("state.fork", checkpoint_id=new_thread_id())
    assert missing["error"] == "no_such_checkpoint"


@pytest.mark.one_server
async def test_garbage_leaves_a_websocket_usable(thread):
    no_json = error("invalid_argument", "Protocol commands must be valid JSON.", None)
    async with thread.websocket() as socket:
        for frame in ("{", "", b"\xff\xfe", "\ud800".encode("utf-8", "surrogatepass"), "[" * 5000):
            await socket.raw.send(frame)
            assert await socket.receive() == no_json
        for frame in ("3", "[]", "{}", b'{"id":"x"}', "null"):
            await socket.raw.send(frame)
            assert await socket.receive() == error("invalid_argument", NO_COMMAND, None)
        await socket.raw.send(b'{"id":9,"method":"agent.getTree"}')
        assert (await socket.receive())["error"] == "no_such_run"


@pytest.mark.one_server
async def test_frames_that_are_too_large(serving):
    with serving(body_limit_bytes="2000") as address:
        thread = Thread(address)
        async with thread.websocket() as socket:
            await socket.raw.send("x" * 2001)
            message = "A command must not be larger than 2000 bytes."
            assert await socket.receive() == error("invalid_argument", message, None)
            answer, _ = await socket.ask("run.start", assistant_id="joke", input={"topic": "t"})
            assert answer["type"] == "success"
        response = await thread.post("x" * 2001)
        assert response.status_code == 413


@pytest.mark.one_server
@pytest.mark.parametrize("method", ["subscription.subscribe", "subscription.reconnect"])
async def test_subscriptions_that_cannot_be(thread, method):
    async with thread.websocket() as socket:
        given = {"since": 0} if "reconnect" in method else {}
        answer, _ = await socket.ask(method, **given)
        assert answer["message"] == f"{method} requires a non-empty channels array."
        answer, _ = await socket.ask(method, channels=["bogus"], **given)
        assert answer["message"] == f"{method} received an unsupported channel."
        answer, _ = await socket.ask("subscription.reconnect", channels=["values"])
        assert answer["error"] == "invalid_argument"
        for _ in range(100):
            answer, _ = await socket.ask(method, channels=["values"], **given)
            assert answer["type"] == "success"
        answer, _ = await socket.ask(method, channels=["values"], **given)
        assert answer["message"].startswith("A connection can have 100 subscriptions.")


async def test_subscriptions_on_one_socket_filter_independently(thread):
    async with thread.websocket() as socket:
        first, _ = await socket.ask("subscription.subscribe", channels=["values", "lifecycle"])
        answer, _ = await socket.ask("run.start", assistant_id="joke", input={"topic": "tea"})
        assert answer["type"] == "success"
        one = await events_until_end(socket.events())
        assert {event["method"] for event in one} == {"values", "lifecycle"}
        second, again = await socket.ask(
            "subscription.subscribe", channels=["updates", "lifecycle"]
        )
        assert {event["method"] for event in again} == {"updates", "lifecycle"}
        assert second["result"]["replayed_events"] == len(again)
        assert second["meta"]["applied_through_seq"] == one[-1]["seq"]
        await socket.send("run.start", assistant_id="joke", input={"topic": "coffee"})
        both = await events_until_end(socket.events())
        numbers = [event["seq"] for event in both]
        assert numbers == sorted(set(numbers))
        assert {event["method"] for event in both} == {"values", "updates", "lifecycle"}
        for subscribed in (first, second):
            name = subscribed["result"]["subscription_id"]
            answer, _ = await socket.ask("subscription.unsubscribe", subscription_id=name)
            assert answer["result"] == {}
        answer, _ = await socket.ask("run.start", assistant_id="joke", input={"topic": "milk"})
        answer, before = await socket.ask("subscription.unsubscribe", subscription_id=name)
        assert (answer["error"], before) == ("no_such_subscription", [])


async def test_nothing_comes_before_the_first_subscription(thread):
    await thread.start("joke", {"topic": "tea"})
    await thread.until_end()
    async with thread.websocket() as socket:
        answer, before = await socket.ask("agent.getTree")
        assert (answer["type"], before) == ("success", [])


async def test_a_client_that_leaves_at_any_time(thread):
    address = thread.path.replace("http", "ws", 1) + "/stream/events"
    await thread.start("talker", {"messages": "hi", "tokens": 500})
    for _ in range(5):
        async with connect(address) as raw:
            subscribe = {"method": "subscription.subscribe", "params": {"channels": ALL}}
            await raw.send(json.dumps({"id": 1, **subscribe}))
            await raw.recv()
            raw.transport.abort()
    assert is_end((await thread.until_end())[-1])
