"""Following a thread: its runs one after the other, and new states."""

import asyncio
import json
from contextlib import asynccontextmanager

import httpx
import pytest

pytestmark = pytest.mark.two_servers

JOKE = {"topic": "tea"}
DONE = "This is a joke about tea and cats"


@pytest.fixture
async def thread(client):
    return (await client.threads.create())["thread_id"]


@asynccontextmanager
async def following(server, thread, **options):
    """Yield the events of a thread, once the stream is there."""
    headers = options.pop("headers", {})
    async with (
        httpx.AsyncClient(base_url=server, timeout=150) as http,
        http.stream(
            "GET", f"/threads/{thread}/stream", params=options, headers=headers
        ) as response,
    ):
        assert response.status_code == 200
        yield events(response)


async def events(response):
    event = {}
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if name:
            event[name] = value
        elif "event" in event:
            yield event["event"], json.loads(event["data"]), event["id"]
            event = {}


async def until(parts, end):
    """Collect events up to one that fits."""
    found = []
    async for part in parts:
        found.append(part)
        if end(part):
            return found
    raise AssertionError("the stream has ended")


def done(part):
    return part[0] == "metadata" and part[1].get("status") == "run_done"


def shape(parts):
    return [
        "done" if done(part) else part[0]
        for part in parts
    ]  # fmt: skip


def numbers(parts):
    return [tuple(map(int, part[2].split("-"))) for part in parts]


@pytest.mark.one_client
async def test_all_runs_of_a_thread(client, server, thread):
    async with following(server, thread) as parts:
        first = await client.runs.create(thread, "joke", input=JOKE, stream_mode="updates")
        found = await until(parts, done)
        await client.runs.create(thread, "boom", input=JOKE)
        found += await until(parts, done)
        third = await client.runs.create(thread, "joke", input=JOKE, stream_mode=["custom"])
        found += await until(parts, done)
    assert shape(found) == [
        "metadata",
        "updates",
        "updates",
        "done",
        "metadata",
        "values",
        "values",
        "error",
        "done",
        "metadata",
        "done",
    ]
    assert found[0][1] == {"run_id": first["run_id"], "attempt": 1}
    assert found[3][1] == {"status": "run_done", "run_id": first["run_id"]}
    assert found[-1][1] == {"status": "run_done", "run_id": third["run_id"]}
    assert numbers(found) == sorted(set(numbers(found)))


@pytest.mark.one_client
async def test_only_beginnings_and_ends(client, server, thread):
    async with following(server, thread, stream_modes="lifecycle") as parts:
        await client.runs.create(thread, "joke", input=JOKE)
        assert shape(await until(parts, done)) == ["metadata", "done"]


@pytest.mark.one_client
async def test_a_run_that_is_stopped_is_done(client, server, thread):
    async with following(server, thread) as parts:
        run = await client.runs.create(thread, "sleepy", input={"seconds": 60})
        await until(parts, lambda part: part[0] == "metadata")
        await client.runs.cancel(thread, run["run_id"], wait=True)
        assert shape(await until(parts, done))[-1] == "done"


@pytest.mark.one_client
@pytest.mark.parametrize("name", ["stream_modes", "stream_mode"])
@pytest.mark.parametrize(
    "modes",
    ["run_modes,state_update", ["run_modes", "state_update"], '["run_modes","state_update"]'],
    ids=["commas", "repeated", "JSON"],
)
async def test_stream_shows_states_that_clients_write(client, server, thread, name, modes):
    await client.runs.wait(thread, "joke", input=JOKE)
    async with following(server, thread, **{name: modes}) as parts:
        await client.threads.update_state(thread, {"joke": "Another."})
        ((event, data, _),) = await until(parts, lambda part: True)
    assert event == "state_update"
    assert data["thread_id"] == thread
    assert data["state"]["values"]["joke"] == "Another."


