"""Thread streaming, where the colours differ: tasks and threads, awaiting, waiting for each other."""

import asyncio
import contextlib
import importlib.util
import logging
import sys
import threading
import time

import httpx
import pytest
from tests.client.test_imports import loaded
from tests.client.thread_server import thread_server

from loomline.client import LangGraphClient, get_client, get_sync_client

RUN = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def server():
    with thread_server() as running:
        yield running


@contextlib.asynccontextmanager
async def streaming(server, thread_id=None):
    client = get_client(url=server.url)
    async with client, client.threads.stream(thread_id, assistant_id="agent") as thread:
        yield thread


@contextlib.contextmanager
def streaming_sync(server):
    client = get_sync_client(url=server.url)
    with client, client.threads.stream(assistant_id="agent") as thread:
        yield thread


def running(server):
    server.on_start(lambda run_id: server.lifecycle("running", run_id), RUN)


def values(server, count):
    for number in range(count):
        server.emit("values", {"n": number})
    server.lifecycle("completed", RUN)


async def test_a_reader_that_is_far_behind_misses_nothing(server, caplog):
    running(server)
    async with streaming(server) as thread:
        await thread.run.start()
        events = thread.subscribe(["values"])
        others = asyncio.create_task(_all(thread.subscribe(["values"])))
        server.emit("values", {"n": -1})
        await anext(events)
        values(server, 6000)
        # It does not read, which must not hold up the others for ever.
        with caplog.at_level(logging.WARNING, "loomline.client"):
            assert len(await others) == 6001
            assert await thread.get_output(timeout=150) == {}
        found = [event["params"]["data"]["n"] async for event in events]
        assert found == list(range(6000))
    assert "events behind" in caplog.text


async def _all(events):
    return [event async for event in events]


def test_a_reader_that_is_far_behind_misses_nothing_without_an_event_loop(server):
    running(server)
    with streaming_sync(server) as thread:
        thread.run.start()
        events = thread.subscribe(["values"])
        server.emit("values", {"n": -1})
        next(events)
        values(server, 6000)
        assert thread.get_output(timeout=150) == {}
        assert [event["params"]["data"]["n"] for event in events] == list(range(6000))


async def test_reading_may_begin_before_the_run_does(server):
    running(server)
    async with streaming(server) as thread:
        reading = asyncio.create_task(_all(thread.subscribe(["values"])))
        await asyncio.sleep(0)
        assert server.requests == []
        await thread.run.start()
        values(server, 3)
        assert len(await reading) == 3


async def test_reading_may_begin_before_the_run_does_on_a_thread_that_was_named(server):
    running(server)
    async with streaming(server, "t") as thread:
        reading = asyncio.create_task(_all(thread.subscribe(["values"])))
        await asyncio.sleep(0)
        await thread.run.start()
        values(server, 3)
        assert len(await reading) == 3


async def test_readers_learn_that_the_run_was_refused(server):
    refused = {"error": "invalid_argument", "message": "no"}
    server.commands["run.start"] = lambda params: refused
    async with streaming(server) as thread:
        reading = asyncio.create_task(_all(thread.subscribe(["values"])))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="invalid_argument"):
            await thread.run.start()
        with pytest.raises(RuntimeError, match="invalid_argument"):
            await reading


