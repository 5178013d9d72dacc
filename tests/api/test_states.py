"""States of threads: reading, history, updates and forks."""

import asyncio
from pathlib import Path

import httpx
import langgraph_sdk
import pytest
from langgraph_sdk.errors import APIStatusError, BadRequestError, ConflictError, NotFoundError

CONFIG = Path(__file__).parents[1] / "project" / "states" / "langgraph.json"
NOWHERE = "0f5a9d3c-6a1e-4c5e-9b7d-2f4f0a1b2c3d"

EMPTY: dict[str, object] = {
    "values": {},
    "next": [],
    "tasks": [],
    "metadata": None,
    "created_at": None,
    "checkpoint": None,
    "parent_checkpoint": None,
    "interrupts": [],
    "checkpoint_id": None,
    "parent_checkpoint_id": None,
}


@pytest.fixture(scope="session")
def states_server(serving):
    with serving(config=CONFIG) as address:
        yield address


@pytest.fixture
async def sdk(states_server):
    async with langgraph_sdk.get_client(url=states_server, api_key=None) as made:
        yield made


@pytest.fixture
async def http(states_server):
    async with httpx.AsyncClient(base_url=states_server, timeout=150) as client:
        yield client


async def ran(sdk, graph="steps", items=("in",), **options):
    thread = (await sdk.threads.create())["thread_id"]
    await sdk.runs.wait(thread, graph, input={"items": list(items)}, raise_error=False, **options)
    return thread


async def test_a_thread_without_a_state(sdk, http):
    thread = (await sdk.threads.create())["thread_id"]
    for path in ("state", f"state/{NOWHERE}", "state?subgraphs=true"):
        answer = await http.get(f"/threads/{thread}/{path}")
        assert (answer.status_code, answer.json()) == (200, EMPTY)
        assert answer.headers["content-type"] == "application/json"
    assert (await http.get(f"/threads/{thread}/history")).json() == []
    with_graph = (await sdk.threads.create(graph_id="steps"))["thread_id"]
    assert (await http.get(f"/threads/{with_graph}/state")).json() == EMPTY
    found = (await http.get(f"/threads/{with_graph}/state/{NOWHERE}")).json()
    place = {"checkpoint_id": NOWHERE, "thread_id": with_graph, "checkpoint_ns": ""}
    assert found == EMPTY | {"checkpoint": place, "checkpoint_id": NOWHERE}


async def test_state_of_an_interrupted_thread_has_every_field(sdk, http):
    thread = await ran(sdk, interrupt_before=["c"])
    raw = (await http.get(f"/threads/{thread}/state")).json()
    assert list(raw) == list(EMPTY)
    state = await sdk.threads.get_state(thread)
    assert state == raw
    assert state["values"] == {"items": ["in", "a", "b"], "total": 2}
    assert state["next"] == ["c"]
    (task,) = state["tasks"]
    assert task == {
        "id": task["id"],
        "name": "c",
        "path": ["__pregel_pull", "c"],
        "error": None,
        "interrupts": [],
        "checkpoint": None,
        "state": None,
        "result": None,
    }
    metadata = state["metadata"]
    assert (metadata["source"], metadata["step"], metadata["parents"]) == ("loop", 2, {})
    assert (metadata["thread_id"], metadata["graph_id"]) == (thread, "steps")
    assert state["created_at"].endswith("+00:00")
    assert state["checkpoint"] == {
        "checkpoint_id": state["checkpoint_id"],
        "thread_id": thread,
        "checkpoint_ns": "",
    }
    assert state["parent_checkpoint"] == {
        "checkpoint_id": state["parent_checkpoint_id"],
        "thread_id": thread,
        "checkpoint_ns": "",
    }
    parent = await sdk.threads.get_state(thread, checkpoint_id=state["parent_checkpoint_id"])
    assert parent["values"] == {"items": ["in", "a"], "total": 2}
    assert parent["tasks"][0]["result"] == {"items": ["b"]}
    same = await sdk.threads.get_state(thread, checkpoint=state["parent_checkpoint"])
    assert same == parent
    assert parent["checkpoint_id"] == state["parent_checkpoint_id"]


