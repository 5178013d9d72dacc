"""The results of runs: the output schema, open questions, and the order of storing and telling."""

import asyncio
import operator
import sqlite3
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated

import langgraph_sdk
import psycopg
import pytest
from langgraph.errors import ParentCommand
from langgraph.graph import START, StateGraph
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command
from tests.postgres import new_schema
from tests.receiver import receiving
from tests.serving import serving_here
from tests.threads import Thread, data, is_end
from typing_extensions import TypedDict

import loomline

pytestmark = pytest.mark.two_servers

WHOLE = {"question": "why", "answer": "WHY", "secret": "reply"}
WHY = {"question": "why"}


class Log(TypedDict):
    log: Annotated[list[str], operator.add]


async def collect(stream):
    return [(part.event, part.data) async for part in stream if part.event != "metadata"]


async def new_thread(client):
    return (await client.threads.create())["thread_id"]


def asked(result):
    return [each["value"] for each in result.get("__interrupt__", [])]


async def rows(client, thread_id):
    """Return the values of a thread's row and of its state."""
    row = await client.threads.get(thread_id)
    return row["values"], (await client.threads.get_state(thread_id))["values"]


# private state


async def test_a_result_has_the_channels_of_the_output_schema_only(client):
    thread_id = await new_thread(client)
    assert await client.runs.wait(thread_id, "private", input=WHY) == {"answer": "WHY"}
    run = await client.runs.create(thread_id, "private", input=WHY)
    assert await client.runs.join(thread_id, run["run_id"]) == {"answer": "WHY"}
    assert await client.runs.join(thread_id, run["run_id"]) == {"answer": "WHY"}
    assert await client.runs.wait(None, "private", input=WHY) == {"answer": "WHY"}
    assert await rows(client, thread_id) == (WHOLE, WHOLE)


async def test_events_have_the_channels_of_the_output_schema_only(client):
    thread_id = await new_thread(client)
    stream = client.runs.stream(thread_id, "private", input=WHY, stream_mode=["values", "updates"])
    assert await collect(stream) == [
        ("updates", {"note": None}),
        ("updates", {"reply": {"answer": "WHY"}}),
        ("values", {"answer": "WHY"}),
        ("updates", {"confirm": None}),
    ]
    assert await rows(client, thread_id) == (WHOLE, WHOLE)


async def test_a_run_that_writes_private_channels_only_has_an_empty_result(client):
    thread_id = await new_thread(client)
    assert await client.runs.wait(thread_id, "silent", input=WHY) == {}
    assert await client.runs.wait(None, "silent", input=WHY) == {}
    whole = {"question": "why", "secret": "note"}
    assert await rows(client, thread_id) == (whole, whole)


async def test_a_run_that_pauses_shows_the_output_and_its_question(client):
    thread_id = await new_thread(client)
    result = await client.runs.wait(thread_id, "private", input={"question": "ask"})
    assert (result["answer"], asked(result), len(result)) == ("ASK", ["Sure?"], 2)
    whole = {"question": "ask", "answer": "ASK", "secret": "reply"}
    assert await rows(client, thread_id) == (whole, whole)


async def test_a_run_that_fails_leaves_its_whole_state_in_the_row(client):
    thread_id = await new_thread(client)
    result = await client.runs.wait(
        thread_id, "private", input={"question": "fail"}, raise_error=False
    )
    assert result["__error__"]["message"] == "boom"
    whole = {"question": "fail", "secret": "note"}
    assert await rows(client, thread_id) == (whole, whole)


async def test_a_run_that_is_stopped_leaves_its_whole_state_in_the_row(client):
    thread_id = await new_thread(client)
    run = await client.runs.create(thread_id, "private", input={"question": "slow"})
    async with asyncio.timeout(150):
        while not (await client.threads.get_state(thread_id))["values"]:
            await asyncio.sleep(0.01)
    await client.runs.cancel(thread_id, run["run_id"], wait=True)
    assert await rows(client, thread_id) == ({"question": "slow"}, {"question": "slow"})
    assert await client.runs.join(thread_id, run["run_id"]) == {}


