"""Who is let in, in every form that a handler can say it, and what the others are told."""

import asyncio
import json
import logging

import httpx
import pytest
from tests.auth.conftest import handlers
from tests.support import StandingClock
from tests.threads import Thread
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from loomline.server.authn.cache import CachedAuthenticator
from loomline.server.authn.options import CacheOptions
from loomline.server.authz.errors import Refused
from loomline.server.authz.users import Caller, User
from loomline.server.domain.errors import AuthLoadError
from loomline.server.settings import SettingsError

CODE = """
import dataclasses
import {package} as package
from pydantic import BaseModel
from starlette.authentication import AuthenticationError
from starlette.exceptions import HTTPException
auth = package.Auth()
Refusal = package.Auth.exceptions.HTTPException

class Plain:
    identity = "ada"
    permissions = ["p"]
    def __init__(self): self.org = "x"

@dataclasses.dataclass
class Data:
    identity: str
    org: str
    is_authenticated: bool = True

class Model(BaseModel):
    identity: str
    org: str

FORMS = {{
    "text": lambda: "ada",
    "dict": lambda: {{"identity": "ada", "org": "x", "permissions": ["p"], "display_name": "Ada"}},
    "pair": lambda: (["p"], {{"identity": "ada", "org": "x"}}),
    "object": Plain,
    "dataclass": lambda: Data("ada", "x"),
    "model": lambda: Model(identity="ada", org="x"),
    "none": lambda: None,
    "number": lambda: 7,
    "empty": lambda: "",
    "star": lambda: "*",
    "nul": lambda: "a" + chr(0),
    "anonymous": lambda: {{"name": "ada"}},
    "words": lambda: {{"identity": "ada", "permissions": "p"}},
    "out": lambda: Data("ada", "x", False),
}}
def error(value):
    raise value
FORMS |= {{
    "401": lambda: error(Refusal()),
    "403": lambda: error(Refusal(403, "no")),
    "303": lambda: error(Refusal(303, "log in", {{"location": "/login"}})),
    "429": lambda: error(Refusal(429, "slow", {{"retry-after": "7"}})),
    "starlette": lambda: error(HTTPException(402, "pay", {{"x-why": "so"}})),
    "asleep": lambda: error(AuthenticationError("asleep")),
    "value": lambda: error(ValueError("s3cret")),
    "assertion": lambda: error(AssertionError("s3cret")),
    "exit": lambda: error(RuntimeError("s3cret")),
}}

@auth.authenticate
{kind} authenticate(headers: dict):
    return FORMS[headers[b"x-form"].decode()]()

@auth.on
async def show(ctx, value):
    user = ctx.user
    seen = [user.identity, user.display_name, list(ctx.permissions), user.get("org")]
    raise Refusal(418, str(seen))
"""
USERS = {
    "text": ["ada", "ada", [], None],
    "dict": ["ada", "Ada", ["p"], "x"],
    "pair": ["ada", "ada", ["p"], "x"],
    "object": ["ada", "ada", ["p"], "x"],
    "dataclass": ["ada", "ada", [], "x"],
    "model": ["ada", "ada", [], "x"],
}
REFUSED = {
    "401": (401, "Unauthorized", {}),
    "403": (403, "no", {}),
    "303": (303, "log in", {"location": "/login"}),
    "429": (429, "slow", {"retry-after": "7"}),
    "starlette": (402, "pay", {"x-why": "so"}),
    "asleep": (403, "asleep", {}),
    "out": (401, "Unauthorized", {}),
}
BROKEN = ("none", "number", "empty", "star", "nul", "anonymous", "words")
BUGS = ("value", "assertion", "exit", "unknown")


