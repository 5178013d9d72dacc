"""Requests that are sent twice."""

import asyncio
from uuid import uuid4

import httpx
import pytest

pytestmark = pytest.mark.two_servers

JOKE = {"assistant_id": "joke", "input": {"topic": "tea"}}


@pytest.fixture
async def http(server):
    async with httpx.AsyncClient(base_url=server, timeout=150) as made:
        yield made


@pytest.fixture
def key():
    return {"Idempotency-Key": str(uuid4())}


@pytest.fixture
async def thread(client):
    return (await client.threads.create())["thread_id"]


async def test_one_run_however_often_it_is_asked_for(client, thread, key):
    asks = [
        client.runs.create(thread, "joke", input={"topic": "tea"}, headers=key) for _ in range(8)
    ]
    made = await asyncio.gather(*asks)
    assert len({run["run_id"] for run in made}) == 1
    assert len(await client.runs.list(thread)) == 1
    stateless = [
        client.runs.create(None, "sleepy", input={"seconds": 60}, headers=key) for _ in range(8)
    ]
    made = await asyncio.gather(*stateless)
    assert len({run["run_id"] for run in made}) == 1
    await client.runs.cancel(made[0]["thread_id"], made[0]["run_id"])


async def test_waiting_joins_the_run(client, thread, key):
    waits = [
        client.runs.wait(thread, "joke", input={"topic": "tea"}, headers=key) for _ in range(4)
    ]
    values = await asyncio.gather(*waits)
    assert values == [values[0]] * 4
    assert values[0]["topic"] == "tea and cats"
    assert len(await client.runs.list(thread)) == 1


async def test_streaming_joins_the_run(client, thread, key):
    async def events():
        stream = client.runs.stream(
            thread, "joke", input={"topic": "tea"}, stream_mode=["updates"], headers=key
        )
        return [(part.event, part.data) async for part in stream]

    first = await events()
    assert [name for name, _ in first] == ["metadata", "updates", "updates"]
    assert await events() == first
    assert len(await client.runs.list(thread)) == 1


async def test_the_way_of_asking_may_change(http, thread, key):
    path = f"/threads/{thread}/runs"
    made = await http.post(path, json=JOKE, headers=key)
    assert "idempotent-replayed" not in made.headers
    waited = await http.post(f"{path}/wait", json=dict(reversed(JOKE.items())), headers=key)
    assert waited.json()["topic"] == "tea and cats"
    assert waited.headers["idempotent-replayed"] == "true"
    assert waited.headers["content-location"] == made.headers["content-location"]
    streamed = await http.post(f"{path}/stream", json=JOKE, headers=key)
    assert made.json()["run_id"] in streamed.text


def without_heartbeats(text):
    """Return the lines of an answer. A busy machine sends heartbeats before the first event."""
    return [line for line in text.split("\n") if line.strip() not in {"", ": heartbeat"}]


@pytest.mark.parametrize("path", ["/runs", "/runs/wait", "/runs/stream", "/runs/batch"])
async def test_a_temporary_run_that_is_over(http, key, path):
    body = [JOKE, JOKE] if path == "/runs/batch" else JOKE
    first = await http.post(path, json=body, headers=key)
    if path in {"/runs", "/runs/batch"}:
        made = first.json() if isinstance(first.json(), list) else [first.json()]
        for run in made:
            await http.get(f"/threads/{run['thread_id']}/runs/{run['run_id']}/join")
    again = await http.post(path, json=body, headers=key)
    assert again.status_code == 200
    if path in {"/runs/wait", "/runs/stream"}:
        assert without_heartbeats(again.text) == without_heartbeats(first.text)
    else:
        ids = [[run["run_id"] for run in (each if isinstance(each, list) else [each])]
               for each in (first.json(), again.json())]  # fmt: skip
        assert ids[0] == ids[1]
        assert len(set(ids[0])) == len(ids[0])


async def test_another_body_is_refused(http, thread, key):
    path = f"/threads/{thread}/runs"
    assert (await http.post(path, json=JOKE, headers=key)).status_code == 200
    other = JOKE | {"input": {"topic": "milk"}}
    for way in (path, f"{path}/wait", f"{path}/stream"):
        answer = await http.post(way, json=other, headers=key)
        assert answer.status_code == 422
        assert "another body" in answer.json()["detail"]
    await http.post("/runs/batch", json=[JOKE], headers=key)
    assert (await http.post("/runs/batch", json=[other], headers=key)).status_code == 422


async def test_threads_do_not_share_keys(client, key):
    runs = []
    for _ in range(2):
        thread = (await client.threads.create())["thread_id"]
        runs.append(await client.runs.create(thread, "joke", input={"topic": "a"}, headers=key))
    assert runs[0]["run_id"] != runs[1]["run_id"]


@pytest.mark.one_server
@pytest.mark.parametrize("wrong", ["", "a b", "x" * 256, "é"])
async def test_keys_that_are_none(http, wrong):
    headers = {"Idempotency-Key": wrong.encode("latin-1")}
    answer = await http.post("/runs", json=JOKE, headers=headers)
    assert answer.status_code == 422
    assert "1 to 255 visible ASCII characters" in answer.json()["detail"]
