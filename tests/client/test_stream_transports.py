"""The transports of a thread by themselves, in both colours."""

import asyncio
import contextlib
import threading

import httpx
import orjson
import pytest
import websockets
from tests.client.thread_server import thread_server

from loomline.stream.transport import (
    ProtocolSseTransport,
    ProtocolWebSocketTransport,
    SyncProtocolSseTransport,
    SyncProtocolWebSocketTransport,
    build_event_stream_body,
    build_websocket_url,
)
from loomline.stream.transport.base import websocket_headers

ASYNC = [ProtocolSseTransport, ProtocolWebSocketTransport]
SYNC = [SyncProtocolSseTransport, SyncProtocolWebSocketTransport]
VALUES = {"channels": ["values"]}
SECONDS = 150


@pytest.fixture
def server():
    with thread_server() as running:
        yield running


@contextlib.asynccontextmanager
async def opened(server, kind=ProtocolSseTransport, **options):
    async with httpx.AsyncClient(base_url=server.url) as client:
        transport = kind(client=client, thread_id="a/b", **options)
        try:
            yield transport
        finally:
            await transport.close()


@contextlib.contextmanager
def opened_sync(server, kind=SyncProtocolSseTransport, **options):
    with httpx.Client(base_url=server.url) as client:
        transport = kind(client=client, thread_id="a/b", **options)
        try:
            yield transport
        finally:
            transport.close()


async def within(awaitable):
    async with asyncio.timeout(SECONDS):
        return await awaitable


async def rest(handle):
    return [event async for event in handle.events]


def numbers(server, *values):
    for value in values:
        server.emit("values", value)


# ----------------------------------------------------------------------------------- small parts


@pytest.mark.parametrize(
    ("params", "body"),
    [
        ({"channels": ["a"], "other": 1}, {"channels": ["a"]}),
        (
            {"channels": ["a"], "namespaces": [], "depth": 0, "since": 0},
            {"channels": ["a"], "namespaces": [], "depth": 0, "since": 0},
        ),
        ({"channels": [], "namespaces": None, "depth": None, "since": "5"}, {"channels": []}),
        ({"channels": [], "since": 5.0}, {"channels": []}),
    ],
)
def test_body_of_a_stream_request_has_only_protocol_fields(params, body):
    assert build_event_stream_body(params) == body


def test_the_body_of_a_request_without_channels_is_refused():
    with pytest.raises(KeyError):
        build_event_stream_body({})


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("http://h:1", "/t/x", "ws://h:1/t/x"),
        ("https://u:p@h/api/", "t/a%2Fb", "wss://u:p@h/api/t/a%2Fb"),
        ("https://h/a%20b?k=1", "/t", "wss://h/a%20b/t"),
    ],
)
def test_the_address_of_a_web_socket_is_below_that_of_the_server(base, path, url):
    assert build_websocket_url(httpx.URL(base), path) == url


def test_the_headers_of_a_web_socket_are_pairs():
    assert websocket_headers(None) == []
    assert websocket_headers({"a": "1"}) == [("a", "1")]


@pytest.mark.parametrize("kind", [*ASYNC, *SYNC])
def test_a_transport_without_a_thread_is_refused(kind):
    with pytest.raises(TypeError, match="thread_id"):
        kind(client=httpx.Client(), thread_id=None)


# -------------------------------------------------------------------------------------- commands


@pytest.mark.parametrize("kind", ASYNC)
async def test_a_command_is_sent_as_it_is(server, kind):
    server.commands["m"] = lambda params: {"error": "no", "message": "n"}
    async with opened(server, kind, headers={"x-k": "1", "Content-Type": "x"}) as transport:
        answer = await transport.send_command({"id": 7, "method": "m", "params": {"a": 1}})
        assert answer == {"type": "error", "id": 7, "error": "no", "message": "n"}
        assert transport.thread_id == "a/b"
    method, path, headers, body = server.requests[0]
    assert (method, path) == ("POST", "/threads/a%2Fb/commands")
    assert (headers["x-k"], headers["content-type"]) == ("1", "application/json")
    assert body == {"id": 7, "method": "m", "params": {"a": 1}}


