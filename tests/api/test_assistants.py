"""Assistants over HTTP, with both clients and byte by byte."""

import asyncio
from uuid import UUID, uuid4

import httpx
import langgraph_sdk
import pytest

NOWHERE = "0f5a9d3c-6a1e-4c5e-9b7d-2f4f0a1b2c3d"
ROW = [
    "assistant_id", "graph_id", "config", "context", "metadata", "name", "created_at",
    "updated_at", "version", "description",
]  # fmt: skip


@pytest.fixture
async def http(server):
    async with httpx.AsyncClient(base_url=server) as client:
        yield client


@pytest.fixture
async def assistants(server):
    async with langgraph_sdk.get_client(url=server, api_key=None) as client:
        yield client.assistants


async def refused(answer, status, text):
    assert answer.status_code == status, answer.text
    assert text in answer.json()["detail"]


async def test_created_assistant_is_returned_by_get_with_every_field(assistants):
    made = await assistants.create(
        "joke", config={"tags": ["t"], "recursion_limit": 7}, metadata={"a": {"b": 1}},
        name="N", description="D",
    )  # fmt: skip
    assert list(made) == ROW
    assert UUID(made["assistant_id"]).version == 4
    assert (made["config"], made["context"]) == ({"tags": ["t"], "recursion_limit": 7}, {})
    assert (made["name"], made["description"], made["version"]) == ("N", "D", 1)
    assert made["created_at"] == made["updated_at"]
    assert made["created_at"].endswith("+00:00")
    assert await assistants.get(made["assistant_id"]) == made


async def test_assistant_without_a_name_is_called_untitled(http):
    made = (await http.post("/assistants", json={"graph_id": "joke", "name": ""})).json()
    assert (made["name"], made["description"], made["metadata"]) == ("Untitled", None, {})


async def test_context_and_configurable_are_one(assistants):
    one = await assistants.create("joke", context={"m": 1})
    assert one["config"] == {"configurable": {"m": 1}}
    two = await assistants.create("joke", config={"configurable": {"m": 2}, "tags": ["t"]})
    assert two["context"] == {"m": 2}
    two = await assistants.update(two["assistant_id"], context={"m": 3})
    assert two["config"] == {"configurable": {"m": 3}, "tags": ["t"]}
    two = await assistants.update(two["assistant_id"], config={"tags": ["u"]})
    assert (two["config"], two["context"]) == (
        {"configurable": {"m": 3}, "tags": ["u"]}, {"m": 3},
    )  # fmt: skip
    one = await assistants.update(one["assistant_id"], config={"configurable": {"n": 1}})
    assert one["context"] == {"n": 1}


@pytest.mark.parametrize("reset", ["config", "context"])
async def test_an_empty_one_resets_both(http, reset):
    made = (await http.post("/assistants", json={"graph_id": "joke", "context": {"m": 1}})).json()
    path = f"/assistants/{made['assistant_id']}"
    after = (await http.patch(path, json={reset: {}})).json()
    assert (after["config"], after["context"]) == ({}, {})


async def test_creation_with_a_taken_id_is_a_conflict_unless_allowed(http):
    body = {"graph_id": "joke", "assistant_id": str(uuid4()).upper(), "name": "first"}
    made = (await http.post("/assistants", json=body)).json()
    assert made["assistant_id"] == body["assistant_id"].lower()
    answer = await http.post("/assistants", json=body)
    await refused(answer, 409, f"Assistant {made['assistant_id']} already exists")
    again = await http.post("/assistants", json=body | {"if_exists": "do_nothing", "name": "x"})
    assert (again.status_code, again.json()) == (200, made)


