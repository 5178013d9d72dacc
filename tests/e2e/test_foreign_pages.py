"""Web pages against a server without authentication, served by the process that users start."""

import json
import socket

import httpx
import pytest
from tests.serving import PROJECT, Process, serving_here
from tests.threads import new_thread_id
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

pytestmark = pytest.mark.slow

EVIL = "https://evil.example"
RUN = {"assistant_id": "joke", "input": {"topic": "tea"}}
BOUNDARY = (
    b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n' + json.dumps(RUN).encode() + b"\r\n"
    b"--x--\r\n"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Process(tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.fixture(scope="module")
def thread(server):
    return httpx.post(f"{server.url}/threads", json={"metadata": {"secret": "x"}}).json()[
        "thread_id"
    ]


ATTEMPTS = {
    "run_as_text": ("POST", "/runs/wait", {"content-type": "text/plain"}, json.dumps(RUN)),
    "run_as_form": (
        "POST", "/runs/wait", {"content-type": "application/x-www-form-urlencoded"},
        json.dumps(RUN),
    ),
    "run_as_multipart": (
        "POST", "/runs/wait", {"content-type": "multipart/form-data; boundary=x"}, BOUNDARY,
    ),
    "run_as_json": ("POST", "/runs/wait", {"content-type": "application/json"}, json.dumps(RUN)),
    "search_of_threads": ("POST", "/threads/search", {"content-type": "text/plain"}, "{}"),
    "reading_of_a_thread": ("GET", "/threads/THREAD", {}, None),
    "deletion_of_a_thread": ("DELETE", "/threads/THREAD", {}, None),
}  # fmt: skip


@pytest.mark.parametrize("origin", [EVIL, "null", "http://192.168.1.9:3000"])
@pytest.mark.parametrize("name", ATTEMPTS)
def test_request_of_a_foreign_page_is_refused(server, thread, name, origin):
    method, path, headers, content = ATTEMPTS[name]
    answer = httpx.request(
        method, server.url + path.replace("THREAD", thread), content=content,
        headers={**headers, "origin": origin, "sec-fetch-site": "cross-site"},
    )  # fmt: skip
    assert answer.status_code == 403
    assert origin in answer.json()["detail"]
    assert "access-control-allow-origin" not in answer.headers
    assert httpx.get(f"{server.url}/threads/{thread}").status_code == 200


@pytest.mark.parametrize("name", ATTEMPTS)
def test_request_under_a_foreign_name_is_refused(server, thread, name):
    # A page whose own name leads here by now: for its browser this is no other origin.
    method, path, headers, content = ATTEMPTS[name]
    rebound = f"evil.example:{server.port}"
    answer = httpx.request(
        method, server.url + path.replace("THREAD", thread), content=content,
        headers={**headers, "host": rebound, "origin": f"http://{rebound}"},
    )  # fmt: skip
    assert answer.status_code == 403
    assert rebound in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": EVIL},
        {"origin": "null"},
        {"host": "evil.example"},
        {"sec-fetch-site": "cross-site"},
    ],
)
async def test_websocket_of_a_foreign_page_is_not_opened(server, headers):
    address = f"{server.url.replace('http', 'ws')}/threads/{new_thread_id()}/stream/events"
    host = headers.pop("host", None)
    headers = {name.title(): value for name, value in headers.items()}
    if host is not None:
        address = address.replace("127.0.0.1", host)
    with pytest.raises(InvalidStatus) as refused:
        await connect(address, additional_headers=headers, host="127.0.0.1", port=server.port)
    assert refused.value.response.status_code == 403
    assert b"detail" in (refused.value.response.body or b"")


async def test_websocket_of_a_local_page_is_opened(server):
    address = f"{server.url.replace('http', 'ws')}/threads/{new_thread_id()}/stream/events"
    async with connect(address, origin="http://localhost:3000"):
        pass


def test_preflight_of_a_foreign_page_is_refused_by_cors(server):
    ask = {"origin": EVIL, "access-control-request-method": "POST"}
    answer = httpx.options(f"{server.url}/threads", headers=ask)
    assert (answer.status_code, answer.text) == (400, "Disallowed CORS origin")
    rebound = httpx.options(f"{server.url}/threads", headers={**ask, "host": "evil.example"})
    assert rebound.status_code == 403


def test_preflight_of_a_local_page_may_reach_a_private_network(server):
    origin = "http://localhost:5173"
    ask = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,x-api-key",
        "access-control-request-private-network": "true",
    }
    answer = httpx.options(f"{server.url}/runs/stream", headers=ask)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-private-network"] == "true"
    assert "Origin" in answer.headers["vary"]
    page = httpx.post(f"{server.url}/runs/wait", json=RUN, headers={"origin": origin})
    assert page.status_code == 200
    assert page.headers["access-control-allow-origin"] == origin