async def test_a_failed_task_shows_its_error(sdk):
    thread = (await sdk.threads.create())["thread_id"]
    given = {"items": [], "answer": "fail"}
    await sdk.runs.wait(thread, "steps", input=given, raise_error=False)
    (task,) = (await sdk.threads.get_state(thread))["tasks"]
    assert (task["name"], task["error"]) == ("b", "ValueError('boom: b')")
    # A change of the state repairs the thread.
    assert (await sdk.threads.get(thread))["status"] == "error"
    await sdk.threads.update_state(thread, {"answer": "fine"}, as_node="a")
    found = await sdk.threads.get(thread)
    assert (found["status"], found["error"]) == ("interrupted", None)
    await sdk.runs.wait(thread, "steps", input=None)
    assert (await sdk.threads.get(thread))["values"]["items"] == ["a", "b", "c"]


async def test_the_checkpoint_of_another_thread_is_not_reached(sdk, http):
    thread, other = await ran(sdk), await ran(sdk, items=["other"])
    there = (await sdk.threads.get_state(other))["checkpoint"]
    body = {"checkpoint": there}
    found = (await http.post(f"/threads/{thread}/state/checkpoint", json=body)).json()
    assert found["values"] == {}
    assert found["checkpoint"] == there | {"thread_id": thread}
    newest = {"checkpoint": {"thread_id": other}}
    found = (await http.post(f"/threads/{thread}/state/checkpoint", json=newest)).json()
    assert found["values"]["items"] == ["in", "a", "b", "c"]


async def test_states_of_subgraphs_are_included_on_request(sdk, http):
    thread = await ran(sdk, "nested")
    state = await sdk.threads.get_state(thread)
    (task,) = state["tasks"]
    child = f"child:{task['id']}"
    assert task["checkpoint"] == {"thread_id": thread, "checkpoint_ns": child}
    assert task["state"] is None
    assert state["interrupts"] == task["interrupts"]
    assert state["interrupts"][0]["value"] == {"items": ["in", "a", "middle"]}
    whole = await sdk.threads.get_state(thread, subgraphs=True)
    (task,) = whole["tasks"]
    assert task["checkpoint"] is None
    inner = task["state"]
    assert inner["next"] == ["grandchild"]
    assert inner["checkpoint"]["checkpoint_map"] == {
        "": state["checkpoint_id"],
        child: inner["checkpoint_id"],
    }
    deepest = inner["tasks"][0]["state"]
    namespace = deepest["checkpoint"]["checkpoint_ns"]
    assert namespace == f"{child}|grandchild:{inner['tasks'][0]['id']}"
    assert deepest["checkpoint"]["checkpoint_map"] == {
        "": state["checkpoint_id"],
        child: inner["checkpoint_id"],
        namespace: deepest["checkpoint_id"],
    }
    assert deepest["tasks"][0]["name"] == "ask"
    # By the checkpoint that was shown, or by the namespace alone.
    for place in (deepest["checkpoint"], {"checkpoint_ns": namespace}):
        found = await sdk.threads.get_state(thread, checkpoint=place, subgraphs=True)
        assert found["checkpoint"] == deepest["checkpoint"]
        assert found["values"] == deepest["values"]
        assert found["next"] == ["ask"]
    body = {"checkpoint": {"checkpoint_ns": "nowhere:1"}}
    answer = await http.post(f"/threads/{thread}/state/checkpoint", json=body)
    assert answer.json() == EMPTY
    # The root namespace only.
    found = await sdk.threads.get_state(thread, checkpoint_id=deepest["checkpoint_id"])
    assert found["values"] == {}


