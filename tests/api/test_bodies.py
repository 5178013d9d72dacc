"""What is no JSON, or too deep, is refused alike by every route that takes a body."""

import asyncio
import re
import uuid
from collections import Counter

import httpx
import pytest
from tests.serving import serving_here
from tests.threads import Thread

UNREADABLE = [
    b"{",
    b"{} x",
    b"\xff\xfe",
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b'{"a": 1e400}',
    b'{"a": "\\ud800"}',
]
DEEP = b'{"metadata": ' + b'{"a":' * 2000 + b"1" + b"}" * 2000 + b"}"


@pytest.fixture
async def http(server):
    async with httpx.AsyncClient(base_url=server, timeout=150) as client:
        yield client


@pytest.fixture
async def places(http):
    """Something that is there for each placeholder of a path."""
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    run = {"assistant_id": "joke", "input": {"topic": "x"}}
    cron = {"assistant_id": "joke", "schedule": "0 0 1 1 *"}
    made = {
        "thread_id": thread,
        "run_id": (await http.post(f"/threads/{thread}/runs", json=run)).json()["run_id"],
        "assistant_id": (await http.post("/assistants", json={"graph_id": "joke"})).json()[
            "assistant_id"
        ],
        "cron_id": (await http.post("/runs/crons", json=cron)).json()["cron_id"],
        "checkpoint_id": "1f1e5407-0909-6570-8002-c12192d4e888",
        "namespace": "n",
    }
    yield made
    await http.delete(f"/runs/crons/{made['cron_id']}")
    await http.delete(f"/assistants/{made['assistant_id']}")
    await http.delete(f"/threads/{thread}")


# Bodies of the thread protocol have errors of their own.
PROTOCOL = ("/commands", "/stream/events")


async def routes_with_a_body(http):
    document = (await http.get("/openapi.json")).json()
    return [
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if isinstance(operation, dict)
        and "requestBody" in operation
        and not path.endswith(PROTOCOL)
    ]


@pytest.mark.one_server
async def test_every_route_with_a_body_refuses_unreadable_json_alike(http, places):
    routes = await routes_with_a_body(http)
    assert len(routes) > 25
    for method, path in routes:
        for body in UNREADABLE:
            answer = await http.request(method, path.format(**places), content=body)
            assert (answer.status_code, answer.json()) == (
                422,
                {"detail": "Invalid JSON in request body"},
            ), (method, path, body)
        answer = await http.request(method, path.format(**places), content=DEEP)
        assert (answer.status_code, answer.json()) == (
            400,
            {"detail": "Recursion limit reached"},
        ), (method, path)


@pytest.mark.one_server
async def test_bodies_of_another_kind(http, places):
    for method, path in await routes_with_a_body(http):
        answer = await http.request(method, path.format(**places), content=b'"text"')
        assert answer.status_code == 422, (method, path)
        assert "The request body" in answer.json()["detail"]


async def every_route_with_a_body(http):
    document = (await http.get("/openapi.json")).json()
    return [
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if isinstance(operation, dict) and "requestBody" in operation
    ]


async def test_bodies_of_too_many_values_are_413_on_every_route(tmp_path):
    body = b'{"id":1,"metadata":[' + b"[]," * 1000 + b"[]]}"
    place = "00000000-0000-4000-8000-000000000000"
    with serving_here(tmp_path, json_values="1000") as address:
        async with httpx.AsyncClient(base_url=address, timeout=150) as http:
            routes = await every_route_with_a_body(http)
            assert len(routes) > 27
            for method, path in routes:
                filled = re.sub(r"{\w+}", place, path)
                answer = await http.request(method, filled, content=body)
                assert answer.status_code == 413, (method, path)
                assert "more than 1000 objects, arrays and members" in answer.json()["detail"]