@pytest.mark.one_server
@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({}, 422, "'graph_id' is required"),
        ({"graph_id": "nope"}, 404, "Graph 'nope' not found. Expected one of: ['ask', "),
        ({"graph_id": "joke", "assistant_id": "x"}, 422, "Invalid assistant ID: must be a UUID"),
        ({"graph_id": "joke", "config": {"tags": "a"}}, 422, "'config.tags'"),
        ({"graph_id": "joke", "config": {"recursion_limit": 2.5}}, 422, "'config.recursion_limit'"),
        ({"graph_id": "joke", "config": {"configurable": []}}, 422, "'config.configurable'"),
        ({"graph_id": "joke", "context": None}, 422, "'context'"),
        ({"graph_id": "joke", "if_exists": "odd"}, 422, "'if_exists'"),
        (
            {"graph_id": "joke", "context": {"a": 1}, "config": {"configurable": {"b": 1}}},
            400,
            "Cannot specify both configurable and context.",
        ),
    ],
)  # fmt: skip
async def test_invalid_creation_is_refused_with_its_reason(http, body, status, text):
    await refused(await http.post("/assistants", json=body), status, text)


async def test_patch_makes_a_version_that_can_be_replaced_as_latest(assistants):
    made = await assistants.create("joke", metadata={"a": 1, "b": {"c": 1}}, name="one")
    key = made["assistant_id"]
    after = await assistants.update(key, graph_id="ask", metadata={"b": None}, name="two")
    assert (after["version"], after["graph_id"], after["metadata"]) == (
        2,
        "ask",
        {"a": 1, "b": None},
    )
    assert after["created_at"] == made["created_at"] < after["updated_at"]
    rows = await assistants.get_versions(key)
    assert [(row["version"], row["name"]) for row in rows] == [(2, "two"), (1, "one")]
    assert set(rows[0]) == set(ROW) - {"updated_at"}
    assert [row["version"] for row in await assistants.get_versions(key, limit=1, offset=1)] == [1]
    assert await assistants.get_versions(key, metadata={"a": 2}) == []
    back = await assistants.set_latest(key, 1)
    assert {**back, "updated_at": made["updated_at"]} == made
    assert (await assistants.update(key))["version"] == 3


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("GET", NOWHERE, None, 404, f"Assistant {NOWHERE} not found"),
        ("GET", "joke", None, 422, "Invalid assistant ID: must be a UUID"),
        ("PATCH", NOWHERE, {}, 404, f"Assistant {NOWHERE} not found"),
        ("PATCH", NOWHERE, {"name": None}, 422, "'name'"),
        ("PATCH", NOWHERE, {"description": None}, 422, "'description'"),
        ("PATCH", NOWHERE, {"graph_id": "nope"}, 404, "Graph 'nope' not found"),
        ("DELETE", NOWHERE, None, 404, f"Assistant {NOWHERE} not found"),
        ("POST", f"{NOWHERE}/versions", {}, 404, f"Assistant {NOWHERE} not found"),
        ("POST", f"{NOWHERE}/versions", {"limit": 0}, 422, "'limit'"),
        ("POST", f"{NOWHERE}/latest", {"version": 1}, 404, f"Assistant {NOWHERE} not found"),
        ("POST", f"{NOWHERE}/latest", {}, 422, "'version' is required"),
        ("POST", f"{NOWHERE}/latest", {"version": 1e300}, 422, "'version'"),
        ("GET", f"{NOWHERE}/graph", None, 404, f"Assistant {NOWHERE} not found"),
        ("GET", "nope/graph", None, 422, "Invalid assistant: 'nope'"),
        ("GET", "joke/graph?xray=0", None, 422, "Invalid xray value"),
        ("GET", "joke/graph?xray=-1", None, 422, "Invalid xray value"),
        ("GET", "joke/graph?xray=deep", None, 422, "Invalid xray value"),
        ("GET", f"{NOWHERE}/schemas", None, 404, f"Assistant {NOWHERE} not found"),
        ("GET", f"{NOWHERE}/subgraphs", None, 404, f"Assistant {NOWHERE} not found"),
    ],
)
async def test_request_for_a_missing_assistant_is_refused(http, method, path, body, status, text):
    await refused(await http.request(method, f"/assistants/{path}", json=body), status, text)