async def test_state_has_only_the_selected_fields(sdk, http):
    thread = await ran(sdk, "nested")
    whole = (await http.get(f"/threads/{thread}/state")).json()
    path = f"/threads/{thread}/state"

    async def select(*names):
        query = [("select", name) for name in names]
        got = (await http.get(path, params=query)).json()
        body = {"checkpoint": {}, "select": list(names)}
        assert (await http.post(f"{path}/checkpoint", json=body)).json() == got
        body = {"select": list(names)}
        assert (await http.post(f"/threads/{thread}/history", json=body)).json() == [got]
        query.append(("limit", "1"))
        assert (await http.get(f"/threads/{thread}/history", params=query)).json() == [got]
        return got

    for field in EMPTY:
        assert await select(field) == {field: whole[field]}
    assert await select("next", "values") == {"next": whole["next"], "values": whole["values"]}
    assert await select("values.total") == {"values": {"total": 2}}
    assert await select("values.total", "values.none") == {"values": {"total": 2}}
    assert await select("values.total", "values") == {"values": whole["values"]}
    assert await select("nothing", "next") == {"next": whole["next"]}
    assert await select("nothing") == {}
    empty = (await sdk.threads.create())["thread_id"]
    answer = await http.get(f"/threads/{empty}/state?select=values&select=created_at")
    assert answer.json() == {"values": {}, "created_at": None}


async def test_history_lists_states_from_newest_to_oldest(sdk, http):
    thread = await ran(sdk, interrupt_before=["c"])
    path = f"/threads/{thread}/history"
    whole = (await http.get(path)).json()
    assert [each["metadata"]["step"] for each in whole] == [2, 1, 0, -1]
    assert whole[0] == (await http.get(f"/threads/{thread}/state")).json()
    assert [each["parent_checkpoint_id"] for each in whole] == [
        *(each["checkpoint_id"] for each in whole[1:]),
        None,
    ]
    assert (await http.post(path, json={})).json() == whole[:1]
    assert await sdk.threads.get_history(thread, limit=3) == whole[:3]
    assert (await http.get(f"{path}?limit=2")).json() == whole[:2]
    assert (await http.get(f"{path}?limit=0")).json() == []
    newest = whole[0]["checkpoint_id"]
    assert (await http.get(f"{path}?before={newest}")).json() == whole[1:]
    for before in (
        newest,
        {"checkpoint_id": newest},
        {"configurable": {"checkpoint_id": newest}},
        whole[0]["checkpoint"],
    ):
        answer = await http.post(path, json={"limit": 10, "before": before})
        assert answer.json() == whole[1:], before
    for before in ({}, None, {"configurable": {}}):
        assert (await http.post(path, json={"limit": 9, "before": before})).json() == whole
    assert await sdk.threads.get_history(
        thread, limit=2, before=whole[1]["checkpoint"], metadata={"source": "loop"}
    ) == [whole[2]]
    assert await sdk.threads.get_history(thread, metadata={"source": "loop", "step": 1}) == [
        whole[1]
    ]
    assert await sdk.threads.get_history(thread, metadata={"step": "1"}) == []
    assert await sdk.threads.get_history(thread, limit=9, checkpoint=whole[2]["checkpoint"]) == [
        whole[2]
    ]


async def test_a_history_of_fields_without_values_is_the_whole_one_without_the_others(sdk, http):
    thread = await ran(sdk, interrupt_before=["c"])
    path = f"/threads/{thread}/history"
    whole = (await http.get(path)).json()
    fields = [
        "metadata", "created_at", "checkpoint", "parent_checkpoint", "checkpoint_id",
        "parent_checkpoint_id",
    ]  # fmt: skip
    for chosen in (fields, fields[:1], fields[2:4]):
        body = {"limit": 10, "select": chosen}
        found = (await http.post(path, json=body)).json()
        assert found == [{field: each[field] for field in chosen} for each in whole]
    older = {"select": fields, "limit": 2, "before": whole[0]["checkpoint_id"]}
    found = (await http.post(path, json=older)).json()
    assert [each["checkpoint_id"] for each in found] == [
        each["checkpoint_id"] for each in whole[1:3]
    ]
    named = {"select": fields, "limit": 2, "metadata": {"step": 1}}
    (found,) = (await http.post(path, json=named)).json()
    assert found["metadata"] == whole[1]["metadata"]


