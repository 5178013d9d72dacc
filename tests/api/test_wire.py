"""What is exactly on the wire."""

import asyncio
import re
from uuid import uuid4

import httpx
import langgraph_sdk
import pytest

import loomline

RUN = {"assistant_id": "joke", "input": {"topic": "x"}, "stream_mode": "updates"}
ID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"


@pytest.fixture
async def http(server):
    async with httpx.AsyncClient(base_url=server) as client:
        yield client


@pytest.fixture
async def thread(http):
    return (await http.post("/threads", json={})).json()["thread_id"]


async def test_a_stream_byte_by_byte(http, thread):
    answer = await http.post(f"/threads/{thread}/runs/stream", json=RUN)
    assert re.fullmatch(
        rf'event: metadata\r\ndata: {{"run_id":"{ID}","attempt":1}}\r\n\r\n'
        r'event: updates\r\ndata: {"refine_topic":{"topic":"x and cats"}}\r\n\r\n'
        r'event: updates\r\ndata: {"generate_joke":{"joke":"This is a joke about x and cats"}}\r\n\r\n'
        rf'event: end\r\ndata: {{"run_id":"{ID}","status":"success"}}\r\n\r\n',
        # A busy machine takes long enough for a heartbeat.
        answer.text.replace(": heartbeat\r\n", ""),
    )
    headers = answer.headers
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert headers["x-accel-buffering"] == "no"
    place = headers["content-location"]
    assert re.fullmatch(f"/threads/{thread}/runs/{ID}", place)
    assert headers["location"] == f"{place}/stream"


async def test_ids_of_a_resumable_stream(http, thread):
    answer = await http.post(
        f"/threads/{thread}/runs/stream", json=RUN | {"stream_resumable": True}
    )
    ids = [
        tuple(map(int, found)) for found in re.findall(r"\r\nid: (\d+)-(\d+)\r\n\r\n", answer.text)
    ]
    assert len(ids) == 3
    assert ids == sorted(set(ids))


async def test_where_stateless_runs_are(http):
    answer = await http.post("/runs/stream", json=RUN)
    place = answer.headers["content-location"]
    assert re.fullmatch(f"/runs/{ID}", place)
    assert answer.headers["location"] == f"{place}/stream"
    answer = await http.post("/runs/wait", json=RUN)
    assert re.fullmatch(f"/threads/{ID}/runs/{ID}/join", answer.headers["location"])
    body = RUN | {"assistant_id": "sleepy", "input": {"seconds": 0.2}}
    place = (await http.post("/runs", json=body)).headers["content-location"]
    stream, joined = await asyncio.gather(http.get(f"{place}/stream"), http.get(f"{place}/join"))
    assert "event: updates" in stream.text
    assert joined.json()["log"] == ["first", "slept", "last"]
    assert (await http.get(f"{place}/join")).json()["__error__"]["message"] == "404: Run not found"


async def test_heartbeats_while_nothing_happens(http, thread):
    body = RUN | {"assistant_id": "sleepy", "input": {"seconds": 0.7}}
    answer = await http.post(f"/threads/{thread}/runs/stream", json=body)
    assert answer.text.count(": heartbeat\r\n") >= 2
    answer = await http.post(f"/threads/{thread}/runs/wait", json=body)
    assert answer.text.startswith("\n")
    assert answer.json()["log"][-1] == "last"


async def test_cancellation_with_wait_answers_after_the_runs_end(http, thread):
    run = (
        await http.post(
            f"/threads/{thread}/runs", json=RUN | {"assistant_id": "sleepy", "input": {}}
        )
    ).json()
    place = f"/threads/{thread}/runs/{run['run_id']}"
    answer = await http.post(f"{place}/cancel?wait=1")
    assert (answer.status_code, answer.json()) == (200, {})
    assert answer.headers["location"] == f"{place}/join"
    assert (await http.get(place)).json()["status"] == "interrupted"
    again = (
        await http.post(
            f"/threads/{thread}/runs", json=RUN | {"assistant_id": "sleepy", "input": {}}
        )
    ).json()
    answer = await http.post(f"/threads/{thread}/runs/{again['run_id']}/cancel?wait=false")
    assert (answer.status_code, answer.content) == (202, b"")