@pytest.mark.parametrize("kind", ["async def", "def"])
@pytest.mark.parametrize("package", ["loomline", "langgraph_sdk"])
def test_every_form_of_an_answer(serve, package, kind):
    with (
        serve({}, code=CODE.format(package=package, kind=kind)) as url,
        httpx.Client(base_url=url) as http,
    ):

        def ask(form, **headers):
            return http.get("/threads/" + "0" * 32, headers={"x-form": form, **headers})

        for form, seen in USERS.items():
            assert (ask(form).status_code, ask(form).json()) == (418, {"detail": str(seen)})
        for form, (status, text, headers) in REFUSED.items():
            answer = ask(form, origin="http://elsewhere")
            assert (answer.status_code, answer.json()) == (status, {"detail": text})
            assert answer.headers.items() >= headers.items()
            # A page may read why.
            assert answer.headers["access-control-allow-origin"] == "*"
        for form in BROKEN:
            assert ask(form).status_code == 500
            assert "Your auth handler returned" in ask(form).json()["detail"]
        for form in BUGS:
            answer = ask(form)
            assert (answer.status_code, answer.json()) == (500, {"detail": "Internal Server Error"})
        assert (
            http.options(
                "/threads", headers={"origin": "http://x", "access-control-request-method": "POST"}
            ).status_code
            == 200
        )


PARAMETERS = """
import loomline
auth = loomline.Auth()

@auth.authenticate
async def authenticate(
    request, body, path, method, path_params, query_params, headers, authorization, scope, user,
    extra="given",
):
    seen = [
        request.url.path, body, path, method, path_params, dict(query_params),
        headers[b"x-a"].decode(), authorization, scope["type"], user, extra,
        (await request.json()) if method == "POST" else None,
    ]
    import json
    raise loomline.Auth.exceptions.HTTPException(418, json.dumps(seen))
"""


def test_handler_receives_each_parameter_that_it_names(serve):
    with (
        serve({}, code=PARAMETERS) as url,
        httpx.Client(base_url=url, headers={"x-a": "1"}) as http,
    ):
        seen = json.loads(http.get("/threads/abc/state?a=1&a=2").json()["detail"])
        assert seen == [
            "/threads/abc/state", None, "/threads/abc/state", "GET", {"thread_id": "abc"},
            {"a": "2"}, "1", None, "http", None, "given", None,
        ]  # fmt: skip
        answer = http.post("/threads", json={"n": 1}, headers={"authorization": "me"})
        seen = json.loads(answer.json()["detail"])
        assert seen == [
            "/threads", {"n": 1}, "/threads", "POST", {}, {}, "1", "me", "http", None, "given",
            {"n": 1},
        ]  # fmt: skip
        seen = json.loads(http.patch("/nowhere", content=b"{no").json()["detail"])
        assert (seen[1], seen[4]) == (None, {})


READING = """
import loomline
auth = loomline.Auth()

@auth.authenticate
async def authenticate(request, body):
    await request.body()
    return (body or {}).get("metadata", {}).get("who", "nobody")
"""


