"""Thread streaming with our own server, through a line that breaks after so many bytes."""

import asyncio
import contextlib

import pytest
from tests.serving import serving_here

from loomline.client import get_client

TOKENS = 60  # more than one cut may be at, when a WebSocket compresses them
WORDS = [f"w{number} " for number in range(TOKENS)]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving_here(tmp_path_factory.mktemp("data")) as url:
        yield url


class Line:
    """Passes connections on, and breaks those of event streams."""

    def __init__(self, port, after):
        self.port = port
        self.after = after
        self.broken = 0
        self._serving = set()

    @contextlib.asynccontextmanager
    async def open(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader, writer):
        self._serving.add(asyncio.current_task())
        try:
            await self._pass_on(reader, writer)
        finally:
            writer.transport.abort()

    async def _pass_on(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        up, down = await asyncio.open_connection("127.0.0.1", self.port)
        down.write(head)
        limit = self.after if b"/stream/events" in head and self.broken < 3 else None
        there = asyncio.create_task(pump(reader, down, None))
        try:
            whole = await pump(up, writer, limit)
            self.broken += not whole  # not with the await inside: another connection adds meanwhile
        finally:
            there.cancel()
            down.transport.abort()


async def pump(reader, writer, limit):
    """Pass bytes on; return whether that was all of them."""
    passed = 0
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(4096):
            if limit is not None and passed + len(data) > limit:
                writer.write(data[: limit - passed])
                await writer.drain()
                return False
            passed += len(data)
            writer.write(data)
            await writer.drain()
    return True


@pytest.mark.parametrize("transport", ["sse", "websocket"])
@pytest.mark.parametrize("after", [0, 100, 400, *range(500, 1300, 117)])
async def test_nothing_is_lost_or_repeated(served, transport, after):
    line = Line(int(served.rpartition(":")[2]), after)
    async with line.open() as url, get_client(url=url, api_key=None) as client:
        stream = client.threads.stream(assistant_id="talker", transport=transport)
        async with stream as thread:
            await thread.run.start(input={"tokens": TOKENS})
            (message,) = [message async for message in thread.messages]
            assert [piece async for piece in message.text] == WORDS
            assert len((await thread.output)["messages"]) == 1
    assert line.broken > 0
