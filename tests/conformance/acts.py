"""What the storage suites do again and again."""

from datetime import UTC, datetime
from uuid import uuid4

from langgraph.checkpoint.base import empty_checkpoint
from tests.support import new_run, new_thread

from loomline.server.domain.json import Encoded
from loomline.server.domain.runs import Outcome, Stop

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DONE = Outcome("success", "idle", values=Encoded(b'{"a":1}'))
ROLLED_BACK = Outcome("interrupted", "idle", roll_back=True)
INTERRUPT = Stop("interrupt", "asked")
ROLLBACK = Stop("rollback", "asked")


async def thread_of(storage, **fields):
    return (await storage.threads.create(new_thread(now=NOW, **fields))).thread_id


async def add(storage, thread_id, **fields):
    return (await storage.runs.create(new_run(thread_id, now=NOW, **fields))).run.run_id


async def claim(storage, limit=1, seconds=15.0):
    return list(await storage.runs.claim("worker", limit, seconds))


async def started(storage, thread_id, **fields):
    """Add a run that comes first on its thread, and claim it."""
    await add(storage, thread_id, **fields)
    (held,) = await claim(storage)
    return held


def root(thread_id):
    return {"configurable": {"thread_id": str(thread_id), "checkpoint_ns": ""}}


async def checkpoint(saver, thread_id, run_id, value="x" * 1000):
    """Put a checkpoint with one channel too big to be inside of it, and one write to it."""
    config = root(thread_id)
    config["configurable"]["run_id"] = str(run_id)
    saved = empty_checkpoint()
    saved["channel_values"] = {"big": value}
    version = saver.get_next_version(None, None)
    saved["channel_versions"] = {"big": version}
    metadata = {"source": "loop", "step": 0, "run_id": str(run_id)}
    stored = await saver.aput(config, saved, metadata, {"big": version})
    await saver.aput_writes(stored, [("big", value)], str(uuid4()))
    return stored
