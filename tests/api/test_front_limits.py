"""What one caller may take of a server."""

import contextlib
import select
import socket

import anyio
import httpx
import pytest
from tests.serving import Process, serving_here

import weft


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


def test_levels_of_json(tmp_path):
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


def test_size_of_headers(strict):
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
    with socket.create_connection(("127.0.0.1", strict.port), timeout=10) as connection:
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


async def test_rate(tmp_path):
    with serving_here(tmp_path, requests_per_second="0.01", request_burst="6") as address:
        async with httpx.AsyncClient(base_url=address) as http:
            document = (await http.get("/openapi.json")).json()
            assert "429" in document["paths"]["/threads"]["post"]["responses"]
            statuses = [(await http.post("/threads", json={})).status_code for _ in range(5)]
            assert statuses == [200] * 5
            refused = await http.post("/threads", json={}, headers={"origin": "https://a.example"})
            assert refused.status_code == 429
            seconds = int(refused.headers["retry-after"])
            assert 50 < seconds <= 100
            assert refused.headers["access-control-allow-origin"] == "*"
            assert refused.json()["detail"] == f"Too many requests. Try again in {seconds} s."
            # Who watches the server is not counted.
            assert [(await http.get("/ok")).status_code for _ in range(20)] == [200] * 20
        async with weft.get_client(url=address, api_key=None) as client:
            with pytest.raises(
                weft.errors.RateLimitError if hasattr(weft, "errors") else Exception
            ):
                await client.threads.create()


async def test_streams_at_once(tmp_path):
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


def test_headers_for_browsers(tmp_path):
    with serving_here(tmp_path) as address:
        page = httpx.get(f"{address}/docs")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy
        assert page.headers["x-frame-options"] == "DENY"
        for answer in (page, httpx.get(f"{address}/ok"), httpx.get(f"{address}/nowhere")):
            assert answer.headers["x-content-type-options"] == "nosniff"
