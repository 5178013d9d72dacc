"""New states of a thread are told to whoever follows it, whatever becomes of the hints."""

import asyncio
from contextlib import aclosing

import orjson
import pytest
from tests.support import new_thread, open_storage

from loomline.server.authz.authorizer import Authorizer
from loomline.server.authz.users import SERVER
from loomline.server.clock import SystemClock
from loomline.server.graphs.registry import Graphs
from loomline.server.ports.signals import STATE, THREAD
from loomline.server.services.states import StateService
from loomline.server.services.thread_stream import ThreadStreamService
from loomline.server.worker.calls import RunnerCalls
from loomline.server.worker.runners import Runner, RunnerOptions


@pytest.mark.parametrize("named", [True, False], ids=["one thread", "any thread"])
async def test_a_hint_without_a_name_is_one_for_every_thread(world, tmp_path, named):
    signals, clock, authz = await world.signals(), SystemClock(), Authorizer()
    async with open_storage(tmp_path) as storage:
        thread = (await storage.threads.create(new_thread())).thread_id
        states = StateService(
            storage=storage,
            graphs=Graphs.load([]),
            calls=RunnerCalls(Runner(RunnerOptions(), asyncio.new_event_loop)),
            signals=signals,
            clock=clock,
            authz=authz,
        )
        service = ThreadStreamService(
            storage=storage,
            events=await world.log(),
            signals=signals,
            states=states,
            clock=clock,
            authz=authz,
        )
        modes = frozenset({"state_update"})
        async with aclosing(await service.follow(SERVER, thread, None, modes)) as batches:
            told = asyncio.create_task(anext(batches))
            async with asyncio.timeout(150):
                while not told.done():
                    # What a listener says that has lost its connection for a while.
                    for topic in (THREAD, STATE):
                        await signals.publish(topic, str(thread) if named else "")
                    await asyncio.wait([told], timeout=0.01)
            (stored,) = told.result()
    assert stored.event.name == "state_update"
    assert orjson.loads(stored.event.data)["thread_id"] == str(thread)
