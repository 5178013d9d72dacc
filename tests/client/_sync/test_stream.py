# Generated from test_stream.py by tools/unasync.py. Do not edit.
"""Thread streaming, over real connections."""

import threading
import uuid

import pytest
from tests.client.thread_server import thread_server

from loomline.client import get_sync_client
from loomline.errors import APIStatusError, NotFoundError

RUN = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"


@pytest.fixture
def server():
    with thread_server() as running:
        yield running


@pytest.fixture(params=["sse", "websocket"])
def transport(request):
    return request.param


def over(server, **options):
    return get_sync_client(url=server.url, api_key=None, **options)


def steps(server, *values, run=RUN, end="completed"):
    """Return what a run does that has these values, one after the other."""

    def script(run_id):
        server.lifecycle("running", run_id)
        for value in values:
            server.emit("values", value)
        server.state["values"] = values[-1] if values else {}
        if end:
            server.lifecycle(end, run_id)

    server.on_start(script, run)


def test_a_run_is_started_and_its_values_read(server, transport):
    steps(server, {"n": 1}, {"n": 2})
    with over(server) as client:
        stream = client.threads.stream(assistant_id="agent", transport=transport)
        with stream as thread:
            started = thread.run.start(
                input={"q": {1}},
                config={"tags": ["a"]},
                metadata={"b": 1},
                langsmith_tracing={"project_name": "p"},
            )
            assert started == {"run_id": RUN}
            assert [value for value in thread.values] == [{"n": 2}, {"n": 1}, {"n": 2}]
            assert thread.output == {"n": 2}
            assert thread.values.get() == {"n": 2}
    method, path, _, body = server.requests[0]
    assert (method, path) == ("POST", f"/threads/{thread.thread_id}/commands")
    assert body == {
        "id": 1,
        "method": "run.start",
        "params": {
            "assistant_id": "agent",
            "input": {"q": [1]},
            "config": {"tags": ["a"]},
            "metadata": {"b": 1},
            "langsmith_tracer": {"project_name": "p"},
        },
    }
    assert str(uuid.UUID(thread.thread_id)) == thread.thread_id


def test_events_are_read_as_they_are(server, transport):
    def script(run_id):
        server.lifecycle("running", run_id)
        server.emit("values", {"n": 1})
        server.emit("values", {"n": 2}, ["child:1"])
        server.emit("values", {"n": 3}, ["child:1", "deep:2"])
        server.emit("nonsense", {})
        server.lifecycle("completed", run_id)

    server.on_start(script, RUN)
    with over(server) as client:
        stream = client.threads.stream(assistant_id="agent", transport=transport)
        with stream as thread:
            thread.run.start()
            near = thread.subscribe(["values"], namespaces=[["child"]], depth=0)
            assert [event["seq"] for event in near] == [3]
            below = thread.subscribe(["values"], namespaces=[["child"]])
            assert [event["seq"] for event in below] == [3, 4]
            ends = thread.subscribe(["values", "lifecycle"])
            assert [event["seq"] for event in ends] == [1, 2, 3, 4, 6]


def test_messages_come_while_they_are_written(server, transport):
    server.on_start(lambda run_id: server.lifecycle("running", run_id), RUN)
    with over(server) as client:
        stream = client.threads.stream(assistant_id="agent", transport=transport)
        with stream as thread:
            thread.run.start()
            messages = iter(thread.messages)
            server.message("Hello world", pieces=["Hello"], finish=False)
            message = next(messages)
            text = iter(message.text)
            assert next(text) == "Hello"
            assert not message.done
            assert message.output_message is None
            server.piece(" world")
            assert next(text) == " world"
            server.finish_message("Hello world")
            server.lifecycle("completed", RUN)
            assert [piece for piece in text] == []
            assert message.text.get() == "Hello world"
            assert [piece for piece in message.text] == ["Hello", " world"]
            whole = message.output
            assert (whole.id, whole.text) == ("m1", "Hello world")
            assert message.output_message == whole
            assert (message.message_id, message.namespace, message.done) == ("m1", [], True)
            kinds = [event["event"] for event in message]
            assert kinds[0] == "message-start"
            assert kinds[-1] == "message-finish"
            assert [left for left in messages] == []