@pytest.mark.parametrize("kind", SYNC)
def test_a_command_is_sent_as_it_is_without_an_event_loop(server, kind):
    with opened_sync(server, kind) as transport:
        assert transport.send_command({"id": 7, "method": "m", "params": {}})["id"] == 7
        server.commands["m"] = lambda params: (204, None)
        assert transport.send_command({"id": 7, "method": "m", "params": {}}) is None


@pytest.mark.parametrize("answer", [(200, None), (200, []), (200, {"a": 1})])
async def test_an_answer_that_is_no_answer_is_refused(server, answer):
    server.commands["m"] = lambda params: answer
    command = {"id": 1, "method": "m", "params": {}}
    async with opened(server) as transport:
        with pytest.raises(RuntimeError, match="valid response"):
            await transport.send_command(command)
        server.commands["m"] = lambda params: (404, {"detail": "gone"})
        with pytest.raises(httpx.HTTPStatusError, match="gone"):
            await transport.send_command(command)
        server.commands["m"] = lambda params: (202, {"a": 1})
        assert await transport.send_command(command) is None
        with pytest.raises(TypeError):
            await transport.send_command({**command, "params": object()})


@pytest.mark.parametrize("kind", ASYNC)
async def test_a_closed_transport_refuses_work_and_leaves_its_client_open(server, kind):
    async with httpx.AsyncClient(base_url=server.url) as client:
        transport = kind(client=client, thread_id="t")
        await transport.close()
        await transport.close()
        with pytest.raises(RuntimeError, match="transport is closed"):
            await transport.send_command({"id": 1, "method": "m", "params": {}})
        with pytest.raises(RuntimeError, match="transport is closed"):
            transport.open_event_stream(VALUES)
        assert (await client.get("/threads/t/state")).status_code == 200


# ----------------------------------------------------------------------------------- async streams


async def test_a_stream_over_http_brings_the_events_of_its_filter(server):
    numbers(server, 1, 2)
    async with opened(server, headers={"accept": "x"}) as transport:
        handle = transport.open_event_stream({**VALUES, "since": 1, "other": 2})
        await within(handle.ready)
        assert (await within(anext(handle.events)))["seq"] == 2
        numbers(server, 3)
        assert (await within(anext(handle.events)))["seq"] == 3
        await handle.close()
        await handle.close()
        assert await rest(handle) == []
        assert isinstance(await within(handle.done), asyncio.CancelledError)
    _, _, headers, body = server.requests[0]
    assert body == {**VALUES, "since": 1}
    assert (headers["accept"], headers["cache-control"]) == ("text/event-stream", "no-store")


async def test_a_stream_over_a_web_socket_brings_every_object(server):
    numbers(server, 1)
    async with opened(server, ProtocolWebSocketTransport) as transport:
        handle = transport.open_event_stream(VALUES)
        await within(handle.ready)
        answer, event = [await within(anext(handle.events)) for _ in range(2)]
        assert (answer["type"], answer["id"], event["seq"]) == ("success", 1, 1)
        await handle.close()
        assert await rest(handle) == []
        assert await within(handle.done) is None
    assert server.frames == [{"id": 1, "method": "subscription.subscribe", "params": VALUES}]


@pytest.mark.parametrize("kind", ASYNC)
async def test_a_stream_that_the_server_ends_is_done_without_an_error(server, kind):
    numbers(server, 1, 2)
    server.clean = True
    async with opened(server, kind) as transport:
        handle = transport.open_event_stream(VALUES)
        assert [e["seq"] for e in await within(rest(handle)) if "seq" in e] == [1, 2]
        assert await within(handle.done) is None
        assert await rest(handle) == []


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (ProtocolSseTransport, httpx.RemoteProtocolError),
        (ProtocolWebSocketTransport, websockets.ConnectionClosedError),
    ],
)
async def test_a_stream_that_is_cut_is_done_with_the_error(server, kind, error):
    numbers(server, 1, 2)
    server.cut_after = [1]
    async with opened(server, kind) as transport:
        handle = transport.open_event_stream(VALUES)
        assert [e["seq"] for e in await within(rest(handle)) if "seq" in e] == [1]
        assert isinstance(await within(handle.done), error)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (ProtocolSseTransport, httpx.HTTPStatusError),
        (ProtocolWebSocketTransport, websockets.InvalidStatus),
    ],
)
async def test_a_stream_that_is_refused_is_never_ready(server, kind, error):
    server.refuse = [403]
    async with opened(server, kind) as transport:
        handle = transport.open_event_stream(VALUES)
        with pytest.raises(error):
            await within(handle.ready)
        assert await within(handle.done) is handle.ready.exception()
        assert await rest(handle) == []
        wrong = transport.open_event_stream({})
        with pytest.raises(KeyError):
            await within(wrong.ready)