@pytest.mark.parametrize(
    ("graph", "status"), [("joke", "success"), ("boom", "error"), ("ask", "success")]
)
async def test_end_event_is_the_last_event_and_tells_the_status(http, thread, graph, status):
    body = {"assistant_id": graph, "input": {"topic": "x"}, "stream_resumable": True}
    answer = await http.post(f"/threads/{thread}/runs/stream", json=body)
    place = answer.headers["content-location"]
    run = place.rpartition("/")[2]
    end = f'event: end\r\ndata: {{"run_id":"{run}","status":"{status}"}}\r\n\r\n'
    assert answer.text.endswith(end)
    replayed = (await http.get(f"{place}/stream", headers={"last-event-id": "-1"})).text
    assert replayed.count("event: end\r\n") == 1
    assert replayed.endswith(end)


async def test_end_event_of_a_run_that_was_cancelled_in_the_queue_tells_so(http, thread):
    body = {"assistant_id": "joke", "input": {"topic": "x"}, "after_seconds": 1000}
    async with http.stream("POST", f"/threads/{thread}/runs/stream", json=body) as answer:
        place = answer.headers["content-location"]
        await http.post(f"{place}/cancel")
        text = "".join([piece async for piece in answer.aiter_text()])
    run = place.rpartition("/")[2]
    end = f'event: end\r\ndata: {{"run_id":"{run}","status":"interrupted"}}\r\n\r\n'
    assert text.replace(": heartbeat\r\n", "") == end


async def test_end_event_is_not_sent_to_the_official_python_client(server, thread):
    async with langgraph_sdk.get_client(url=server, api_key=None) as client:
        parts = [part async for part in client.runs.stream(thread, "joke", input={"topic": "x"})]
    assert [part.event for part in parts] == ["metadata", "values", "values", "values"]


async def test_end_event_is_not_handed_to_callers_of_our_client(server, thread):
    async with loomline.get_client(url=server, api_key=None) as client:
        parts = [part async for part in client.runs.stream(thread, "joke", input={"topic": "x"})]
    assert [part.event for part in parts] == ["metadata", "values", "values", "values"]


async def test_namespaces_choose_the_graphs_whose_events_are_sent(http, thread):
    body = {
        "assistant_id": "family", "input": {"topic": "x"}, "stream_mode": ["updates"],
        "stream_subgraphs": True, "stream_resumable": True,
    }  # fmt: skip

    def names(text):
        return [name for name in re.findall("event: (.*)\r\n", text) if name.startswith("updates")]

    answer = await http.post(f"/threads/{thread}/runs/stream", json=body)
    place, every = answer.headers["location"], names(answer.text)
    depths = {name.count("|") for name in every}
    assert depths == {0, 1, 2}
    for name in set(every):
        query = {"namespace": name.partition("|")[2]}
        text = (await http.get(place, params=query, headers={"last-event-id": "-1"})).text
        assert names(text) == [each for each in every if each == name]
        assert text.startswith("event: metadata\r\n")
    query = {"namespace": ["", "unknown:1"]}
    answer = await http.post(f"/threads/{thread}/runs/stream", params=query, json=body)
    assert set(names(answer.text)) == {"updates"}