def test_a_message_has_reasoning_and_tool_calls(server):
    def script(run_id):
        def emit(kind, **more):
            server.emit("messages", {"event": kind, **more})

        emit("message-start", role="ai", id="m", metadata={"langgraph_node": "model"})
        emit("content-block-start", index=0, content={"type": "reasoning", "reasoning": ""})
        emit("content-block-delta", index=0, delta={"type": "reasoning-delta", "reasoning": "hm"})
        call = {"type": "tool_call_chunk", "id": "c", "name": "add", "args": "", "index": 1}
        emit("content-block-start", index=1, content=call)
        for piece in ('{"a": ', "2}"):
            emit("content-block-delta", index=1, delta={"type": "tool-call-delta", "args": piece})
        emit("content-block-finish", index=0, content={"type": "reasoning", "reasoning": "hm."})
        usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
        emit("message-finish", usage=usage, metadata={"model_name": "x"})
        server.lifecycle("completed", run_id)

    server.on_start(script, RUN)
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        (message,) = [message for message in thread.messages]
        assert message.node == "model"
        assert [piece for piece in message.reasoning] == ["hm", "."]
        assert message.reasoning.get() == "hm."
        chunks = [chunk for chunk in message.tool_calls]
        assert "".join(chunk["args"] for chunk in chunks) == '{"a": 2}'
        wanted = {"type": "tool_call", "id": "c", "name": "add", "args": {"a": 2}}
        assert message.tool_calls.get() == [{**wanted, "index": 1}]  # it had no end
        whole = message.output
        assert whole.tool_calls == [wanted]
        assert whole.usage_metadata["total_tokens"] == 3
        assert whole.response_metadata["model_name"] == "x"


def test_models_that_write_at_the_same_time(server):
    """Servers may name a message only when it begins."""

    def script(run_id):
        server.message("one and two", "m1", pieces=["one"], finish=False)
        server.message("three", "m2", pieces=["th"], finish=False)
        server.piece(" and")
        server.piece("ree")
        server.finish_message("three")
        server.piece(" two")
        server.finish_message("one and two")
        server.lifecycle("completed", run_id)

    server.on_start(script, RUN)
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        found = [message for message in thread.messages]
        texts = [message.text.get() for message in found]
        assert [message.message_id for message in found] == ["m1", "m2"]
        assert texts == ["one and two", "three"]


def test_models_that_write_at_the_same_time_and_are_named(server):
    def script(run_id):
        server.message("", "m1", pieces=["a"], finish=False, id="m1")
        server.message("", "m2", pieces=["x"], finish=False, id="m2")
        for piece, name in (("b", "m1"), ("y", "m2"), ("c", "m1")):
            server.piece(piece, id=name)
        server.finish_message("abc", message_id="m1")
        server.finish_message("xy", message_id="m2")
        server.lifecycle("completed", run_id)

    server.on_start(script, RUN)
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        found = [[piece for piece in m.text] for m in thread.messages]
        assert found == [["a", "b", "c"], ["x", "y"]]


def test_a_model_that_fails(server):
    def script(run_id):
        server.message("", pieces=["a"], finish=False)
        server.lifecycle("failed", run_id, error="boom")

    server.on_start(script, RUN)
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        (message,) = [message for message in thread.messages]
        with pytest.raises(RuntimeError, match="Run errored: boom"):
            message.text.get()
        with pytest.raises(RuntimeError, match="Run errored: boom"):
            message.output
        with pytest.raises(RuntimeError, match="Run errored: boom"):
            thread.output


def test_output_of_a_tool_is_read_while_it_works(server):
    server.on_start(lambda run_id: server.lifecycle("running", run_id), RUN)
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        calls = iter(thread.tool_calls)
        started = {
            "event": "tool-started",
            "tool_call_id": "c",
            "tool_name": "t",
            "input": {"a": 1},
        }
        server.emit("tools", started)
        call = next(calls)
        assert (call.tool_call_id, call.name, call.input, call.done) == ("c", "t", {"a": 1}, False)
        for number in range(3000):  # more than any queue holds
            delta = {"event": "tool-output-delta", "tool_call_id": "c", "delta": str(number)}
            server.emit("tools", delta)
        deltas = call.deltas
        assert next(deltas) == "0"
        server.emit("tools", {"event": "tool-finished", "tool_call_id": "c", "output": 5})
        server.emit("tools", {**started, "tool_call_id": "d"})
        server.emit("tools", {"event": "tool-error", "tool_call_id": "d", "message": "no"})
        server.emit("tools", {**started, "tool_call_id": "e"})
        server.lifecycle("completed", RUN)
        assert [delta for delta in deltas] == [str(n) for n in range(1, 3000)]
        assert call.output == 5
        failed, left = [call for call in calls]
        with pytest.raises(RuntimeError, match="no"):
            failed.output
        assert str(failed.error) == "no"
        with pytest.raises(RuntimeError, match="closed before terminal tool event"):
            left.output
        with pytest.raises(RuntimeError, match="single consumer"):
            call.deltas  # noqa: B018


