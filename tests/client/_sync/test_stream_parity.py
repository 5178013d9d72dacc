# Generated from test_stream_parity.py by tools/unasync.py. Do not edit.
"""Thread streaming as programs that were written for the official client expect it."""

import pytest
from langchain_core.messages import AIMessage
from tests.client.thread_server import thread_server

from loomline._client._sync.stream import SyncThreadStream
from loomline.client import get_sync_client

RUN = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
CHILD = ["child:1"]


@pytest.fixture
def server():
    with thread_server() as running:
        yield running


def over(server):
    return get_sync_client(url=server.url, api_key=None)


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


def test_output_outside_the_context_of_a_run_that_ended_returns_its_values(server):
    run_of(server, lambda run_id: server.emit("values", {"n": 1}))
    server.state["values"] = {"n": 1}
    with over(server) as client:
        with client.threads.stream(assistant_id="agent") as thread:
            thread.run.start()
            assert [value for value in thread.values][-1] == {"n": 1}
        assert thread.get_output() == {"n": 1}
        assert thread.values.get() == {"n": 1}


def test_output_outside_the_context_of_a_failed_run_raises_its_error(server):
    server.on_start(lambda run_id: server.lifecycle("failed", run_id, error="boom"), RUN)
    with over(server) as client:
        with client.threads.stream(assistant_id="agent") as thread:
            thread.run.start()
            assert [event for event in thread.subscribe(["values"])] == []
        with pytest.raises(RuntimeError, match="Run errored: boom"):
            thread.get_output()


def test_output_outside_the_context_of_an_idle_thread_returns_its_values(server):
    server.state["values"] = {"n": 1}
    with over(server) as client:
        with client.threads.stream("t", assistant_id="agent") as thread:
            pass
        assert thread.get_output() == {"n": 1}


def test_output_outside_the_context_of_a_run_that_goes_on_raises(server):
    server.on_start(lambda run_id: server.lifecycle("running", run_id), RUN)
    with over(server) as client:
        with client.threads.stream(assistant_id="agent") as thread:
            thread.run.start()
        with pytest.raises(RuntimeError, match="is closed"):
            thread.get_output()


def test_events_outside_the_context_are_none(server):
    run_of(server, lambda run_id: server.emit("custom", {"name": "x", "payload": 1}))
    with over(server) as client:
        with client.threads.stream(assistant_id="agent") as thread:
            thread.run.start()
            kept = thread.subscribe(["values"])
        assert [part for part in thread.extensions["x"]] == []
        assert [event for event in thread.subscribe(["values"])] == []
        assert [part for part in thread.interleave_projections(["values", "x"])] == []
        assert [event for event in kept] == []
        for projection in (thread.values, thread.messages, thread.tool_calls, thread.subgraphs):
            with pytest.raises(RuntimeError, match="is closed"):
                [part for part in projection]


def test_all_events_that_were_asked_for_inside_the_context_end_with_it(server):
    run_of(server, lambda run_id: server.emit("values", {"n": 1}))
    with over(server) as client:
        with client.threads.stream(assistant_id="agent") as thread:
            thread.run.start()
            unread, begun = thread.events, thread.events
            assert (next(begun))["seq"] == 1
        assert [event for event in unread] == []
        assert [event for event in begun] == []


def test_raw_events_before_the_context_are_refused_at_once(server):
    with over(server) as client:
        thread = client.threads.stream(assistant_id="agent")
        with pytest.raises(RuntimeError, match="not entered"):
            thread.events  # noqa: B018
        with pytest.raises(RuntimeError, match="not entered"):
            thread.subscribe(["values"])


def test_an_error_of_the_block_wins_over_an_error_of_closing(server):
    class Broken(SyncThreadStream):
        def close(self):
            super().close()
            raise OSError("closing failed")

    with over(server) as client:
        given = {"http": client.http, "thread_id": "t", "assistant_id": "agent"}
        with pytest.raises(KeyError):
            with Broken(**given):
                raise KeyError
        with pytest.raises(OSError, match="closing failed"):
            with Broken(**given):
                pass


# ----------------------------------------------------------------------------------- subgraphs


def family(server, run_id):
    server.lifecycle("started", run_id, CHILD, graph_name="researcher", trigger_call_id="1")
    server.emit("tasks", {"id": "a", "name": "inner"}, CHILD)
    server.message("inside", namespace=CHILD)
    server.emit("tasks", {"id": "b", "name": "inner"}, CHILD)
    server.lifecycle("completed", run_id, CHILD)
    server.lifecycle("started", run_id, ["other:2"], graph_name="other", trigger_call_id="2")


def test_a_subgraph_that_was_read_is_not_found_again(server):
    run_of(server, lambda run_id: family(server, run_id))
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        children = iter(thread.subgraphs)
        first = next(children)
        children.close()
        assert first.path == ("child:1",)
        assert [child.path for child in thread.subgraphs] == [("other:2",)]


def test_a_subgraph_that_goes_on_after_a_question_is_found_in_the_new_run(server):
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
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        assert [child.path for child in thread.subgraphs] == [("child:1",)]
        thread.run.respond("yes")
        assert [child.path for child in thread.subgraphs] == [("child:1",)]


def test_the_graph_name_of_a_subgraph_is_the_node_that_runs_it(server):
    def script(run_id):
        family(server, run_id)
        server.emit("tasks", {"id": "c", "name": "inner"}, ["late:3"])

    run_of(server, script)
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        found = [(c.graph_name, c.agent_name, c.trigger_call_id) for c in thread.subgraphs]
        assert found == [("child", "researcher", "1"), ("other", None, "2"), ("late", None, "3")]