@pytest.mark.parametrize("question", ["why", "fail"])
async def test_a_webhook_has_the_values_of_the_state(serving, question):
    with (
        receiving() as receiver,
        serving(webhook_networks="127.0.0.0/8") as address,
    ):
        async with loomline.get_client(url=address) as client:
            thread_id = await new_thread(client)
            await client.runs.wait(
                thread_id,
                "private",
                input={"question": question},
                webhook=receiver.url,
                raise_error=False,
            )
            told = (await asyncio.to_thread(receiver.next)).body
            assert told["values"] == (await client.threads.get_state(thread_id))["values"]
            assert told["values"]["secret"]


# open questions


async def test_a_result_has_all_questions_of_parallel_tasks(client):
    thread_id = await new_thread(client)
    result = await client.runs.wait(thread_id, "fanned", input={})
    assert sorted(asked(result)) == ["a", "b", "c"]
    assert sorted(asked(await client.runs.wait(None, "fanned", input={}))) == ["a", "b", "c"]


async def test_a_result_keeps_the_questions_that_an_answer_leaves_open(client):
    thread_id = await new_thread(client)
    result = await client.runs.wait(thread_id, "fanned", input={})
    ids = {each["value"]: each["id"] for each in result["__interrupt__"]}
    answers = {ids["a"]: "A", ids["c"]: "C"}
    result = await client.runs.wait(thread_id, "fanned", command={"resume": answers})
    assert asked(result) == ["b"]
    run = (await client.runs.list(thread_id))[0]
    assert asked(await client.runs.join(thread_id, run["run_id"])) == ["b"]
    result = await client.runs.wait(thread_id, "fanned", command={"resume": {ids["b"]: "B"}})
    assert (result["log"], asked(result)) == (["A", "B", "C"], [])


async def test_a_result_keeps_the_question_of_the_other_subgraph(client):
    thread_id = await new_thread(client)
    result = await client.runs.wait(thread_id, "twins", input={"question": "really?"})
    assert asked(result) == ["really?", "really?"]
    first, other = [each["id"] for each in result["__interrupt__"]]
    result = await client.runs.wait(thread_id, "twins", command={"resume": {first: "yes"}})
    assert [each["id"] for each in result["__interrupt__"]] == [other]
    run = (await client.runs.list(thread_id))[0]
    assert await client.runs.join(thread_id, run["run_id"]) == result


# the order of storing and telling


async def questions_in(client, thread_id):
    state = await client.threads.get_state(thread_id)
    return sorted(each["value"] for task in state["tasks"] for each in task["interrupts"])


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("graph", ["fanned", "twins"])
async def test_the_state_has_a_question_when_a_stream_tells_it(client, graph, durability):
    thread_id = await new_thread(client)
    seen = set()
    async for part in client.runs.stream(
        thread_id,
        graph,
        input={"question": "really?"},
        stream_mode=["updates", "values"],
        stream_subgraphs=True,
        durability=durability,
    ):
        for each in (part.data or {}).get("__interrupt__", []):
            seen.add(each["id"])
            assert each["value"] in await questions_in(client, thread_id)
            row = await client.threads.get(thread_id)
            stored = [one["id"] for of in row["interrupts"].values() for one in of]
            assert each["id"] in stored
    assert len(seen) == (3 if graph == "fanned" else 2)


async def test_a_question_is_told_while_its_sibling_goes_on(client, tmp_path):
    thread_id = await new_thread(client)
    stream = client.runs.stream(
        thread_id, "siblings", input={"folder": str(tmp_path)}, stream_mode="updates"
    )
    async for part in stream:
        if "__interrupt__" in part.data:
            assert await questions_in(client, thread_id) == ["quick?"]
            break
    run = (await client.runs.list(thread_id))[0]
    assert run["status"] == "running"
    early = await client.runs.create(thread_id, "siblings", command={"resume": "soon"})
    (tmp_path / "go").touch()
    assert (await client.runs.join(thread_id, early["run_id"]))["log"] == ["soon", "slow"]


async def test_the_protocol_tells_a_question_while_its_sibling_goes_on(server, client, tmp_path):
    thread = Thread(server)
    await thread.start("siblings", {"folder": str(tmp_path)})
    async with thread.sse(["input", "lifecycle"]) as events:
        async for event in events:
            if event["method"] == "input.requested":
                break
            assert not is_end(event)
        assert await questions_in(client, thread.id) == ["quick?"]
        answer = {"namespace": [], "interrupt_id": data(event)["interrupt_id"], "response": "soon"}
        assert (await thread.command("input.respond", **answer))["type"] == "success"
        again = await thread.command("input.respond", **answer)
        assert again["error"] == "no_such_interrupt"
        (tmp_path / "go").touch()
        ends = [data(event)["event"] async for event in _ends(events, 2)]
    assert ends == ["interrupted", "completed"]
    assert (await client.threads.get_state(thread.id))["values"]["log"] == ["soon", "slow"]


