"""Starting and stopping several runs with one request."""

import httpx
import pytest

pytestmark = pytest.mark.two_servers

JOKE = {"topic": "tea"}
UNKNOWN = "550e8400-e29b-41d4-a716-446655440000"


async def test_batch_creates_its_runs_in_their_order(client):
    bodies = [
        {
            "assistant_id": "joke",
            "input": {"topic": topic},
            "thread_id": None,
            "on_completion": "keep",
        }
        for topic in ("tea", "ice", "sun")
    ]
    runs = await client.runs.create_batch(bodies)
    assert [run["status"] for run in runs] == ["pending"] * 3
    assert [run["kwargs"]["input"]["topic"] for run in runs] == ["tea", "ice", "sun"]
    for run, topic in zip(runs, ("tea", "ice", "sun"), strict=True):
        values = await client.runs.join(run["thread_id"], run["run_id"])
        assert values["joke"] == f"This is a joke about {topic} and cats"
        await client.threads.delete(run["thread_id"])


@pytest.mark.parametrize(
    ("bodies", "status", "detail"),
    [
        ([], 422, "at least 1 item"),
        ({}, 422, "should be a valid list"),
        ([{"assistant_id": "joke"}] * 1001, 422, "at most 1000 items"),
        ([{"assistant_id": "joke"}, {"input": {}}], 422, "'1.assistant_id' is required"),
        ([{"assistant_id": "joke"}, {"assistant_id": "nope"}], 422, "Invalid assistant: 'nope'"),
        (
            [{"assistant_id": "joke"}, {"assistant_id": UNKNOWN}],
            404,
            "Thread or assistant not found.",
        ),
        ([{"assistant_id": "joke", "command": {"resume": 1}}], 400, "You must provide a thread_id"),
    ],
)
async def test_a_batch_is_whole_or_nothing(server, bodies, status, detail):
    async with httpx.AsyncClient(base_url=server) as http:
        before = (await http.post("/threads/count", json={})).json()
        response = await http.post("/runs/batch", json=bodies)
        assert response.status_code == status
        assert detail in response.json()["detail"]
        assert (await http.post("/threads/count", json={})).json() <= before


async def started(client, thread, count):
    options = {"input": {"seconds": 60}, "stream_resumable": True}
    runs = [await client.runs.create(thread, "sleepy", **options) for _ in range(count)]
    async for part in client.runs.join_stream(thread, runs[0]["run_id"], last_event_id="-1"):
        if part.event == "metadata":
            break
    return [run["run_id"] for run in runs]


async def statuses(client, thread):
    runs = await client.runs.list(thread, limit=100)
    return {run["run_id"]: run["status"] for run in runs}


async def test_stopping_runs_of_a_thread(client):
    thread = (await client.threads.create())["thread_id"]
    first, second, third = await started(client, thread, 3)
    await client.runs.cancel_many(thread_id=thread, run_ids=[first, third, UNKNOWN])
    await client.runs.join(thread, first)
    found = await statuses(client, thread)
    assert (found[first], found[third]) == ("interrupted", "interrupted")
    assert found[second] in {"pending", "running"}
    assert (await client.threads.get(thread))["status"] == "busy"
    await client.runs.cancel(thread, second, wait=True)
    await client.threads.delete(thread)


@pytest.mark.parametrize(
    ("body", "query", "status"),
    [
        ({}, "", 422),
        ({"thread_id": UNKNOWN}, "", 422),
        ({"run_ids": [UNKNOWN]}, "", 422),
        ({"thread_id": UNKNOWN, "run_ids": []}, "", 422),
        ({"thread_id": UNKNOWN, "run_ids": [UNKNOWN], "status": "all"}, "", 422),
        ({"status": "success"}, "", 422),
        ({"thread_id": "x", "run_ids": [UNKNOWN]}, "", 422),
        ({"thread_id": UNKNOWN, "run_ids": ["x"]}, "", 422),
        ({"thread_id": UNKNOWN, "run_ids": [UNKNOWN]}, "?action=explode", 422),
        ({"thread_id": UNKNOWN, "run_ids": [UNKNOWN]}, "", 404),
    ],
)
async def test_invalid_cancellation_of_runs_is_refused(server, body, query, status):
    async with httpx.AsyncClient(base_url=server) as http:
        response = await http.post(f"/runs/cancel{query}", json=body)
    assert response.status_code == status
    assert response.json()["detail"]