async def test_checkpoint_of_a_joined_stream_leaves_out_the_events_that_led_to_it(http, thread):
    body = {"assistant_id": "joke", "input": {"topic": "x"}, "stream_resumable": True}
    place = (await http.post(f"/threads/{thread}/runs/stream", json=body)).headers["location"]
    history = (await http.get(f"/threads/{thread}/history")).json()
    checkpoints = [each["checkpoint"]["checkpoint_id"] for each in reversed(history)]
    every = re.findall("event: (.*)\r\n", (await joined(http, place)).text)
    assert every == ["metadata", "values", "values", "values", "end"]
    for number, checkpoint in enumerate(checkpoints):
        text = (await joined(http, place, checkpoint_id=checkpoint)).text
        left = every[len(every) - text.count("event: ") :]
        assert re.findall("event: (.*)\r\n", text) == left
        # The first checkpoint is that of the input, before any values.
        assert len(left) == len(every) - 1 - number
    unknown = await joined(http, place, checkpoint_id=str(uuid4()))
    assert re.findall("event: (.*)\r\n", unknown.text) == every
    refused = await joined(http, place, checkpoint_id="first")
    assert (refused.status_code, refused.json()) == (422, {"detail": "Invalid checkpoint ID"})


async def joined(http, place, **query):
    return await http.get(place, params=query, headers={"last-event-id": "-1"})


async def test_join_filters_events_by_stream_mode(http, thread):
    body = RUN | {"stream_mode": ["values", "updates", "tasks"], "stream_resumable": True}
    place = (await http.post(f"/threads/{thread}/runs/stream", json=body)).headers["location"]
    for query in ("stream_mode=updates&stream_mode=tasks", 'stream_mode=["updates","tasks"]'):
        text = (await http.get(f"{place}?{query}", headers={"last-event-id": "0"})).text
        assert set(re.findall("event: (.*)\r\n", text)) == {
            "updates", "tasks", "end",
        }  # fmt: skip
    everything = (await http.get(f"{place}?stream_mode=", headers={"last-event-id": "-1"})).text
    assert everything.startswith("event: metadata")
    refused = await http.get(f"{place}?stream_mode=update")
    assert (refused.status_code, refused.json()) == (422, {"detail": "Invalid stream mode: update"})
    run = place.removesuffix("/stream").rpartition("/")[2]
    end = f'event: end\r\ndata: {{"run_id":"{run}","status":"success"}}\r\n\r\n'
    assert (await http.get(place)).text == end
    for unknown in ("soon", "", "99999999999999-0"):
        assert (await http.get(place, headers={"last-event-id": unknown})).text == end


async def test_the_server_about_itself(http):
    assert (
        (await http.get("/ok")).json()
        == (await http.get("/?check_db=1")).json()
        == {"ok": True, "services": {}}
    )
    info = (await http.get("/info")).json()
    assert info["flags"]["assistants"] is True
    assert info["host"] == info["metadata"]
    page = await http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(r"(src|href)=\"?(https?:)?//", page.text)
    assert (await http.head("/ok")).status_code == 200


async def test_the_description_names_every_route(http):
    spec = (await http.get("/openapi.json")).json()
    assert spec["openapi"] == "3.1.0"
    assert set(spec["paths"]["/threads/{thread_id}/runs/{run_id}"]) == {"get", "delete"}
    operation = spec["paths"]["/runs/stream"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/RunCreate"
    }
    assert "assistant_id" in spec["components"]["schemas"]["RunCreate"]["required"]
    names = [each["operationId"] for path in spec["paths"].values() for each in path.values()]
    assert len(names) == len(set(names))


async def test_every_graph_has_its_assistant(http):
    found = (await http.get("/assistants/eb6db400-e3c8-5d06-a834-015cb89efe69")).json()
    assert (found["graph_id"], found["version"], found["metadata"]) == (
        "chat",
        1,
        {"created_by": "system"},
    )


async def test_browsers_may_read_where_a_run_is(http):
    answer = await http.post("/runs/wait", json=RUN, headers={"origin": "http://localhost:3000"})
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    exposed = answer.headers["access-control-expose-headers"]
    assert {"location", "retry-after", "idempotent-replayed"} <= set(exposed.split(", "))


async def test_trailing_slashes_lead_to_the_route(http):
    answer = await http.get("/ok/")
    assert answer.status_code == 307
    assert answer.headers["location"].endswith("/ok")
