# Generated from test_resources.py by tools/unasync.py. Do not edit.
"""Our requests are those of the official client, and its errors are ours."""

import httpx
import langgraph_sdk.client as official
import orjson
import pytest
from tests.client.scripted import Script, answer, stream

from weft import client as weft_client
from weft.errors import RunError

T = "550e8400-e29b-41d4-a716-446655440000"
ODD = "../threads/x"

CALLS = [
    ("threads", "get", (T,), {}),
    ("threads", "get", (ODD,), {}),
    ("threads", "get", ("..",), {"include": ["ttl", "x"], "params": {"a": 1}, "headers": {"k": "v"}}),
    ("threads", "create", (), {}),
    ("threads", "create", (), {"metadata": {"a": 1}, "thread_id": T, "if_exists": "do_nothing", "graph_id": "g", "ttl": 5}),
    ("threads", "create", (), {"ttl": {"ttl": 1, "strategy": "keep_latest"}}),
    ("threads", "create", (), {"supersteps": [{"updates": [{"values": {"a": 1}, "as_node": "n"}]}]}),
    ("threads", "delete", (T,), {"params": {"a": 1}}),
    ("runs", "create", (T, "agent"), {}),
    ("runs", "create", (None, "agent"), {"input": {"a": [1]}, "on_completion": "keep"}),
    ("runs", "create", (T, "agent"), {
        "input": {"a": 1}, "command": {"resume": 1, "update": None}, "stream_mode": ["values", "updates"],
        "stream_subgraphs": True, "stream_resumable": True, "metadata": {"m": 1}, "config": {"tags": ["t"]},
        "context": {"c": 1}, "checkpoint": {"checkpoint_id": T}, "checkpoint_id": T, "interrupt_before": "*",
        "interrupt_after": ["n"], "webhook": "http://w", "multitask_strategy": "reject",
        "if_not_exists": "create", "after_seconds": 5, "durability": "sync", "strict_resume": True,
        "langsmith_tracing": {"project_name": "p"},
    }),
    ("runs", "create", (T, "agent"), {"command": {"resume": None}}),
    ("runs", "wait", (T, "agent"), {"input": {"a": 1}, "on_disconnect": "cancel", "raise_error": False}),
    ("runs", "wait", (None, "agent"), {"command": {"goto": "n"}}),
    ("runs", "list", (T,), {}),
    ("runs", "list", (T,), {"limit": 5, "offset": 2, "status": "error", "select": ["run_id", "status"], "params": {"a": "b"}}),
    ("runs", "get", (T, ODD), {}),
    ("runs", "cancel", (T, T), {}),
    ("runs", "cancel", (T, T), {"wait": True, "action": "rollback"}),
    ("runs", "join", (T, T), {"headers": {"k": "v"}}),
    ("runs", "delete", (T, T), {}),
]  # fmt: skip

STREAMS = [
    ("stream", (T, "agent"), {"input": {"a": 1}}),
    ("stream", (None, "agent"), {"stream_mode": ["messages", "custom"], "feedback_keys": ["f"], "on_disconnect": "cancel"}),
    ("join_stream", (T, T), {}),
    ("join_stream", (T, T), {"cancel_on_disconnect": True, "stream_mode": ["a", "b"], "last_event_id": "1-0"}),
]  # fmt: skip


def over(module, script):
    transport = httpx.MockTransport(script)
    return module.SyncLangGraphClient(httpx.Client(base_url="http://h/base", transport=transport))


def sent(script):
    (request,) = script.requests
    body = orjson.loads(request.content) if request.content else None
    headers = {
        name: request.headers.get(name)
        for name in ("k", "content-type", "last-event-id", "accept", "prefer")
    }
    if body is None:
        headers["content-type"] = None
    query = sorted(request.url.params.multi_items())
    return request.method, request.url.raw_path.partition(b"?")[0], query, body, headers


@pytest.mark.parametrize(("resource", "method", "arguments", "options"), CALLS)
def test_the_same_request(resource, method, arguments, options):
    requests = []
    for module in (official, weft_client):
        script = Script(answer({}))
        getattr(getattr(over(module, script), resource), method)(*arguments, **options)
        requests.append(sent(script))
    assert requests[0] == requests[1]


@pytest.mark.parametrize(("method", "arguments", "options"), STREAMS)
def test_the_same_stream_request(method, arguments, options):
    requests = []
    for module in (official, weft_client):
        script = Script(stream(b"event: end\n\n"))
        for _ in getattr(over(module, script).runs, method)(*arguments, **options):
            pass
        requests.append(sent(script))
    assert requests[0] == requests[1]


@pytest.mark.parametrize("bad", [None, b"x", bytearray(b"x")])
def test_what_is_no_path_parameter(bad):
    script = Script()
    with pytest.raises(TypeError, match="thread_id must be a string or a UUID"):
        over(weft_client, script).threads.get(bad)
    assert script.requests == []


def test_a_failed_run_raises_where_it_is_waited_for():
    failure = {"__error__": {"error": "ValueError", "message": "boom"}}
    client = over(weft_client, Script(*[answer(failure)] * 3))
    with pytest.raises(RunError, match="ValueError: boom") as raised:
        client.runs.wait(T, "agent")
    assert (raised.value.error, raised.value.message) == ("ValueError", "boom")
    assert client.runs.wait(T, "agent", raise_error=False) == failure
    assert client.runs.join(T, T) == failure


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (f"/threads/{T}/runs/r", [{"run_id": "r", "thread_id": T}]),
        ("/runs/r", [{"run_id": "r", "thread_id": None}]),
        ("/elsewhere", []),
        (None, []),
    ],
)
def test_the_ids_of_a_run(place, expected):
    headers = {"content_location": place} if place else {}
    seen = []
    client = over(weft_client, Script(answer({}, **headers)))
    client.runs.create(T, "agent", on_run_created=seen.append)
    assert seen == expected


def test_the_second_form_of_a_stream():
    body = (
        b'event: metadata\ndata: {"run_id":"r"}\n\n'
        b'event: values|child:1|deep:2\ndata: {"a":1,"__interrupt__":[{"value":1}]}\n\n'
        b"event: custom\ndata: 5\n\nevent: end\n\n"
    )
    client = over(weft_client, Script(stream(body)))
    parts = [part for part in client.runs.stream(T, "agent", version="v2")]
    assert parts == [
        {"type": "metadata", "ns": [], "data": {"run_id": "r"}, "interrupts": []},
        {
            "type": "values",
            "ns": ["child:1", "deep:2"],
            "data": {"a": 1},
            "interrupts": [{"value": 1}],
        },
        {"type": "custom", "ns": [], "data": 5, "interrupts": []},
    ]


def test_what_is_deprecated_warns():
    client = over(weft_client, Script(answer({})))
    with pytest.warns(DeprecationWarning, match="durability"):
        client.runs.create(T, "agent", checkpoint_during=False)


def test_a_client_closes_its_connections():
    with over(weft_client, Script()) as client:
        pass
    assert client.http.client.is_closed
