"""What one caller may take of a server."""

import contextlib
import json
import select
import socket
import zlib

import anyio
import httpx
import pytest
from tests.serving import Process, serving_here
from tests.threads import Thread, new_thread_id
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import Frame, Opcode

import loomline


def test_size_of_a_body(tmp_path):
    with (
        serving_here(tmp_path, body_limit_bytes="2048") as address,
        httpx.Client(base_url=address) as http,
    ):
        large = {"metadata": {"a": "x" * 3000}}
        answer = http.post("/threads", json=large)
        assert (answer.status_code, answer.json()["detail"]) == (
            413,
            "The request body is larger than the limit of 2048 bytes.",
        )
        # Told or found out.
        chunks = http.post("/threads", content=(b" " * 1000 for _ in range(5)))
        assert chunks.status_code == 413
        assert http.post("/threads", json={}).status_code == 200


def test_json_beyond_the_depth_limit_is_refused(tmp_path):
    def nested(levels):
        return b'{"metadata":' + b'{"a":' * (levels - 1) + b"1" + b"}" * levels

    with (
        serving_here(tmp_path, json_depth="20") as address,
        httpx.Client(base_url=address) as http,
    ):
        assert http.post("/threads", content=nested(20)).status_code == 200
        answer = http.post("/threads", content=nested(21))
        assert (answer.status_code, answer.json()["detail"]) == (400, "Recursion limit reached")
        wide = {"metadata": {str(number): {} for number in range(200)}}
        assert http.post("/threads", json=wide).status_code == 200


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """A process of its own: it has the server's own protocol."""
    folder = tmp_path_factory.mktemp("data")
    with Process(folder, header_limit_bytes=4096, log_level="error") as server:
        yield server


def test_headers_beyond_the_size_limit_are_refused(strict):
    small = httpx.get(f"{strict.url}/info", headers={"x-a": "a" * 2000})
    assert small.status_code == 200
    large = httpx.get(f"{strict.url}/info", headers={"x-a": "a" * 5000})
    assert (large.status_code, large.json()["detail"]) == (
        431,
        "The headers are larger than the limit of 4096 bytes.",
    )
    assert httpx.get(f"{strict.url}/info?a={'a' * 5000}").status_code == 431


@pytest.mark.parametrize(
    ("head", "more"),
    [
        (b"GET /info HTTP/1.1\r\n", b"x-a: " + b"a" * 1000 + b"\r\n"),
        (b"GET /info HTTP/1.1\r\nx-a: ", b"a" * 1000),
        (b"GET /info?", b"a" * 1000),
        (
            b"POST /threads HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n",
            b"x-a: " + b"a" * 1000 + b"\r\n",
        ),
    ],
    ids=["headers", "header", "line", "trailers"],
)
def test_headers_without_an_end(strict, head, more):
    sent = 0
    with socket.create_connection(("127.0.0.1", strict.port), timeout=150) as connection:
        connection.sendall(head)
        # The server hangs up long before this much has been sent; an answer that it has sent
        # before may get lost on the way.
        with contextlib.suppress(ConnectionError):
            while sent < 50_000_000:
                readable, _, _ = select.select([connection], [], [], 0)
                if readable:
                    assert connection.recv(4096).startswith(b"HTTP/1.1 431 ")
                    break
                sent += connection.send(more)
    assert sent < 50_000_000
    assert httpx.get(f"{strict.url}/info").status_code == 200


def test_requests_on_one_connection_are_counted_each_by_itself(strict):
    with httpx.Client(base_url=strict.url, headers={"x-a": "a" * 3000}) as http:
        statuses = [http.post("/threads", json={}).status_code for _ in range(20)]
    assert statuses == [200] * 20


async def test_requests_beyond_the_rate_are_refused_for_a_while(tmp_path):
    with serving_here(tmp_path, requests_per_second="0.01", request_burst="6") as address:
        async with httpx.AsyncClient(base_url=address) as http:
            document = (await http.get("/openapi.json")).json()
            assert "429" in document["paths"]["/threads"]["post"]["responses"]
            statuses = [(await http.post("/threads", json={})).status_code for _ in range(5)]
            assert statuses == [200] * 5
            refused = await http.post("/threads", json={}, headers={"origin": "http://localhost:1"})
            assert refused.status_code == 429
            seconds = int(refused.headers["retry-after"])
            assert 50 < seconds <= 100
            assert refused.headers["access-control-allow-origin"] == "http://localhost:1"
            assert refused.json()["detail"] == f"Too many requests. Try again in {seconds} s."
            # Who watches the server is not counted.
            assert [(await http.get("/ok")).status_code for _ in range(20)] == [200] * 20
        async with loomline.get_client(url=address, api_key=None) as client:
            with pytest.raises(
                loomline.errors.RateLimitError if hasattr(loomline, "errors") else Exception
            ):
                await client.threads.create()