async def test_latest_needs_a_version_there_is(http, assistants):
    key = (await assistants.create("joke"))["assistant_id"]
    answer = await http.post(f"/assistants/{key}/latest", json={"version": 99.0})
    await refused(answer, 404, f"Version 99 not found for assistant {key}")


async def test_search_and_count_find_the_same_assistants(http, assistants):
    mark = str(uuid4())
    for number, name in enumerate(["b", "A", "c"]):
        await assistants.create(
            "joke", metadata={"mark": mark, "n": [number]}, name=f"{mark}-{name}"
        )
    where = {"metadata": {"mark": mark}}
    answer = await http.post(
        "/assistants/search", json=where | {"limit": 2, "sort_by": "name", "sort_order": "asc"}
    )
    assert [row["name"][-1] for row in answer.json()] == ["A", "b"]
    assert answer.headers["x-pagination-next"] == "2"
    assert answer.headers["x-pagination-total"] == "3"
    answer = await http.post(
        "/assistants/search", json=where | {"offset": 2, "select": ["name", "version"]}
    )
    assert answer.json() == [{"name": f"{mark}-b", "version": 1}]
    assert "x-pagination-next" not in answer.headers
    answer = await http.post("/assistants/search", json=where | {"select": [], "sort_order": "asc"})
    assert [row["metadata"]["n"] for row in answer.json()] == [[0], [1], [2]]
    assert list(answer.json()[0]) == ROW
    found = await assistants.search(metadata={"mark": mark}, response_format="object", limit=1)
    assert (len(found["assistants"]), found["next"]) == (1, "1")
    assert [row["name"][-1] for row in await assistants.search(name=f"{mark}-a".upper())] == ["A"]
    assert await assistants.count(metadata={"mark": mark, "n": [1]}) == 1
    assert await assistants.count(metadata={"mark": mark}, graph_id="ask") == 0
    assert await assistants.count(name=mark) == 3
    assert (await http.post("/assistants/count", json={})).text.isdigit()


@pytest.mark.one_server
@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"limit": 0}, 422, "'limit'"),
        ({"limit": 1001}, 422, "'limit'"),
        ({"limit": True}, 422, "'limit'"),
        ({"limit": "2"}, 422, "'limit'"),
        ({"offset": -1}, 422, "'offset'"),
        ({"metadata": None}, 422, "'metadata'"),
        ({"sort_by": "version"}, 422, "'sort_by'"),
        ({"sort_order": "up"}, 422, "'sort_order'"),
        ({"select": ["nope"]}, 422, "'select"),
        ({"graph_id": "nope"}, 404, "Graph 'nope' not found"),
    ],
)
async def test_invalid_assistant_search_is_refused_with_its_reason(http, body, status, text):
    await refused(await http.post("/assistants/search", json=body), status, text)


async def test_deleted_assistant_is_gone_and_its_threads_stay(http, assistants):
    made = await assistants.create("joke")
    key = made["assistant_id"]
    ran = (await http.post("/threads", json={})).json()["thread_id"]
    await http.post(
        f"/threads/{ran}/runs/wait", json={"assistant_id": key, "input": {"topic": "x"}}
    )
    answer = await http.delete(f"/assistants/{key}?delete_threads=1")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await http.get(f"/threads/{ran}")).status_code == 200
    assert (await http.get(f"/assistants/{key}")).status_code == 404


async def test_deletion_with_threads_deletes_the_threads_too(http, assistants):
    key = (await assistants.create("sleepy"))["assistant_id"]
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    run = {"assistant_id": key, "input": {"seconds": 60}}
    await http.post(f"/threads/{thread}/runs", json=run)
    await assistants.delete(key, delete_threads=True)
    assert (await http.get(f"/threads/{thread}")).status_code == 404


