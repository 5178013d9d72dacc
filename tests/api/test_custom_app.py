"""The user's own application, and what else the section ``http`` says."""

import json
from uuid import uuid4

import httpx
import langgraph_sdk
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from tests.serving import PROJECT, serving_here
from websockets.asyncio.client import connect

import loomline
from loomline.server.api.hosting import CustomApp
from loomline.server.domain.errors import GraphLoadError

FOLDER = PROJECT.parent
NOWHERE = "0f5a9d3c-6a1e-4c5e-9b7d-2f4f0a1b2c3d"


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """Serve some graphs with a section ``http``."""

    def serve(*, document=None, **http):
        folder = tmp_path_factory.mktemp("project")
        config = folder / "langgraph.json"
        graphs = {name: f"{FOLDER}/graphs.py:{name}" for name in ("joke", "ask")}
        graphs["looks"] = f"{FOLDER}/web/looks.py:graph"
        whole = {"graphs": graphs, "dependencies": [str(FOLDER)], "http": http, **(document or {})}
        config.write_text(json.dumps(whole))
        flags = whole.pop("flags", {})
        return serving_here(folder / "data", config=config, heartbeat_seconds="0.2", **flags)

    return serve


def web(name):
    return f"{FOLDER}/web/{name}"


@pytest.fixture(scope="module")
def custom(serve):
    with serve(app=web("starlette_app.py:app")) as address:
        yield address


@pytest.fixture
async def http(custom):
    async with httpx.AsyncClient(base_url=custom) as client:
        yield client


async def test_routes_of_theirs_and_ours(http):
    hello = await http.get("/hello")
    assert hello.json() == {
        "words": ["from the state of the app", "from the lifespan"],
        "path": "/hello",
    }
    assert (await http.get("/ok")).json()["ok"] is True
    assert (await http.get("/")).json()["ok"] is True


async def test_custom_routes_come_before_the_servers_routes(http):
    assert (await http.get("/info")).json() == {"info": "mine"}
    assert (await http.get("/threads/mine")).status_code == 200
    assert (await http.get(f"/threads/{NOWHERE}")).json()["detail"].startswith("Thread with ID")


async def test_a_wrong_method_falls_through_to_ours(http):
    answer = await http.get("/echo")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


async def test_the_middleware_is_around_everything(http):
    paths = {"/hello": 200, "/ok": 200, "/nowhere": 404, f"/threads/{NOWHERE}": 404, "/refuse": 402}
    for path, status in paths.items():
        answer = await http.get(path)
        assert (answer.status_code, answer.headers["x-stamp"]) == (status, "mine"), path
    bad = await http.post("/threads", content=b"{")
    assert (bad.status_code, bad.headers["x-stamp"]) == (422, "mine")
    assert (await http.get("/teapot")).text == "short and stout"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_an_exception_is_a_500_without_its_text(http):
    answer = await http.get("/fail")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")


async def test_a_slash_more_or_less_is_a_redirect(http):
    answer = await http.get("/folder")
    assert answer.status_code == 307
    assert answer.headers["location"] == str(http.base_url.join("/folder/"))
    ours = await http.post("/threads/", json={})
    assert (ours.status_code, ours.headers["location"]) == (
        307,
        str(http.base_url.join("/threads")),
    )


def test_it_may_ask_the_server(serve):
    with serve(app=web("starlette_app.py:app")) as address:
        assert httpx.get(f"{address}/graphs").json() == ["ask", "joke", "looks"]


def test_it_starts_and_stops_with_the_server(serve):
    with serve(app=web("starlette_app.py:app")) as address:
        before = httpx.get(f"{address}/log").json()
        assert before[-1] == "started"
    # Served twice by one process: each time by the server it belongs to.
    with serve(app=web("starlette_app.py:app"), disable_store=True) as address:
        assert httpx.get(f"{address}/log").json() == [*before, "stopped", "started"]
        assert httpx.post(f"{address}/store/items/search", json={}).status_code == 404
        assert httpx.post(f"{address}/threads", json={}).status_code == 200


@pytest.mark.parametrize("package", [loomline, langgraph_sdk])
async def test_runs_stream_through_it(custom, package):
    async with package.get_client(url=custom, api_key=None) as client:
        thread = await client.threads.create()
        parts = [
            part.event
            async for part in client.runs.stream(
                thread["thread_id"], "joke", input={"topic": "looms"}
            )
        ]
    assert parts[0] == "metadata"
    assert "values" in parts


