"""Thread streaming as programs that were written for the official client expect it."""

import pytest
from langchain_core.messages import AIMessage
from tests.client.thread_server import thread_server

from loomline._client._async.stream import AsyncThreadStream
from loomline.client import get_client

RUN = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
CHILD = ["child:1"]


@pytest.fixture
def server():
    with thread_server() as running:
        yield running


def over(server):
    return get_client(url=server.url, api_key=None)


def run_of(server, script, run=RUN):
    """Have every run do what a function says, between its beginning and its end."""

    def start(run_id):
        server.lifecycle("running", run_id)
        script(run_id)
        server.lifecycle("completed", run_id)

    server.on_start(start, run)


def emit(server, kind, **more):
    server.emit("messages", {"event": kind, **more})


# ------------------------------------------------------------------------- outside of the context


async def test_output_outside_the_context_of_a_run_that_ended_returns_its_values(server):
    run_of(server, lambda run_id: server.emit("values", {"n": 1}))
    server.state["values"] = {"n": 1}
    async with over(server) as client:
        async with client.threads.stream(assistant_id="agent") as thread:
            await thread.run.start()
            assert [value async for value in thread.values][-1] == {"n": 1}
        assert await thread.get_output() == {"n": 1}
        assert await thread.values.get() == {"n": 1}


async def test_output_outside_the_context_of_a_failed_run_raises_its_error(server):
    server.on_start(lambda run_id: server.lifecycle("failed", run_id, error="boom"), RUN)
    async with over(server) as client:
        async with client.threads.stream(assistant_id="agent") as thread:
            await thread.run.start()
            assert [event async for event in thread.subscribe(["values"])] == []
        with pytest.raises(RuntimeError, match="Run errored: boom"):
            await thread.get_output()


async def test_output_outside_the_context_of_an_idle_thread_returns_its_values(server):
    server.state["values"] = {"n": 1}
    async with over(server) as client:
        async with client.threads.stream("t", assistant_id="agent") as thread:
            pass
        assert await thread.get_output() == {"n": 1}


async def test_output_outside_the_context_of_a_run_that_goes_on_raises(server):
    server.on_start(lambda run_id: server.lifecycle("running", run_id), RUN)
    async with over(server) as client:
        async with client.threads.stream(assistant_id="agent") as thread:
            await thread.run.start()
        with pytest.raises(RuntimeError, match="is closed"):
            await thread.get_output()


async def test_events_outside_the_context_are_none(server):
    run_of(server, lambda run_id: server.emit("custom", {"name": "x", "payload": 1}))
    async with over(server) as client:
        async with client.threads.stream(assistant_id="agent") as thread:
            await thread.run.start()
            kept = thread.subscribe(["values"])
        assert [part async for part in thread.extensions["x"]] == []
        assert [event async for event in thread.subscribe(["values"])] == []
        assert [part async for part in thread.interleave_projections(["values", "x"])] == []
        assert [event async for event in kept] == []
        for projection in (thread.values, thread.messages, thread.tool_calls, thread.subgraphs):
            with pytest.raises(RuntimeError, match="is closed"):
                [part async for part in projection]


async def test_all_events_that_were_asked_for_inside_the_context_end_with_it(server):
    run_of(server, lambda run_id: server.emit("values", {"n": 1}))
    async with over(server) as client:
        async with client.threads.stream(assistant_id="agent") as thread:
            await thread.run.start()
            unread, begun = thread.events, thread.events
            assert (await anext(begun))["seq"] == 1
        assert [event async for event in unread] == []
        assert [event async for event in begun] == []


async def test_raw_events_before_the_context_are_refused_at_once(server):
    async with over(server) as client:
        thread = client.threads.stream(assistant_id="agent")
        with pytest.raises(RuntimeError, match="not entered"):
            thread.events  # noqa: B018
        with pytest.raises(RuntimeError, match="not entered"):
            thread.subscribe(["values"])


async def test_an_error_of_the_block_wins_over_an_error_of_closing(server):
    class Broken(AsyncThreadStream):
        async def close(self):
            await super().close()
            raise OSError("closing failed")

    async with over(server) as client:
        given = {"http": client.http, "thread_id": "t", "assistant_id": "agent"}
        with pytest.raises(KeyError):
            async with Broken(**given):
                raise KeyError
        with pytest.raises(OSError, match="closing failed"):
            async with Broken(**given):
                pass


# ----------------------------------------------------------------------------------- subgraphs


def family(server, run_id):
    server.lifecycle("started", run_id, CHILD, graph_name="researcher", trigger_call_id="1")
    server.emit("tasks", {"id": "a", "name": "inner"}, CHILD)
    server.message("inside", namespace=CHILD)
    server.emit("tasks", {"id": "b", "name": "inner"}, CHILD)
    server.lifecycle("completed", run_id, CHILD)
    server.lifecycle("started", run_id, ["other:2"], graph_name="other", trigger_call_id="2")