async def test_the_drawing_of_a_graph(http, assistants):
    drawn = (await http.get("/assistants/ask/graph")).json()
    assert drawn == {
        "nodes": [
            {"id": "__start__", "type": "runnable", "data": {"name": "__start__"}},
            {"id": "before", "type": "runnable", "data": {"name": "before"}},
            {"id": "question", "type": "runnable", "data": {"name": "question"}},
            {"id": "after", "type": "runnable", "data": {"name": "after"}},
            {"id": "__end__"},
        ],
        "edges": [
            {"source": "__start__", "target": "before"},
            {"source": "before", "target": "question"},
            {"source": "question", "target": "after"},
            {"source": "after", "target": "__end__"},
        ],
    }
    key = (await assistants.create("parent"))["assistant_id"]
    for xray, expected in (
        (False, "child"),
        (True, "child:generate_joke"),
        (1, "child:generate_joke"),
    ):
        nodes = [node["id"] for node in (await assistants.get_graph(key, xray=xray))["nodes"]]
        assert expected in nodes
    assert (await http.get(f"/assistants/{key}/graph?xray=TRUE")).status_code == 200


async def test_factory_draws_the_graph_of_the_assistants_context(assistants):
    key = (await assistants.create("made", context={"color": "red"}))["assistant_id"]
    assert [node["id"] for node in (await assistants.get_graph(key))["nodes"]][1] == "color"


async def test_schemas_of_an_assistant_describe_its_graph(http, assistants):
    found = await assistants.get_schemas("context")
    assert list(found) == [
        "graph_id", "input_schema", "output_schema", "state_schema", "config_schema",
        "context_schema",
    ]  # fmt: skip
    assert found["input_schema"]["title"] == "State"
    assert found["state_schema"]["title"] == "context_state"
    assert found["state_schema"]["properties"]["topic"] == {
        "default": None, "title": "Topic", "type": "string",
    }  # fmt: skip
    assert "branch:to:look" not in found["state_schema"]["properties"]
    assert found["context_schema"] == found["config_schema"] == {
        "properties": {"color": {"default": "red", "title": "Color", "type": "string"}},
        "title": "Settings", "type": "object",
    }  # fmt: skip
    plain = (await http.get("/assistants/joke/schemas")).json()
    assert (plain["config_schema"], plain["context_schema"]) == ({}, None)
    messages = (await http.get("/assistants/chat/schemas")).json()
    assert "HumanMessage" in messages["state_schema"]["$defs"]


async def test_subgraphs_are_listed_with_their_schemas(http, assistants):
    found = await assistants.get_subgraphs("parent")
    assert list(found) == ["child"]
    assert list(found["child"]) == [
        "input_schema", "output_schema", "state_schema", "config_schema", "context_schema",
    ]  # fmt: skip
    assert await assistants.get_subgraphs("parent", "child", recurse=True) == found
    assert await assistants.get_subgraphs("parent", "nope") == {}
    assert (await http.get("/assistants/joke/subgraphs?recurse=perhaps")).json() == {}


async def test_nested_subgraphs_are_listed_only_with_recurse(http):
    everything = (await http.get("/assistants/family/subgraphs?recurse=true")).json()
    assert list(everything) == ["parent", "parent|child"]
    assert list((await http.get("/assistants/family/subgraphs")).json()) == ["parent"]
    path = "/assistants/family/subgraphs/parent"
    assert list((await http.get(path)).json()) == ["parent"]
    assert list((await http.get(f"{path}?recurse=True")).json()) == ["parent", "parent|child"]
    assert list((await http.get(f"{path}%7Cchild")).json()) == ["parent|child"]
    drawn = (await http.get("/assistants/family/graph?xray=1")).json()
    assert "parent:child" in [node["id"] for node in drawn["nodes"]]
    drawn = (await http.get("/assistants/family/graph?xray=2")).json()
    assert "parent:child:generate_joke" in [node["id"] for node in drawn["nodes"]]


async def test_drawing_a_graph_does_not_hold_up_the_server(http):
    """A factory that blocks does so on a runner."""
    drawing = asyncio.create_task(http.get("/assistants/slowly/graph"))
    for _ in range(10):
        assert (await http.get("/ok")).status_code == 200
    assert not drawing.done()
    assert (await drawing).status_code == 200
