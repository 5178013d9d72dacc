"""The thread protocol, spoken by hand: every byte is that of the wire."""

import itertools
import json
import uuid
from contextlib import asynccontextmanager

import httpx
from websockets.asyncio.client import connect

ALL = [
    "values", "updates", "messages", "tools", "custom", "lifecycle", "input", "checkpoints",
    "tasks",
]  # fmt: skip
ENDS = {"completed", "failed", "interrupted"}


def new_thread_id():
    return str(uuid.uuid4())


def data(event):
    return event["params"]["data"]


def is_end(event):
    """Return whether an event ends a run."""
    return (
        event["method"] == "lifecycle"
        and event["params"]["namespace"] == []
        and data(event)["event"] in ENDS
    )


class Thread:
    """One thread of a server."""

    def __init__(self, server, thread_id=None):
        self.server = server
        self.id = thread_id or new_thread_id()
        self._numbers = itertools.count(1)

    @property
    def path(self):
        return f"{self.server}/threads/{self.id}"

    async def post(self, content):
        """Send a body as it is."""
        async with httpx.AsyncClient(timeout=150) as http:
            return await http.post(f"{self.path}/commands", content=content)

    async def command(self, method, **params):
        number = next(self._numbers)
        body = {"id": number, "method": method, "params": params}
        response = await self.post(json.dumps(body))
        assert response.status_code == 200, response.text
        answer = response.json()
        assert answer["id"] == number
        return answer

    async def start(self, assistant, given=None, **params):
        answer = await self.command("run.start", assistant_id=assistant, input=given, **params)
        assert answer["type"] == "success", answer
        return answer["result"]["run_id"]

    @asynccontextmanager
    async def sse(self, channels=ALL, **params):
        """Yield the events, as they come."""
        body = {"channels": list(channels), **params}
        async with (
            httpx.AsyncClient(timeout=150) as http,
            http.stream("POST", f"{self.path}/stream/events", json=body) as response,
        ):
            assert response.status_code == 200
            yield _events(response)

    @asynccontextmanager
    async def websocket(self):
        address = self.path.replace("http", "ws", 1)
        async with connect(f"{address}/stream/events", max_size=None) as socket:
            yield Socket(socket)

    @asynccontextmanager
    async def subscribed(self, channels=ALL, **params):
        """Yield the events that come over a WebSocket."""
        async with self.websocket() as socket:
            await socket.send("subscription.subscribe", channels=list(channels), **params)
            yield socket.events()

    async def until_end(self, ends=1, **params):
        """Return the events from the beginning up to so many ends of runs."""
        async with self.sse(**params) as events:
            return await events_until_end(events, ends)


class Socket:
    """A WebSocket with commands."""

    def __init__(self, raw):
        self.raw = raw
        self._numbers = itertools.count(1)

    async def send(self, method, **params):
        number = next(self._numbers)
        await self.raw.send(json.dumps({"id": number, "method": method, "params": params}))
        return number

    async def receive(self):
        return json.loads(await self.raw.recv())

    async def ask(self, method, **params):
        """Send a command; return the answer and the events that came before it."""
        number = await self.send(method, **params)
        before = []
        while True:
            message = await self.receive()
            if message["type"] != "event":
                assert message["id"] == number
                return message, before
            before.append(message)

    async def events(self):
        while True:
            message = await self.receive()
            if message["type"] == "event":
                yield message
            else:
                assert message["type"] == "success", message


async def _events(response):
    fields = {}
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if name:
            fields[name] = value
        elif "data" in fields:
            event = json.loads(fields["data"])
            if event["type"] == "event":
                assert fields["event"] == event["method"]
                assert fields["id"] == str(event["seq"])
            yield event
            fields = {}


async def events_until_end(events, ends=1):
    """Return events up to so many ends of runs."""
    found = []
    async for event in events:
        found.append(event)
        if event["type"] != "event":
            return found
        ends -= is_end(event)
        if not ends:
            return found
    raise AssertionError("the stream has ended")