async def test_a_subgraph_that_was_read_is_not_found_again(server):
    run_of(server, lambda run_id: family(server, run_id))
    async with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        await thread.run.start()
        children = aiter(thread.subgraphs)
        first = await anext(children)
        await children.aclose()
        assert first.path == ("child:1",)
        assert [child.path async for child in thread.subgraphs] == [("other:2",)]


async def test_a_subgraph_that_goes_on_after_a_question_is_found_in_the_new_run(server):
    def ask(run_id):
        server.lifecycle("running", run_id)
        server.lifecycle("started", run_id, CHILD)
        server.ask("i1", 1, run=run_id)

    def go_on(params):
        server.lifecycle("running", OTHER)
        server.lifecycle("started", OTHER, CHILD)
        server.lifecycle("completed", OTHER)
        return {"run_id": OTHER}

    server.on_start(ask, RUN)
    server.commands["input.respond"] = go_on
    async with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        await thread.run.start()
        assert [child.path async for child in thread.subgraphs] == [("child:1",)]
        await thread.run.respond("yes")
        assert [child.path async for child in thread.subgraphs] == [("child:1",)]


async def test_the_graph_name_of_a_subgraph_is_the_node_that_runs_it(server):
    def script(run_id):
        family(server, run_id)
        server.emit("tasks", {"id": "c", "name": "inner"}, ["late:3"])

    run_of(server, script)
    async with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        await thread.run.start()
        found = [(c.graph_name, c.agent_name, c.trigger_call_id) async for c in thread.subgraphs]
        assert found == [("child", "researcher", "1"), ("other", None, "2"), ("late", None, "3")]


async def test_messages_of_a_subgraph_before_the_event_that_tells_of_it_are_kept(server):
    def script(run_id):
        server.message("early", namespace=CHILD)
        server.message("deep", "m2", namespace=[*CHILD, "deep:2"])
        server.emit("tasks", {"id": "2", "name": "x"}, [*CHILD, "deep:2"])
        server.emit("tasks", {"id": "a", "name": "inner"}, CHILD)

    run_of(server, script)
    async with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        await thread.run.start()
        (child,) = [child async for child in thread.subgraphs]
        assert [await m.text.get() async for m in child.messages] == ["early"]
        (deep,) = [each async for each in child.subgraphs]
        assert [await m.text.get() async for m in deep.messages] == ["deep"]


async def test_interleaved_updates_tasks_and_checkpoints_are_those_of_the_graph_itself(server):
    def script(run_id):
        for namespace in ([], CHILD):
            for method in ("updates", "tasks", "checkpoints", "values"):
                server.emit(method, {"at": namespace}, namespace)

    run_of(server, script)
    names = ["updates", "tasks", "checkpoints", "values"]
    async with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        await thread.run.start()
        found = [(n, item["at"]) async for n, item in thread.interleave_projections(names)]
        assert found == [*((name, []) for name in names), ("values", CHILD)]


# ------------------------------------------------------------------------ messages and tool calls


def call_chunk(index, args, kind="tool_call_chunk"):
    content = {"type": kind, "id": f"c{index}", "name": "add", "args": args, "index": index}
    return {"index": index, "content": content}


async def test_the_blocks_of_a_message_are_those_of_the_stored_message(server):
    call = {"type": "tool_call", "id": "c1", "name": "add", "args": {"a": 2}}
    reasoning = {"type": "reasoning", "reasoning": "hm", "index": "lc_rs_0"}
    stored = [{"type": "text", "text": "hi", "index": 0}, call, reasoning]

    def script(run_id):
        emit(server, "message-start", role="ai", id="m")
        emit(server, "content-block-start", index=0, content={"type": "text", "text": ""})
        emit(server, "content-block-finish", index=0, content={"type": "text", "text": "hi"})
        emit(server, "content-block-start", **call_chunk(1, ""))
        emit(server, "content-block-finish", index=1, content={**call, "index": 1})
        emit(server, "content-block-finish", index=2, content=reasoning)
        emit(server, "message-finish")

    run_of(server, script)
    async with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        await thread.run.start()
        (message,) = [message async for message in thread.messages]
        assert (await message.get()).content == stored


async def test_each_piece_of_a_tool_call_has_the_id_and_the_name_of_its_call(server):
    def piece(index, args):
        delta = {"type": "tool-call-delta", "args": args}
        emit(server, "content-block-delta", index=index, delta=delta)

    def script(run_id):
        emit(server, "message-start", role="ai", id="m")
        emit(server, "content-block-start", **call_chunk(0, ""))
        piece(0, '{"a": 2,')
        piece(0, "")
        piece(0, ' "b": 3}')
        emit(server, "content-block-start", **call_chunk(1, '{"c": 1}'))
        emit(server, "content-block-start", **call_chunk(2, "{}", "server_tool_call_chunk"))
        piece(2, " ")
        piece(3, "{}")  # its block was never begun
        emit(server, "message-finish")

    run_of(server, script)
    async with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        await thread.run.start()
        (message,) = [message async for message in thread.messages]
        found = [(p["id"], p["name"], p["index"], p["args"]) async for p in message.tool_calls]
        assert found == [
            ("c0", "add", 0, '{"a": 2,'),
            ("c0", "add", 0, ' "b": 3}'),
            ("c1", "add", 1, '{"c": 1}'),
            (None, None, 3, "{}"),
        ]


