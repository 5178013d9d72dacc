"""The clients over real connections, on each library that can carry them."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys

import aiohttp
import httpx
import pytest

from loomline._client import transports
from loomline._client._async.client import make_client
from loomline._client._core.credentials import Credentials
from loomline._client.fast import AiohttpTransport
from loomline.client import HttpClient, get_sync_client
from loomline.errors import APIConnectionError, APITimeoutError, NotFoundError

TRANSPORTS = {
    "httpx": lambda: httpx.AsyncHTTPTransport(limits=transports.LIMITS),
    "aiohttp": lambda: AiohttpTransport(limits=transports.LIMITS, retries=0),
}
ID = "../a?b#c%2F"


class Server:
    """A server that answers each connection as the next handler says, byte by byte."""

    def __init__(self, *handlers):
        self.handlers = list(handlers)
        self.requests = []
        self.gone = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while self.handlers:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:])}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.requests.append((head[0], headers, body))
                await self.handlers.pop(0)(self, reader, writer)
        writer.close()


def sending(*pieces):
    async def handle(server, reader, writer):
        writer.write(b"".join(pieces))
        await writer.drain()

    return handle


def cut_off_after(*pieces):
    async def handle(server, reader, writer):
        writer.write(b"".join(pieces))
        await writer.drain()
        writer.transport.close()
        await writer.wait_closed()

    return handle


def answer(body, *, status="200 OK", extra=b""):
    text = json.dumps(body).encode()
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n%b\r\n%b" % (
        status.encode(),
        len(text),
        extra,
        text,
    )


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
    b"location: /threads/t/runs/r/stream\r\n\r\n"
)


@pytest.fixture(params=TRANSPORTS)
def transport(request):
    return TRANSPORTS[request.param]()


async def test_requests_have_the_expected_bytes_on_every_transport(transport):
    server = Server(sending(answer({"a": 1})), sending(answer([])), sending(answer({})))
    async with server.running() as url, make_client(url=url, transport=transport) as client:
        assert await client.threads.get(ID) == {"a": 1}
        assert await client.threads.search(params={"x": "y z"}, headers={"X-Own": "1"}) == []
        await client.threads.copy("..")
    (first, _, empty), (second, headers, body), (third, bare, _) = server.requests
    assert first == "GET /threads/..%2Fa%3Fb%23c%252F HTTP/1.1"
    assert empty == b""
    assert second == "POST /threads/search?x=y+z HTTP/1.1" or second.startswith(
        "POST /threads/search?x=y%20z "
    )
    assert json.loads(body) == {"limit": 10, "offset": 0}
    assert headers["content-type"] == "application/json"
    assert headers["x-own"] == "1"
    assert headers["user-agent"].startswith("loomline-py/")
    assert third == "POST /threads/%2E%2E/copy HTTP/1.1"
    assert "content-type" not in bare
    assert bare["content-length"] == "0"


async def test_connections_are_used_again(transport):
    peers = set()

    async def handle(server, reader, writer):
        peers.add(writer.get_extra_info("peername"))
        await sending(answer({}))(server, reader, writer)

    server = Server(*[handle] * 5)
    async with server.running() as url, make_client(url=url, transport=transport) as client:
        for _ in range(5):
            await client.threads.get("t")
    assert len(peers) == 1


async def test_an_error_of_the_server(transport):
    refusal = answer({"detail": "gone"}, status="404 Not Found", extra=b"x-request-id: 7\r\n")
    async with (
        Server(sending(refusal)).running() as url,
        make_client(url=url, transport=transport) as client,
    ):
        with pytest.raises(NotFoundError, match="gone") as caught:
            await client.threads.get("t")
    assert caught.value.request_id == "7"


async def test_refused_connection_raises_a_connection_error(transport):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with make_client(url=url, transport=transport) as client:
            with pytest.raises(APIConnectionError) as caught:
                await client.threads.get("t")
    assert isinstance(caught.value, httpx.ConnectError)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{",
        b"nonsense\r\n\r\n",
    ],
    ids=["nothing", "half a head", "half a body", "nonsense"],
)
async def test_truncated_answer_raises_a_connection_error(transport, broken):
    async with (
        Server(cut_off_after(broken)).running() as url,
        make_client(url=url, transport=transport) as client,
    ):
        with pytest.raises(APIConnectionError) as caught:
            await client.threads.get("t")
    assert isinstance(caught.value, httpx.ReadError | httpx.RemoteProtocolError)


async def test_silent_server_raises_a_timeout(transport):
    async def silent(server, reader, writer):
        await reader.read()
        server.gone.set()

    server = Server(silent)
    async with server.running() as url, make_client(url=url, transport=transport) as client:
        with pytest.raises(APITimeoutError) as caught:
            await client.threads.get("t", timeout=0.05)
        await asyncio.wait_for(server.gone.wait(), 10)
    assert isinstance(caught.value, httpx.ReadTimeout)


async def test_events_come_when_they_are_sent(transport):
    seen = asyncio.Event()

    async def handle(server, reader, writer):
        writer.write(STREAM + chunk(b"event: a\ndata: 1\n\n"))
        await writer.drain()
        await asyncio.wait_for(seen.wait(), 10)
        writer.write(chunk(b"event: b\ndata: 2\n\nevent: end\n\n") + b"0\r\n\r\n")
        await writer.drain()

    async with Server(handle).running() as url, make_client(url=url, transport=transport) as client:
        async for part in client.runs.stream("t", "a"):
            if part.event == "a":
                seen.set()
    assert part.event == "b"


async def test_leaving_a_stream_closes_its_connection(transport):
    async def handle(server, reader, writer):
        writer.write(STREAM + chunk(b"event: a\ndata: 1\n\n"))
        await writer.drain()
        await reader.read()
        server.gone.set()

    server = Server(handle)
    async with server.running() as url, make_client(url=url, transport=transport) as client:
        parts = client.runs.stream("t", "a")
        assert (await anext(parts)).event == "a"
        await parts.aclose()
        await asyncio.wait_for(server.gone.wait(), 10)


async def test_a_cancelled_request_closes_its_connection(transport):
    asked = asyncio.Event()

    async def handle(server, reader, writer):
        asked.set()
        await reader.read()
        server.gone.set()

    server = Server(handle)
    async with server.running() as url, make_client(url=url, transport=transport) as client:
        task = asyncio.create_task(client.threads.get("t"))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.gone.wait(), 10)


def event(number):
    return b"event: values\ndata: %d\nid: %d\n\n" % (number, number)


def dropping():
    """A stream of ten events whose connection breaks at all kinds of places."""
    return Server(
        cut_off_after(STREAM, chunk(event(0) + event(1)[:9])),
        cut_off_after(STREAM, chunk(event(1)), chunk(event(2))[:-7]),
        cut_off_after(b""),
        cut_off_after(b"HTTP/1.1 200 OK\r\ncontent-type: text/ev"),
        sending(answer({"detail": "busy"}, status="503 Service Unavailable")),
        cut_off_after(STREAM, chunk(b"".join(event(n) for n in range(2, 9)))),
        sending(STREAM, chunk(event(9)), chunk(b": end\n\n"), b"0\r\n\r\n"),
    )


CURSORS = [None, "0", "1", "1", "1", "1", "8"]


async def no_wait(seconds):
    pass


async def test_a_stream_goes_on_over_dropped_connections(transport):
    server = dropping()
    async with server.running() as url:
        client = httpx.AsyncClient(base_url=url, transport=transport)
        http = HttpClient(client, sleep=no_wait, credentials=Credentials(api_key=lambda: "k"))
        numbers = [part.data async for part in http.stream("/start", "POST", json={})]
        await client.aclose()
    assert numbers == list(range(10))
    assert [headers.get("last-event-id") for _, headers, _ in server.requests] == CURSORS
    assert {headers["x-api-key"] for _, headers, _ in server.requests} == {"k"}
    assert {line for line, *_ in server.requests[1:]} == {"GET /threads/t/runs/r/stream HTTP/1.1"}


async def test_a_synchronous_stream_goes_on_over_dropped_connections():
    server = dropping()
    async with server.running() as url:

        def collect():
            with get_sync_client(url=url, api_key=None) as client:
                client.http._sleep = lambda seconds: None
                return [part.data for part in client.http.stream("/start", "POST", json={})]

        assert await asyncio.to_thread(collect) == list(range(10))
    assert [headers.get("last-event-id") for _, headers, _ in server.requests] == CURSORS


async def test_waiting_goes_on_over_a_dropped_connection(transport):
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nlocation: /threads/t/runs/r/join\r\n\r\n  "
    server = Server(cut_off_after(head), cut_off_after(b""), sending(answer({"v": 1})))
    async with server.running() as url:
        client = httpx.AsyncClient(base_url=url, transport=transport)
        http = HttpClient(client, sleep=no_wait)
        with pytest.warns(UserWarning, match="attempting reconnect"):
            assert await http.request_reconnect("/wait", "POST", json={}) == {"v": 1}
        await client.aclose()
    assert len(server.requests) == 3


async def test_a_server_that_comes_up_late_is_reached():
    attempts = []

    class Late(AiohttpTransport):
        async def _send(self, request, body):
            attempts.append(request.url.path)
            if len(attempts) < 3:
                raise aiohttp.ClientConnectorError(None, OSError(111, "refused"))
            return await super()._send(request, body)

    async with Server(sending(answer({}))).running() as url:
        transport = Late(limits=transports.LIMITS, retries=2)
        async with make_client(url=url, transport=transport) as client:
            await client.threads.get("t")
    assert len(attempts) == 3


def test_the_fast_library_is_loaded_at_the_first_request_only():
    program = (
        "import sys, asyncio, loomline\n"
        "client = loomline.get_client(url='http://127.0.0.1:1')\n"
        "assert 'aiohttp' not in sys.modules\n"
        "print(asyncio.run(client.ok()), 'aiohttp' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False True\n"


def test_without_the_fast_library_it_is_httpx(monkeypatch):
    monkeypatch.setattr(transports.importlib.util, "find_spec", lambda name: None)
    assert isinstance(transports._fastest(), httpx.AsyncHTTPTransport)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {}),
        ({"no": "a.b"}, {}),
        ({"http": "http://p:1"}, {"http://": "http://p:1"}),
        ({"https": "p:1", "all": "http://q"}, {"https://": "http://p:1", "all://": "http://q"}),
        ({"http": "http://p", "no": "*"}, {}),
        (
            {"http": "http://p", "no": "localhost, .a.b,127.0.0.1,::1,"},
            {
                "http://": "http://p",
                "all://localhost": None,
                "all://a.b": None,
                "all://*.a.b": None,
                "all://127.0.0.1": None,
                "all://[::1]": None,
            },
        ),
    ],
)
def test_proxies_of_the_environment(environment, expected):
    assert transports.proxies(environment) == expected


@pytest.mark.parametrize("colour", ["async", "sync"])
async def test_a_proxy_is_used(monkeypatch, colour):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server(sending(answer({"via": "proxy"})))
    async with server.running() as url:
        monkeypatch.setenv("http_proxy", url)
        if colour == "async":
            async with make_client(url="http://far.example/base") as client:
                found = await client.threads.get("t")
        else:
            with get_sync_client(url="http://far.example/base") as client:
                found = await asyncio.to_thread(client.threads.get, "t")
    assert found == {"via": "proxy"}
    assert server.requests[0][0] == "GET http://far.example/base/threads/t HTTP/1.1"