LARGE = [
    ("POST", "/threads", {}, "metadata"),
    ("PATCH", "/threads/{thread_id}", {}, "metadata"),
    ("POST", "/threads/search", {}, "metadata"),
    ("POST", "/runs", {"assistant_id": "joke"}, "metadata"),
    ("POST", "/runs/wait", {"assistant_id": "joke"}, "context"),
    ("POST", "/runs/stream", {"assistant_id": "joke"}, "config"),
    ("POST", "/threads/{thread_id}/runs", {"assistant_id": "joke"}, "metadata"),
    ("POST", "/assistants", {"graph_id": "joke"}, "metadata"),
    ("POST", "/assistants", {"graph_id": "joke"}, "config"),
    ("PATCH", "/assistants/{assistant_id}", {}, "context"),
    ("POST", "/runs/crons", {"assistant_id": "joke", "schedule": "0 0 1 1 *"}, "metadata"),
    ("POST", "/runs/crons", {"assistant_id": "joke", "schedule": "0 0 1 1 *"}, "context"),
    ("PATCH", "/runs/crons/{cron_id}", {}, "config"),
]


@pytest.mark.one_server
@pytest.mark.parametrize("content", ["x" * 1_100_000, [[]] * 50_000], ids=["bytes", "values"])
async def test_metadata_context_and_config_beyond_their_limits_are_422(http, places, content):
    for method, path, more, field in LARGE:
        body = more | {field: {"a": content}}
        answer = await http.request(method, path.format(**places), json=body)
        assert answer.status_code == 422, (method, path)
        assert answer.json()["detail"].startswith(f"'{field}' is larger than the limit of ")
    batch = [{"assistant_id": "joke"}, {"assistant_id": "joke", "metadata": {"a": content}}]
    assert (await http.post("/runs/batch", json=batch)).status_code == 422
    command = {"assistant_id": "joke", "metadata": {"a": content}, "input": {}}
    frame = {"id": 1, "method": "run.start", "params": command}
    answer = await http.post(f"/threads/{places['thread_id']}/commands", json=frame)
    assert answer.json()["detail"].startswith("'metadata' is larger than the limit of ")


async def test_large_inputs_values_and_items_are_accepted(http, places):
    image, vectors = "QUJD" * 1_500_000, [[0.5] * 1000] * 100
    body = {"assistant_id": "joke", "input": {"topic": image, "seen": vectors}}
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    answer = await http.post(f"/threads/{thread}/runs/wait", json=body, timeout=150)
    assert answer.json()["topic"] == f"{image} and cats"
    state = {"values": {"topic": image, "seen": vectors}, "as_node": "refine_topic"}
    path = f"/threads/{thread}/state"
    assert (await http.post(path, json=state, timeout=150)).status_code == 200
    item = {"namespace": ["large"], "key": "k", "value": {"image": image, "vectors": vectors}}
    assert (await http.put("/store/items", json=item, timeout=150)).status_code == 204
    await http.request("DELETE", "/store/items", json={"namespace": ["large"], "key": "k"})


async def test_websocket_commands_of_too_many_values_are_refused_and_the_connection_stays(tmp_path):
    with serving_here(tmp_path, json_values="1000") as address:
        thread = Thread(address)
        async with thread.websocket() as socket:
            await socket.raw.send('{"id":1,"method":"run.start","params":[' + "[]," * 1000 + "[]]}")
            refused = await socket.receive()
            assert refused["type"] == "error"
            assert "more than 1000 objects, arrays and members" in refused["message"]
            metadata = {"a": "x" * 300_000}
            refused, _ = await socket.ask("run.start", assistant_id="joke", metadata=metadata)
            assert refused["message"].startswith("'metadata' is larger than the limit of ")
            started, _ = await socket.ask("run.start", assistant_id="joke", input={"topic": "t"})
            assert started["type"] == "success"


@pytest.mark.one_server
@pytest.mark.parametrize("field", ["metadata", "input"])
async def test_a_body_of_ten_million_values_is_413(http, field):
    async def pieces():
        yield b'{"assistant_id":"joke","%b":{"a":[' % field.encode()
        for _ in range(150):
            yield b"[]," * 33_333
        yield b"[]]}}"

    answer = await http.post("/runs", content=pieces(), timeout=150)
    assert answer.status_code == 413