@pytest.mark.parametrize("kind", ASYNC)
async def test_a_stream_that_is_closed_before_it_is_there_is_done(server, kind):
    async with opened(server, kind) as transport:
        handle = transport.open_event_stream(VALUES)
        await within(handle.close())
        assert handle.ready.cancelled()
        assert handle.done.done()


@pytest.mark.parametrize("kind", ASYNC)
async def test_a_slow_reader_loses_nothing_and_a_full_queue_can_be_closed(server, kind):
    numbers(server, *range(50))
    async with opened(server, kind, max_queue_size=2) as transport:
        handle, other = [transport.open_event_stream(VALUES) for _ in range(2)]
        found = []
        async for event in handle.events:
            found.append(event.get("seq"))
            await asyncio.sleep(0)
            if found[-1] == 50:
                break
        assert [number for number in found if number is not None] == list(range(1, 51))
        await within(other.ready)
        await within(other.close())


async def test_closing_a_transport_ends_its_streams_after_waiting_events(server):
    numbers(server, 1, 2)
    async with opened(server, ProtocolSseTransport) as transport:
        handle = transport.open_event_stream(VALUES)
        assert (await within(anext(handle.events)))["seq"] == 1
        await within(transport.close())
        assert isinstance(handle.done.result(), asyncio.CancelledError)
        assert len(await rest(handle)) <= 1


def test_an_async_stream_needs_an_event_loop():
    transport = ProtocolSseTransport(client=httpx.AsyncClient(), thread_id="t")
    with pytest.raises(RuntimeError, match="event loop"):
        transport.open_event_stream(VALUES)


def of_text(text, kind="text/event-stream"):
    """Return a client whose server answers every request with a string."""
    headers = {"content-type": kind}
    return httpx.MockTransport(lambda request: httpx.Response(200, text=text, headers=headers))


MIXED = ': hello\n\ndata: {"a": 1}\n\ndata: [2]\n\nevent: x\n\ndata: {"b": 3}'


async def test_only_objects_are_events_and_the_type_of_the_content_does_not_matter():
    client = httpx.AsyncClient(base_url="http://h", transport=of_text(MIXED, "text/plain"))
    handle = ProtocolSseTransport(client=client, thread_id="t").open_event_stream(VALUES)
    assert await within(rest(handle)) == [{"a": 1}, {"b": 3}]
    assert await within(handle.done) is None


async def test_data_that_is_not_json_ends_a_stream():
    text = 'data: {"a": 1}\n\ndata: nonsense\n\ndata: {"b": 2}\n\n'
    client = httpx.AsyncClient(base_url="http://h", transport=of_text(text))
    handle = ProtocolSseTransport(client=client, thread_id="t").open_event_stream(VALUES)
    assert await within(rest(handle)) == [{"a": 1}]
    assert isinstance(await within(handle.done), orjson.JSONDecodeError)


class Socket:
    """A WebSocket that brings some frames, in both colours."""

    def __init__(self, *frames):
        self.frames = list(frames)
        self.sent = []
        self.asked = None

    def __call__(self, url, *, additional_headers, ping_interval, ping_timeout):
        self.asked = (url, additional_headers, ping_interval, ping_timeout)
        return self

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    async def __aiter__(self):
        for frame in self.frames:
            yield frame

    def __iter__(self):
        return iter(self.frames)


class AsyncSocket(Socket):
    async def send(self, frame):
        self.sent.append(orjson.loads(frame))

    async def close(self, code, reason):
        self.closed = (code, reason)


class SyncSocket(Socket):
    def send(self, frame):
        self.sent.append(orjson.loads(frame))

    def close(self, code, reason):
        self.closed = (code, reason)


