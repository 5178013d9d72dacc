"""Clients without an address, inside and outside of a server."""

import asyncio
import os

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

import loomline
from loomline import client as loomline_client
from loomline._client.loopback import LoopbackTransport, Server
from loomline.client import LangGraphClient


def over(app, fallback=None):
    transport = LoopbackTransport(Server(app), fallback or httpx.AsyncHTTPTransport)
    return LangGraphClient(httpx.AsyncClient(base_url="http://localhost:8123", transport=transport))


async def test_requests_reach_the_application():
    async def show(request):
        return JSONResponse(
            {
                "path": request.url.path,
                "root": request.scope["root_path"],
                "body": await request.json(),
                "q": request.url.query,
            }
        )

    app = Starlette(
        routes=[Route("/noauth/x", show, methods=["POST"]), Route("/x", show, methods=["POST"])]
    )
    seen = await over(app).http.post("/x", json={"a": 1}, params={"b": 2})
    assert (seen["root"], seen["body"], seen["q"]) == ("/noauth", {"a": 1}, "b=2")


async def test_a_stream_arrives_while_it_is_made():
    go = asyncio.Event()

    async def events():
        yield "event: a\ndata: 1\n\n"
        await go.wait()
        yield "event: b\ndata: 2\n\nevent: end\n\n"

    async def answer(_):
        return StreamingResponse(events(), media_type="text/event-stream")

    parts = over(Starlette(routes=[Route("/x", answer)])).http.stream("/x", "GET")
    assert (await anext(parts)).data == 1
    go.set()
    assert [part.event async for part in parts] == ["b"]


async def test_the_application_learns_that_the_reader_has_left():
    left = asyncio.Event()

    async def app(_scope, receive, send):
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/event-stream")],
            }
        )
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await receive()
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()

    parts = over(app).http.stream("/x", "GET")
    assert (await anext(parts)).data == 1
    await parts.aclose()
    await asyncio.wait_for(left.wait(), 5)


async def test_an_application_that_fails():
    async def app(_scope, _receive, _send):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await over(app).http.get("/x")

    async def silent(_scope, _receive, _send):
        return

    with pytest.raises(httpx.RemoteProtocolError, match="no answer"):
        await over(silent).http.get("/x")


async def test_without_a_server_the_local_address_is_used():
    asked = []

    def handler(request):
        asked.append(str(request.url))
        return httpx.Response(200, json={})

    client = over(None, lambda: httpx.MockTransport(handler))
    await client.http.get("/x")
    await client.aclose()
    assert asked == ["http://localhost:8123/x"]


async def test_a_client_finds_a_server_that_comes_later():
    async def answer(_):
        return JSONResponse({"inside": True})

    client = loomline.get_client()
    loomline_client.configure_loopback_transports(Starlette(routes=[Route("/x", answer)]))
    try:
        assert await client.http.get("/x") == {"inside": True}
    finally:
        loomline_client.configure_loopback_transports(None)
    await client.aclose()


@pytest.fixture
def no_keys(monkeypatch):
    for name in list(os.environ):
        if name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(
    ("given", "environment", "key"),
    [
        ({}, {}, None),
        ({}, {"LANGCHAIN_API_KEY": "c", "LANGSMITH_API_KEY": " 's' "}, "s"),
        ({}, {"LANGGRAPH_API_KEY": "", "LANGCHAIN_API_KEY": '"c"'}, "c"),
        ({"api_key": None}, {"LANGGRAPH_API_KEY": "g"}, None),
        ({"api_key": ""}, {"LANGGRAPH_API_KEY": "g"}, None),
        ({"api_key": "mine"}, {"LANGGRAPH_API_KEY": "g"}, "mine"),
    ],
)
def test_api_key_comes_from_arguments_or_the_environment(no_keys, given, environment, key):
    for name, text in environment.items():
        no_keys.setenv(name, text)
    with loomline.get_sync_client(url="http://h/base", **given) as client:
        assert client.http.client.headers.get("x-api-key") == key
        assert str(client.http.client.base_url) == "http://h/base/"


@pytest.mark.parametrize("name", ["x-api-key", "X-Api-Key"])
def test_the_header_of_the_key_is_reserved(name):
    with pytest.raises(ValueError, match="reserved header"):
        loomline.get_sync_client(headers={name: "x"})


@pytest.mark.parametrize(
    ("given", "read", "connect"),
    [(None, 300, 5), (7, 7, 7), ((1, 2), 2, 1), ((1, 2, 3, 4), 2, 1), (httpx.Timeout(9), 9, 9)],
)
def test_client_uses_the_given_timeouts(given, read, connect):
    with loomline.get_sync_client(timeout=given, headers={"a": "b"}) as client:
        timeout = client.http.client.timeout
        assert (timeout.read, timeout.connect) == (read, connect)
        assert client.http.client.headers["a"] == "b"
        assert client.http.client.headers["user-agent"].startswith("loomline-py/")


def test_importing_loomline_loads_no_http_library():
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    code = (
        "import sys, loomline; print(sorted({'httpx', 'orjson', 'langgraph'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        loomline.nope  # noqa: B018