async def _ends(events, count):
    async for event in events:
        if is_end(event):
            yield event
            count -= 1
            if not count:
                return


async def test_readers_of_a_plain_run_see_its_question_while_the_sibling_goes_on(
    server, client, tmp_path
):
    thread = Thread(server, await new_thread(client))
    await client.runs.create(thread.id, "siblings", input={"folder": str(tmp_path)})
    async with thread.sse(["input", "lifecycle"]) as events:
        async for event in events:
            if event["method"] == "input.requested":
                break
        assert not is_end(event)
        (tmp_path / "go").touch()
        assert [data(event)["event"] async for event in _ends(events, 1)] == ["interrupted"]


@contextmanager
def sqlite_held(folder):
    """Keep the database from committing anything."""
    (path,) = folder.glob("*.db")
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    connection.close()


@contextmanager
def postgres_held(dsn):
    with psycopg.connect(dsn) as connection:
        connection.execute("LOCK TABLE checkpoint_writes IN EXCLUSIVE MODE")
        yield
        connection.rollback()


@pytest.fixture(params=["sqlite", "postgres"])
def held_server(request, tmp_path):
    """A server, and a context in which its database does not store anything."""
    if request.param == "sqlite":
        folder = tmp_path / "data"
        with serving_here(folder) as address:
            yield address, lambda: sqlite_held(folder)
        return
    dsn = new_schema()
    with serving_here(tmp_path / "data", database_url=dsn) as address:
        yield address, lambda: postgres_held(dsn)


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_a_question_is_not_told_before_it_is_stored(held_server, tmp_path, durability):
    address, held = held_server
    async with loomline.get_client(url=address) as client:
        thread_id = await new_thread(client)
        stream = client.runs.stream(
            thread_id,
            "patient",
            input={"folder": str(tmp_path)},
            stream_mode=["custom", "updates"],
            durability=durability,
        )
        assert (await anext(stream)).event == "metadata"
        async with asyncio.timeout(150):
            while not (await client.threads.get_state(thread_id))["next"]:
                await asyncio.sleep(0.01)
        with held():
            (tmp_path / "ask").touch()
            assert (await anext(stream)).data == "asking"
            told = asyncio.ensure_future(anext(stream))
            done, _ = await asyncio.wait([told], timeout=0.5)
            assert not done
        assert [each["value"] for each in (await told).data["__interrupt__"]] == ["quick?"]
        assert await questions_in(client, thread_id) == ["quick?"]


@pytest.mark.parametrize("mode", ["values", "lifecycle"])
async def test_the_thread_has_the_status_of_a_failed_run_when_the_stream_tells_it(client, mode):
    thread_id = await new_thread(client)
    stream = client.runs.stream(
        thread_id, "private", input={"question": "fail"}, stream_mode=[mode]
    )
    async for part in stream:
        if part.event == "error" or (part.data or {}).get("event") == "failed":
            assert (await client.threads.get(thread_id))["status"] == "error"
            state = await client.threads.get_state(thread_id)
            assert state["tasks"][0]["error"] == "ValueError('boom')"


# typed schemas in the thread protocol


@pytest.mark.parametrize(
    ("graph", "last"),
    [
        ("typed", {"question": "why", "answer": "WHY"}),
        ("required", WHOLE),
    ],
)
async def test_the_protocol_shows_states_as_they_are_stored(server, client, graph, last):
    thread = Thread(server)
    await thread.start(graph, WHY)
    events = await thread.until_end()
    values = [data(each) for each in events if each["method"] == "values"]
    assert (data(events[-1])["event"], values[-1]) == ("completed", last)
    assert values[0] == WHY
    assert await rows(client, thread.id) == (last, last)