async def test_a_web_socket_is_opened_by_the_function_that_was_given():
    socket = AsyncSocket('{"a": 1}', "nonsense", "[2]", b'{"b": 3}')
    client = httpx.AsyncClient(base_url="https://h/api?x=1", headers={"x-api-key": "k"})
    transport = ProtocolWebSocketTransport(
        client=client, thread_id="t", connect=socket, ping_interval=None, headers={"x-k": "1"}
    )
    handle = transport.open_event_stream({**VALUES, "since": 4})
    assert await within(rest(handle)) == [{"a": 1}, {"b": 3}]
    assert isinstance(handle.done.result(), RuntimeError)
    url, headers, *timing = socket.asked
    assert url == "wss://h/api/threads/t/stream/events"
    assert {("x-k", "1"), ("x-api-key", "k")} <= set(headers)
    assert timing == [None, 20.0]
    (command,) = socket.sent
    assert command["method"] == "subscription.reconnect"
    assert command["params"] == {**VALUES, "since": 4}
    assert socket.closed == (1000, "client close")


# ------------------------------------------------------------------------------------ sync streams


@pytest.mark.parametrize("kind", SYNC)
def test_a_sync_stream_that_the_server_ends_has_no_error(server, kind):
    numbers(server, 1, 2)
    server.clean = True
    with opened_sync(server, kind) as transport:
        handle = transport.open_event_stream(VALUES)
        assert [event["seq"] for event in handle.events if "seq" in event] == [1, 2]
        assert handle.error() is None


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (SyncProtocolSseTransport, httpx.RemoteProtocolError),
        (SyncProtocolWebSocketTransport, websockets.ConnectionClosedError),
    ],
)
def test_a_sync_stream_that_is_cut_raises_its_error(server, kind, error):
    numbers(server, 1, 2)
    server.cut_after = [1]
    with opened_sync(server, kind) as transport:
        handle = transport.open_event_stream(VALUES)
        with pytest.raises(error) as caught:
            list(handle.events)
        assert handle.error() is caught.value


def test_a_sync_stream_is_refused_when_it_is_opened(server):
    server.refuse = [403, 403]
    with opened_sync(server) as transport:
        with pytest.raises(httpx.HTTPStatusError):
            transport.open_event_stream(VALUES)
        with pytest.raises(KeyError):
            transport.open_event_stream({})
    with opened_sync(server, SyncProtocolWebSocketTransport) as transport:
        with pytest.raises(websockets.InvalidStatus):
            transport.open_event_stream(VALUES)
        with pytest.raises(KeyError):
            next(transport.open_event_stream({}).events)


def test_a_sync_stream_of_another_type_is_refused():
    client = httpx.Client(base_url="http://h", transport=of_text("hello", "text/plain"))
    with pytest.raises(httpx.TransportError, match="text/plain"):
        SyncProtocolSseTransport(client=client, thread_id="t").open_event_stream(VALUES)


def test_frames_of_a_sync_web_socket_that_are_not_json_raise():
    client = httpx.Client(base_url="http://h")
    socket = SyncSocket("[2]", '{"a": 1}', "nonsense")
    transport = SyncProtocolWebSocketTransport(client=client, thread_id="t", connect=socket)
    handle = transport.open_event_stream(VALUES)
    assert socket.sent == []
    assert next(handle.events) == {"a": 1}
    with pytest.raises(orjson.JSONDecodeError) as caught:
        next(handle.events)
    assert handle.error() is caught.value


@pytest.mark.parametrize("kind", SYNC)
@pytest.mark.parametrize("closer", ["handle", "transport"])
def test_closing_wakes_the_thread_that_reads(server, kind, closer):
    numbers(server, 1)
    with opened_sync(server, kind) as transport:
        handle = transport.open_event_stream(VALUES)
        found, begun = [], threading.Event()

        def read():
            for event in handle.events:
                found.append(event)
                if "seq" in event:
                    begun.set()

        reader = threading.Thread(target=read)
        reader.start()
        assert begun.wait(SECONDS)
        (handle if closer == "handle" else transport).close()
        reader.join(SECONDS)
        assert not reader.is_alive()
        assert handle.error() is None
        assert [event["seq"] for event in found if "seq" in event] == [1]


@pytest.mark.parametrize("kind", SYNC)
@pytest.mark.parametrize("begun", [False, True])
def test_a_sync_stream_that_was_closed_ends(server, kind, begun):
    numbers(server, 1, 2)
    with opened_sync(server, kind) as transport:
        handle = transport.open_event_stream(VALUES)
        if begun:
            next(handle.events)
        handle.close()
        handle.close()
        assert list(handle.events) == []
        assert handle.error() is None