async def test_a_history_longer_than_a_page(sdk, http):
    thread = (await sdk.threads.create(graph_id="picky"))["thread_id"]
    for number in range(60):
        await sdk.threads.update_state(thread, {"items": [str(number)]}, as_node="pass")
    found = (await http.get(f"/threads/{thread}/history?limit=55&select=values")).json()
    assert [len(each["values"]["items"]) for each in found] == list(range(60, 5, -1))
    body = {"limit": 1000, "select": ["values"], "metadata": {"source": "update"}}
    assert len((await http.post(f"/threads/{thread}/history", json=body)).json()) == 60


async def test_the_history_of_a_subgraph(sdk):
    thread = await ran(sdk, "nested")
    (task,) = (await sdk.threads.get_state(thread))["tasks"]
    root = await sdk.threads.get_history(thread, limit=10)
    assert [each["checkpoint"]["checkpoint_ns"] for each in root] == [""] * 3
    assert root[0]["tasks"][0]["checkpoint"] == task["checkpoint"]
    assert root[0]["tasks"][0]["state"] is None
    inner = await sdk.threads.get_history(thread, limit=10, checkpoint=task["checkpoint"])
    assert [each["metadata"]["step"] for each in inner] == [1, 0, -1]
    namespaces = {each["checkpoint"]["checkpoint_ns"] for each in inner}
    assert namespaces == {task["checkpoint"]["checkpoint_ns"]}


async def test_update_as_a_node_adds_a_checkpoint(sdk, http):
    thread = await ran(sdk, interrupt_before=["c"])
    before = await sdk.threads.get(thread)
    old = await sdk.threads.get_state(thread)
    body = {"values": {"items": ["x"], "unknown": 1}, "as_node": "b"}
    answer = (await http.post(f"/threads/{thread}/state", json=body)).json()
    place = {
        "thread_id": thread,
        "checkpoint_ns": "",
        "checkpoint_id": answer["checkpoint_id"],
    }
    assert answer == {
        "checkpoint": place,
        "configurable": place,
        "checkpoint_id": answer["checkpoint_id"],
    }
    state = await sdk.threads.get_state(thread)
    assert state["checkpoint"] == place
    assert state["parent_checkpoint"] == old["checkpoint"]
    assert state["values"] == {"items": ["in", "a", "b", "x"], "total": 2}
    assert state["next"] == ["c"]
    metadata = state["metadata"]
    assert (metadata["source"], metadata["step"], metadata["graph_id"]) == ("update", 3, "steps")
    found = await sdk.threads.get(thread)
    assert found["values"] == state["values"]
    assert (found["status"], found["interrupts"], found["error"]) == ("interrupted", {}, None)
    assert found["updated_at"] == found["state_updated_at"] > before["state_updated_at"]
    await sdk.threads.update_state(thread, None, as_node="c")
    found = await sdk.threads.get(thread)
    assert (found["status"], found["values"]["items"]) == ("idle", ["in", "a", "b", "x"])


async def test_updating_a_new_thread(sdk):
    thread = (await sdk.threads.create(graph_id="chat"))["thread_id"]
    message = {"role": "user", "content": "Hi", "id": "1"}
    await sdk.threads.update_state(thread, {"messages": [message]}, as_node="__start__")
    found = await sdk.threads.get(thread)
    assert found["status"] == "interrupted"
    (message,) = found["values"]["messages"]
    assert (message["type"], message["content"], message["id"]) == ("human", "Hi", "1")
    await sdk.runs.wait(thread, "chat", input=None)
    messages = (await sdk.threads.get_state(thread))["values"]["messages"]
    assert [each["content"] for each in messages] == ["Hi", "Hello you"]


