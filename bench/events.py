"""Measure the event log alone: in memory, and on Redis between two processes' worth of clients.

    python bench/events.py [--events 20000] [--rounds 3]

appends: how fast events are handed in one by one, for one stream and for 16 at the same time.
events: how fast they arrive at a reader of each stream, appending included. On Redis the reader
has connections of its own, as another process would. Medians of the rounds are shown.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from database import redis_server

from loomline.server.clock import SystemClock
from loomline.server.domain.events import START, Event
from loomline.server.domain.json import Encoded
from loomline.server.events.memory import MemoryEventLog
from loomline.server.events.redis import RedisEvents, RedisOptions
from loomline.server.ports.events import EventLog, EventReader

# As long as a token of a stream is on the wire.
EVENT = Event("messages", Encoded(b'[{"content":"t","type":"AIMessageChunk"}' + b" " * 400 + b"]"))


@asynccontextmanager
async def logs(url: str | None) -> AsyncIterator[tuple[EventLog, EventLog]]:
    """Yield what writes and what reads."""
    if url is None:
        log = MemoryEventLog(SystemClock())
        yield log, log
        return
    writing, reading = (
        RedisEvents(url, RedisOptions("loomline:")),
        RedisEvents(url, RedisOptions("loomline:")),
    )
    await writing.open()
    await reading.open()
    try:
        yield writing.log, reading.log
    finally:
        await writing.aclose()
        await reading.aclose()


async def write(log: EventLog, stream: str, count: int) -> None:
    for number in range(count):
        await log.append(stream, [EVENT])
        if number % 20 == 0:
            await asyncio.sleep(0)  # a graph lets others run, too
    await log.close(stream, 30)


async def count(reader: EventReader) -> int:
    return sum([len(batch) async for batch in reader])


async def measure(url: str | None, streams: int, events: int) -> tuple[float, float]:
    """Return appended and arrived events per second."""
    async with logs(url) as (writer, source):
        names = [str(uuid4()) for _ in range(streams)]
        readers = [asyncio.create_task(count(source.read(name, START))) for name in names]
        await asyncio.sleep(0)
        each = events // streams
        began = time.perf_counter()
        await asyncio.gather(*(write(writer, name, each) for name in names))
        appended = time.perf_counter()
        found = sum(await asyncio.gather(*readers))
        ended = time.perf_counter()
    if found != each * streams:
        raise RuntimeError(f"{found} events instead of {each * streams}")
    return found / (appended - began), found / (ended - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print(f"{'log':>8}{'streams':>9}{'appends/s':>12}{'events/s':>12}")
    with redis_server() as url:
        for streams in (1, 16):
            for name, where in (("memory", None), ("redis", url)):
                found = [
                    asyncio.run(measure(where, streams, args.events)) for _ in range(args.rounds)
                ]
                appends, events = (statistics.median(side) for side in zip(*found, strict=True))
                print(f"{name:>8}{streams:>9}{appends:>12,.0f}{events:>12,.0f}")


if __name__ == "__main__":
    main()