@pytest.mark.one_client
async def test_stream_of_state_updates_leaves_out_runs(client, server, thread):
    await client.runs.wait(thread, "joke", input=JOKE)
    async with following(server, thread, stream_modes="state_update") as parts:
        await client.runs.wait(thread, "joke", input=JOKE)
        await client.threads.update_state(thread, {"joke": "Another."})
        assert [part[0] for part in await until(parts, lambda part: True)] == ["state_update"]


@pytest.fixture
async def past(client, thread):
    """Three runs that are over; the second one has not kept its events."""
    for kept in (True, False, True):
        await client.runs.wait(thread, "joke", input=JOKE) if not kept else await kept_run(
            client, thread
        )
    return thread


async def kept_run(client, thread):
    run = await client.runs.create(
        thread, "joke", input=JOKE, stream_mode="updates", stream_resumable=True
    )
    await client.runs.join(thread, run["run_id"])


@pytest.mark.one_client
@pytest.mark.parametrize("start", ["-", "0", "-1"])
async def test_stream_from_the_beginning_replays_past_runs(server, past, start):
    async with following(server, past, headers={"last-event-id": start}) as parts:
        found = await until(parts, done) + await until(parts, done)
    assert shape(found) == ["metadata", "updates", "updates", "done"] * 2
    assert numbers(found) == sorted(set(numbers(found)))


@pytest.mark.one_client
async def test_going_on_after_any_event(server, past):
    async with following(server, past, headers={"last-event-id": "-"}) as parts:
        whole = await until(parts, done) + await until(parts, done)
    for number, part in enumerate(whole[:-1]):
        async with following(server, past, headers={"last-event-id": part[2]}) as parts:
            found = []
            while len(found) < len(whole) - number - 1:
                found += await until(parts, done)
        assert found == whole[number + 1 :]


@pytest.mark.one_client
async def test_the_past_goes_over_into_the_present(client, server, past):
    async with following(server, past, headers={"last-event-id": "-"}) as parts:
        await until(parts, done)
        await until(parts, done)
        await client.runs.create(past, "joke", input=JOKE)
        assert shape(await until(parts, done))[0] == "metadata"


@pytest.mark.one_client
async def test_a_run_that_is_going_on(client, server, thread):
    await client.runs.create(thread, "sleepy", input={"seconds": 0.3}, stream_mode="updates")
    async with following(server, thread) as parts:
        assert shape(await until(parts, done))[-1] == "done"


@pytest.mark.one_client
async def test_a_thread_that_does_not_exist_yet(client, server):
    thread = "550e8400-e29b-41d4-a716-446655441111"
    async with following(server, thread) as parts:
        await client.runs.create(thread, "joke", input=JOKE, if_not_exists="create")
        assert shape(await until(parts, done))[-1] == "done"
    await client.threads.delete(thread)


@pytest.mark.one_server
@pytest.mark.parametrize(
    ("path", "headers", "detail"),
    [
        ("/threads/x/stream", {}, "Invalid thread ID: must be a UUID"),
        (
            "/threads/550e8400-e29b-41d4-a716-446655440000/stream?stream_modes=x",
            {},
            "Invalid stream mode: x",
        ),
        (
            "/threads/550e8400-e29b-41d4-a716-446655440000/stream",
            {"last-event-id": "x"},
            "Invalid last-event-id: must be a valid Redis stream ID",
        ),
    ],
)
async def test_invalid_stream_request_is_refused_with_its_reason(server, path, headers, detail):
    async with httpx.AsyncClient(base_url=server) as http:
        response = await http.get(path, headers=headers)
    assert (response.status_code, response.json()) == (422, {"detail": detail})


async def test_clients_join_the_stream_of_a_thread(client, thread):
    joined = client.threads.join_stream(thread, stream_mode=["lifecycle"])
    parts = await joined if isinstance(client, object) and hasattr(joined, "__await__") else joined
    task = asyncio.create_task(anext(parts))
    while not task.done():
        await client.runs.wait(thread, "joke", input=JOKE)
    assert task.result().event == "metadata"
    await parts.aclose()
