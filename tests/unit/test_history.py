"""Histories with large states."""

import asyncio

import pytest
from langgraph.types import StateSnapshot

from loomline.server.domain.errors import HistoryTooLarge
from loomline.server.graphs.states import HISTORY_BYTES, Selection, read_history

CONFIG = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


class Past:
    """A graph with a long past and a value of some size in each state."""

    def __init__(self, size):
        self._value = "x" * size

    async def aget_state_history(self, config, *, filter, before, limit):
        for number in range(limit):
            place = {"configurable": {**CONFIG["configurable"], "checkpoint_id": f"{number}"}}
            yield StateSnapshot({"value": self._value}, (), place, {}, None, None, (), ())


async def history(past, limit, *fields):
    return await read_history(
        past, CONFIG, Selection.of(fields), metadata={}, before=None, limit=limit
    )


async def test_a_history_lets_others_on_its_loop_after_each_state():
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await history(Past(10), 40)
    task.cancel()
    assert turns >= 40


async def test_a_history_larger_than_one_answer_is_refused_with_a_remedy():
    size = HISTORY_BYTES // 10
    with pytest.raises(HistoryTooLarge, match=r"9 states fit\. Ask for fewer with 'limit'"):
        await history(Past(size), 20)
    # Its parts are not.
    assert len(await history(Past(size), 9)) > 9 * size
    assert len(await history(Past(size), 20, "checkpoint_id")) < 20 * 100
