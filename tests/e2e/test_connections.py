"""Clients that connect and do not finish: no other client is shut out."""

import contextlib
import json
import socket
import time

import anyio
import httpx
import pytest
from tests.auth.conftest import write_config
from tests.serving import Process, serving_here
from tests.threads import Thread

pytestmark = pytest.mark.slow

HEAD = b"POST /threads HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n"


@contextlib.contextmanager
def connected(port, count, data=b""):
    """Open connections that send some bytes each and then nothing; yield them."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            each = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=150))
            with contextlib.suppress(ConnectionError):
                each.sendall(data)
            opened.append(each)
        yield opened


def rest_of(connection):
    """Return the bytes that a connection still receives, up to its end."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65_536):
            received += data
    return received


def metric(address, name):
    text = httpx.get(f"{address}/metrics", timeout=150).text
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(name))


def port_of(address):
    return int(address.rpartition(":")[2])


def test_300_silent_connections_of_256_descriptors_shut_no_client_out(tmp_path):
    with Process(tmp_path, files=(256, 256), head_timeout_seconds="3") as server:
        with httpx.Client(base_url=server.url, timeout=150) as kept:
            assert kept.get("/ok").status_code == 200
            with connected(server.port, 300) as silent:
                # An old connection and new ones, and the database can open its files.
                assert kept.post("/threads", json={}).status_code == 200
                for _ in range(20):
                    assert httpx.post(f"{server.url}/threads", json={}, timeout=150).is_success
                assert metric(server.url, "loomline_connections_evicted_total") >= 100
                assert [rest_of(each) for each in silent] == [b""] * 300
            # After the deadline everything is as before.
            with connected(server.port, 100):
                assert httpx.get(f"{server.url}/ok", timeout=150).is_success
            assert metric(server.url, "loomline_connections_timed_out_total") >= 100
        _, _, log = server.stop()
    assert "closed to make room for new ones" in log
    assert "no complete request arrived in time" in log
    assert len(log.splitlines()) < 20


def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one(tmp_path):
    with Process(tmp_path, files=(100, 1024)) as server:
        assert metric(server.url, "process_max_fds") == 1024


def test_connections_beyond_the_limit_with_requests_in_progress_are_refused_503(tmp_path):
    with serving_here(tmp_path, max_connections="10") as address:
        body = {"assistant_id": "joke", "input": {"topic": "t"}, "after_seconds": 600}
        with contextlib.ExitStack() as stack, httpx.Client(base_url=address, timeout=150) as kept:
            thread = kept.post("/threads", json={}).json()["thread_id"]
            assert kept.post(f"/threads/{thread}/runs", json=body).is_success
            for _ in range(9):
                stack.enter_context(kept.stream("GET", f"/threads/{thread}/stream"))
            stack.enter_context(kept.stream("GET", f"/threads/{thread}/stream"))
            with connected(port_of(address), 1) as (late,):
                assert rest_of(late).startswith(b"HTTP/1.1 503 ")
        with anyio.from_thread.start_blocking_portal() as portal:
            assert portal.call(again, address) >= 1


async def again(address):
    """Wait until the server accepts connections again; return how many it has refused."""
    async with httpx.AsyncClient() as http:
        with anyio.fail_after(20):
            while True:
                answer = await http.get(f"{address}/metrics")
                if answer.status_code == 200:
                    lines = answer.text.splitlines()
                    name = "loomline_connections_refused_total"
                    return next(float(x.split()[1]) for x in lines if x.startswith(name))
                await anyio.sleep(0.05)


@pytest.fixture(scope="module")
def hasty(tmp_path_factory):
    with serving_here(
        tmp_path_factory.mktemp("data"), head_timeout_seconds="0.5", body_timeout_seconds="0.5"
    ) as address:
        yield address


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"GET /ok HT", b"HTTP/1.1 408 "),
        (HEAD, b"HTTP/1.1 408 "),
        (HEAD + b"\r\n", b"HTTP/1.1 408 "),
        (HEAD + b"\r\n{", b"HTTP/1.1 408 "),
        (b"POST /threads HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\na: ",
         b"HTTP/1.1 408 "),
    ],
    ids=["silence", "line", "head", "body", "half-body", "trailers"],
)  # fmt: skip
def test_a_request_that_stops_is_answered_408_and_closed(hasty, sent, answer):
    with connected(port_of(hasty), 1, sent) as (connection,):
        received = rest_of(connection)
    assert received.startswith(answer)
    assert not received[len(answer) :].count(b"HTTP/1.1")
    if answer:
        assert json.loads(received.partition(b"\r\n\r\n")[2])["detail"].endswith("Send it again.")