NUMBERS = [
    (b"2.0", 200),
    (b"2", 200),
    (b"2.5", 422),
    (b'"2"', 422),
    (b"true", 422),
    (b"0", 422),
    (b"1001", 422),
    (b"123456789012345678901234567890", 422),
]


@pytest.mark.parametrize("path", ["/threads/search", "/assistants/search", "/runs/crons/search"])
@pytest.mark.parametrize(("number", "status"), NUMBERS)
async def test_limit_accepts_whole_numbers_in_any_notation(http, path, number, status):
    answer = await http.post(path, content=b'{"limit": ' + number + b"}")
    assert answer.status_code == status
    reason = "beyond 64 bits" if len(number) > 20 else "limit"
    assert status == 200 or reason in answer.json()["detail"]


async def test_odd_values_of_metadata(http):
    body = b'{"metadata": {"big": 1.5e300, "nul": "a\\u0000b", "x": 1, "x": 2}}'
    made = (await http.post("/threads", content=body)).json()
    found = (await http.get(f"/threads/{made['thread_id']}")).json()["metadata"]
    assert found == {"big": 1.5e300, "nul": "a\ufffdb", "x": 2}


@pytest.mark.parametrize(
    ("path", "field", "more", "detail"),
    [
        ("/threads", "thread_id", {}, "Thread with ID {} already exists"),
        ("/assistants", "assistant_id", {"graph_id": "joke"}, "Assistant {} already exists"),
    ],
)
async def test_an_id_has_one_creator(http, path, field, more, detail):
    place = str(uuid.uuid4())
    answers = await asyncio.gather(
        *[http.post(path, json={field: place, "metadata": {"n": n}} | more) for n in range(12)]
    )
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 11}
    (made,) = [answer.json() for answer in answers if answer.status_code == 200]
    refusals = [answer.json() for answer in answers if answer.status_code == 409]
    assert refusals == [{"detail": detail.format(place)}] * 11
    assert (await http.get(f"{path}/{place}")).json() == made


@pytest.mark.parametrize(
    ("method", "path", "body", "detail"),
    [
        ("POST", "/assistants", {"graph_id": "nope"}, "Graph 'nope' not found. Expected one of: ["),
        (
            "POST",
            "/runs/crons",
            {"assistant_id": "nope", "schedule": "* * * * *"},
            "Assistant 'nope' not found",
        ),
    ],
)
async def test_unserved_path_is_not_found_with_its_reason(http, method, path, body, detail):
    answer = await http.request(method, path, json=body)
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith(detail)


@pytest.mark.one_server
@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/assistants/x", "assistant"),
        ("/threads/x", "thread"),
        ("/threads/x/state", "thread"),
        ("/threads/x/runs", "thread"),
        ("/threads/{thread_id}/runs/x", "run"),
    ],
)
async def test_path_segment_that_is_no_uuid_is_refused(http, places, path, named):
    answer = await http.get(path.format(**places))
    assert (answer.status_code, answer.json()) == (
        422,
        {"detail": f"Invalid {named} ID: must be a UUID"},
    )


@pytest.mark.parametrize("kind", ["threads", "assistants"])
async def test_metadata_that_grows_by_changes_is_refused_beyond_the_limit(http, places, kind):
    path = f"/{kind}/{places[f'{kind[:-1]}_id']}"
    for number in range(4):
        grown = {"metadata": {f"key {number}": "x" * 60_000}}
        assert (await http.patch(path, json=grown)).status_code == 200
    refused = await http.patch(path, json={"metadata": {"key 4": "x" * 60_000}})
    assert refused.status_code == 422
    assert "'metadata' would be larger than the limit of 262144 bytes" in refused.json()["detail"]
    found = (await http.get(path)).json()["metadata"]
    assert {key for key in found if key.startswith("key")} == {f"key {each}" for each in range(4)}
    smaller = {"metadata": {"key 0": "", "key 4": "x" * 60_000}}
    assert (await http.patch(path, json=smaller)).status_code == 200
