"""What opens and closes a process."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette

from loomline.client import configure_loopback_transports
from loomline.server.api.connections import Connections
from loomline.server.api.entries import Resource
from loomline.server.api.inside import Door, Inside, as_user
from loomline.server.app.execution import Webhooks
from loomline.server.caching import shared_cache
from loomline.server.ports.measures import Measures
from loomline.server.ports.storage import Storage
from loomline.server.services.assistants import AssistantService
from loomline.server.services.departures import Departures
from loomline.server.services.run_watch import WatchedEvents
from loomline.server.worker.crons import CronStarter
from loomline.server.worker.loop import Worker
from loomline.server.worker.sweep import Sweeper

if TYPE_CHECKING:
    from loomline.server.events.redis import RedisEvents


# How long a thread may compute before another gets its turn. Python's own 5 ms would let one busy
# graph delay every step of the API and of other graphs by that much.
SWITCH_SECONDS: Final = 0.001

# Python's own 700 would look for garbage several times in each run.
GC_THRESHOLD: Final = (10_000, 20, 20)

# Said once per process by langgraph, about what the thread protocol is made of.
_EXPECTED_WARNING: Final = "The v3 streaming protocol on Pregel is experimental"


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a server process consists of. ``alone``: no other one can use its database.

    ``protected``: nobody is served without being known.
    """

    storage: Storage
    alone: bool
    redis: RedisEvents | None
    watch: WatchedEvents
    worker: Worker
    sweeper: Sweeper
    departures: Departures
    crons: CronStarter
    webhooks: Webhooks
    assistants: AssistantService
    resources: Sequence[Resource]
    measures: Measures
    connections: Connections
    protected: bool


@asynccontextmanager
async def lifespan(parts: Parts, app: Starlette, door: Door) -> AsyncIterator[None]:
    _tune_interpreter()
    async with AsyncExitStack() as stack:
        # What opens only half is closed as well.
        stack.push_async_callback(parts.storage.close)
        await parts.storage.open()
        if parts.redis is not None:
            await parts.redis.open()
            stack.push_async_callback(parts.redis.aclose)
        async with _working(parts, app, door):
            yield


@asynccontextmanager
async def _working(parts: Parts, app: Starlette, door: Door) -> AsyncIterator[None]:
    # From now on clients without an address, made by graphs, reach this server.
    inside = Inside(app, asyncio.get_running_loop(), strict=parts.protected)
    configure_loopback_transports(inside)
    door.open(inside)
    async with AsyncExitStack() as stack:
        stack.callback(parts.webhooks.resolver.close)
        stack.callback(door.close)
        stack.callback(configure_loopback_transports, None)
        stack.enter_context(shared_cache(parts.storage.cache))
        await parts.assistants.ensure_defaults()
        await _start(parts, app, stack)
        yield


async def _start(parts: Parts, app: Starlette, stack: AsyncExitStack) -> None:
    """Start everything; what is stopped last comes first, and is stopped whatever fails."""
    webhooks = parts.webhooks
    stack.push_async_callback(webhooks.client.aclose)
    webhooks.client.open(partial(as_user, app))
    # Stopped after the last run has ended: what it has to tell may still go out.
    stack.push_async_callback(webhooks.sender.stop)
    await webhooks.sender.start(orphaned=parts.alone)
    stack.push_async_callback(parts.watch.stop)
    parts.watch.start()
    stack.push_async_callback(parts.worker.stop)
    # If the database is locked, whatever is marked as running was left by a dead process.
    await parts.worker.start(orphaned=parts.alone)
    stack.push_async_callback(parts.departures.stop)
    parts.departures.start()
    stack.push_async_callback(parts.sweeper.stop)
    parts.sweeper.start()
    stack.push_async_callback(parts.crons.stop)
    parts.crons.start()


def _tune_interpreter() -> None:
    """Adapt the interpreter to a server: many short-lived objects beside many that stay.

    The modules loaded by now are some hundred thousand objects that never become garbage. Looking
    through them again and again takes a quarter of the time of short runs, and 50 ms at once.
    """
    warnings.filterwarnings("ignore", message=_EXPECTED_WARNING)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