async def test_streams_beyond_the_limit_per_user_are_refused(tmp_path):
    flags = {"streams_per_user": "2", "heartbeat_seconds": "0.1"}
    with serving_here(tmp_path, **flags) as address:
        async with httpx.AsyncClient(base_url=address) as http:
            thread = (await http.post("/threads", json={})).json()["thread_id"]
            path = f"/threads/{thread}/stream"
            async with http.stream("GET", path) as first, http.stream("GET", path) as second:
                assert (first.status_code, second.status_code) == (200, 200)
                refused = await http.get(path)
                assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
                body = {"assistant_id": "joke", "input": {"topic": "x"}}
                assert (await http.post("/runs/wait", json=body)).status_code == 429
                assert (await http.get(f"/threads/{thread}/runs")).json() == []
                assert (await http.post(f"/threads/{thread}/runs", json=body)).status_code == 200
            with anyio.fail_after(10):
                while (await http.post("/runs/wait", json=body)).status_code == 429:
                    await anyio.sleep(0.01)


async def test_streams_that_fail_are_not_counted(tmp_path):
    with serving_here(tmp_path, streams_per_user="1") as address:
        async with httpx.AsyncClient(base_url=address) as http:
            for _ in range(3):
                assert (await http.post("/runs/wait", content=b"{")).status_code == 422
                assert (await http.get("/threads/nope/stream")).status_code == 422


def test_pages_have_headers_that_protect_browsers(tmp_path):
    with serving_here(tmp_path) as address:
        page = httpx.get(f"{address}/docs")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy
        assert page.headers["x-frame-options"] == "DENY"
        for answer in (page, httpx.get(f"{address}/ok"), httpx.get(f"{address}/nowhere")):
            assert answer.headers["x-content-type-options"] == "nosniff"


@contextlib.asynccontextmanager
async def refused(thread, status):
    """Expect that a WebSocket is not opened; yield what the answer comes to."""
    found = {}
    with pytest.raises(InvalidStatus) as caught:
        async with thread.websocket():
            pass
    answer = caught.value.response
    assert answer.status_code == status
    found |= json.loads(answer.body)
    yield found, answer.headers


async def test_websockets_count_among_the_streams_of_a_user(tmp_path):
    with serving_here(tmp_path, streams_per_user="2", heartbeat_seconds="0.1") as address:
        thread = Thread(address)
        async with thread.websocket() as one, thread.sse():
            async with refused(thread, 429) as (answer, headers):
                assert answer["detail"].startswith("Too many streams: 2 may be open")
                assert headers["retry-after"] == "1"
            # Those that are open go on, and commands need no stream.
            started, _ = await one.ask("run.start", assistant_id="joke", input={"topic": "t"})
            assert started["type"] == "success"
        with anyio.fail_after(10):
            while True:
                try:
                    async with thread.websocket() as again:
                        assert (await again.ask("state.get"))[0]["type"] == "success"
                        break
                except InvalidStatus:
                    await anyio.sleep(0.01)


async def test_websockets_count_for_the_request_rate(tmp_path):
    with serving_here(tmp_path, requests_per_second="0.01", request_burst="2") as address:
        thread = Thread(address)
        for _ in range(2):
            async with thread.websocket():
                pass
        async with refused(thread, 429) as (answer, headers):
            assert answer["detail"].startswith("Too many requests. Try again in ")
            assert int(headers["retry-after"]) > 50


async def subscribed(socket):
    answer, _ = await socket.ask("subscription.subscribe", channels=["values"])
    return answer


async def test_commands_over_a_websocket_are_requests(tmp_path):
    with serving_here(tmp_path, requests_per_second="0.5", request_burst="4") as address:
        thread = Thread(address)
        async with thread.websocket() as socket:
            answers = [await subscribed(socket) for _ in range(4)]
            assert [each["type"] for each in answers] == ["success"] * 3 + ["error"]
            refused = answers[-1]
            assert (refused["error"], refused["id"]) == ("unknown_error", answers[-2]["id"] + 1)
            assert refused["message"].startswith("429: Too many requests. Try again in ")
            # So is what is no command.
            await socket.raw.send("{")
            assert (await socket.receive())["message"].startswith("429: Too many requests.")
            with anyio.fail_after(10):
                while (await subscribed(socket))["type"] == "error":
                    await anyio.sleep(0.05)
            async with httpx.AsyncClient(base_url=address) as http:
                statuses = [(await http.post("/threads", json={})).status_code for _ in range(4)]
            assert 429 in statuses


