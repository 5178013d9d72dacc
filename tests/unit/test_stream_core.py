"""What is decided about thread streaming without any I/O."""

import httpx
import pytest

from loomline.stream.decoders import MessagesDecoder, SubgraphsDecoder, ToolCallsDecoder
from loomline.stream.errors import (
    is_non_retryable_stream_error,
    protocol_error,
    stream_error_frame,
)
from loomline.stream.messages import MessageBuild
from loomline.stream.places import SEEN_MOST, Seen
from loomline.stream.subscription import (
    compute_union_filter,
    filter_covers,
    infer_channel,
    is_prefix_match,
    matches_subscription,
)


def event(method, data=None, namespace=(), **more):
    return {"method": method, "params": {"namespace": list(namespace), "data": data}, **more}


@pytest.mark.parametrize(
    ("method", "data", "channel"),
    [
        ("values", {}, "values"),
        ("input.requested", {}, "input"),
        ("input.answered", {}, "input"),
        ("custom", {"name": "a"}, "custom:a"),
        ("custom", "text", "custom"),
        ("custom", {"name": 3}, "custom"),
        ("nonsense", {}, None),
    ],
)
def test_channel_is_inferred_from_method_and_data(method, data, channel):
    assert infer_channel(event(method, data)) == channel


@pytest.mark.parametrize(
    ("namespace", "prefix", "fits"),
    [
        (["a:1", "b:2"], [], True),
        (["a:1", "b:2"], ["a"], True),
        (["a:1", "b:2"], ["a:1"], True),
        (["a:1", "b:2"], ["a:2"], False),
        (["a:1"], ["a", "b"], False),
        (["ab:1"], ["a"], False),
    ],
)
def test_namespace_matches_its_prefixes_only(namespace, prefix, fits):
    assert is_prefix_match(namespace, prefix) == fits


@pytest.mark.parametrize(
    ("params", "fits"),
    [
        ({"channels": ["values"]}, True),
        ({"channels": ["updates"]}, False),
        ({"channels": ["values"], "namespaces": [["a"]], "depth": 0}, False),
        ({"channels": ["values"], "namespaces": [["a"]], "depth": 1}, True),
        ({"channels": ["values"], "namespaces": [["b"], []]}, True),
        ({"channels": ["values"], "namespaces": [["b"]]}, False),
    ],
)
def test_event_matches_the_subscriptions_that_select_it(params, fits):
    assert matches_subscription(event("values", {}, ["a:1", "b:2"]), params) == fits


def test_union_of_filters_selects_all_their_events():
    one = {"channels": ["values"], "namespaces": [["a"]], "depth": 1}
    two = {"channels": ["custom:x"], "namespaces": [["b"], ["a"]], "depth": 3}
    assert compute_union_filter([one, two]) == {
        "channels": ["custom:x", "values"],
        "namespaces": [["a"], ["b"]],
        "depth": 3,
    }
    anywhere = {"channels": ["values"]}
    assert compute_union_filter([one, anywhere]) == {"channels": ["values"]}
    assert compute_union_filter([]) == {"channels": []}


@pytest.mark.parametrize(
    ("wide", "narrow", "covers"),
    [
        ({"channels": ["values", "custom"]}, {"channels": ["custom:x"]}, True),
        ({"channels": ["custom:x"]}, {"channels": ["custom"]}, False),
        ({"channels": ["values"]}, {"channels": ["values"], "namespaces": [["a"]]}, True),
        ({"channels": ["values"], "namespaces": [["a"]]}, {"channels": ["values"]}, False),
        (
            {"channels": ["values"], "namespaces": [["a"]]},
            {"channels": ["values"], "namespaces": [["a", "b"]], "depth": 1},
            True,
        ),
        (
            {"channels": ["values"], "namespaces": [["a"]], "depth": 2},
            {"channels": ["values"], "namespaces": [["a", "b"]], "depth": 1},
            True,
        ),
        (
            {"channels": ["values"], "namespaces": [["a"]], "depth": 1},
            {"channels": ["values"], "namespaces": [["a", "b"]], "depth": 1},
            False,
        ),
    ],
)
def test_wider_filter_covers_the_narrower_one(wide, narrow, covers):
    assert filter_covers(wide, narrow) == covers


@pytest.mark.parametrize(
    ("status", "final"), [(404, True), (408, False), (429, False), (503, False)]
)
def test_only_final_stream_errors_are_not_retried(status, final):
    request = httpx.Request("GET", "http://h")
    error = httpx.HTTPStatusError("", request=request, response=httpx.Response(status))
    assert is_non_retryable_stream_error(error) == final
    assert not is_non_retryable_stream_error(httpx.ReadError(""))
    assert not is_non_retryable_stream_error(None)


def test_error_frame_becomes_a_protocol_error():
    frame = {"type": "error", "id": None, "error": "e", "message": "m"}
    assert str(stream_error_frame(frame)) == str(protocol_error(frame)) == "Protocol error [e]: m"
    assert stream_error_frame({"type": "event"}) is None
    assert stream_error_frame("text") is None


def test_memory_of_seen_events_is_bounded():
    seen = Seen()
    assert [seen.again(str(n % 10)) for n in range(12)] == [False] * 10 + [True] * 2
    for number in range(2 * SEEN_MOST):
        seen.again(f"n{number}")
    assert len(seen._known) == len(seen._order) == SEEN_MOST
    assert not seen.again(None)


def built(*events):
    build = MessageBuild()
    for each in events:
        build.feed(each)
    return build


def start(index, **content):
    return {"event": "content-block-start", "index": index, "content": content}