async def test_update_of_an_old_checkpoint_forks_the_history(sdk):
    thread = await ran(sdk)
    history = await sdk.threads.get_history(thread, limit=10)
    (fork,) = [each for each in history if each["next"] == ["b"]]
    for place in ({"checkpoint": fork["checkpoint"]}, {"checkpoint_id": fork["checkpoint_id"]}):
        made = await sdk.threads.update_state(thread, {"items": ["forked"]}, **place)
        state = await sdk.threads.get_state(thread)
        assert state["checkpoint"] == made["checkpoint"]
        assert state["parent_checkpoint_id"] == fork["checkpoint_id"]
        assert (state["values"]["items"], state["next"]) == (["in", "a", "forked"], ["b"])
    assert (await sdk.threads.get(thread))["values"]["items"] == ["in", "a", "forked"]
    await sdk.runs.wait(thread, "steps", input=None)
    assert (await sdk.threads.get(thread))["values"]["items"] == ["in", "a", "forked", "b", "c"]


async def test_updating_a_subgraph_while_it_waits(sdk):
    thread = await ran(sdk, "nested")
    (task,) = (await sdk.threads.get_state(thread))["tasks"]
    made = await sdk.threads.update_state(
        thread, {"items": ["y"]}, as_node="middle", checkpoint=task["checkpoint"]
    )
    assert made["checkpoint"]["checkpoint_ns"] == task["checkpoint"]["checkpoint_ns"]
    assert len(made["checkpoint"]["checkpoint_map"]) == 2
    inner = await sdk.threads.get_state(thread, checkpoint=task["checkpoint"])
    assert inner["values"]["items"][-1] == "y"
    found = await sdk.threads.get(thread)
    assert (found["status"], found["values"]["items"]) == ("interrupted", ["in", "a"])


async def test_checkpoints_of_a_subgraph_name_their_place_in_the_parent(sdk):
    thread = await ran(sdk, "nested")
    (task,) = (await sdk.threads.get_state(thread))["tasks"]
    place = task["checkpoint"]
    metadata = (await sdk.threads.get_state(thread, checkpoint=place))["metadata"]
    assert metadata["langgraph_node"] == "child"
    assert metadata["langgraph_path"] == ["__pregel_pull", "child"]
    assert metadata["langgraph_triggers"] == ["branch:to:child"]
    assert metadata["langgraph_step"] == 2
    assert metadata["langgraph_checkpoint_ns"] == place["checkpoint_ns"]
    assert metadata["checkpoint_ns"] == place["checkpoint_ns"]
    assert metadata["checkpoint_map"] == metadata["parents"]


async def test_the_checkpoints_of_a_fork_name_the_one_it_began_with(sdk):
    thread = await ran(sdk)
    source = (await sdk.threads.get_history(thread, limit=10))[2]["checkpoint_id"]
    await sdk.runs.wait(thread, "steps", input=None, checkpoint_id=source)
    history = await sdk.threads.get_history(thread, limit=20)
    named = [each["metadata"].get("checkpoint_id") for each in history]
    assert named[0] == source
    assert named[-1] is None


async def test_an_interrupt_is_on_the_row_as_long_as_it_waits(sdk):
    thread = await ran(sdk, "nested")
    interrupts = (await sdk.threads.get(thread))["interrupts"]
    (waiting,) = interrupts.values()
    (task,) = (await sdk.threads.get_state(thread))["tasks"]
    assert interrupts == {task["id"]: task["interrupts"]}
    copied = (await sdk.threads.copy(thread))["thread_id"]
    await sdk.runs.wait(copied, "nested", command={"resume": "yes"})
    assert (await sdk.threads.get(copied))["values"]["answer"] == "yes"
    assert (await sdk.threads.get(copied))["status"] == "idle"
    assert (await sdk.threads.get(thread))["interrupts"] == {task["id"]: [waiting[0]]}
    await sdk.threads.update_state(thread, {"answer": "skipped"}, as_node="child")
    found = await sdk.threads.get(thread)
    assert (found["interrupts"], found["values"]["answer"]) == ({}, "skipped")
    assert (await sdk.threads.get_state(thread))["next"] == ["after"]