def test_extension_yields_the_payloads_of_its_name(server, transport):
    def script(run_id):
        for number in range(3):
            server.emit("custom", {"name": "ticks", "payload": number})
            server.emit("custom", {"name": "others", "payload": number})
        server.lifecycle("completed", run_id)

    server.on_start(script, RUN)
    with over(server) as client:
        stream = client.threads.stream(assistant_id="agent", transport=transport)
        with stream as thread:
            thread.run.start()
            ticks = thread.extensions["ticks"]
            assert [data["payload"] for data in ticks] == [0, 1, 2]
            assert thread.extensions["ticks"] is ticks
            with pytest.raises(ValueError, match="non-empty"):
                thread.extensions[""]


def child_run(server):
    child = ["child:1"]

    def script(run_id):
        server.lifecycle("running", run_id)
        began = {"graph_name": "kid", "trigger_call_id": "1"}
        server.lifecycle("started", run_id, child, **began)
        server.message("inside", namespace=child)
        started = {"event": "tool-started", "tool_call_id": "c", "tool_name": "t"}
        server.emit("tools", started, child)
        server.emit("tools", {"event": "tool-finished", "tool_call_id": "c", "output": 1}, child)
        server.emit("custom", {"name": "x", "payload": 2}, child)
        deep = [*child, "deep:2"]
        server.emit("tasks", {"id": "2", "name": "deep"}, deep)
        server.message("deep down", "m2", namespace=deep)
        server.emit("tasks", {"id": "2", "name": "deep", "result": {}, "error": "broke"}, child)
        server.lifecycle("completed", run_id, child)
        server.lifecycle("started", run_id, ["other:3"])
        server.lifecycle("completed", run_id)

    server.on_start(script, RUN)


def test_subgraphs_are_yielded_with_their_own_projections(server, transport):
    child_run(server)
    with over(server) as client:
        stream = client.threads.stream(assistant_id="agent", transport=transport)
        with stream as thread:
            assert thread.subagents is thread.subgraphs
            thread.run.start()
            first, second = [handle for handle in thread.subgraphs]
            assert (first.path, first.namespace) == (("child:1",), ["child:1"])
            assert (first.graph_name, first.agent_name, first.trigger_call_id) == (
                "child",
                "kid",
                "1",
            )
            assert (first.status, second.status, second.graph_name) == (
                "completed",
                "completed",
                "other",
            )
            assert [m.text.get() for m in first.messages] == ["inside"]
            assert [call.output for call in first.tool_calls] == [1]
            assert [data["payload"] for data in first.extensions["x"]] == [2]
            (deep,) = [handle for handle in first.subagents]
            assert (deep.path, deep.status, deep.error) == (
                ("child:1", "deep:2"),
                "failed",
                "broke",
            )
            assert [m.text.get() for m in deep.messages] == ["deep down"]


def test_interleaved_projections_keep_the_order_of_events(server):
    child_run(server)
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        names = ["values", "messages", "tool_calls", "subgraphs", "x"]
        found = [name for name, _ in thread.interleave_projections(names)]
        assert found == ["subgraphs", "x", "subgraphs"]
        for name in ("lifecycle", "tools", "input"):
            with pytest.raises(ValueError, match=f"'{name}' is not a valid"):
                thread.interleave_projections(["values", name])


def test_the_value_of_a_question_is_its_payload(server, transport):
    def script(run_id):
        server.lifecycle("running", run_id)
        server.ask("i1", {"q": 1}, run=run_id)
        server.emit("input.requested", {"interrupt_id": "i2", "value": 2}, ["child:1"])

    server.on_start(script, RUN)
    with over(server) as client:
        stream = client.threads.stream(assistant_id="agent", transport=transport)
        with stream as thread:
            thread.run.start()
            assert not thread.interrupted
            assert [event["method"] for event in thread.subscribe(["input"])] == ["input.requested"]
            assert thread.interrupted
            thread.run._session.hub.changed.until(lambda: len(thread.interrupts) == 2, 5)
            assert thread.interrupts == [
                {"interrupt_id": "i1", "value": {"q": 1}, "namespace": []},
                {"interrupt_id": "i2", "value": 2, "namespace": ["child:1"]},
            ]