def test_a_body_that_a_handler_has_read_is_there_for_the_route(serve):
    with (
        serve({}, code=READING, body_limit_bytes="4096") as url,
        httpx.Client(base_url=url) as http,
    ):
        answer = http.post("/threads", json={"metadata": {"who": "ada"}})
        assert answer.json()["metadata"] == {"who": "ada"}
        parts = (b'{"metadata": {"who"', b': "bob"}}')
        assert http.post("/threads", content=iter(parts)).json()["metadata"] == {"who": "bob"}
        assert http.post("/threads", content=b"x" * 5000).status_code == 413
        assert http.get("/threads/nope").status_code == 422


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("auth = loomline.Auth()", ["no authenticate handler", "@auth.authenticate"]),
        ("auth = 7", ["of type 'int'", "loomline.Auth or langgraph_sdk.Auth"]),
        ("import nothing_of_the_kind", ["'nothing_of_the_kind' is not installed"]),
        ("other = 1", ["no 'auth'"]),
        (
            "auth = loomline.Auth()\n@auth.authenticate\nasync def f(token): ...",
            ["parameter 'token'", "authorization"],
        ),
        ("auth = loomline.Auth()\n@auth.authenticate\nasync def f(path, /): ...", ["'path'"]),
    ],
)
def test_server_with_an_unusable_auth_handler_does_not_start(serve, code, words):
    with pytest.raises(AuthLoadError) as caught, serve({}, code=f"import loomline\n{code}"):
        pass
    for word in ("Failed to load 'auth' from", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"cache": {}}, '"path"'),
        ({"path": 7}, '"auth.path" in'),
        ({"path": "m:a", "private": True}, '"auth.private" in'),
        ({"path": "auth.py"}, '"auth.path" in'),
        ({"path": "m:a", "disable_studio_auth": "no"}, "true or false"),
        ({"path": "m:a", "cache": {"ttl_seconds": 0}}, '"auth.cache.ttl_seconds" in'),
        ({"path": "m:a", "cache": {"cache_keys": [1]}}, '"auth.cache.cache_keys" in'),
        ({"path": "m:a", "openapi": []}, '"auth.openapi" in'),
        ({"api_keys": {}}, 'either "file" or "env"'),
        ({"api_keys": {"file": "a", "env": "b"}}, 'either "file" or "env"'),
        ({"jwt": {"issuer": "https://i"}}, '"issuer" and "audience"'),
        ({"jwt": {"audience": "a"}}, '"issuer" and "audience"'),
        ({"jwt": {"issuer": "http://i.example", "audience": "a"}}, "https://"),
        (
            {"jwt": {"issuer": "https://i", "audience": "a", "jwks_url": "http://k.example"}},
            "https://",
        ),
        ({"jwt": {"issuer": "https://i", "audience": "a", "algorithms": ["none"]}}, "'none'"),
        ({"jwt": {"issuer": "https://i", "audience": "a", "algorithms": ["HS256"]}}, "'HS256'"),
        (
            {"jwt": {"issuer": "i", "audience": "a", "secret_env": "S", "algorithms": ["RS256"]}},
            "'RS256'",
        ),
        (
            {"jwt": {"issuer": "i", "audience": "a", "secret_env": "S", "jwks_url": "u"}},
            "not have both",
        ),
    ],
)
def test_a_section_that_does_not_fit(serve, section, words):
    with pytest.raises(SettingsError) as caught, serve(section):
        pass
    assert words in str(caught.value)


def test_two_ways_to_be_known_contradict(serve, tmp_path):
    (tmp_path / "keys.json").write_text("[]")
    section = handlers("owners", api_keys={"file": "./keys.json"})
    with pytest.raises(AuthLoadError, match="Use one of them"), serve(section):
        pass


class Counting:
    def __init__(self):
        self.asked = 0

    async def authenticate(self, request):
        self.asked += 1
        if request.header("authorization") == "nobody":
            raise Refused(401, "no")
        return Caller(User({"identity": request.header("authorization") or "anyone"}))


class Headers(dict[str, str]):
    def header(self, name):
        return self.get(name)


async def test_cached_caller_expires_although_the_clock_was_set_back():
    clock, inner = StandingClock(), Counting()
    cached = CachedAuthenticator(inner, CacheOptions(("authorization",), 10, 2), clock)
    await cached.authenticate(Headers(authorization="a"))
    clock.set_back(3600)
    clock.move(10)
    await cached.authenticate(Headers(authorization="a"))
    assert inner.asked == 2


async def test_the_cache_asks_once_in_a_while():
    clock, inner = StandingClock(), Counting()
    cached = CachedAuthenticator(inner, CacheOptions(("authorization",), 10, 2), clock)

    async def ask(**headers):
        return (await cached.authenticate(Headers(headers))).identity

    assert [await ask(authorization="a") for _ in range(3)] == ["a"] * 3
    assert inner.asked == 1
    clock.move(11)
    assert (await ask(authorization="a"), inner.asked) == ("a", 2)
    # Without credentials, and who is refused, is asked about each time.
    assert [await ask() for _ in range(2)] == ["anyone"] * 2
    for _ in range(2):
        with pytest.raises(Refused):
            await ask(authorization="nobody")
    assert inner.asked == 6
    # It does not grow, and does not keep what it is told.
    await asyncio.gather(*[ask(authorization=f"user {n}") for n in range(50)])
    assert len(cached._found) == 2
    assert "user" not in repr(cached._found.keys())


def studio(url, **headers):
    return httpx.post(
        f"{url}/threads/count", json={}, headers={"x-auth-scheme": "langsmith", **headers}
    ).status_code


def test_a_studio_is_asked_like_everybody_else(serve):
    with serve(handlers("owners")) as url:
        assert studio(url) == 401
    with serve(handlers("owners"), dev=True) as url:
        assert studio(url) == 401
    with serve(handlers("owners", disable_studio_auth=False)) as url:
        assert studio(url) == 401
    with serve(handlers("owners", disable_studio_auth=False), dev=True, host="0.0.0.0") as url:
        assert studio(url) == 401