def delta(index, **content):
    return {"event": "content-block-delta", "index": index, "delta": content}


def finish(index, **content):
    return {"event": "content-block-finish", "index": index, "content": content}


END = {"event": "message-finish"}


def test_finish_reasons_of_the_last_event_are_in_the_metadata_of_the_message():
    end = {**END, "normalized_finish_reason": "tool_call", "finish_reason": "stop"}
    build = built({**end, "metadata": {"normalized_finish_reason": "stop", "model_name": "m"}})
    assert build.message()["response_metadata"] == {
        "output_version": "v1", "model_name": "m",
        "finish_reason": "stop", "normalized_finish_reason": "tool_call",
    }  # fmt: skip


def test_a_call_that_is_not_finished_is_parsed_at_the_end():
    call = {"type": "tool_call_chunk", "id": "c", "name": "add", "args": ""}
    pieces = [delta(0, type="tool-call-delta", args=text) for text in ('{"a"', ": 1}")]
    assert built(start(0, **call), *pieces, END).calls() == [
        {"type": "tool_call", "id": "c", "name": "add", "args": {"a": 1}}
    ]
    broken = built(start(0, **call), pieces[0], END).message()
    assert broken["tool_calls"] == []
    assert broken["invalid_tool_calls"][0]["args"] == '{"a"'


def test_fields_of_a_block_are_replaced():
    fields = {"type": "tool_call_chunk", "id": "c", "name": "t", "args": '{"a": 1}'}
    build = built(
        start(0, type="tool_call_chunk", args='{"a"'), delta(0, type="block-delta", fields=fields)
    )
    assert "".join(chunk["args"] for chunk in build.call_chunks) == '{"a": 1}'
    other = built(start(0, type="file", mime_type="x"), delta(0, type="data-delta", data="ab"))
    other.feed(delta(0, type="data-delta", data="cd"))
    assert other.message()["content"] == [{"type": "file", "mime_type": "x", "data": "abcd"}]


def test_the_end_of_a_block_corrects_its_text():
    build = built(delta(0, type="text-delta", text="a"), finish(0, type="text", text="abc"))
    assert (build.text, build.whole_text()) == (["a", "bc"], "abc")
    build = built(delta(0, type="text-delta", text="a"), finish(0, type="text", text="xyz"))
    assert (build.text, build.whole_text()) == (["a"], "xyz")


def test_results_of_tools_carry_their_text_as_content():
    data = {"event": "content-block-delta", "index": 0, "content": {"type": "text", "text": "5"}}
    assert built(data).whole_text() == "5"


def test_nothing_is_added_after_the_end():
    build = built(END, delta(0, type="text-delta", text="late"))
    build.fail(RuntimeError())
    assert (build.whole_text(), build.error) == ("", None)
    failed = built({"event": "error", "message": "no"})
    assert str(failed.error) == "no"


class Record:
    """Remembers what it is told."""

    def __init__(self, **made):
        self.made = made
        self.trigger_call_id = made.get("trigger_call_id")
        self.told = []

    def __getattr__(self, name):
        return lambda *values: self.told.append((name, *map(str, values)))


def test_a_model_without_a_name_that_fails_beside_others():
    decoder = MessagesDecoder([], Record)
    made = [
        next(iter(decoder.feed(event("messages", {"event": "message-start", "id": name}))))
        for name in "ab"
    ]
    assert list(decoder.feed(event("messages", {"event": "error", "message": "no"}))) == []
    assert [each.told[-1] for each in made] == [("fail", "no")] * 2


def test_models_are_told_apart_by_their_nodes():
    decoder = MessagesDecoder([], Record)
    made = []
    for node in "xy":
        begun = event("messages", {"event": "message-start", "id": node})
        begun["params"]["node"] = node
        made += decoder.feed(begun)
    for number, node in enumerate("xyx"):
        piece = event("messages", {"event": "content-block-delta", "index": 0, "number": number})
        piece["params"]["node"] = node
        assert list(decoder.feed(piece)) == []
    assert [len(each.told) for each in made] == [3, 2]


def test_events_of_other_namespaces_and_forms_are_not_taken():
    for decoder in (MessagesDecoder([], Record), ToolCallsDecoder([], Record)):
        for method in ("messages", "tools"):
            assert list(decoder.feed(event(method, "text"))) == []
            assert list(decoder.feed(event(method, {"event": "tool-started"}, ["a:1"]))) == []
    assert list(SubgraphsDecoder(("a:1",), Record).feed(event("tasks", {}, ["b:1", "c:2"]))) == []


@pytest.mark.parametrize(
    ("result", "ended"),
    [
        ({"result": {}}, ("finish", "completed", "None")),
        ({"result": {}, "error": "no"}, ("finish", "failed", "no")),
        ({"result": {}, "interrupts": [1]}, ("finish", "interrupted", "None")),
    ],
)
def test_a_task_of_the_parent_ends_a_subgraph(result, ended):
    decoder = SubgraphsDecoder((), Record)
    (child,) = decoder.feed(event("tasks", {"id": "1", "name": "kid"}, ["kid:1"]))
    assert child.made == {"path": ("kid:1",), "graph_name": "kid", "trigger_call_id": "1"}
    assert list(decoder.feed(event("tasks", {"id": "1", **result}))) == []
    assert child.told[-1] == ended


def test_a_tool_that_starts_again():
    decoder = ToolCallsDecoder([], Record)
    begun = event("tools", {"event": "tool-started", "tool_call_id": "c", "tool_name": "t"})
    (first,), (second,) = [list(decoder.feed(begun)) for _ in range(2)]
    assert first.told[0][0] == "fail"
    assert second.told == []