async def test_the_deltas_of_a_tool_that_fails_end(server):
    def script(run_id):
        started = {"event": "tool-started", "tool_call_id": "c", "tool_name": "t"}
        server.emit("tools", started)
        server.emit("tools", {"event": "tool-output-delta", "tool_call_id": "c", "delta": "a"})
        server.emit("tools", {"event": "tool-error", "tool_call_id": "c", "message": "no"})

    run_of(server, script)
    async with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        await thread.run.start()
        (call,) = [call async for call in thread.tool_calls]
        assert [delta async for delta in call.deltas] == ["a"]
        assert str(call.error) == "no"
        with pytest.raises(RuntimeError, match="no"):
            await call.output


async def test_a_message_has_the_members_of_the_message_of_langchain(server):
    server.on_start(lambda run_id: server.lifecycle("running", run_id), RUN)
    async with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        await thread.run.start()
        messages = aiter(thread.messages)
        server.message("", pieces=["a"], finish=False)
        message = await anext(messages)
        assert message.has_events
        parts = (message.text, message.reasoning, message.tool_calls)
        assert [(part.done, part.error) for part in parts] == [(False, None)] * 3
        message.reasoning.complete("given")
        assert [piece async for piece in message.reasoning] == []
        assert await message.reasoning.get() == "given"
        await message.aclose()
        assert [part.done for part in parts] == [True] * 3
        assert [type(part.error) for part in parts] == [RuntimeError, type(None), RuntimeError]
        await messages.aclose()


async def test_a_finished_message_is_unchanged_by_closing_it(server):
    run_of(server, lambda run_id: server.message("hello"))
    async with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        await thread.run.start()
        (message,) = [message async for message in thread.messages]
        await message.aclose()
        assert isinstance(await message.get(), AIMessage)


# ------------------------------------------------------------------------------- questions


async def test_the_list_of_questions_is_kept_up_to_date(server):
    def ask(run_id):
        server.lifecycle("running", run_id)
        server.ask("i1", 1, run=run_id)

    server.on_start(ask, RUN)
    async with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        asked = thread.interrupts
        await thread.run.start()
        assert [event async for event in thread.subscribe(["values"])] == []
        assert [each["interrupt_id"] for each in asked] == ["i1"]
        server.lifecycle("completed", RUN)
        assert await thread.get_output() == {}
        assert thread.interrupts == []
        assert asked  # a program that has kept the list keeps the questions


async def test_questions_can_be_set(server):
    async with over(server) as client:
        thread = client.threads.stream(assistant_id="agent")
        asked = [{"interrupt_id": "i1", "value": 1, "namespace": []}]
        thread.interrupted, thread.interrupts = True, asked
        assert thread.interrupted
        assert thread.interrupts is asked


# ------------------------------------------------------------------------------- the sequence


async def test_a_run_whose_end_has_the_number_0_ends(server):
    def start(params):
        data = {"event": "completed"}
        server.emit_raw({
            "type": "event", "event_id": "e0", "seq": 0, "method": "lifecycle",
            "params": {"namespace": [], "data": data},
        })  # fmt: skip
        return {"run_id": RUN}

    server.commands["run.start"] = start
    async with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        await thread.run.start()
        assert await thread.get_output(timeout=10) == {}


async def test_events_up_to_the_number_in_the_answer_belong_to_earlier_runs(server):
    """The server names no run in its events."""
    for _ in range(2):
        server.lifecycle("running")
        server.emit("values", {"old": 1})
        server.lifecycle("completed")

    def start(params):
        server.applied = 6
        server.lifecycle("running")
        server.emit("values", {"n": 1})
        server.lifecycle("completed")
        return {"run_id": RUN}

    server.commands["run.start"] = start
    async with over(server) as client, client.threads.stream("t", assistant_id="agent") as thread:
        await thread.run.start()
        found = [event["params"]["data"] async for event in thread.subscribe(["values"])]
        assert found == [{"n": 1}]


async def test_a_server_that_only_replays_is_given_up(server):
    def start(run_id):
        server.lifecycle("running", run_id)
        server.emit("values", {"n": 1})

    server.on_start(start, RUN)
    server.clean = server.forgetful = True
    async with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        await thread.run.start()
        with pytest.raises(RuntimeError, match="ended before terminal"):
            await thread.get_output(timeout=150)
    assert len(server.bodies()) < 10
