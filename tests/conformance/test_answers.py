"""A question of a thread is answered by one run, until it is asked again or the run is gone."""

import asyncio
from dataclasses import replace

import pytest
from tests.conformance.acts import (
    DONE,
    INTERRUPT,
    NOW,
    ROLLBACK,
    ROLLED_BACK,
    add,
    claim,
    thread_of,
)
from tests.support import new_run

from loomline.server.domain.errors import AlreadyAnswered
from loomline.server.domain.json import Encoded

pytestmark = pytest.mark.unsealed

ASKED = Encoded(b'{"task":[{"id":"q","value":1}]}')
ASKS = replace(DONE, thread_status="interrupted", interrupts=ASKED, asked=("q",))


@pytest.fixture
async def thread(storage):
    return await thread_of(storage)


async def answer(storage, thread, *questions, **fields):
    new = new_run(thread, now=NOW, answers=questions or ("q",), **fields)
    return (await storage.runs.create(new)).run.run_id


async def refused(storage, thread, question="q"):
    with pytest.raises(AlreadyAnswered, match=question):
        await answer(storage, thread, question)
    return True


async def finish(storage, outcome=DONE):
    (held,) = await claim(storage)
    await storage.runs.finish(held, outcome)


async def test_question_answered_by_many_at_once_is_answered_by_one(storage, thread):
    found = await asyncio.gather(
        *[answer(storage, thread) for _ in range(8)], return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in found) == ["AlreadyAnswered"] * 7 + ["UUID"]
    assert len(await storage.runs.list(thread, limit=100, offset=0, status="pending")) == 1


async def test_different_questions_are_answered_by_different_runs(storage, thread):
    await answer(storage, thread, "q")
    await answer(storage, thread, "r")
    await answer(storage, await thread_of(storage), "q")
    assert await refused(storage, thread, "r")


async def test_answer_to_two_questions_is_refused_when_one_of_them_is_answered(storage, thread):
    await answer(storage, thread, "q")
    with pytest.raises(AlreadyAnswered, match="q"):
        await answer(storage, thread, "r", "q")
    await answer(storage, thread, "r")


async def test_refused_answer_leaves_the_other_runs_alone(storage, thread):
    waiting = await answer(storage, thread)
    with pytest.raises(AlreadyAnswered):
        await answer(storage, thread, "s", "q")
    (run,) = await storage.runs.list(thread, limit=100, offset=0, status=None)
    assert (run.run_id, run.status) == (waiting, "pending")


async def test_question_stays_answered_after_the_end_of_the_run_that_has_answered_it(
    storage, thread
):
    await answer(storage, thread)
    await finish(storage)
    assert await refused(storage, thread)


@pytest.mark.parametrize("stop", [INTERRUPT, ROLLBACK])
async def test_question_is_open_again_when_its_answer_is_cancelled_before_it_begins(
    storage, thread, stop
):
    await storage.runs.cancel(thread, [await answer(storage, thread)], stop)
    await answer(storage, thread)


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_question_is_open_again_when_its_answer_is_superseded(storage, thread, strategy):
    await answer(storage, thread)
    await answer(storage, thread, strategy=strategy)
    assert await refused(storage, thread)


async def test_question_is_open_again_when_the_run_that_has_answered_it_is_deleted(storage, thread):
    run_id = await answer(storage, thread)
    await finish(storage)
    await storage.runs.delete(thread, run_id)
    await answer(storage, thread)


async def test_question_is_open_again_when_its_answer_is_rolled_back(storage, thread):
    await answer(storage, thread)
    await finish(storage, ROLLED_BACK)
    await answer(storage, thread)


async def test_question_that_is_asked_again_at_the_end_of_its_answer_is_open(storage, thread):
    await answer(storage, thread)
    await finish(storage, ASKS)
    await answer(storage, thread)
    assert await refused(storage, thread)


async def test_question_that_is_asked_again_by_a_running_run_is_open(storage, thread):
    await answer(storage, thread)
    (held,) = await claim(storage)
    assert await refused(storage, thread)
    await storage.runs.ask(held, ASKED, ["q"])
    await answer(storage, thread)
    await storage.runs.finish(held, ASKS)
    assert await refused(storage, thread)


async def test_question_is_answered_by_a_run_that_resumes_by_id_without_claiming_it(
    storage, thread
):
    question = "0123456789abcdef" * 2
    command = {"resume": {question: "yes"}}
    for _ in range(2):
        await storage.runs.create(new_run(thread, now=NOW, command=command))
    assert await refused(storage, thread, question)


async def test_answers_go_with_their_thread(database, storage, thread):
    before = database.rows()
    (answers,) = [name for name in before if name.endswith("run_answers")]
    await answer(storage, thread)
    await add(storage, thread)
    assert database.rows()[answers] == 1
    await storage.threads.delete(thread)
    assert database.rows()[answers] == 0