async def test_the_result_of_a_run_of_the_protocol_is_its_output(server, client):
    thread = Thread(server)
    run_id = await thread.start("private", WHY)
    await thread.until_end()
    assert await client.runs.join(thread.id, run_id) == {"answer": "WHY"}
    assert await rows(client, thread.id) == (WHOLE, WHOLE)
    stream = client.runs.join_stream(thread.id, run_id, last_event_id="-1")
    shown = [(name, told) for name, told in await collect(stream) if name in {"values", "updates"}]
    assert shown == [
        ("updates", {"note": None}),
        ("updates", {"reply": {"answer": "WHY"}}),
        ("values", {"answer": "WHY"}),
        ("updates", {"confirm": None}),
    ]


# ends


async def status_after_cancelling(client):
    thread_id = await new_thread(client)
    run = await client.runs.create(thread_id, "leaving", input={})
    async with asyncio.timeout(150):
        while not (await client.threads.get_state(thread_id))["next"]:
            await asyncio.sleep(0.01)
    await client.runs.cancel(thread_id, run["run_id"])
    return (await client.runs.get(thread_id, run["run_id"]))["status"]


async def test_a_run_has_stopped_when_its_cancellation_is_answered(client):
    for _ in range(20):  # the answer waits for 0.25 s, which a busy machine may exceed
        if await status_after_cancelling(client) == "interrupted":
            return
    raise AssertionError("no run had stopped")


@pytest.mark.parametrize(
    ("graph", "error", "message"),
    [
        ("timed", "NodeTimeoutError", "Node 'endless' exceeded its run timeout"),
        ("odd", "TypeError", "The value that node 'odd' returned for 'question' cannot be stored"),
        ("secret", "OSError", "An internal error occurred"),
    ],
)
async def test_a_failed_run_shows_the_messages_of_the_libraries_only(client, graph, error, message):
    result = await client.runs.wait(None, graph, input={}, raise_error=False)
    assert result["__error__"]["error"] == error
    assert message in result["__error__"]["message"]


async def test_a_run_after_the_failure_of_many_subgraphs_has_later_numbers(
    server, client, tmp_path
):
    thread_id = await new_thread(client)
    stream = client.runs.stream(
        thread_id,
        "crowd",
        input={"folder": str(tmp_path)},
        stream_mode=["lifecycle"],
        stream_subgraphs=True,
    )
    parts = await collect(stream)
    assert sum(told.get("event") == "failed" for _, told in parts) == 30
    assert parts[-1] == ("error", {"error": "ValueError", "message": "boom"})
    await client.runs.wait(thread_id, "silent", input=WHY)
    async with asyncio.timeout(150):
        seen = await Thread(server, thread_id).until_end(2, channels=["lifecycle"])
    root = [data(event)["event"] for event in seen if event["params"]["namespace"] == []]
    assert root == ["running", "failed", "running", "completed"]


async def test_a_command_for_the_parent_graph_is_told_before_the_error(client):
    thread_id = await new_thread(client)
    stream = client.runs.stream(thread_id, "upward", input={})
    parts = await collect(stream)
    assert ("command", {"graph": "__parent__", "update": {"log": ["left"]}, "goto": "other"}) in [
        (name, {key: told[key] for key in ("graph", "update", "goto") if key in told})
        for name, told in parts
    ]


@asynccontextmanager
async def remote_graph(server, name):
    """Yield a remote graph with clients that are closed after the test."""
    with langgraph_sdk.get_sync_client(url=server, api_key=None) as unused:
        async with langgraph_sdk.get_client(url=server, api_key=None) as official:
            yield RemoteGraph(name, client=official, sync_client=unused)


async def test_a_remote_graph_hands_a_command_to_its_parent(server):
    async with remote_graph(server, "upward") as remote:
        with pytest.raises(ParentCommand) as raised:
            await remote.ainvoke({})
    command = raised.value.args[0]
    assert (command.goto, command.update) == ("other", {"log": ["left"]})


async def test_a_node_can_execute_the_command_of_a_remote_graph(server):
    async with remote_graph(server, "upward") as remote:

        async def child(_):
            try:
                return await remote.ainvoke({})
            except ParentCommand as left:
                command = left.args[0]
                return Command(goto=command.goto, update=command.update)

        builder = StateGraph(Log)
        builder.add_node("child", child)
        builder.add_node("other", lambda _: {"log": ["arrived"]})
        builder.add_edge(START, "child")
        result = await builder.compile().ainvoke({"log": []})
    assert result["log"] == ["left", "arrived"]