async def test_updates_that_a_graph_refuses(sdk, http):
    thread = await ran(sdk)
    path = f"/threads/{thread}/state"
    before = (await http.get(f"{path}")).json()
    row = await sdk.threads.get(thread)
    for body, text in (
        ({"values": {}, "as_node": "nope"}, "Node nope does not exist"),
        ({"values": ["x"], "as_node": "a"}, "Expected dict, got ['x']"),
        (
            {"values": {"itmes": ["x"]}, "as_node": "a"},
            "The state of the graph has no key 'itmes'. It has: 'answer', 'items', 'total'.",
        ),
        ({"values": None, "checkpoint": {"checkpoint_ns": "nope:1"}}, "Subgraph nope not found"),
    ):
        answer = await http.post(path, json=body)
        assert answer.status_code == 400, answer.text
        assert text in answer.json()["detail"]
    picky = await ran(sdk, "picky")
    with pytest.raises(BadRequestError, match="no bad items, please"):
        await sdk.threads.update_state(picky, {"items": ["bad"]}, as_node="pass")
    secret = await http.post(
        f"/threads/{picky}/state", json={"values": {"items": ["secret"]}, "as_node": "pass"}
    )
    assert (secret.status_code, secret.json()) == (500, {"detail": "Internal Server Error"})
    assert (await http.get(path)).json() == before
    assert await sdk.threads.get(thread) == row
    assert (await sdk.threads.get(picky))["status"] == "idle"


async def test_a_thread_without_a_graph_cannot_be_updated(sdk, http):
    thread = (await sdk.threads.create())["thread_id"]
    with pytest.raises(BadRequestError, match=f"Thread '{thread}' has no assigned graph ID"):
        await sdk.threads.update_state(thread, {"items": []})
    gone = (await sdk.threads.create(graph_id="gone"))["thread_id"]
    for path in ("state", "history"):
        answer = await http.get(f"/threads/{gone}/{path}")
        assert answer.status_code == 404
        assert "Graph 'gone' not found" in answer.json()["detail"]
    for call in (
        sdk.threads.get_state(NOWHERE),
        sdk.threads.get_history(NOWHERE),
        sdk.threads.update_state(NOWHERE, {}),
    ):
        with pytest.raises(NotFoundError, match=f"Thread with ID {NOWHERE} not found"):
            await call


async def test_a_busy_thread_keeps_its_state(sdk, http):
    thread = await ran(sdk)
    before = (await http.get(f"/threads/{thread}/state")).json()
    await sdk.runs.create(thread, "steps", input={"items": []}, after_seconds=60)
    with pytest.raises(ConflictError, match="runs that are not over"):
        await sdk.threads.update_state(thread, {"items": ["x"]}, as_node="a")
    assert (await http.get(f"/threads/{thread}/state")).json() == before
    await sdk.threads.update(thread, metadata={"still": "works"})
    copied = await sdk.threads.copy(thread)
    assert copied["status"] == "idle"
    await sdk.threads.delete(thread)


async def test_code_that_blocks_does_not_block_the_server(sdk, http, tmp_path):
    thread = (await sdk.threads.create(graph_id="picky"))["thread_id"]
    gate = tmp_path / "gate"
    item = f"gate:{gate}"
    slow = asyncio.create_task(sdk.threads.update_state(thread, {"items": [item]}, as_node="pass"))
    for _ in range(20):
        assert (await http.get("/ok")).status_code == 200
    assert not slow.done()
    gate.touch()
    await slow
    assert (await sdk.threads.get(thread))["values"] == {"items": [item]}