def test_fastapi_application_keeps_its_validation_and_lifespan(serve):
    with serve(app=web("fastapi_app.py:app")) as address, httpx.Client(base_url=address) as http:
        good = http.post("/yarn", json={"colour": "red", "length": 1})
        assert good.json() == {"colour": "red (opened)", "length": 2}
        bad = http.post("/yarn", json={"colour": "red"})
        assert (bad.status_code, bad.json()["detail"][0]["loc"]) == (422, ["body", "length"])
        assert http.post("/threads", json={}).status_code == 200
        assert "Loomline API" in http.get("/docs").text
        document = http.get("/openapi.json").json()
    body = document["paths"]["/yarn"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": "#/components/schemas/CustomThread"}
    schemas = document["components"]["schemas"]
    assert set(schemas["CustomThread"]["properties"]) == {"colour", "length"}
    assert "thread_id" in schemas["Thread"]["properties"]
    assert "/threads/{thread_id}/runs/stream" in document["paths"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("starlette_app.py:nothing", "It must be an application of Starlette or FastAPI"),
        ("starlette_app.py:missing", "has no 'missing'"),
        ("absent.py:app", "there is no file"),
    ],
)
def test_unusable_application_is_refused_with_its_reason(serve, path, reason):
    with pytest.raises(GraphLoadError, match=reason), serve(app=web(path)):
        pass


GROUPS = {
    "assistants": ["POST /assistants/search"],
    "threads": ["POST /threads", f"GET /threads/{NOWHERE}/state"],
    "runs": ["POST /runs", "POST /runs/crons/search", f"GET /threads/{NOWHERE}/runs"],
    "store": ["POST /store/items/search"],
    "meta": ["GET /", "GET /info", "GET /metrics", "GET /docs", "GET /openapi.json"],
}


@pytest.mark.parametrize("group", GROUPS)
def test_groups_can_be_switched_off(serve, group):
    with (
        serve(**{f"disable_{group}": True}) as address,
        httpx.Client(base_url=address) as http,
    ):
        assert http.get("/ok").status_code == 200
        for name, routes in GROUPS.items():
            for route in routes:
                method, path = route.split()
                answer = http.request(method, path, json={} if method == "POST" else None)
                gone = (answer.status_code, answer.content) == (404, b'{"detail":"Not Found"}')
                assert gone == (name == group), route
        if group != "meta":
            paths = http.get("/openapi.json").json()["paths"]
            gone = GROUPS[group][0].split()[1]
            assert gone not in paths


def test_mount_prefix_moves_all_routes_but_health_and_metrics(serve):
    with (
        serve(mount_prefix="/agents/", app=web("starlette_app.py:app")) as address,
        httpx.Client(base_url=address) as http,
    ):
        for path in ("/", "/ok", "/metrics", "/agents/ok", "/agents/", "/agents/metrics"):
            assert http.get(path).status_code == 200, path
        for path in ("/info", "/threads", "/hello", "/agentsok", "/docs"):
            assert http.get(path).status_code == 404, path
        assert http.get("/agents/hello").json()["path"] == "/agents/hello"
        assert http.get("/agents").headers["location"] == "/agents/"
        moved = http.post("/agents/threads/", json={})
        assert moved.headers["location"] == f"{address}/agents/threads"
        with loomline.get_sync_client(url=f"{address}/agents", api_key=None) as client:
            thread = client.threads.create()["thread_id"]
            run = client.runs.create(thread, "joke", input={"topic": "x"})
            assert client.runs.join(thread, run["run_id"])["joke"]
        answer = http.post(f"/agents/threads/{thread}/runs", json={"assistant_id": "joke"})
        assert answer.headers["content-location"].startswith(f"/threads/{thread}/runs/")
        # Code inside the server needs no prefix.
        assert http.get("/agents/graphs").json() == ["ask", "joke", "looks"]


def test_every_origin_is_allowed_by_default_cors(custom):
    origin = "http://localhost:3000"
    ask = {"origin": origin, "access-control-request-method": "PUT"}
    answer = httpx.options(f"{custom}/threads", headers=ask)
    assert (answer.status_code, answer.text) == (200, "OK")
    missing = httpx.get(f"{custom}/nowhere", headers={"origin": origin})
    assert missing.headers["access-control-allow-origin"] == origin
    assert "content-location" in missing.headers["access-control-expose-headers"]