def test_questions_that_another_client_answers_are_off_the_list(server, transport):
    def script(run_id):
        server.lifecycle("running", run_id)
        for name in ("i1", "i2", "i3"):
            server.ask(name, {}, run=run_id)
        server.emit("input.answered", {"interrupt_ids": ["i1", "i3", "unknown", 4]})

    server.on_start(script, RUN)
    with over(server) as client:
        stream = client.threads.stream(assistant_id="agent", transport=transport)
        with stream as thread:
            thread.run.start()
            hub = thread.run._session.hub
            hub.changed.until(lambda: list(hub.core.interrupts) == ["i2"], 5)
            assert thread.interrupted


def test_one_question_after_the_other(server, transport):
    """An answered question is off the list, and each new one ends what is read."""
    asked = iter(["i1", "i2"])

    def go_on(params):
        run_id = str(uuid.uuid4())
        server.lifecycle("running", run_id)
        server.emit("values", {"n": params.get("response")})
        found = next(asked, None)
        if found is None:
            server.lifecycle("completed", run_id)
        else:
            server.ask(found, found, run=run_id)
        return {}

    server.commands["run.start"] = go_on
    server.commands["input.respond"] = go_on
    with over(server) as client:
        stream = client.threads.stream(assistant_id="agent", transport=transport)
        with stream as thread:
            thread.run.start()
            events = ["values"]
            assert [e["params"]["data"] for e in thread.subscribe(events)] == [{"n": None}]
            thread.run.respond("A")
            assert [e["params"]["data"] for e in thread.subscribe(events)] == [{"n": "A"}]
            assert [i["interrupt_id"] for i in thread.interrupts] == ["i2"]
            with pytest.raises(TimeoutError):
                thread.get_output(timeout=0.01)
            thread.run.respond("B", interrupt_id="i2")
            assert [e["params"]["data"] for e in thread.subscribe(events)] == [{"n": "B"}]
            assert thread.output == {}
            assert thread.interrupts == []
            assert not thread.interrupted
    answers = [body["params"] for body in server.bodies("/commands")[1:]]
    assert answers == [
        {"interrupt_id": "i1", "namespace": [], "response": "A"},
        {"interrupt_id": "i2", "namespace": [], "response": "B"},
    ]


def test_answers_that_cannot_be_given(server):
    def script(run_id):
        server.lifecycle("running", run_id)

    server.on_start(script, RUN)
    refused = {"error": "no_such_interrupt", "message": "Unknown"}
    server.commands["input.respond"] = lambda params: refused
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        with pytest.raises(RuntimeError, match="no outstanding interrupt"):
            thread.run.respond("x")
        server.emit("input.requested", {"interrupt_id": "i1", "payload": 1})
        server.emit("input.requested", {"interrupt_id": "i2", "payload": 1})
        server.lifecycle("interrupted", RUN)
        assert [event for event in thread.subscribe(["values"])] == []
        thread.run._session.hub.changed.until(lambda: len(thread.interrupts) == 2, 5)
        with pytest.raises(RuntimeError, match=r"ambiguous.*interrupt_id"):
            thread.run.respond("x")
        with pytest.raises(RuntimeError, match="'i3' does not match"):
            thread.run.respond("x", interrupt_id="i3")
        with pytest.raises(RuntimeError, match=r"Protocol error \[no_such_interrupt\]: Unknown"):
            thread.run.respond("x", interrupt_id="i1")
        assert {i["interrupt_id"] for i in thread.interrupts} == {"i1", "i2"}


def test_a_replay_asks_nothing_twice(server, transport):
    def script(run_id):
        server.lifecycle("running", run_id)
        server.ask("i1", 1, run=run_id)

    server.on_start(script, RUN)
    server.commands["input.respond"] = lambda params: {}
    with over(server) as client:
        stream = client.threads.stream(assistant_id="agent", transport=transport)
        with stream as thread:
            thread.run.start()
            assert [event for event in thread.subscribe(["values"])] == []
            thread.run.respond("x")
            assert thread.interrupts == []
            # Somebody who wants more has the stream opened again, from the start of the run.
            server.lifecycle("running", OTHER)
            server.emit("updates", {"a": 1})
            server.lifecycle("completed", OTHER)
            assert [event["seq"] for event in thread.subscribe(["updates"])] == [5]
            assert thread.interrupts == []