async def test_updates_at_the_same_time_lose_nothing(sdk):
    thread = (await sdk.threads.create(graph_id="picky"))["thread_id"]
    names = [str(number) for number in range(12)]
    await asyncio.gather(
        *(sdk.threads.update_state(thread, {"items": [name]}, as_node="pass") for name in names)
    )
    assert sorted((await sdk.threads.get(thread))["values"]["items"]) == sorted(names)
    assert len(await sdk.threads.get_history(thread, limit=20)) == 12


async def test_patching_the_state_patches_the_thread(sdk, http):
    thread = (await sdk.threads.create(metadata={"a": 1}))["thread_id"]
    answer = await http.patch(f"/threads/{thread}/state", json={"metadata": {"b": None}})
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await sdk.threads.get(thread))["metadata"] == {"a": 1, "b": None}
    assert (await http.patch(f"/threads/{NOWHERE}/state", json={})).status_code == 404


@pytest.mark.one_server
@pytest.mark.parametrize(
    ("method", "path", "body", "text"),
    [
        ("GET", "state/nope", None, "Invalid checkpoint ID"),
        ("GET", "state?subgraphs=perhaps", None, "subgraphs"),
        ("POST", "state/checkpoint", {}, "'checkpoint' is required"),
        ("POST", "state/checkpoint", {"checkpoint": 5}, "'checkpoint'"),
        ("POST", "state/checkpoint", {"checkpoint": {"checkpoint_id": "x"}}, "Invalid checkpoint"),
        ("POST", "state/checkpoint", {"checkpoint": {"checkpoint_ns": 5}}, "checkpoint_ns"),
        ("POST", "state/checkpoint", {"checkpoint": {}, "select": "values"}, "'select'"),
        ("POST", "state", {"values": "x"}, "'values"),
        ("POST", "state", {"values": {}, "as_node": None}, "'as_node'"),
        ("POST", "state", {"values": {}, "checkpoint_id": "x"}, "Invalid checkpoint ID"),
        ("PATCH", "state", {"metadata": None}, "'metadata'"),
        ("GET", "history?limit=abc", None, "Invalid limit 'abc'"),
        ("GET", "history?limit=-1", None, "Invalid limit '-1'"),
        ("GET", "history?before=x", None, "Invalid checkpoint ID"),
        ("POST", "history", {"limit": 0}, "'limit'"),
        ("POST", "history", {"limit": 1001}, "'limit'"),
        ("POST", "history", {"limit": True}, "'limit'"),
        ("POST", "history", {"before": {"checkpoint_id": "x"}}, "Invalid checkpoint ID"),
        ("POST", "history", {"before": {"configurable": 5}}, "'before.configurable'"),
        ("POST", "history", {"before": 5}, "'before"),
        ("POST", "history", {"metadata": []}, "'metadata'"),
    ],
)
async def test_invalid_state_request_is_refused_with_its_reason(
    sdk, http, method, path, body, text
):
    thread = (await sdk.threads.create(graph_id="steps"))["thread_id"]
    answer = await http.request(method, f"/threads/{thread}/{path}", json=body)
    assert answer.status_code == 422, answer.text
    assert text in answer.json()["detail"]


async def test_thread_is_created_with_the_states_of_supersteps(sdk):
    made = await sdk.threads.create(
        graph_id="nested",
        supersteps=[
            {"updates": [{"values": {"items": ["1"]}, "as_node": "__input__"}]},
            {"updates": [{"values": {"items": ["2"], "total": 5}, "as_node": "a"}]},
        ],
    )
    assert (made["status"], made["values"]) == ("interrupted", {"items": ["2"], "total": 5})
    assert (made["metadata"], made["error"], made["interrupts"]) == (
        {"graph_id": "nested"},
        None,
        {},
    )
    thread = made["thread_id"]
    assert await sdk.threads.get(thread) == made
    history = await sdk.threads.get_history(thread, limit=10)
    assert [each["metadata"]["source"] for each in history] == ["update", "input"]
    assert history[0]["next"] == ["child"]
    await sdk.runs.wait(thread, "nested", input=None)
    assert (await sdk.threads.get_state(thread))["next"] == ["child"]
    again = await sdk.threads.create(
        thread_id=thread,
        graph_id="nested",
        if_exists="do_nothing",
        supersteps=[{"updates": [{"values": {}, "as_node": "nope"}]}],
    )
    assert again["thread_id"] == thread
    assert len(await sdk.threads.get_history(thread, limit=10)) == 2