async def test_headers_of_a_websocket(tmp_path):
    with serving_here(tmp_path, header_limit_bytes="1024") as address:
        path = f"{address.replace('http', 'ws', 1)}/threads/{new_thread_id()}/stream/events"
        with pytest.raises(InvalidStatus) as caught:
            async with connect(path, additional_headers={"x-a": "a" * 1024}):
                pass
    assert caught.value.response.status_code == 431


async def test_levels_of_json_in_the_thread_protocol(tmp_path):
    def command(levels):
        log = "[" * (levels - 3) + "1" + "]" * (levels - 3)
        start = f'{{"assistant_id":"joke","input":{{"log":{log}}}}}'
        return f'{{"id":1,"method":"run.start","params":{start}}}'

    with serving_here(tmp_path, json_depth="20") as address:
        thread = Thread(address)
        deep = {"detail": "Recursion limit reached"}
        assert (await thread.post(command(20))).json()["type"] == "success"
        answer = await thread.post(command(21))
        assert (answer.status_code, answer.json()) == (400, deep)
        async with httpx.AsyncClient() as http:
            body = '{"channels":["values"],"namespaces":' + "[" * 20 + "1" + "]" * 20 + "}"
            answer = await http.post(f"{thread.path}/stream/events", content=body)
        assert (answer.status_code, answer.json()) == (400, deep)
        async with thread.websocket() as socket:
            await socket.raw.send(command(20))
            assert (await socket.receive())["type"] == "success"
            await socket.raw.send(command(21))
            answer = await socket.receive()
            assert (answer["error"], answer["message"]) == ("invalid_argument", deep["detail"])
            await socket.raw.send(command(20))
            assert (await socket.receive())["type"] == "success"


async def test_a_websocket_message_beyond_its_limit_closes_the_connection(tmp_path):
    with serving_here(tmp_path, websocket_limit_bytes="2000") as address:
        thread = Thread(address)
        async with thread.websocket() as socket:
            await socket.raw.send("x" * 2001)
            with pytest.raises(ConnectionClosedError) as caught:
                await socket.receive()
            assert caught.value.rcvd.code == 1009
        async with thread.websocket() as socket:
            assert (await socket.ask("agent.getTree"))[0]["error"] == "no_such_run"


async def test_a_websocket_message_of_many_empty_fragments_closes_the_connection(tmp_path):
    def fragments():
        yield "{"
        yield from [""] * 20_000

    with serving_here(tmp_path) as address:
        thread = Thread(address)
        async with thread.websocket() as socket:
            with pytest.raises(ConnectionClosedError) as caught:
                await socket.raw.send(fragments())
                await socket.receive()
            # The close frame may get lost, as the server does not read the rest.
            assert caught.value.rcvd is None or caught.value.rcvd.code == 1009
        async with thread.websocket() as socket:
            assert (await socket.ask("agent.getTree"))[0]["error"] == "no_such_run"


async def test_a_compressed_websocket_bomb_is_never_inflated(tmp_path):
    deflate = zlib.compressobj(wbits=-12)
    bomb = deflate.compress(b" " * 100_000_000) + deflate.flush(zlib.Z_SYNC_FLUSH)
    with serving_here(tmp_path) as address:
        thread = Thread(address)
        async with thread.websocket() as socket:  # its client offers compression
            assert socket.raw.protocol.extensions == []
            assert "sec-websocket-extensions" not in socket.raw.response.headers
            first, *rest = Frame(Opcode.TEXT, bomb[:-4]).serialize(mask=True, extensions=[])
            socket.raw.transport.write(bytes([first | 0x40, *rest]))  # marked as compressed
            with pytest.raises(ConnectionClosedError) as caught:
                await socket.receive()
            assert caught.value.rcvd.code == 1002


async def test_pings_of_a_client_that_reads_nothing_are_not_collected(tmp_path):
    ping = Frame(Opcode.PING, b"x" * 125).serialize(mask=True) * 1000
    with serving_here(tmp_path) as address:
        thread = Thread(address)
        async with thread.websocket() as socket:
            reader = socket.raw.transport
            reader.pause_reading()
            connection = reader.get_extra_info("socket").dup()
            sent = 0
            with connection:
                while sent < 100_000_000 and select.select([], [connection], [], 2)[1]:
                    sent += connection.send(ping)
            reader.abort()
    # The buffers of the system take some megabytes, on both ways.
    assert sent < 50_000_000