def test_configured_cors_allows_only_the_listed_origins(serve):
    cors = {
        "allow_origins": ["https://a.example"],
        "allow_methods": ["GET"],
        "allow_credentials": True,
        "expose_headers": ["x-mine"],
    }
    with serve(cors=cors) as address:

        def preflight(origin, method):
            headers = {"origin": origin, "access-control-request-method": method}
            return httpx.options(f"{address}/threads", headers=headers)

        assert preflight("https://a.example", "GET").status_code == 200
        other = preflight("https://b.example", "GET")
        assert (other.status_code, other.text) == (400, "Disallowed CORS origin")
        assert preflight("https://a.example", "PUT").text == "Disallowed CORS method"
        answer = httpx.get(f"{address}/info", headers={"origin": "https://a.example"})
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert answer.headers["access-control-allow-credentials"] == "true"
    exposed = answer.headers["access-control-expose-headers"]
    assert exposed == "x-mine, content-location, location"


HEADERS = {
    "X-Tenant": "acme",
    "X-Internal": "no",
    "Authorization": "Bearer very-secret",
    "x-other": "other",
}


@pytest.mark.parametrize("names", [("includes", "excludes"), ("include", "exclude")])
async def test_listed_headers_become_configurable_in_runs(serve, names):
    rules = dict(zip(names, (["x-*", "authorization"], ["X-Internal"]), strict=True))
    with serve(configurable_headers=rules) as address:
        async with httpx.AsyncClient(base_url=address, headers=HEADERS) as http:
            thread = (await http.post("/threads", json={})).json()["thread_id"]
            configurable = {"x-tenant": "mine", "own": 1}
            body = {"assistant_id": "looks", "input": {}, "config": {"configurable": configurable}}
            values = (await http.post(f"/threads/{thread}/runs/wait", json=body)).json()
            modes = ["debug", "tasks", "checkpoints", "events", "messages-tuple"]
            shown = [
                await http.get(f"/threads/{thread}/runs"),
                await http.get(f"/threads/{thread}/state"),
                await http.get(f"/threads/{thread}/history"),
                await http.post(
                    f"/threads/{thread}/runs/stream", json=body | {"stream_mode": modes}
                ),
                await http.post("/runs/batch", json=[body]),
            ]
            rest = (await http.get(f"/threads/{thread}")).text
    assert values == {"seen": {"x-tenant": "acme", "x-other": "other", "own": 1}, "known": True}
    for answer in shown:
        assert answer.status_code == 200
        assert '"authorization":"***"' in answer.text
        assert "very-secret" not in answer.text
    assert "very-secret" not in rest


@pytest.mark.parametrize("over", ["http", "websocket"])
async def test_headers_of_the_thread_protocol_become_configurable(serve, over):
    rules = {"includes": ["x-*"], "excludes": ["x-internal"]}
    command = {"id": 1, "method": "run.start", "params": {"assistant_id": "looks", "input": {}}}
    with serve(configurable_headers=rules) as address:
        thread = f"/threads/{uuid4()}"
        async with httpx.AsyncClient(base_url=address, headers=HEADERS) as http:
            if over == "http":
                answer = (await http.post(f"{thread}/commands", json=command)).json()
            else:
                path = f"{address.replace('http', 'ws', 1)}{thread}/stream/events"
                async with connect(path, additional_headers=HEADERS) as socket:
                    await socket.send(json.dumps(command))
                    answer = json.loads(await socket.recv())
            run = answer["result"]["run_id"]
            values = (await http.get(f"{thread}/runs/{run}/join")).json()
    assert values == {"seen": {"x-tenant": "acme", "x-other": "other"}, "known": False}


async def test_no_header_is_passed_on_unless_configured(custom):
    async with httpx.AsyncClient(base_url=custom, headers=HEADERS) as http:
        body = {"assistant_id": "looks", "input": {}}
        values = (await http.post("/runs/wait", json=body)).json()
    assert values == {"seen": {}, "known": False}


@pytest.mark.parametrize("order", ["middleware_first", "auth_first"])
@pytest.mark.parametrize("everywhere", [False, True])
def test_their_routes_are_counted_too(serve, order, everywhere):
    flags = {"requests_per_second": "0.01", "request_burst": "4"}
    rules = {"middleware_order": order, "enable_custom_route_auth": everywhere}
    app = web("starlette_app.py:app")
    with serve(document={"flags": flags}, app=app, **rules) as address:
        paths = ("/hello", "/threads/mine", "/docs", "/hello", "/hello", "/docs")
        statuses = [httpx.get(f"{address}{path}").status_code for path in paths]
        assert statuses == [200] * 4 + [429] * 2
        assert httpx.get(f"{address}/ok").status_code == 200