async def test_supersteps_apply_commands_of_nodes(sdk):
    def update(**command):
        return {"values": None, "command": command, "as_node": "a"}

    made = await sdk.threads.create(
        graph_id="steps",
        supersteps=[
            {"updates": [{"values": {"items": ["1"]}, "as_node": "__input__"}]},
            {
                "updates": [
                    update(update={"items": ["2"]}, goto="c"),
                    update(update=[["items", ["3"]]]),
                ]
            },
        ],
    )
    assert made["values"] == {"items": ["2", "3"]}
    state = await sdk.threads.get_state(made["thread_id"])
    assert set(state["next"]) == {"b", "c"}


STEP = {"values": {}, "as_node": "a"}


@pytest.mark.parametrize(
    ("metadata", "supersteps", "status", "text"),
    [
        ({}, [{"updates": [STEP]}], 400, "set 'graph_id' in the metadata"),
        ({"graph_id": 5}, [{"updates": [STEP]}], 400, "set 'graph_id' in the metadata"),
        ({"graph_id": "gone"}, [{"updates": [STEP]}], 404, "Graph 'gone' not found"),
        ({"graph_id": "steps"}, [{"updates": []}], 400, "No updates provided"),
        (
            {"graph_id": "steps"},
            [{"updates": [STEP | {"as_node": "nope"}]}],
            400,
            "Node nope does not exist",
        ),
        ({"graph_id": "steps"}, [{"updates": [{"values": {}}]}], 422, "as_node' is required"),
        ({"graph_id": "steps"}, [{}], 422, "updates' is required"),
        ({"graph_id": "steps"}, {}, 422, "'supersteps'"),
        (
            {"graph_id": "steps"},
            [{"updates": [STEP | {"command": {"update": {}}}]}],
            400,
            "either 'values' or a 'command'",
        ),
        (
            {"graph_id": "steps"},
            [{"updates": [{"command": {"goto": 5}, "as_node": "a"}]}],
            422,
            "'command.goto'",
        ),
        (
            {"graph_id": "steps"},
            [{"updates": [{"command": {"update": [["a"]]}, "as_node": "a"}]}],
            422,
            "'command.update'",
        ),
    ],
)
async def test_bad_supersteps_create_nothing(http, metadata, supersteps, status, text):
    before = (await http.post("/threads/count", json={})).json()
    body = {"metadata": metadata, "supersteps": supersteps}
    answer = await http.post("/threads", json=body)
    assert answer.status_code == status, answer.text
    assert text in answer.json()["detail"]
    assert (await http.post("/threads/count", json={})).json() == before


async def test_supersteps_on_a_thread_that_exists(sdk):
    thread = (await sdk.threads.create())["thread_id"]
    with pytest.raises(APIStatusError, match="already exists"):
        await sdk.threads.create(
            thread_id=thread, graph_id="steps", supersteps=[{"updates": [STEP]}]
        )


async def test_factories_make_the_graph_of_a_state(sdk):
    thread = await ran(sdk, "made", config={"metadata": {"node": "special"}}, interrupt_before="*")
    assert (await sdk.threads.get_state(thread))["next"] == ["special"]
    await sdk.threads.update_state(thread, {"items": ["x"]}, as_node="special")
    assert (await sdk.threads.get(thread))["values"]["items"] == ["in", "x"]
