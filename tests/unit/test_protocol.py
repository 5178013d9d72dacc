"""The parts of the thread protocol that need no server."""

from types import SimpleNamespace

import orjson
import pytest
from hypothesis import given, strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult
from langgraph.errors import UnknownInterruptError

from loomline.server.domain.agents import AgentTree
from loomline.server.domain.events import RESULT, Event, EventId, StoredEvent
from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import Encoded, dump
from loomline.server.domain.messages import normalised
from loomline.server.domain.protocol import (
    Selection,
    Topic,
    answered,
    load_events,
    make_event,
    make_filter,
    numbered,
    run_end,
    since,
)
from loomline.server.domain.tools import protocol_tool
from loomline.server.services.plain_events import PlainEvents
from loomline.server.worker.failures import describe
from loomline.server.worker.protocol import ProtocolEncoder
from loomline.server.worker.tokens import ChunkedMessage, ChunkHandler

# Separators come up often enough to be found in any place.
names = st.text(st.sampled_from("\x1e\x1f01:\0\nö\ud800") | st.characters(codec=None))
segments = st.text(st.sampled_from("\x1e\x1f01:\nö") | st.characters(codec="utf-8"), min_size=1)
namespaces = st.lists(segments, max_size=4).map(tuple)


@given(segments, namespaces, names)
def test_topic_is_rebuilt_from_its_key(method, namespace, name):
    topic = Topic(method, namespace, name)
    assert Topic.of(topic.key) == topic
    assert topic.key.count("\x1f") == len(namespace) + 1


@given(namespaces, names, st.booleans())
def test_custom_events_may_have_any_name(namespace, name, channel):
    encoder = ProtocolEncoder("run", "graph", 0)
    method, data = (f"custom:{name}", 1) if channel else ("custom", {"name": name})
    params = {"namespace": list(namespace), "timestamp": 1, "data": data}
    (event,) = encoder.events({"type": "event", "method": method, "params": params})
    found = numbered(event)
    shown = name.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    assert found.number == 1
    assert Topic.of(found.key) == Topic("custom", namespace, shown)
    params = orjson.loads(found.data)["params"]
    assert params["namespace"] == list(namespace)
    assert params["data"]["name"] == shown
    if shown:
        wanted = Selection([make_filter({"channels": [f"custom:{shown}"]})])
        assert wanted.wants(found.key)
    assert not Selection([make_filter({"channels": ["custom:other one"]})]).wants(found.key)


def plain(value):
    return orjson.loads(normalised(dump(value)))


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            {"type": "user", "content": "hi", "id": "1", "name": None, "additional_kwargs": {}},
            {"type": "human", "content": "hi", "id": "1"},
        ),
        (
            {"type": "assistant", "content": ["a", {"type": "reasoning", "reasoning": "b"}, 3]},
            {
                "type": "ai",
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "reasoning", "reasoning": "b"},
                    {"type": "non_standard", "value": {"value": 3}},
                ],
            },
        ),
        (
            {"type": "human", "content": [{"type": "image_url", "image_url": {"url": "u"}}]},
            {"type": "human", "content": [{"type": "image", "url": "u"}]},
        ),
        (
            {"type": "human", "content": [{"type": "image_url", "image_url": "u"}, {"type": "x"}]},
            {
                "type": "human",
                "content": [
                    {"type": "image", "url": "u"}, {"type": "non_standard", "value": {"type": "x"}},
                ],
            },
        ),
        (
            {"type": "tool", "content": "5", "tool_call_id": "c", "status": "error", "artifact": 1},
            {"type": "tool", "content": "5", "tool_call_id": "c", "status": "error", "artifact": 1},
        ),
        (
            {
                "type": "ai", "content": "", "tool_calls": [{"name": "f"}], "invalid_tool_calls": [],
                "usage_metadata": {"x": 1}, "response_metadata": {"model": "m"},
            },
            {
                "type": "ai", "content": "", "response_metadata": {"model": "m"},
                "tool_calls": [{"name": "f"}],
            },
        ),
        ({"type": "remove", "content": "", "id": "1"}, {"type": "remove", "content": "", "id": "1"}),
    ],
)  # fmt: skip
def test_messages_are_shown_plainly_inside_lists(message, shown):
    assert plain({"a": [message]}) == {"a": [shown]}
    assert plain({"a": {"b": [[message, 1]]}}) == {"a": {"b": [[shown, 1]]}}
    assert plain({"a": message}) == {"a": message}