def test_a_run_that_is_cancelled(server, transport):
    steps(server, {"n": 1}, end="interrupted")
    with over(server) as client:
        stream = client.threads.stream(assistant_id="agent", transport=transport)
        with stream as thread:
            thread.run.start()
            assert [value for value in thread.values][-1] == {"n": 1}
            with pytest.raises(RuntimeError, match="cancelled"):
                thread.output


def test_a_question_that_only_the_state_tells_of(server):
    """The order of the events around an interrupt is not promised."""
    steps(server, {"n": 1}, end="interrupted")
    server.state["tasks"] = [{"id": "t", "interrupts": [{"id": "i"}]}]
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        with pytest.raises(TimeoutError):
            thread.get_output(timeout=0.2)


def test_a_second_run_has_an_output_of_its_own(server, transport):
    steps(server, {"n": 1})
    with over(server) as client:
        stream = client.threads.stream(assistant_id="agent", transport=transport)
        with stream as thread:
            thread.run.start()
            assert thread.output == {"n": 1}
            first = [event for event in thread.subscribe(["values"])]
            steps(server, {"n": 2}, run=OTHER)
            thread.run.start()
            assert thread.output == {"n": 2}
            second = [event for event in thread.subscribe(["values"])]
            assert [event["params"]["data"] for event in first] == [{"n": 1}]
            assert [event["params"]["data"] for event in second] == [{"n": 2}]


def test_the_state_is_asked_for_once(server):
    steps(server, {"n": 1})
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        for _ in range(3):
            assert thread.output == {"n": 1}
    assert [path for _, path, _, _ in server.requests if path.endswith("/state")] == [
        f"/threads/{thread.thread_id}/state"
    ]
    assert not [body for body in server.bodies() if "values" in body["channels"]]


def test_earlier_runs_of_a_thread_are_not_taken_for_this_one(server, transport):
    for old in (OTHER, "33333333-3333-4333-8333-333333333333"):
        server.lifecycle("running", old)
        server.emit("values", {"old": old})
        server.lifecycle("completed", old)
    steps(server, {"n": 1})
    with over(server) as client:
        stream = client.threads.stream("t", assistant_id="agent", transport=transport)
        with stream as thread:
            thread.run.start()
            found = [event["params"]["data"] for event in thread.subscribe(["values"])]
            assert found == [{"n": 1}]
            assert thread.output == {"n": 1}


def test_a_run_that_waits_for_another_one(server, transport):
    server.lifecycle("running", OTHER)
    server.emit("values", {"old": 1})

    def script(run_id):
        server.lifecycle("completed", OTHER)
        server.lifecycle("running", run_id)
        server.emit("values", {"n": 1})
        server.lifecycle("completed", run_id)

    server.on_start(script, RUN)
    with over(server) as client:
        stream = client.threads.stream("t", assistant_id="agent", transport=transport)
        with stream as thread:
            thread.run.start()
            found = [event["params"]["data"] for event in thread.subscribe(["values"])]
            assert found == [{"n": 1}]


def test_a_thread_on_which_nothing_runs(server, transport):
    """Whoever comes to such a thread gets its state, and need not wait."""
    server.lifecycle("running", OTHER)
    server.emit("values", {"n": 1})
    server.lifecycle("completed", OTHER)
    server.state["values"] = {"n": 1}
    with over(server) as client:
        stream = client.threads.stream("t", assistant_id="agent", transport=transport)
        with stream as thread:
            assert [value for value in thread.values] == [{"n": 1}]
            assert [message for message in thread.messages] == []
            assert thread.output == {"n": 1}


def test_a_thread_on_which_a_run_is_active(server, transport):
    server.lifecycle("running", OTHER)
    server.emit("values", {"old": 1})
    server.lifecycle("completed", OTHER)
    server.lifecycle("running", RUN)
    server.emit("values", {"n": 1})
    server.runs = [
        {"run_id": RUN, "status": "running"},
        {"run_id": OTHER, "status": "success"},
    ]
    server.state = {"values": {"n": 1}, "next": ["a"], "tasks": [{"id": "a"}]}
    with over(server) as client:
        stream = client.threads.stream("t", assistant_id="agent", transport=transport)
        with stream as thread:
            values = iter(thread.subscribe(["values"]))
            assert (next(values))["params"]["data"] == {"n": 1}
            server.lifecycle("completed", RUN)
            assert [value for value in values] == []
            assert thread.output == {"n": 1}


