"""Clients without an address, inside graphs of a running server."""

import asyncio
import threading

import httpx
import pytest
from tests.serving import Process

from loomline.server.api.inside import INSIDE, Door, Inside

pytestmark = pytest.mark.two_servers


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a process of its own: clients without an address know one server each."""
    with Process(tmp_path_factory.mktemp("data")) as process:
        yield process.url
        process.stop()


async def test_a_node_talks_to_its_own_server(client):
    values = await client.runs.wait(None, "consulting", input={"topic": "tea"})
    assert values["log"] == [
        "metadata", "updates", "updates", "This is a joke about tea and cats",
    ]  # fmt: skip
    thread = await client.threads.get(values["seen"])
    assert thread["metadata"] == {"from": "inside"}


async def test_the_official_client_finds_the_server_too(client):
    values = await client.runs.wait(None, "consulting_officially", input={"topic": "tea"})
    assert values["log"] == [
        "metadata", "custom", "custom", "custom", "This is a joke about tea and cats",
    ]  # fmt: skip
    assert values["seconds"] > 0.5  # each event came when it was sent
    thread = await client.threads.get(values["seen"])
    assert thread["metadata"] == {"from": "inside"}


@pytest.mark.parametrize("path", ["/noauth/threads/search", "/noauth/ok", "/noauth"])
async def test_from_outside_there_is_no_such_place(server, path):
    async with httpx.AsyncClient(base_url=server) as http:
        for method in ("GET", "POST"):
            answer = await http.request(method, path, headers={"loomline.inside": "1"})
            assert answer.status_code == 404


async def test_only_requests_from_inside_are_marked():
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)

    loop = asyncio.get_running_loop()
    await Inside(app, loop)({"type": "http"}, None, None)
    (scope,) = scopes
    assert (scope["type"], scope[INSIDE]) == ("http", True)


async def test_a_door_that_is_closed():
    door = Door()
    with pytest.raises(httpx.ConnectError, match="does not serve"):
        await door({}, None, None)


async def test_many_nodes_at_once(client):
    waits = [client.runs.wait(None, "consulting", input={"topic": "tea"}) for _ in range(8)]
    assert {len(values["log"]) for values in await asyncio.gather(*waits)} == {4}


@pytest.fixture
def elsewhere():
    """An event loop that runs on another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def test_the_application_runs_on_its_own_loop(elsewhere):
    loops = []

    async def app(scope, receive, send):
        loops.append(asyncio.get_running_loop())
        await send(await receive())

    sent = []

    async def receive():
        return {"on": asyncio.get_running_loop()}

    async def send(message):
        sent.append((message["on"], asyncio.get_running_loop()))

    here = asyncio.get_running_loop()
    await Inside(app, elsewhere)({}, receive, send)
    await Inside(app, here)({}, receive, send)
    assert loops == [elsewhere, here]
    assert sent == [(here, here)] * 2


async def test_a_caller_that_leaves_stops_the_application(elsewhere):
    began, stopped = asyncio.Event(), threading.Event()
    here = asyncio.get_running_loop()

    async def app(scope, receive, send):
        here.call_soon_threadsafe(began.set)
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    task = asyncio.create_task(Inside(app, elsewhere)({}, None, None))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(stopped.wait, 150)