@pytest.mark.parametrize(
    "other",
    [
        {"role": "user", "content": "hi"}, {"type": "chat", "content": "hi", "role": "x"},
        {"type": "function", "function": {"name": "f"}}, {"type": 3}, "text", None,
    ],
)  # fmt: skip
def test_values_that_are_no_messages_stay_unchanged(other):
    assert plain([other, {"type": "x"}]) == [other, {"type": "x"}]


def events(*chunks, whole=None):
    message = ChunkedMessage()
    found = [event for chunk in chunks for event in message.chunk(chunk)]
    return found + list(message.finish(whole))


def test_blocks_of_several_kinds():
    found = events(
        AIMessageChunk(content=[{"type": "reasoning", "reasoning": "Hm", "index": 0}], id="m"),
        AIMessageChunk(content=[{"type": "reasoning", "reasoning": "m.", "index": 0}]),
        AIMessageChunk(content=[{"type": "text", "text": "Yes.", "index": 1}]),
        AIMessageChunk(content=[{"type": "image", "url": "u", "index": 2}]),
        whole=AIMessage("Yes."),
    )
    assert [event["event"] for event in found] == [
        "message-start", "content-block-start", "content-block-delta", "content-block-delta",
        "content-block-start", "content-block-delta", "content-block-start",
        *["content-block-finish"] * 3, "message-finish",
    ]  # fmt: skip
    first, second, third = [
        event["content"] for event in found if event["event"] == "content-block-finish"
    ]
    assert (first["type"], first["reasoning"]) == ("reasoning", "Hmm.")
    assert (second["type"], second["text"]) == ("text", "Yes.")
    assert third["url"] == "u"
    assert [event.get("index") for event in found[1:-1]] == [0, 0, 0, 1, 1, 2, 0, 1, 2]


CALL = AIMessageChunk(
    content="", tool_call_chunks=[{"name": "f", "args": "{}", "id": "c", "index": 0}]
)
TEXT = AIMessageChunk(content="Yes.", id="m")
REFUSAL = AIMessageChunk(content=[{"type": "refusal", "refusal": "No", "index": 0}], id="m")


@pytest.mark.parametrize(
    ("chunk", "given", "shown"),
    [
        (TEXT, {}, {}),
        (TEXT, {"finish_reason": "STOP"}, {"finish_reason": "STOP"}),
        (TEXT, {"normalized_finish_reason": "stop"}, {"normalized_finish_reason": "stop"}),
        (CALL, {"normalized_finish_reason": "stop"}, {"normalized_finish_reason": "tool_call"}),
        (CALL, {"normalized_finish_reason": "length"}, {"normalized_finish_reason": "length"}),
        (REFUSAL, {"normalized_finish_reason": "stop"}, {"normalized_finish_reason": "refusal"}),
        (REFUSAL, {"finish_reason": "x"}, {"finish_reason": "x"}),
        (TEXT, {"finish_state": {"a": 1}}, {"finish_state": {"a": 1}}),
    ],
)
def test_message_finish_has_the_reasons_of_the_provider(chunk, given, shown):
    whole = AIMessage("Yes.", response_metadata={"model_name": "m", **given})
    end = events(chunk, whole=whole)[-1]
    named = {key: end[key] for key in end if key not in {"event", "metadata"}}
    assert (named, end["metadata"]) == (shown, {"model_name": "m", **given})


def test_refusal_blocks_are_put_together_without_deltas():
    rest = AIMessageChunk(content=[{"type": "refusal", "refusal": "pe.", "index": 0}])
    found = events(REFUSAL, rest, whole=AIMessage(""))
    assert [event["event"] for event in found] == [
        "message-start", "content-block-start", "content-block-finish", "message-finish",
    ]  # fmt: skip
    assert found[1]["content"] == {"type": "refusal", "refusal": ""}
    assert found[2]["content"]["refusal"] == "Nope."


@pytest.mark.parametrize(
    ("resume", "ids"),
    [
        ({"a" * 32: 1, "b" * 32: None}, ["a" * 32, "b" * 32]),
        ({"a" * 32: 1, "topic": 2}, []),
        ({"A" * 32: 1}, []),
        ({}, []),
        ("a" * 32, []),
        (None, []),
    ],
)
def test_answered_names_the_ids_of_answers_that_are_given_by_id(resume, ids):
    assert answered(resume) == ids