def test_a_studio_is_let_in_where_it_is_wanted(serve):
    with serve(handlers("owners", disable_studio_auth=False), dev=True) as url:
        assert studio(url) == 200
        assert studio(url, origin="http://localhost:3000") == 200
        assert studio(url, origin="https://smith.langchain.com") == 401
        assert studio(url, origin="https://evil.example") == 401
        assert studio(url, origin="null") == 401
        assert studio(url, host="evil.example") == 401
        assert httpx.post(f"{url}/threads/count", json={}).status_code == 401


def test_hosted_studio_that_is_named_is_let_in(serve):
    hosted = {"dev": True, "studio_origin": "langsmith"}
    with serve(handlers("owners", disable_studio_auth=False), **hosted) as url:
        assert studio(url, origin="https://smith.langchain.com") == 200
        assert studio(url, origin="https://evil.example") == 401


def test_the_document_says_how_to_be_known(serve):
    said = {
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        "security": [{"bearer": []}],
        "paths": {"/threads": {"post": {"security": []}}, "/mine": {"get": {"summary": "x"}}},
    }
    with serve(handlers("owners", openapi=said)) as url:
        document = httpx.get(f"{url}/openapi.json").json()
    assert document["components"]["securitySchemes"] == said["securitySchemes"]
    assert document["security"] == [{"bearer": []}]
    assert document["paths"]["/threads"]["post"]["security"] == []
    assert {"401", "403"} < document["paths"]["/threads"]["post"]["responses"].keys()
    assert "401" not in document["paths"]["/ok"]["get"]["responses"]
    assert document["paths"]["/mine"] == {"get": {"summary": "x"}}


def test_a_broken_handler_is_logged_for_its_author(serve, caplog):
    code = (
        "import loomline\nauth = loomline.Auth()\n@auth.authenticate\nasync def f(): return 'ada'\n"
        "@auth.on\nasync def g(ctx, value): return {'owner': {'$ne': 'x'}}\n"
    )
    with serve({}, code=code) as url, caplog.at_level(logging.ERROR):
        answer = httpx.post(f"{url}/threads/search", json={})
    assert answer.status_code == 500
    assert "unknown operator '$ne'" in answer.json()["detail"]
    assert "unknown operator '$ne'" in caplog.text


ONE_USER = """
from langgraph_sdk import Auth
auth = Auth()

@auth.authenticate
async def authenticate(authorization: str | None):
    if authorization != "right":
        raise Auth.exceptions.HTTPException(401, "wrong")
    return "ada"
"""


async def test_wrong_credentials_beyond_the_rate_are_429_and_right_ones_still_count(serve):
    with serve({}, code=ONE_USER, requests_per_second="0.01", request_burst="20") as url:
        async with httpx.AsyncClient(base_url=url) as http:
            attempts = [
                await http.post("/threads", json={}, headers={"authorization": f"wrong {number}"})
                for number in range(60)
            ]
            assert [each.status_code for each in attempts] == [401] * 20 + [429] * 40
            assert 50 < int(attempts[-1].headers["retry-after"]) <= 100
            # Behind the same address a user has a count of its own.
            right = {"authorization": "right"}
            answers = [await http.post("/threads", json={}, headers=right) for _ in range(25)]
            assert [each.status_code for each in answers] == [200] * 20 + [429] * 5
            assert (await http.get("/ok")).status_code == 200


async def test_wrong_credentials_of_websockets_beyond_the_rate_are_429(serve):
    with serve({}, code=ONE_USER, requests_per_second="0.01", request_burst="5") as url:
        path = f"{Thread(url).path.replace('http', 'ws', 1)}/stream/events"
        statuses = []
        for _ in range(8):
            with pytest.raises(InvalidStatus) as caught:
                async with connect(path, additional_headers={"authorization": "wrong"}):
                    pass
            statuses.append(caught.value.response.status_code)
        assert statuses == [401] * 5 + [429] * 3
        async with connect(path, additional_headers={"authorization": "right"}):
            pass
