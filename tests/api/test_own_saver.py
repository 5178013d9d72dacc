"""Checkpoints in the user's own saver: `checkpointer.path` in langgraph.json."""

import asyncio
import re
from uuid import uuid4

import httpx
import pytest
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from tests.own_saver import config, get, new_thread, post, run
from tests.postgres import new_schema

SAVERS = {"sqlite": AsyncSqliteSaver, "whole": AsyncSqliteSaver, "postgres": AsyncPostgresSaver}


class Own:
    """A server with an own saver, and the contents of the saver."""

    def __init__(self, kind, place):
        self.kind = kind
        self.place = place
        self.address = None

    async def checkpoints(self, thread):
        """Return the ids of the checkpoints that the saver itself finds, with namespaces."""
        async with SAVERS[self.kind].from_conn_string(self.place) as saver:
            found = saver.alist({"configurable": {"thread_id": thread}})
            named = [each.config["configurable"] async for each in found]
        return [(each["checkpoint_ns"], each["checkpoint_id"]) for each in named]


@pytest.fixture(scope="module", params=SAVERS)
def own(request, serving, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    place = new_schema() if request.param == "postgres" else str(folder / "own.db")
    made = Own(request.param, place)
    with serving(config=config(folder, request.param, place)) as made.address:
        yield made


@pytest.fixture
async def http(own):
    async with httpx.AsyncClient(base_url=own.address, timeout=300) as made:
        yield made


async def test_a_run_stores_its_checkpoints_in_the_own_saver(own, http):
    thread = await new_thread(http)
    assert (await run(http, thread))["items"] == ["a", "b"]
    history = await post(http, f"/threads/{thread}/history", limit=10)
    assert [each["values"]["items"] for each in history] == [["a", "b"], ["a"], [], []]
    ids = [("", each["checkpoint"]["checkpoint_id"]) for each in history]
    assert await own.checkpoints(thread) == ids


async def test_a_run_pauses_at_a_question_and_goes_on_with_the_answer(http):
    thread = await new_thread(http)
    paused = await run(http, thread, "ask")
    (question,) = paused["__interrupt__"]
    assert question["value"] == ["a"]
    row = await get(http, f"/threads/{thread}")
    assert row["status"] == "interrupted"
    assert row["values"] == {"items": ["a"]}
    (asked,) = row["interrupts"].values()
    assert asked[0]["value"] == ["a"]
    state = await get(http, f"/threads/{thread}/state")
    assert state["next"] == ["ask"]
    ended = await run(http, thread, "ask", input=None, command={"resume": "yes"})
    assert ended == {"items": ["a"], "answer": "yes"}
    row = await get(http, f"/threads/{thread}")
    assert (row["status"], row["values"], row["interrupts"]) == ("idle", ended, {})


async def test_a_subgraph_keeps_its_state_in_the_own_saver(own, http):
    thread = await new_thread(http)
    await run(http, thread, "nested")
    state = await get(http, f"/threads/{thread}/state?subgraphs=true")
    (task,) = state["tasks"]
    assert task["state"]["values"]["items"] == ["a", "a"]
    namespaces = {namespace for namespace, _ in await own.checkpoints(thread)}
    assert len(namespaces) == 2
    ended = await run(http, thread, "nested", input=None, command={"resume": "yes"})
    assert ended["answer"] == "yes"


async def test_a_sync_node_calls_a_subgraph_with_the_own_saver(http):
    thread = await new_thread(http)
    assert (await run(http, thread, "calling"))["items"] == ["a", "c"]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_each_durability_leaves_the_last_state(own, http, durability):
    thread = await new_thread(http)
    await run(http, thread, durability=durability)
    state = await get(http, f"/threads/{thread}/state")
    assert state["values"]["items"] == ["a", "b"]
    found = await own.checkpoints(thread)
    assert len(found) == (1 if durability == "exit" else 4)


async def test_a_state_is_updated_and_forked(own, http):
    thread = await new_thread(http)
    await run(http, thread)
    before = await own.checkpoints(thread)
    change = {"values": {"items": ["u"]}, "as_node": "a"}
    saved = await post(http, f"/threads/{thread}/state", **change)
    state = await get(http, f"/threads/{thread}/state")
    assert state["values"]["items"] == ["a", "b", "u"]
    assert state["checkpoint"]["checkpoint_id"] == saved["checkpoint_id"]
    row = await get(http, f"/threads/{thread}")
    assert (row["status"], row["values"]) == ("interrupted", state["values"])
    assert [each for each in await own.checkpoints(thread) if each not in before] == [
        ("", saved["checkpoint_id"])
    ]
    history = await post(http, f"/threads/{thread}/history", limit=10)
    (older,) = [each for each in history if each["values"]["items"] == ["a"]]
    forked = await run(http, thread, input=None, checkpoint=older["checkpoint"])
    assert forked["items"] == ["a", "b"]
    updated = await post(
        http, f"/threads/{thread}/state", checkpoint=older["checkpoint"],
        values={"items": ["f"]}, as_node="a",
    )  # fmt: skip
    found = await get(http, f"/threads/{thread}/state/{updated['checkpoint_id']}")
    assert found["values"]["items"] == ["a", "f"]
    assert found["parent_checkpoint"]["checkpoint_id"] == older["checkpoint"]["checkpoint_id"]


async def test_updates_of_a_state_at_once_all_count(http):
    thread = await new_thread(http)
    await run(http, thread)
    changes = [
        post(http, f"/threads/{thread}/state", values={"items": [each]}, as_node="b")
        for each in range(8)
    ]
    await asyncio.gather(*changes)
    state = await get(http, f"/threads/{thread}/state")
    assert sorted(state["values"]["items"][2:]) == list(range(8))


async def test_an_update_of_a_busy_thread_is_refused_and_stores_nothing(own, http, tmp_path):
    thread, gate = await new_thread(http), tmp_path / "gate"
    body = {"assistant_id": "gated", "input": {"items": [], "answer": str(gate)}}
    begun = await post(http, f"/threads/{thread}/runs", **body)
    while not gate.with_suffix(".begun").exists():
        await asyncio.sleep(0.01)
    answer = await post(http, f"/threads/{thread}/state", 409, values={"items": ["u"]})
    assert "detail" in answer
    gate.touch()
    result = await get(http, f"/threads/{thread}/runs/{begun['run_id']}/join")
    assert result["items"] == ["a", "gate"]
    assert len(await own.checkpoints(thread)) == 4


async def test_a_thread_is_created_with_the_state_of_supersteps(own, http):
    steps = [
        {"updates": [{"values": {"items": ["x"]}, "as_node": "__start__"}]},
        {"updates": [{"values": {"items": ["y"]}, "as_node": "a"}]},
    ]
    given = {"thread_id": str(uuid4()), "metadata": {"graph_id": "steps"}, "supersteps": steps}
    made = await post(http, "/threads", **given)
    assert made["values"] == {"items": ["x", "y"]}
    state = await get(http, f"/threads/{made['thread_id']}/state")
    assert (state["values"], state["next"]) == (made["values"], ["b"])
    count = len(await own.checkpoints(made["thread_id"]))
    await post(http, "/threads", 409, **given)
    again = await post(http, "/threads", **given, if_exists="do_nothing")
    assert again["values"] == made["values"]
    assert len(await own.checkpoints(made["thread_id"])) == count


async def test_supersteps_that_are_refused_leave_no_thread(own, http):
    steps = [{"updates": [{"values": {"items": ["x"]}, "as_node": "nobody"}]}]
    thread = str(uuid4())
    given = {"thread_id": thread, "metadata": {"graph_id": "steps"}, "supersteps": steps}
    await post(http, "/threads", 400, **given)
    await get(http, f"/threads/{thread}", 404)
    assert await own.checkpoints(thread) == []


async def test_a_copy_of_a_thread_has_the_whole_history_and_goes_on_by_itself(own, http):
    thread = await new_thread(http)
    await run(http, thread, "nested")
    made = await post(http, f"/threads/{thread}/copy")
    copy = made["thread_id"]
    assert (made["status"], made["values"]) == ("interrupted", {"items": ["a"]})
    assert sorted(await own.checkpoints(copy)) == sorted(await own.checkpoints(thread))
    histories = [await post(http, f"/threads/{each}/history", limit=50) for each in (thread, copy)]
    values, parents, asked = (
        [[pick(state) for state in history] for history in histories]
        for pick in (
            lambda state: (state["checkpoint_id"], state["values"], state["next"]),
            lambda state: (state["parent_checkpoint"] or {}).get("checkpoint_id"),
            lambda state: state["interrupts"],
        )
    )
    assert values[0] == values[1]
    assert parents[0] == parents[1]
    assert asked[0] == asked[1]
    assert any(asked[1])
    before = await own.checkpoints(thread)
    ended = await run(http, copy, "nested", input=None, command={"resume": "yes"})
    assert ended["answer"] == "yes"
    assert await own.checkpoints(thread) == before
    assert (await get(http, f"/threads/{thread}"))["status"] == "interrupted"


async def test_a_deleted_thread_leaves_no_checkpoints(own, http):
    thread = await new_thread(http)
    await run(http, thread)
    assert await own.checkpoints(thread)
    assert (await http.delete(f"/threads/{thread}")).status_code == 204
    assert await own.checkpoints(thread) == []
    assert (await http.delete(f"/threads/{thread}")).status_code == 404


async def lost_runs(http):
    text = (await http.get("/metrics")).text
    found = re.search(r'^loomline_runs_ended_total{result="lost"} (\S+)$', text, re.MULTILINE)
    return 0.0 if found is None else float(found[1])


async def test_a_thread_that_is_deleted_during_a_run_leaves_no_checkpoints(own, http, tmp_path):
    thread, gate = await new_thread(http), tmp_path / "gate"
    lost = await lost_runs(http)
    body = {"assistant_id": "gated", "input": {"items": [], "answer": str(gate)}}
    await post(http, f"/threads/{thread}/runs", **body)
    while not gate.with_suffix(".begun").exists():
        await asyncio.sleep(0.01)
    assert (await http.delete(f"/threads/{thread}")).status_code == 204
    gate.touch()
    # A worker says that a run is lost once nothing of the run is executed any more.
    while (await lost_runs(http)) == lost:
        await asyncio.sleep(0.02)
    assert await own.checkpoints(thread) == []


async def test_a_stateless_run_leaves_no_checkpoints(own, http):
    body = {"assistant_id": "steps", "input": {"items": []}}
    answer = await http.post("/runs/wait", json=body)
    assert answer.json()["items"] == ["a", "b"]
    thread = answer.headers["content-location"].split("/")[2]
    assert await own.checkpoints(thread) == []


async def test_threads_are_pruned_as_far_as_the_saver_can(own, http):
    thread = await new_thread(http)
    await run(http, thread)
    if own.kind == "sqlite":
        answer = await post(
            http, "/threads/prune", 501, thread_ids=[thread], strategy="keep_latest"
        )
        assert "'AsyncSqliteSaver' does not implement 'aprune'" in answer["detail"]
    else:
        await post(http, "/threads/prune", thread_ids=[thread], strategy="keep_latest")
        assert len(await own.checkpoints(thread)) == 1
    state = await get(http, f"/threads/{thread}/state")
    assert state["values"]["items"] == ["a", "b"]
    await post(http, "/threads/prune", thread_ids=[thread])
    assert await own.checkpoints(thread) == []
    await get(http, f"/threads/{thread}", 404)


async def test_runs_are_rolled_back_as_far_as_the_saver_can(own, http, tmp_path):
    thread, gate = await new_thread(http), tmp_path / "gate"
    await run(http, thread)
    before = await own.checkpoints(thread)
    body = {"assistant_id": "gated", "input": {"items": [], "answer": str(gate)}}
    begun = await post(http, f"/threads/{thread}/runs", **body)
    while not gate.with_suffix(".begun").exists():
        await asyncio.sleep(0.01)
    cancel = f"/threads/{thread}/runs/{begun['run_id']}/cancel?action=rollback"
    again = {"assistant_id": "steps", "multitask_strategy": "rollback"}
    if own.kind == "whole":
        await post(http, cancel, 202)
        gate.touch()
        await run(http, thread, input=None)
        assert await own.checkpoints(thread) == before
        await run(http, thread, multitask_strategy="rollback")
        return
    for path, given in ((cancel, {}), (f"/threads/{thread}/runs", again)):
        answer = await post(http, path, 501, **given)
        assert "does not implement 'adelete_for_runs'" in answer["detail"]
    gate.touch()
    result = await get(http, f"/threads/{thread}/runs/{begun['run_id']}/join")
    assert result["items"][-1] == "gate"


async def test_a_deleted_run_takes_its_checkpoints_along_if_the_saver_can(own, http):
    thread = await new_thread(http)
    await run(http, thread)
    before = await own.checkpoints(thread)
    await run(http, thread)
    (newest, _) = await get(http, f"/threads/{thread}/runs")
    answer = await http.delete(f"/threads/{thread}/runs/{newest['run_id']}")
    assert answer.status_code == 204
    left = await own.checkpoints(thread)
    assert (left == before) == (own.kind == "whole")


async def test_the_size_of_a_thread_is_not_known(http):
    thread = await new_thread(http)
    answer = await get(http, f"/threads/{thread}/storage", 501)
    assert answer["detail"].startswith("The size of a thread is not available")
    await get(http, f"/threads/{uuid4()}/storage", 404)