async def test_many_wait_for_the_output_and_one_gives_up(server):
    running(server)
    async with streaming(server) as thread:
        await thread.run.start()

        async def wait():
            return await thread.output

        waiting = [asyncio.create_task(wait()) for _ in range(5)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        with pytest.raises(TimeoutError):
            await thread.output.with_timeout(0.01)
        values(server, 1)
        assert await asyncio.gather(*waiting[1:]) == [{}] * 4
        assert await thread.values == {}
    assert len([path for _, path, _, _ in server.requests if path.endswith("/state")]) == 1


async def test_open_projections_end_when_an_async_thread_is_closed(server):
    running(server)
    async with streaming(server) as thread:
        await thread.run.start()
        started = {"event": "tool-started", "tool_call_id": "c", "tool_name": "t"}
        server.emit("tools", started)
        server.message("", pieces=["a"], finish=False)
        reading = asyncio.create_task(_all(thread.subscribe(["values"])))
        call = await anext(calls := aiter(thread.tool_calls))
        message = await anext(messages := aiter(thread.messages))

        async def wait():
            return await thread.output

        output = asyncio.create_task(wait())
        await asyncio.sleep(0)
    assert await reading == []
    for late in (call.output, message.text.get(), output):
        with pytest.raises(asyncio.CancelledError):
            await late
    await calls.aclose()
    await messages.aclose()
    assert await _until(lambda: server.connections == 0)


async def _until(ready):
    for _ in range(200):
        if ready():
            return True
        await asyncio.sleep(0.01)
    return False


def test_open_projections_end_when_a_sync_thread_is_closed(server):
    running(server)
    before = set(threading.enumerate())
    with get_sync_client(url=server.url) as client:
        thread = client.threads.stream(assistant_id="agent")
        with thread:
            thread.run.start()
            found = []
            reading = threading.Thread(target=lambda: found.append(list(thread.messages)))
            reading.start()
            server.message("", pieces=["a"], finish=False)
            thread._session.hub.changed.until(lambda: thread._session.hub.core.last_seq > 3, 5)
            began = time.monotonic()
        reading.join(5)
        assert time.monotonic() - began < 10
        with pytest.raises(RuntimeError, match="SyncThreadStream closed"):
            found[0][0].text.get()
    for each in set(threading.enumerate()) - before:
        each.join(5)
        assert not (each.name.startswith("loomline") and each.is_alive())


async def test_an_error_of_the_body_wins(server):
    running(server)
    async with get_client(url=server.url) as client:
        with pytest.raises(KeyError):
            async with client.threads.stream(assistant_id="agent") as thread:
                await thread.run.start()
                raise KeyError


async def test_a_run_of_which_nothing_is_heard_is_asked_about(server, monkeypatch):
    monkeypatch.setattr("loomline._client._async.stream_session.SILENCE_SECONDS", 0.05)
    running(server)
    server.runs = [{"run_id": RUN, "status": "running"}]
    async with streaming(server) as thread:
        await thread.run.start()
        reading = asyncio.create_task(_all(thread.subscribe(["values"])))
        asked = f"/threads/{thread.thread_id}/runs/{RUN}"
        assert await _until(lambda: asked in [path for _, path, _, _ in server.requests])
        server.runs[0]["status"] = "success"
        assert await reading == []
        assert await thread.output == {}


async def test_a_run_of_which_nothing_is_heard_has_failed(server, monkeypatch):
    monkeypatch.setattr("loomline._client._async.stream_session.SILENCE_SECONDS", 0.05)
    running(server)
    server.runs = [{"run_id": RUN, "status": "timeout"}]
    async with streaming(server) as thread:
        await thread.run.start()
        with pytest.raises(RuntimeError, match="Run errored: timeout"):
            await thread.output


async def test_the_library_for_web_sockets_is_missing(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "websockets" else found(name)
    )
    async with get_client(url="http://h") as client:
        with pytest.raises(RuntimeError, match=r"pip install 'loomline\[websocket\]'"):
            client.threads.stream(assistant_id="agent", transport="websocket")


async def test_web_sockets_need_an_address():
    async def app(scope, receive, send):
        raise AssertionError

    inside = httpx.AsyncClient(base_url="http://h", transport=httpx.ASGITransport(app))
    async with LangGraphClient(inside) as client:
        with pytest.raises(RuntimeError, match="transport='sse'"):
            client.threads.stream(assistant_id="agent", transport="websocket")


async def test_whole_messages_need_langchain(server, monkeypatch):
    def script(run_id):
        server.message("hello")
        server.lifecycle("completed", run_id)

    server.on_start(script, RUN)
    monkeypatch.setitem(sys.modules, "langchain_core.messages", None)
    async with streaming(server) as thread:
        await thread.run.start()
        (message,) = await _all(thread.messages)
        assert await message.text == "hello"
        with pytest.raises(RuntimeError, match="pip install langchain-core"):
            await message


def test_nothing_heavy_is_imported_for_a_stream():
    program = "import loomline; c = loomline.get_{}client(url='http://h'); c.threads.stream(assistant_id='a')"
    for colour in ("", "sync_"):
        heavy = {
            "websockets",
            "langchain_core",
            "pydantic",
            "langgraph",
            "loomline.server",
            "aiohttp",
        }
        assert not loaded(program.format(colour)) & heavy