def test_a_second_request_that_stops_is_answered_408_after_the_first(hasty):
    for rest in (b"GET /o", HEAD + b"\r\n{"):
        with connected(port_of(hasty), 1, b"GET /ok HTTP/1.1\r\n\r\n" + rest) as (connection,):
            received = rest_of(connection)
        first, _, second = received.partition(b"HTTP/1.1 408 ")
        assert first.startswith(b"HTTP/1.1 200 ")
        assert second


def test_a_second_request_that_has_begun_does_not_count_as_an_idle_connection(tmp_path):
    """An idle connection is closed after 5 seconds, without an answer."""
    with (
        serving_here(tmp_path, head_timeout_seconds="6") as address,
        connected(port_of(address), 1, b"GET /ok HTTP/1.1\r\n\r\nGET /o") as (connection,),
    ):
        assert b"HTTP/1.1 408 " in rest_of(connection)


def test_a_head_that_drips_does_not_extend_its_deadline(hasty):
    began = time.monotonic()
    with connected(port_of(hasty), 1, b"GET /ok HTTP/1.1\r\n") as (connection,):
        connection.settimeout(0.05)
        received = b""
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 30 and not received:
                connection.sendall(b"a: b\r\n")
                with contextlib.suppress(TimeoutError):
                    received = connection.recv(1000)
    assert received.startswith(b"HTTP/1.1 408 ")


def test_an_upload_that_goes_on_is_not_cut(hasty):
    content = json.dumps({"metadata": {"text": "x" * 30}}).encode()
    head = b"POST /threads HTTP/1.1\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
    with connected(port_of(hasty), 1, head % len(content)) as (connection,):
        connection.settimeout(0.1)
        began = time.monotonic()
        for byte in content[:-1]:
            connection.sendall(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                assert connection.recv(1000) == b"", "nothing is answered before the end"
        assert time.monotonic() - began > 2
        connection.settimeout(20)
        connection.sendall(content[-1:])
        assert rest_of(connection).startswith(b"HTTP/1.1 200 ")


async def test_streams_and_websockets_outlive_the_deadlines(hasty):
    thread = Thread(hasty)
    async with (
        thread.websocket() as opened,
        httpx.AsyncClient(base_url=hasty, timeout=150) as http,
    ):
        made = (await http.post("/threads", json={})).json()["thread_id"]
        async with http.stream("GET", f"/threads/{made}/stream") as following:
            # A connection that came later has met its deadline: so have these, if they have one.
            with connected(port_of(hasty), 1) as (connection,):
                assert await anyio.to_thread.run_sync(rest_of, connection) == b""
            with connected(port_of(hasty), 1, HEAD + b"\r\n{") as (connection,):
                assert await anyio.to_thread.run_sync(rest_of, connection)
            assert (await opened.ask("agent.getTree"))[0]["error"] == "no_such_run"
            body = {"assistant_id": "joke", "input": {"topic": "t"}}
            assert (await http.post(f"/threads/{made}/runs", json=body)).is_success
            async for line in following.aiter_lines():
                if line.startswith("event:"):
                    break


def test_a_connection_that_pauses_between_requests_is_served_on(hasty):
    with httpx.Client(base_url=hasty) as kept:
        assert kept.get("/ok").is_success
        first = kept._transport._pool.connections[0]
        with connected(port_of(hasty), 1) as (connection,):
            rest_of(connection)
        assert kept.get("/ok").is_success
        assert kept._transport._pool.connections[0] is first


SLOW_AUTH = """
import asyncio
from langgraph_sdk import Auth
auth = Auth()

@auth.authenticate
async def authenticate(headers):
    await asyncio.sleep(1.5)
    return "ada"
"""


def test_a_client_that_waits_to_be_asked_for_its_body_is_not_cut(tmp_path):
    (tmp_path / "slow_auth.py").write_text(SLOW_AUTH)
    config = write_config(tmp_path, {"path": "./slow_auth.py:auth"})
    with (
        serving_here(tmp_path / "data", config=config, body_timeout_seconds="0.3") as address,
        connected(port_of(address), 1, HEAD + b"expect: 100-continue\r\n\r\n") as (connection,),
    ):
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"{}".ljust(100))
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
