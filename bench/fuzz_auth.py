"""Ask a server for what is somebody else's, in every way that comes to mind, many times.

    python bench/fuzz_auth.py [--requests 20000] [--rounds 20] [--seed 1] [--database-url URL]

Ada has one of everything. Bob asks for it: on every route, with her ids and others, with bodies and
headers that are right, nearly right or nonsense, with his credentials, broken ones or none. No
answer may be a server error or tell anything of hers; nothing of hers may change; the server's
memory must not grow with the requests.

After that both send the same requests for every route, with the same headers and the same
idempotency keys, one after the other. Neither answer may have an id of the other's.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

SECRET = "ada-keeps-this-to-herself"
GROWTH_MOST_MB = 60

HANDLERS = """
import loomline

auth = loomline.Auth()

@auth.authenticate
async def authenticate(authorization: str | None):
    scheme, _, name = (authorization or "").partition(" ")
    if scheme != "Bearer" or name not in {"ada", "bob", "carol"}:
        raise loomline.Auth.exceptions.HTTPException(401, "Who are you?")
    return name

@auth.on
async def only_the_owner(ctx, value):
    owner = {"owner": ctx.user.identity}
    value.setdefault("metadata", {}).update(owner)
    return owner

@auth.on.store
async def own_namespace(ctx, value):
    value["namespace"] = (ctx.user.identity, *(value["namespace"] or ()))
"""
GRAPH = """
from typing import TypedDict
from langgraph.graph import StateGraph

class State(TypedDict, total=False):
    topic: str