def test_a_thread_of_which_the_runs_are_not_told(server):
    server.mute = True
    server.state = {"values": {"n": 1}, "next": ["a"], "tasks": []}
    server.lifecycle("running")
    server.emit("values", {"n": 1})
    server.lifecycle("completed")
    with over(server) as client, client.threads.stream("t", assistant_id="a") as thread:
        assert [event["seq"] for event in thread.subscribe(["values"])] == [2]
        assert thread.output == {"n": 1}


def test_all_events_on_a_stream_of_their_own(server, transport):
    for number in range(3):
        run_id = str(uuid.uuid4())
        server.lifecycle("running", run_id)
        server.emit("values", {"n": number})
        server.lifecycle("completed", run_id)
    with over(server) as client:
        stream = client.threads.stream("t", assistant_id="agent", transport=transport)
        with stream as thread:
            events = thread.events
            assert [(next(events))["seq"] for _ in range(9)] == list(range(1, 10))
            server.emit("values", {"n": 4})
            assert (next(events))["seq"] == 10
    asked = [f["params"] for f in server.frames] if transport == "websocket" else server.bodies()
    assert {len(body["channels"]) for body in asked} == {2, 9}


@pytest.mark.parametrize("cut", range(1, 9))
def test_no_event_is_lost_or_repeated_wherever_the_line_breaks(server, transport, cut):
    def script(run_id):
        server.lifecycle("running", run_id)
        for number in range(6):
            server.emit("values", {"n": number})
        server.lifecycle("completed", run_id)

    server.cut_after = [0, cut, 1, 1]
    server.on_start(script, RUN)
    with over(server) as client:
        stream = client.threads.stream(assistant_id="agent", transport=transport)
        with stream as thread:
            thread.run.start()
            found = [e["params"]["data"]["n"] for e in thread.subscribe(["values"])]
            assert found == [0, 1, 2, 3, 4, 5]
            assert thread.output == {}


def test_a_stream_that_never_comes_back(server):
    server.on_start(lambda run_id: server.lifecycle("running", run_id), RUN)
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        events = thread.subscribe(["values", "lifecycle"])
        assert (next(events))["seq"] == 1
        server.refuse = [403]
        server.clean = True
        server.poke()
        with pytest.raises(APIStatusError, match="not now"):
            next(events)
        with pytest.raises(APIStatusError, match="not now"):
            thread.output


def test_the_server_says_why_a_stream_ends(server):
    def script(run_id):
        server.lifecycle("running", run_id)
        failure = {"type": "error", "id": None, "error": "unknown_error", "message": "lost it"}
        server.emit_raw(failure)

    server.on_start(script, RUN)
    server.clean = True
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        with pytest.raises(RuntimeError, match=r"Protocol error \[unknown_error\]: lost it"):
            thread.output


def test_a_stream_that_is_refused(server, transport):
    server.refuse = [404, 404, 403, 403]
    server.on_start(lambda run_id: None, RUN)
    with over(server) as client:
        stream = client.threads.stream(assistant_id="agent", transport=transport)
        with stream as thread:
            thread.run.start()
            with pytest.raises(Exception, match=r"not now|HTTP 40"):
                thread.output


def test_a_thread_that_the_first_run_makes(server):
    """The stream may be asked for before there is a thread."""
    server.refuse = [404]
    steps(server, {"n": 1})
    with over(server) as client, client.threads.stream("t", assistant_id="a") as thread:
        thread.run.start()
        assert thread.output == {"n": 1}


def test_the_start_of_a_run_is_refused(server):
    refused = {"error": "invalid_argument", "message": "no such assistant"}
    server.commands["run.start"] = lambda params: refused
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        for _ in range(2):
            with pytest.raises(RuntimeError, match=r"Protocol error \[invalid_argument\]: no such"):
                thread.run.start()
        with pytest.raises(RuntimeError, match="no such assistant"):
            [value for value in thread.values]
        server.commands["run.start"] = lambda params: (200, [])
        with pytest.raises(RuntimeError, match="did not return a valid response"):
            thread.run.start()
        server.commands["run.start"] = lambda params: (404, {"detail": "gone"})
        with pytest.raises(NotFoundError, match="gone"):
            thread.run.start()
        server.commands["run.start"] = lambda params: (202, None)
        assert thread.run.start() == {}