def test_failed_run_with_refused_answers_ends_with_the_refusal():
    error = UnknownInterruptError(
        "no", reason="not_pending", interrupt_ids=["x"], pending_ids=["y"]
    )
    end = run_end("error", describe(error, show_all=False), waits=False)
    (event,) = ProtocolEncoder("run", "graph", 0).end(*end, 1)
    assert orjson.loads(event.data)["params"]["data"] == {
        "event": "failed", "graph_name": "graph", "error": "no", "reason": "not_pending",
        "interrupt_ids": ["x"], "pending_ids": ["y"],
    }  # fmt: skip


def test_pieces_of_several_kinds_with_one_number():
    found = events(
        AIMessageChunk(content=[{"type": "text", "text": "Well", "index": 0}], id="m"),
        AIMessageChunk(content=[{"type": "reasoning", "reasoning": "Hm", "index": 0}]),
        AIMessageChunk(content=[{"type": "reasoning", "reasoning": "m.", "index": 0}]),
        AIMessageChunk(content=[{"type": "text", "text": ", yes.", "index": 0}]),
    )
    ends = [event for event in found if event["event"] == "content-block-finish"]
    assert [(end["index"], end["content"]["type"]) for end in ends] == [
        (0, "text"),
        (1, "reasoning"),
    ]
    assert ends[0]["content"]["text"] == "Well, yes."
    assert ends[1]["content"]["reasoning"] == "Hmm."


@pytest.mark.parametrize(
    ("pieces", "content"),
    [
        (['{"a":', " 1}"], {"type": "tool_call", "args": {"a": 1}}),
        ([""], {"type": "tool_call", "args": {}}),
        (
            ['{"a"'],
            {
                "type": "invalid_tool_call", "args": '{"a"',
                "error": "Failed to parse tool call arguments as JSON",
            },
        ),
    ],
)  # fmt: skip
def test_chunks_of_tool_calls_are_merged_into_blocks(pieces, content):
    chunks = [
        AIMessageChunk(
            content="",
            tool_call_chunks=[
                {"name": None if number else "f", "id": None if number else "c", "args": piece,
                 "index": 0, "type": "tool_call_chunk"}
            ],
        )
        for number, piece in enumerate(pieces)
    ]  # fmt: skip
    found = events(*chunks)
    assert found[-2]["content"] == {"name": "f", "id": "c", **content}


def test_a_message_without_chunks_is_none():
    assert events() == []


class TestHandler:
    """What models tell while they work, when nobody is there to write it to."""

    def test_models_that_are_left_alone(self):
        handler = ChunkHandler(uuid7())
        chunk = ChatGenerationChunk(message=AIMessageChunk(content="x"))
        result = LLMResult(generations=[[ChatGeneration(message=AIMessage("x"))]])
        for tags, metadata in ((["nostream"], {"a": 1}), (None, None), (None, {"a": 1})):
            run = uuid7()
            handler.on_chat_model_start({}, [], run_id=run, tags=tags, metadata=metadata)
            handler.on_llm_new_token("x", chunk=chunk, run_id=run)
            handler.on_llm_new_token("x", chunk=chunk, run_id=run)
            handler.on_llm_new_token("x", run_id=run)
            handler.on_llm_end(result, run_id=run)
            handler.on_llm_error(ValueError(), run_id=run)

    def test_chunk_handler_ignores_the_graphs_own_chain(self):
        run = uuid7()
        handler = ChunkHandler(run)
        handler.on_chain_start({}, {}, run_id=uuid7())
        assert handler.idle.is_set()
        handler.on_chain_start({}, {}, run_id=run)
        handler.on_chain_error(ValueError(), run_id=uuid7())
        handler.on_chain_end({}, run_id=uuid7())
        assert not handler.idle.is_set()
        handler.on_chain_error(ValueError(), run_id=run)
        assert handler.idle.is_set()


def native(method, data, namespace=(), **params):
    return {
        "type": "event", "method": method,
        "params": {"namespace": [*namespace], "timestamp": 5, "data": data, **params},
    }  # fmt: skip


def shown(logged):
    return [orjson.loads(event.data) for event in logged]