graph = StateGraph(State).add_node("n", lambda s: s).add_edge("__start__", "n").compile()
"""


@dataclass(frozen=True)
class World:
    """What Ada has: ids by what they are of."""

    ids: dict[str, list[str]]
    picture: str

    def look(self, http: httpx.Client) -> str:
        seen = [http.get(f"/assistants/{each}").text for each in self.ids["assistant_id"]]
        for each in self.ids["thread_id"]:
            places = ("", "/state", "/history?limit=50", "/runs")
            seen += [http.get(f"/threads/{each}{place}").text for place in places]
        seen += [http.get(f"/runs/crons/{each}").text for each in self.ids["cron_id"]]
        seen.append(http.get("/store/items?namespace=notes&key=one").text)
        for group in ("assistants", "threads", "runs/crons"):
            seen.append(http.post(f"/{group}/count", json={}).text)
        return json.dumps(seen)


def user(url: str, name: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"authorization": f"Bearer {name}"}, timeout=30)


def build(http: httpx.Client) -> World:
    """Give Ada one of everything."""

    def post(path: str, **body: Any) -> Any:
        answer = http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    note = {"metadata": {"note": SECRET}}
    assistant = post("/assistants", graph_id="graph", name=SECRET, **note)["assistant_id"]
    thread, busy = (post("/threads", **note)["thread_id"] for _ in range(2))
    say = {"assistant_id": assistant, "input": {"topic": SECRET}, **note}
    post(f"/threads/{thread}/runs/wait", **say)
    pending = post(f"/threads/{busy}/runs", after_seconds=86_400, **say)["run_id"]
    run = http.get(f"/threads/{thread}/runs").json()[0]["run_id"]
    cron = post(f"/threads/{thread}/runs/crons", schedule="0 0 1 1 *", **say)["cron_id"]
    http.put("/store/items", json={"namespace": ["notes"], "key": "one", "value": {"n": SECRET}})
    state = http.get(f"/threads/{thread}/state").json()["checkpoint"]["checkpoint_id"]
    world = World(
        {
            "assistant_id": [assistant],
            "thread_id": [thread, busy],
            "run_id": [run, pending],
            "cron_id": [cron],
            "checkpoint_id": [state],
        },
        "",
    )
    return World(world.ids, world.look(http))


class Fuzzer:
    """Makes requests. The same seed makes the same ones, ids aside."""

    def __init__(self, document: dict[str, Any], world: World, seed: int) -> None:
        self._random = random.Random(seed)
        self._schemas = document["components"]["schemas"]
        self._world = world
        self.routes: list[tuple[str, str, dict[str, Any]]] = [
            (method.upper(), path, operation)
            for path, found in document["paths"].items()
            for method, operation in found.items()
        ]

    def request(self) -> tuple[str, str, bytes | None, list[tuple[bytes, bytes]], bool]:
        """Return method, target, body, headers, and whether the credentials are Bob's."""
        method, target, body = self.request_for(self._random.choice(self.routes))
        headers, known = self._headers()
        return method, target, body, headers, known

    def request_for(self, route: tuple[str, str, dict[str, Any]]) -> tuple[str, str, bytes | None]:
        """Return method, target and body of a request for a route."""
        method, path, operation = route
        target = re.sub(r"{(\w+)}", lambda match: self._id(match[1]), path)
        target += self._query(operation)
        body = None
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            body = self._body(schema)
        return method, target, body

    def _id(self, name: str) -> str:
        known = self._world.ids.get(name, [])
        others = [each for several in self._world.ids.values() for each in several]
        chosen = self._random.random()
        if known and chosen < 0.7:
            return self._random.choice(known)
        if chosen < 0.85:
            return self._random.choice(others)
        uuid = str(UUID(int=self._random.getrandbits(128)))
        return self._random.choice([uuid, "graph", "x", "%00", "..%2f", "%F0%9F%98%80", "0" * 40])

    def _query(self, operation: dict[str, Any]) -> str:
        names = [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]
        pairs = [f"{name}={self._word()}" for name in names if self._random.random() < 0.4]
        return f"?{'&'.join(pairs)}" if pairs else ""

    def _word(self) -> str:
        words = ["true", "1", "-1", "interrupt", "rollback", "notes", "one", "*", "ada", "99999999"]
        return self._random.choice([*words, "", "%00", self._id("thread_id")])

    def _body(self, schema: dict[str, Any]) -> bytes:
        value = self._value(schema, 0)
        text = json.dumps(value).encode()
        chosen = self._random.random()
        if chosen < 0.03:
            place = self._random.randrange(len(text) + 1)
            return text[:place] + bytes([self._random.randrange(256)]) + text[place + 1 :]
        return b"" if chosen < 0.04 else text

    def _value(self, schema: dict[str, Any], depth: int) -> Any:
        if "$ref" in schema:
            schema = self._schemas[schema["$ref"].rpartition("/")[2]]
        if self._random.random() < 0.04 or depth > 5:
            return self._junk()
        for several in ("anyOf", "oneOf"):
            if several in schema and "properties" not in schema:
                return self._value(self._random.choice(schema[several]), depth + 1)
        if "enum" in schema:
            return self._random.choice(schema["enum"])
        return self._typed(schema, depth)

    def _typed(self, schema: dict[str, Any], depth: int) -> Any:
        kind = schema.get("type")
        if kind == "object" or "properties" in schema:
            return self._object(schema, depth)
        if kind == "array":
            inner = schema.get("items", {})
            return [self._value(inner, depth + 1) for _ in range(self._random.randrange(3))]
        if kind == "string":
            return self._string(schema.get("format"))
        words: dict[object, list[Any]] = {
            "integer": [0, 1, 2, 10, -1, 10**6],
            "number": [0, 0.5, 86_400],
            "boolean": [True, False],
        }
        return self._random.choice(words[kind]) if kind in words else self._junk()

    def _string(self, form: str | None) -> str:
        if form == "uuid":
            return self._id("thread_id")
        if form == "assistant":
            return self._random.choice(["graph", *self._world.ids["assistant_id"]])
        words = ["graph", "@daily", "UTC", "notes", "one", "ada", "owner", "*", ""]
        return self._random.choice(words)

    def _object(self, schema: dict[str, Any], depth: int) -> Any:
        required = schema.get("required", [])
        found = {
            name: self._value(inner, depth + 1)
            for name, inner in schema.get("properties", {}).items()
            if name in required or self._random.random() < 0.35
        }
        if "properties" not in schema and self._random.random() < 0.5:
            found["owner"] = self._random.choice(["ada", "bob", {"$ne": "bob"}, None])
        # Runs that begin now would only be slow.
        if "after_seconds" in schema.get("properties", {}) and self._random.random() < 0.9:
            found["after_seconds"] = 86_400
        return found

    def _junk(self) -> Any:
        values: list[Any] = [
            None, True, -1, 1e300, 2**70, "", "ada", "\0", "\ud83d", [], {}, [[[]]],
            {"owner": "ada"}, {"$or": [{}, {}]}, {"$ne": "bob"}, {"owner": {"$ne": 1}},
            {"langgraph_auth_user": {"identity": "ada"}}, {"configurable": {"user_id": "ada"}},
            *self._world.ids["thread_id"], *self._world.ids["run_id"],
        ]  # fmt: skip
        return self._random.choice(values)

    def _headers(self) -> tuple[list[tuple[bytes, bytes]], bool]:
        known = self._random.random() < 0.85
        broken = [
            b"Bearer", b"Bearer eve", b"Basic YWRhOmFkYQ==", b"ada", b"Bearer ada bob", b"",
            b"bearer ada", b"Bearer \xff\xfe", b"Bearer adaa", b"Bearer " + b"a" * 4000,
        ]  # fmt: skip
        value = b"Bearer bob" if known else self._random.choice(broken)
        headers = [(b"authorization", value), (b"content-type", b"application/json")]
        tricks = [
            (b"x-auth-scheme", b"langsmith"), (b"x-user-id", b"ada"), (b"x-forwarded-user", b"ada"),
            (b"x-forwarded-for", b"127.0.0.1"), (b"x-original-url", b"/ok"), (b"cookie", b"u=ada"),
            (b"last-event-id", b"-1"), (b"prefer", b"return=minimal"), (b"x-http-method", b"GET"),
            (b"origin", b"http://localhost"), (b"loomline.caller", b"ada"),
        ]  # fmt: skip
        if self._random.random() < 0.3:
            headers += self._random.sample(tricks, 2)
        return headers, known