def test_cross_site_request_without_origin_is_refused_unless_it_opens_a_page(server, thread):
    def get(path, mode):
        headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": mode}
        return httpx.get(server.url + path, headers=headers).status_code

    assert get("/docs", "navigate") == 200
    assert get("/", "navigate") == 200
    assert get("/studio/threads", "navigate") == 404
    assert get("/docs", "no-cors") == 403
    assert get(f"/threads/{thread}", "navigate") == 403
    # This one would stop a run as soon as the page is left.
    assert get(f"/threads/{thread}/runs/x/join?cancel_on_disconnect=true", "navigate") == 403


def test_request_is_refused_before_its_body_is_sent(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=150) as client:
        head = f"POST /runs/wait HTTP/1.1\r\nhost: localhost\r\norigin: {EVIL}\r\n"
        client.sendall(f"{head}content-length: 1000000\r\n\r\n".encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("name", ["host", "origin"])
def test_request_with_two_of_a_header_is_refused(server, name):
    lines = [f"{name}: localhost", f"{name}: evil.example", *(["host: a"] * (name != "host"))]
    with socket.create_connection(("127.0.0.1", server.port), timeout=150) as client:
        client.sendall("\r\n".join(["GET /info HTTP/1.1", *lines, "", ""]).encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 403 ")


def test_program_without_browser_headers_is_served(server):
    assert httpx.post(f"{server.url}/runs/wait", content=json.dumps(RUN)).status_code == 200
    assert httpx.get(f"{server.url}/info", headers={"host": "localhost:1"}).status_code == 200
    with socket.create_connection(("127.0.0.1", server.port), timeout=150) as client:
        client.sendall(b"GET /ok HTTP/1.0\r\n\r\n")  # as some load balancers ask
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_refusal_is_logged_once_for_each_value(tmp_path):
    with Process(tmp_path) as server:
        for origin in (EVIL, EVIL, "https://b.example"):
            httpx.get(f"{server.url}/info", headers={"origin": origin})
        _, _, log = server.stop()
    assert log.count(EVIL) == 1
    assert log.count("https://b.example") == 1


def test_server_behind_a_proxy_answers_under_configured_names(tmp_path):
    flags = {"allowed_hosts": "agents.example.com", "allowed_origins": "https://chat.example.com"}
    with Process(tmp_path, **flags) as server:
        headers = {"host": "agents.example.com", "origin": "https://chat.example.com"}
        answer = httpx.post(f"{server.url}/runs/wait", json=RUN, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://chat.example.com"
        own = {"host": "agents.example.com", "origin": "https://agents.example.com"}
        assert httpx.post(f"{server.url}/threads", json={}, headers=own).status_code == 200
        assert httpx.get(f"{server.url}/ok", headers={"host": "b.example"}).status_code == 403


def test_server_on_all_interfaces_answers_under_addresses_and_its_host_name(tmp_path):
    with Process(tmp_path, host="0.0.0.0") as server:

        def get(path, host):
            return httpx.get(server.url + path, headers={"host": host}).status_code

        assert get("/info", f"10.1.2.3:{server.port}") == 200
        assert get("/info", socket.gethostname()) == 200
        assert get("/info", "evil.example") == 403
        assert [get(path, "loomline:2024") for path in ("/ok", "/metrics")] == [200, 200]


def test_wildcard_origin_is_a_decision_that_the_log_repeats(tmp_path):
    document = json.loads(PROJECT.read_text())
    graphs = {name: f"{PROJECT.parent}/graphs.py:{name}" for name in ("joke",)}
    config = tmp_path / "langgraph.json"
    cors = {"cors": {"allow_origins": ["*"]}}
    config.write_text(json.dumps({**document, "graphs": graphs, "http": cors}))
    with Process(tmp_path / "data", config=config) as server:
        answer = httpx.post(f"{server.url}/runs/wait", json=RUN, headers={"origin": EVIL})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        rebound = httpx.get(f"{server.url}/info", headers={"host": "evil.example"})
        assert rebound.status_code == 403
        _, _, log = server.stop()
    assert log.count("EVERY WEB PAGE MAY USE THIS SERVER") == 1


def test_hosted_studio_is_let_in_by_name_in_dev(tmp_path):
    hosted = {"origin": "https://smith.langchain.com"}
    with serving_here(tmp_path / "a", dev=True) as url:
        assert httpx.get(f"{url}/info", headers=hosted).status_code == 403
    with serving_here(tmp_path / "b", dev=True, studio_origin="langsmith") as url:
        answer = httpx.get(f"{url}/info", headers=hosted)
        assert answer.headers["access-control-allow-origin"] == hosted["origin"]