def test_values_wait_for_their_checkpoint():
    encoder = ProtocolEncoder("run", "graph", 10)
    assert encoder.events(native("values", {"a": 1})) == []
    assert encoder.last_number == 10
    config = {"configurable": {"checkpoint_id": "c"}}
    checkpoint = {
        "config": config,
        "parent_config": None,
        "metadata": {"step": 1, "source": "loop"},
    }
    found = shown(encoder.events(native("checkpoints", checkpoint)))
    assert [(event["method"], event["seq"]) for event in found] == [
        ("checkpoints", 11),
        ("values", 12),
    ]
    assert encoder.events(native("values", {"a": 2})) == []
    found = shown(encoder.events(native("custom", 1)))
    assert [event["method"] for event in found] == ["values", "custom"]
    encoder.events(native("values", {"a": 3}))
    assert [event["method"] for event in shown(encoder.rest())] == ["values"]


def test_events_without_a_channel_are_not_encoded():
    encoder = ProtocolEncoder("run", "graph", 0)
    assert encoder.events(native("debug", {})) == []
    assert encoder.events(native("messages", (AIMessage("x"), {}))) == []
    assert encoder.last_number == 0


def test_a_schema_for_the_answer_is_told():
    encoder = ProtocolEncoder("run", "graph", 0)
    asked = SimpleNamespace(id="i", value="v", response_schema={"type": "string"})
    _, request = shown(encoder.events(native("values", {}, interrupts=(asked,))))
    assert request["params"]["data"] == {
        "interrupt_id": "i", "payload": "v", "value": "v", "response_schema": {"type": "string"},
    }  # fmt: skip
    assert len(encoder.end("interrupted", None, 7)) == 1


def test_a_question_of_a_subgraph_is_told_with_the_root_graph_in_its_own_namespace():
    encoder = ProtocolEncoder("run", "graph", 0)
    inside = (SimpleNamespace(id="i", value="v", response_schema=None),)
    other = (SimpleNamespace(id="o", value="v", response_schema=None),)
    for asked in (inside, other):
        found = shown(encoder.events(native("values", {}, ["child:1"], interrupts=asked)))
        assert [event["method"] for event in found] == ["values"]
    assert encoder.last_number == 2
    _, request = shown(encoder.events(native("values", {}, interrupts=inside)))
    assert request["params"]["data"]["interrupt_id"] == "i"
    assert request["params"]["namespace"] == ["child:1"]
    encoder.events(native("values", {}, interrupts=inside))
    assert (encoder.last_number, encoder.stored()) == (5, None)
    request, end = shown(encoder.end("interrupted", None, 7))
    assert (request["params"]["data"]["interrupt_id"], end["seq"]) == ("o", 7)
    assert encoder.last_number == 7


def test_stored_last_events_of_a_run_are_its_questions_and_its_end_as_they_are_logged():
    encoder = ProtocolEncoder("run", "graph", 0)
    told = (SimpleNamespace(id="i", value="\N{SNOWMAN}", response_schema=None),)
    held = (SimpleNamespace(id="o", value=1.0, response_schema=None),)
    log = encoder.events(native("values", {}, interrupts=told))
    log += encoder.events(native("values", {}, ["child:1"], interrupts=held))
    log += encoder.end("interrupted", None, 7)
    wanted = [numbered(event) for event in log]
    last = [each for each in wanted if each.key.startswith("input.requested")] + wanted[-1:]
    assert [each.number for each in last] == [2, 4, 5]
    assert load_events(encoder.stored()) == last


def test_a_question_that_is_stored_at_the_end_is_told_at_the_end():
    encoder = ProtocolEncoder("run", "graph", 0, ask_at_end=True)
    asked = (SimpleNamespace(id="i", value="v", response_schema=None),)
    found = shown(encoder.events(native("values", {}, interrupts=asked)))
    assert [event["method"] for event in found] == ["values"]
    found = shown(encoder.end("interrupted", None, 7))
    assert [event["method"] for event in found] == ["input.requested", "lifecycle"]


def test_results_of_tools_that_are_no_text():
    encoder = ProtocolEncoder("run", "graph", 0)
    finished = {"event": "tool-finished", "tool_call_id": "c", "output": {"a": 1}}
    found = shown(encoder.events(native("tools", finished)))
    assert found[3]["params"]["data"]["content"] == {"type": "text", "text": '{"a":1}'}


@pytest.mark.parametrize(
    ("status", "error", "waits", "end"),
    [
        ("success", None, False, ("completed", None)),
        ("success", None, True, ("interrupted", None)),
        ("interrupted", None, False, ("interrupted", None)),
        ("error", Encoded(b'{"error":"E","message":"m"}'), False, ("failed", {"error": "m"})),
        ("timeout", Encoded(b'{"error":"TimeoutError","message":""}'), False, ("failed", {"error": "TimeoutError"})),
        ("error", None, False, ("failed", {"error": "error"})),
    ],
)  # fmt: skip
def test_how_a_run_ended(status, error, waits, end):
    assert run_end(status, error, waits=waits) == end