def fuzz(url: str, world: World, *, number: int, seed: int) -> Counter[int]:
    """Send requests; return how many had which status.

    Raises:
        AssertionError: an answer tells what it must not, or is a server error.
    """
    statuses: Counter[int] = Counter()
    with httpx.Client(base_url=url, timeout=httpx.Timeout(20, read=2)) as http:
        fuzzer = Fuzzer(http.get("/openapi.json").json(), world, seed)
        for _ in range(number):
            method, target, body, headers, known = fuzzer.request()
            status, text = _send(http, method, target, body, headers)
            told = f"{method} {target} {body!r} {headers} -> {status} {text[:500]}"
            assert status < 500, told
            assert SECRET not in text, told
            path = target.partition("?")[0]
            open_path = path in {"/", "/ok", "/info", "/metrics", "/docs", "/openapi.json"}
            assert known or open_path or status == 401, told
            statuses[status] += 1
    return statuses


UUID_TEXT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

_TRIES = 150
"""Requests are made at random, so most of them do not fit together."""

BEARERS = {"ada": b"Bearer ada", "bob": b"Bearer bob"}


def pairs(url: str, world: World, *, rounds: int, seed: int) -> Counter[str]:
    """Let two users send the same requests; return how many good pairs of answers each route had.

    Routes that take an idempotency key are sent requests until both answers are good.

    The second user sends what the first has sent, byte for byte. An id that the server made for the
    first is in the first answer, and neither in the request nor in the second answer.

    Raises:
        AssertionError: an answer has an id of the other user's, or is a server error.
    """
    compared: Counter[str] = Counter()
    with httpx.Client(base_url=url, timeout=httpx.Timeout(60, read=5)) as http:
        fuzzer = Fuzzer(http.get("/openapi.json", timeout=60).json(), world, seed)
        shared = {_default_assistant(url)}
        for number, route in itertools.product(range(rounds), fuzzer.routes):
            name = f"{route[0]} {route[1]}"
            # Each begins half of the time.
            order = ["ada", "bob"] if number % 2 else ["bob", "ada"]
            good = False
            for attempt in range(_TRIES if _takes_a_key(route) else 1):
                key = re.sub(r"[ {}]", "-", f"{seed} {number} {attempt} {name}")
                good = good or _compare(http, fuzzer.request_for(route), order, key, shared)
            compared[name] += good
    return compared


def _takes_a_key(route: tuple[str, str, dict[str, Any]]) -> bool:
    return any(each["name"] == "Idempotency-Key" for each in route[2].get("parameters", []))