def test_messages_of_a_subgraph_before_the_event_that_tells_of_it_are_kept(server):
    def script(run_id):
        server.message("early", namespace=CHILD)
        server.message("deep", "m2", namespace=[*CHILD, "deep:2"])
        server.emit("tasks", {"id": "2", "name": "x"}, [*CHILD, "deep:2"])
        server.emit("tasks", {"id": "a", "name": "inner"}, CHILD)

    run_of(server, script)
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        (child,) = [child for child in thread.subgraphs]
        assert [m.text.get() for m in child.messages] == ["early"]
        (deep,) = [each for each in child.subgraphs]
        assert [m.text.get() for m in deep.messages] == ["deep"]


def test_interleaved_updates_tasks_and_checkpoints_are_those_of_the_graph_itself(server):
    def script(run_id):
        for namespace in ([], CHILD):
            for method in ("updates", "tasks", "checkpoints", "values"):
                server.emit(method, {"at": namespace}, namespace)

    run_of(server, script)
    names = ["updates", "tasks", "checkpoints", "values"]
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        found = [(n, item["at"]) for n, item in thread.interleave_projections(names)]
        assert found == [*((name, []) for name in names), ("values", CHILD)]


# ------------------------------------------------------------------------ messages and tool calls


def call_chunk(index, args, kind="tool_call_chunk"):
    content = {"type": kind, "id": f"c{index}", "name": "add", "args": args, "index": index}
    return {"index": index, "content": content}


def test_the_blocks_of_a_message_are_those_of_the_stored_message(server):
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
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        (message,) = [message for message in thread.messages]
        assert (message.get()).content == stored


def test_each_piece_of_a_tool_call_has_the_id_and_the_name_of_its_call(server):
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
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        (message,) = [message for message in thread.messages]
        found = [(p["id"], p["name"], p["index"], p["args"]) for p in message.tool_calls]
        assert found == [
            ("c0", "add", 0, '{"a": 2,'),
            ("c0", "add", 0, ' "b": 3}'),
            ("c1", "add", 1, '{"c": 1}'),
            (None, None, 3, "{}"),
        ]


def test_the_deltas_of_a_tool_that_fails_end(server):
    def script(run_id):
        started = {"event": "tool-started", "tool_call_id": "c", "tool_name": "t"}
        server.emit("tools", started)
        server.emit("tools", {"event": "tool-output-delta", "tool_call_id": "c", "delta": "a"})
        server.emit("tools", {"event": "tool-error", "tool_call_id": "c", "message": "no"})

    run_of(server, script)
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        (call,) = [call for call in thread.tool_calls]
        assert [delta for delta in call.deltas] == ["a"]
        assert str(call.error) == "no"
        with pytest.raises(RuntimeError, match="no"):
            call.output


def test_a_message_has_the_members_of_the_message_of_langchain(server):
    server.on_start(lambda run_id: server.lifecycle("running", run_id), RUN)
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        messages = iter(thread.messages)
        server.message("", pieces=["a"], finish=False)
        message = next(messages)
        assert message.has_events
        parts = (message.text, message.reasoning, message.tool_calls)
        assert [(part.done, part.error) for part in parts] == [(False, None)] * 3
        message.reasoning.complete("given")
        assert [piece for piece in message.reasoning] == []
        assert message.reasoning.get() == "given"
        message.close()
        assert [part.done for part in parts] == [True] * 3
        assert [type(part.error) for part in parts] == [RuntimeError, type(None), RuntimeError]
        messages.close()


def test_a_finished_message_is_unchanged_by_closing_it(server):
    run_of(server, lambda run_id: server.message("hello"))
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        (message,) = [message for message in thread.messages]
        message.close()
        assert isinstance(message.get(), AIMessage)


# ------------------------------------------------------------------------------- questions


def test_the_list_of_questions_is_kept_up_to_date(server):
    def ask(run_id):
        server.lifecycle("running", run_id)
        server.ask("i1", 1, run=run_id)

    server.on_start(ask, RUN)
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        asked = thread.interrupts
        thread.run.start()
        assert [event for event in thread.subscribe(["values"])] == []
        assert [each["interrupt_id"] for each in asked] == ["i1"]
        server.lifecycle("completed", RUN)
        assert thread.get_output() == {}
        assert thread.interrupts == []
        assert asked  # a program that has kept the list keeps the questions


def test_questions_can_be_set(server):
    with over(server) as client:
        thread = client.threads.stream(assistant_id="agent")
        asked = [{"interrupt_id": "i1", "value": 1, "namespace": []}]
        thread.interrupted, thread.interrupts = True, asked
        assert thread.interrupted
        assert thread.interrupts is asked


# ------------------------------------------------------------------------------- the sequence


def test_a_run_whose_end_has_the_number_0_ends(server):
    def start(params):
        data = {"event": "completed"}
        server.emit_raw({
            "type": "event", "event_id": "e0", "seq": 0, "method": "lifecycle",
            "params": {"namespace": [], "data": data},
        })  # fmt: skip
        return {"run_id": RUN}

    server.commands["run.start"] = start
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        assert thread.get_output(timeout=10) == {}


def test_events_up_to_the_number_in_the_answer_belong_to_earlier_runs(server):
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
    with over(server) as client, client.threads.stream("t", assistant_id="agent") as thread:
        thread.run.start()
        found = [event["params"]["data"] for event in thread.subscribe(["values"])]
        assert found == [{"n": 1}]


def test_a_server_that_only_replays_is_given_up(server):
    def start(run_id):
        server.lifecycle("running", run_id)
        server.emit("values", {"n": 1})

    server.on_start(start, RUN)
    server.clean = server.forgetful = True
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        with pytest.raises(RuntimeError, match="ended before terminal"):
            thread.get_output(timeout=150)
    assert len(server.bodies()) < 10
