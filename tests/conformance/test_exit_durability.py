"""A run with durability "exit" whose final checkpoint was lost begins again with its input."""

import json

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from tests.conformance.test_fences import executor, request, taken_over

from loomline.server.events.memory import MemoryEventLog
from loomline.server.worker.execute import Assignment


@pytest.mark.parametrize("durability", ["exit", "async"])
async def test_a_run_that_left_only_an_empty_checkpoint_gets_its_input_again(
    storage, clock, durability
):
    kwargs = request(input={"topic": "cats"}, durability=durability)
    claims = taken_over(storage, clock, graph_id="joke", kwargs=kwargs)
    first = await anext(claims)
    # langgraph stores it before the writes of delta channels, which need a checkpoint to be at.
    saver = storage.run_checkpointer(first, wait=True)
    config = {
        "configurable": {"thread_id": str(first.run.thread_id), "checkpoint_ns": ""},
        "metadata": {"run_id": str(first.run.run_id)},
    }
    await saver.aput(config, empty_checkpoint(), {"step": -2}, {})
    second = Assignment(await anext(claims))
    await executor(storage, MemoryEventLog(clock), clock).execute(second)
    assert second.result == "success"
    thread = await storage.threads.get(first.run.thread_id)
    assert json.loads(thread.values)["topic"] == "cats and cats"