@pytest.mark.parametrize(("given", "number"), [(3, 3), (-1, 0), (True, 0), ("3", 0), (None, 0)])
def test_since_accepts_only_whole_numbers(given, number):
    assert since({"since": given}) == number


def test_a_tree_is_that_of_the_last_run():
    tree = AgentTree()
    assert tree.tree() is None
    for run, event in (("one", "failed"), ("two", "running")):
        data = dump({"event": event, "graph_name": "g"})
        tree.add(make_event(run, 1, Topic("lifecycle"), data, milliseconds=1))
        tree.add(make_event(run, 2, Topic("values"), dump({}), milliseconds=1))
    assert tree.tree() == {"namespace": [], "graph_name": "g", "status": "running"}


def stored(*given):
    return [
        StoredEvent(EventId(7, number), Event(name, dump(data)))
        for number, (name, data) in enumerate(given)
    ]


STARTED = {"event": "on_tool_start", "toolCallId": "c", "name": "add", "input": {"a": 2}}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            STARTED,
            {"event": "tool-started", "tool_call_id": "c", "tool_name": "add", "input": {"a": 2}},
        ),
        (
            {"event": "on_tool_event", "toolCallId": "c", "name": "add", "data": "part"},
            {"event": "tool-output-delta", "tool_call_id": "c", "delta": "part"},
        ),
        (
            {"event": "on_tool_end", "toolCallId": "c", "name": "add", "output": 3},
            {"event": "tool-finished", "tool_call_id": "c", "output": 3},
        ),
        (
            {"event": "on_tool_error", "toolCallId": "c", "name": "add", "error": "no"},
            {"event": "tool-error", "tool_call_id": "c", "message": "no"},
        ),
        ({"event": "new"}, {"event": "new"}),
    ],
)
def test_tools_of_runs_without_the_protocol(told, expected):
    assert protocol_tool(told) == expected


def test_questions_of_runs_without_the_protocol_have_numbers_of_their_own():
    made = PlainEvents("run", "graph")
    asked = [{"id": str(number), "value": "v"} for number in range(7)]
    batch = stored(
        ("loomline:numbers", 100), ("updates|child:1", {"__interrupt__": asked}),
        ("updates", {"__interrupt__": asked}), ("values", {"x": 1, "__interrupt__": asked}),
    )  # fmt: skip
    found = list(made.events(batch)) + list(made.end("interrupted", None))
    numbers = [event.number for event in found]
    assert numbers == sorted(set(numbers))
    topics = [Topic.of(event.key) for event in found]
    assert [topic.method for topic in topics] == [
        "lifecycle", *["input.requested"] * 4, "values", *["input.requested"] * 3, "lifecycle",
    ]  # fmt: skip
    assert {topic.namespace for topic in topics[1:5]} == {("child:1",)}


def test_runs_without_the_protocol():
    made = PlainEvents("run", "graph")
    assert list(made.events(stored(("values", {"lost": 1})))) == []
    assert not made.known
    batch = stored(
        ("metadata", {}), ("loomline:numbers", 100), ("updates", {"a": 1, "b": 2}),
        ("updates|child:1", {str(number): number for number in range(9)}), ("updates", None),
        ("custom", "text"), ("tools", STARTED), ("messages", []),
        ("values", {"x": 1, "__interrupt__": [{"id": "i", "value": "v"}, 3]}), ("values", 3),
        ("checkpoints", {"config": {"configurable": {"checkpoint_id": "c"}}, "metadata": None}),
        ("checkpoints", None), (RESULT, {}),
    )  # fmt: skip
    found = list(made.events(batch)) + list(made.end("failed", {"error": "m"}))
    numbers = [event.number for event in found]
    assert numbers[:3] == [101, 105, 106]
    assert numbers == sorted(set(numbers))
    methods = [Topic.of(event.key).method for event in found]
    assert methods == [
        "lifecycle", "updates", "updates", "updates", "custom", "tools", "values",
        "input.requested", "values", "checkpoints", "lifecycle",
    ]  # fmt: skip
    assert made.interrupted
    assert orjson.loads(found[1].data)["params"]["node"] == "a"
    assert orjson.loads(found[-1].data)["params"]["data"]["error"] == "m"