def _compare(
    http: httpx.Client,
    request: tuple[str, str, bytes | None],
    order: list[str],
    key: str,
    shared: set[str],
) -> bool:
    """Send a request as two users; return whether both answers are good."""
    method, target, body = request
    answers = []
    for name in order:
        headers = [
            (b"authorization", BEARERS[name]),
            (b"content-type", b"application/json"),
            (b"idempotency-key", key.encode()),
            (b"last-event-id", b"-1"),
        ]
        answers.append(_send(http, method, target, body, headers))
    asked = set(UUID_TEXT.findall(f"{target} {body!r}")) | shared
    first, second = (set(UUID_TEXT.findall(text)) - asked for _, text in answers)
    told = f"{method} {target} {body!r} {order} -> {answers}"[:4000]
    assert all(status < 500 for status, _ in answers), told
    assert not first & second, told
    return all(status < 400 for status, _ in answers)


def _default_assistant(url: str) -> str:
    """Return the id of the assistant that every graph has, which all users see."""
    with user(url, "carol") as carol:
        body = {"assistant_id": "graph", "after_seconds": 86_400}
        return str(carol.post("/runs", json=body).json()["assistant_id"])


def _send(
    http: httpx.Client,
    method: str,
    target: str,
    body: bytes | None,
    headers: list[tuple[bytes, bytes]],
) -> tuple[int, str]:
    text = ""
    # Bob may follow, and wait for, what is his own, and that has no end.
    endless = re.search("stream|wait|join", target) is not None
    with (
        contextlib.suppress(httpx.ReadTimeout),
        http.stream(method, target, content=body, headers=headers) as answer,
    ):
        for part in answer.iter_text():
            text += part
            if endless and ("heartbeat" in text or part.isspace() or len(text) > 2000):
                break
        return answer.status_code, text
    return 200, text


@contextlib.contextmanager
def serving(folder: Path, *flags: str) -> Iterator[tuple[str, int]]:
    """Serve from a process; yield the address and the id of the process."""
    (folder / "auth.py").write_text(HANDLERS)
    (folder / "graph.py").write_text(GRAPH)
    config = {"graphs": {"graph": "./graph.py:graph"}, "auth": {"path": "./auth.py:auth"}}
    (folder / "langgraph.json").write_text(json.dumps(config))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            sys.executable, "-m", "loomline.server.cli", "serve", "--port", str(port),
            "--config", str(folder / "langgraph.json"), "--data-dir", str(folder / "data"),
            "--log-level", "error", "--heartbeat-seconds", "0.2", *flags,
        ],
        stderr=subprocess.DEVNULL,  # what goes wrong in Bob's graphs
    )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(30)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/ok").status_code == 200:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError("the server did not start")


def memory_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert match is not None
    return int(match[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument("--database-url", default="")
    parser.add_argument("--rounds", type=int, default=20, help="pairs of requests for each route")
    given = parser.parse_args()
    flags = ["--database-url", given.database_url] if given.database_url else []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), *flags) as (url, pid):
        print(f"seed {given.seed}")
        with user(url, "ada") as ada:
            world = build(ada)
            tenth = max(1, given.requests // 10)
            statuses = fuzz(url, world, number=tenth, seed=given.seed)
            before = memory_mb(pid)
            for part in range(1, 10):
                statuses += fuzz(url, world, number=tenth, seed=given.seed + part)
                print(f"{(part + 1) * tenth} requests, {memory_mb(pid):.0f} MB", flush=True)
            assert world.look(ada) == world.picture, "something of Ada's has changed"
            growth = memory_mb(pid) - before
            compared = pairs(url, world, rounds=given.rounds, seed=given.seed)
    print(
        f"{sum(compared.values())} pairs of answers on {len(compared)} routes have no id in common"
    )
    print(f"statuses: {dict(sorted(statuses.items()))}")
    print(f"{sum(statuses.values())} requests in {time.monotonic() - began:.0f} s; memory grew by")
    print(f"{growth:.1f} MB after the first tenth. Nothing was told, nothing changed.")
    assert growth < GROWTH_MOST_MB, "the memory grows"


if __name__ == "__main__":
    main()
