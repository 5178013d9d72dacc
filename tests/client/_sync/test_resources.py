# Generated from test_resources.py by tools/unasync.py. Do not edit.
"""What the resources make of answers and of wrong arguments."""

import httpx
import pytest
from tests.client.scripted import Script, answer, stream

from loomline.client import SyncLangGraphClient
from loomline.errors import RunError

T = "550e8400-e29b-41d4-a716-446655440000"


def over(script):
    transport = httpx.MockTransport(script)
    return SyncLangGraphClient(httpx.Client(base_url="http://h/base", transport=transport))


@pytest.mark.parametrize("bad", [None, b"x", bytearray(b"x")])
def test_path_parameter_of_another_type_is_refused(bad):
    script = Script()
    with pytest.raises(TypeError, match="thread_id must be a string or a UUID"):
        over(script).threads.get(bad)
    assert script.requests == []


def test_a_failed_run_raises_where_it_is_waited_for():
    failure = {"__error__": {"error": "ValueError", "message": "boom"}}
    client = over(Script(*[answer(failure)] * 3))
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
    client = over(Script(answer({}, **headers)))
    client.runs.create(T, "agent", on_run_created=seen.append)
    assert seen == expected


def test_the_second_form_of_a_stream():
    body = (
        b'event: metadata\ndata: {"run_id":"r"}\n\n'
        b'event: values|child:1|deep:2\ndata: {"a":1,"__interrupt__":[{"value":1}]}\n\n'
        b"event: custom\ndata: 5\n\nevent: end\n\n"
    )
    client = over(Script(stream(body)))
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


def test_deprecated_parameter_raises_a_warning():
    client = over(Script(answer({})))
    with pytest.warns(DeprecationWarning, match="durability"):
        client.runs.create(T, "agent", checkpoint_during=False)


def test_a_client_closes_its_connections():
    with over(Script()) as client:
        pass
    assert client.http.client.is_closed