def test_use_outside_of_the_context(server):
    steps(server, {"n": 1})
    with over(server) as client:
        thread = client.threads.stream(assistant_id="agent")
        for use in (thread.run.start, thread.get_output):
            with pytest.raises(RuntimeError, match=r"not entered.*`with"):
                use()
        with pytest.raises(RuntimeError, match="not entered"):
            [value for value in thread.values]
        with thread:
            with pytest.raises(RuntimeError, match="no run has been started"):
                thread.output
            thread.run.start()
        thread.close()
        for use in (thread.run.start, thread.agent.get_tree):
            with pytest.raises(RuntimeError, match="transport is closed"):
                use()
        with pytest.raises(RuntimeError, match="closed and cannot be re-entered"):
            with thread:
                pass
        with pytest.raises(ValueError, match="transport must be"):
            client.threads.stream(assistant_id="agent", transport="pigeon")


def test_output_times_out_when_no_run_is_started(server):
    with over(server) as client:
        stream = client.threads.stream(assistant_id="agent", run_start_timeout=0.05)
        with stream as thread:
            with pytest.raises(TimeoutError, match="No run was started"):
                [value for value in thread.values]


def test_headers_reach_every_request(server, transport):
    steps(server, {"n": 1})
    with get_sync_client(url=server.url, api_key="key", headers={"x-all": "1"}) as client:
        client.http.client.cookies.set("c", "2")
        stream = client.threads.stream(
            assistant_id="a/b",
            transport=transport,
            headers={"x-own": "3", "accept": "nonsense", "Content-Type": "nonsense"},
        )
        with stream as thread:
            thread.run.start()
            assert thread.output == {"n": 1}
            thread.agent.get_tree(xray=True, params={"p": "1"})
    assert len(server.requests) == 4
    for method, path, headers, _ in server.requests:
        assert headers["x-api-key"] == "key"
        assert headers["user-agent"].startswith("loomline-py/")
        assert (headers["x-all"], headers["x-own"], headers["cookie"]) == ("1", "3", "c=2")
        if path.endswith("/events") and method == "POST":
            assert headers["accept"] == "text/event-stream"
            assert headers["content-type"] == "application/json"
    assert server.requests[-1][1] == "/assistants/a%2Fb/graph"


def test_only_channels_with_readers_are_subscribed(server):
    steps(server, {"n": 1}, end=None)
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        thread.subscribe(["custom"])  # is never read, so nothing is asked for
        events = thread.subscribe(["values", "updates"])
        assert (next(events))["seq"] == 2
        covered = thread.subscribe(["values"])
        assert (next(covered))["seq"] == 2
    base = {"channels": ["lifecycle", "input"]}
    wide = {"channels": ["input", "lifecycle", "updates", "values"]}
    assert [body for body in server.bodies() if body != base] == [wide]


def test_a_web_socket_is_closed_properly(server):
    steps(server, {"n": 1})
    with over(server) as client:
        stream = client.threads.stream(assistant_id="agent", transport="websocket")
        with stream as thread:
            thread.run.start()
            assert [value for value in thread.values][-1] == {"n": 1}
    wanted = {"channels": ["input", "lifecycle", "values"]}
    command = {"id": 1, "method": "subscription.subscribe", "params": wanted}
    assert command in server.frames
    done = threading.Event()
    for _ in range(100):
        if None not in server.closed:
            break
        done.wait(0.02)
    assert set(server.closed) == {(1000, "client close")}


def test_leaving_a_stream_early_ends_its_open_parts(server):
    def script(run_id):
        started = {"event": "tool-started", "tool_call_id": "c", "tool_name": "t"}
        server.lifecycle("started", run_id, ["child:1"])
        server.emit("tools", started)

    server.on_start(script, RUN)
    with over(server) as client, client.threads.stream(assistant_id="agent") as thread:
        thread.run.start()
        parts = thread.interleave_projections(["subgraphs", "tool_calls"])
        (_, child), (_, call) = [next(parts) for _ in range(2)]
        assert not call.done
        parts.close()
        assert call.done
        assert child.status == "completed"
        with pytest.raises(RuntimeError, match="closed before terminal tool event"):
            call.output