@pytest.mark.parametrize("order", ["middleware_first", "auth_first"])
@pytest.mark.parametrize("everywhere", [False, True])
def test_pages_of_theirs_are_as_closed_as_the_others_of_theirs(serve, tmp_path, order, everywhere):
    (tmp_path / "web.py").write_text(OPEN_PLACES)
    (tmp_path / "auth.py").write_text(KNOWS_ONE)
    rules = {"middleware_order": order, "enable_custom_route_auth": everywhere}
    auth = {"auth": {"path": f"{tmp_path}/auth.py:auth"}}
    with serve(document=auth, app=f"{tmp_path}/web.py:app", **rules) as address:
        for path in ("/", "/docs", "/ok", "/metrics", "/mine", "/files/a"):
            asked = httpx.get(f"{address}{path}")
            assert asked.status_code == (401 if everywhere else 200), path
            known = httpx.get(f"{address}{path}", headers={"authorization": "me"})
            assert (known.status_code, known.text) == (200, f"theirs: {path}")
        # What they have not replaced is as open as ever.
        assert httpx.get(f"{address}/info").status_code == 200
        assert httpx.get(f"{address}/openapi.json").status_code == 200
        assert httpx.get(f"{address}/crons/mine").status_code == 401


OPEN_PLACES = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

async def show(request):
    return PlainTextResponse("theirs: " + request.url.path)

paths = ("/", "/docs", "/ok", "/metrics", "/mine")
files = Mount("/files", routes=[Route("/{name}", show)])
app = Starlette(routes=[*(Route(path, show) for path in paths), files])
"""

KNOWS_ONE = """
import loomline

auth = loomline.Auth()

@auth.authenticate
async def known(authorization):
    if authorization != "me":
        raise loomline.Auth.exceptions.HTTPException(status_code=401, detail="Who are you?")
    return "me"
"""


def test_requests_are_logged_where_headers_are_named(serve, caplog):
    caplog.set_level("INFO", "loomline.requests")
    rules = {"includes": ["x-*", "authorization"], "excludes": ["x-internal"]}
    with serve(logging_headers=rules) as address:
        httpx.post(f"{address}/threads", json={}, headers=HEADERS)
    (record,) = [each for each in caplog.records if each.name == "loomline.requests"]
    assert (record.method, record.path, record.status) == ("POST", "/threads", 200)
    expected = {"x-tenant": "acme", "x-other": "other", "authorization": "***"}
    assert record.headers == expected


async def answer_with_name(request):
    return PlainTextResponse(request.scope.get("user", "nobody"))


class Guard:
    """Stands for authentication: who has no name is refused."""

    made = 0

    def __init__(self, app):
        self.app = app
        Guard.made += 1

    async def __call__(self, scope, receive, send):
        names = [value.decode() for name, value in scope["headers"] if name == b"x-name"]
        if not names:
            await JSONResponse({"detail": "Unauthorized"}, 401)(scope, receive, send)
            return
        await self.app({**scope, "user": names[0]}, receive, send)


class Outer:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def stamped(message):
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"x-saw", str(message["status"]).encode()),
                ]
            await send(message)

        await self.app(scope, receive, stamped)


@pytest.mark.parametrize("order", ["middleware_first", "auth_first"])
@pytest.mark.parametrize("everywhere", [False, True])
async def test_authentication_stands_where_the_middleware_order_puts_it(order, everywhere):
    Guard.made = 0
    theirs = Starlette(routes=[Route("/theirs", answer_with_name)])
    theirs.add_middleware(Outer)
    ours = Starlette(routes=[Route("/ours", answer_with_name)])
    app = CustomApp(theirs).serving(ours, authenticate=Guard, order=order, everywhere=everywhere)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        known = {"x-name": "ada"}
        assert (await http.get("/ours", headers=known)).text == "ada"
        refused = await http.get("/ours")
        assert refused.status_code == 401
        # Outside of authentication, their middleware sees the refusal.
        assert refused.headers.get("x-saw") == ("401" if order == "middleware_first" else None)
        assert (await http.get("/theirs")).status_code == (401 if everywhere else 200)
        assert (await http.get("/theirs", headers=known)).text == (
            "ada" if everywhere else "nobody"
        )
        # Even an address that is nowhere is not told to strangers.
        assert (await http.get("/nowhere")).status_code == 401
    assert Guard.made == 1
