"""Context, config and metadata reach graphs and their factories."""

import uuid
from pathlib import Path

import httpx
import pytest

PROJECT = Path(__file__).parents[1] / "project" / "configured" / "langgraph.json"


@pytest.fixture(scope="module")
def address(serving):
    with serving(config=PROJECT) as address:
        yield address


@pytest.fixture
async def http(address):
    async with httpx.AsyncClient(base_url=address, timeout=300) as made:
        yield made


async def post(http, path, **body):
    answer = await http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def wait(http, graph, **body):
    return await post(http, "/runs/wait", assistant_id=graph, **{"input": {}} | body)


async def new_thread(http):
    return (await post(http, "/threads"))["thread_id"]


async def calls(http):
    """Return how the factory has been called since the last time."""
    return (await wait(http, "calls"))["seen"]


async def factory_assistant(http):
    config = {"configurable": {"nodeName": "assistant"}, "tags": ["mine"]}
    made = await post(http, "/assistants", graph_id="made", config=config)
    return made["assistant_id"]


CONTEXTS = [{}, {"context": {}}, {"config": {"configurable": {}}}]


@pytest.mark.parametrize("body", CONTEXTS)
@pytest.mark.parametrize(
    ("graph", "seen"),
    [
        ("defaults", "Defaults(model='small')"),
        ("model_defaults", "ModelDefaults(model='small')"),
        ("dictionary", "None"),
        ("free", "None"),
    ],
)
async def test_an_empty_context_gives_the_defaults_of_the_schema(http, graph, seen, body):
    assert (await wait(http, graph, **body))["seen"] == seen


@pytest.mark.parametrize("body", CONTEXTS)
@pytest.mark.parametrize(
    ("graph", "error"), [("required", "TypeError"), ("model_required", "ValidationError")]
)
async def test_an_empty_context_fails_where_the_schema_requires_a_field(http, graph, error, body):
    assert (await wait(http, graph, **body))["__error__"]["error"] == error


async def test_a_run_of_the_thread_protocol_gets_the_defaults_of_the_schema(http):
    thread = str(uuid.uuid4())
    command = {"id": 1, "method": "run.start"}
    params = {"assistant_id": "defaults", "input": {}, "if_not_exists": "create"}
    await http.post("/threads", json={"thread_id": thread})
    answer = await http.post(f"/threads/{thread}/commands", json={**command, "params": params})
    assert answer.status_code == 200, answer.text
    run = answer.json()["result"]["run_id"]
    result = (await http.get(f"/threads/{thread}/runs/{run}/join")).json()
    assert result["seen"] == "Defaults(model='small')"


async def test_a_thread_keeps_the_merged_configuration_of_its_last_run(http):
    assistant, thread = await factory_assistant(http), await new_thread(http)
    await post(
        http, f"/threads/{thread}/runs/wait", assistant_id=assistant, input={},
        config={"configurable": {"extra": 1}, "recursion_limit": 17},
    )  # fmt: skip
    config = (await http.get(f"/threads/{thread}")).json()["config"]
    assert config == {
        "tags": ["mine"],
        "recursion_limit": 17,
        "configurable": {"nodeName": "assistant", "extra": 1},
    }


async def test_states_of_a_factory_graph_are_made_with_the_configuration_of_the_last_run(http):
    assistant, thread = await factory_assistant(http), await new_thread(http)
    await post(http, f"/threads/{thread}/runs/wait", assistant_id=assistant, input={})
    change = {"values": {"log": ["changed"]}, "as_node": "assistant"}
    await post(http, f"/threads/{thread}/state", **change)
    state = (await http.get(f"/threads/{thread}/state")).json()
    assert state["values"]["log"] == ["assistant", "changed"]
    history = await post(http, f"/threads/{thread}/history", limit=10)
    assert [each["metadata"]["source"] for each in history] == ["update", "loop", "loop", "input"]


async def test_states_of_a_factory_graph_are_made_with_the_configuration_of_the_run(http):
    thread = await new_thread(http)
    config = {"configurable": {"nodeName": "chosen"}}
    run = {"assistant_id": "made", "input": {}, "config": config}
    await post(http, f"/threads/{thread}/runs/wait", **run)
    change = {"values": {"log": ["changed"]}, "as_node": "chosen"}
    await post(http, f"/threads/{thread}/state", **change)
    state = (await http.get(f"/threads/{thread}/state")).json()
    assert state["values"]["log"] == ["chosen", "changed"]


async def test_factories_know_whether_the_graph_is_for_a_run(http):
    assistant, thread = await factory_assistant(http), await new_thread(http)
    await calls(http)
    forged = {"configurable": {"__is_for_execution__": False, "__pregel_read_state": "x"}}
    run = {"assistant_id": assistant, "input": {}, "config": forged}
    await post(http, f"/threads/{thread}/runs/wait", **run)
    (call,) = await calls(http)
    assert call["configurable"]["__is_for_execution__"] is True
    assert call["configurable"]["nodeName"] == "assistant"
    assert call["recursion_limit"] > 0
    assert not [key for key in call["configurable"] if key.startswith("__pregel_")]
    assert call["configurable"]["__after_seconds__"] == 0
    assert call["configurable"]["__request_start_time_ms__"] > 1e12
    paths = [f"/threads/{thread}/{what}" for what in ("state", "history")]
    paths += [f"/assistants/{assistant}/{what}" for what in ("graph", "schemas", "subgraphs")]
    for path in paths:
        assert (await http.get(path)).status_code == 200
    reads = await calls(http)
    assert [each["configurable"]["__is_for_execution__"] for each in reads] == [False] * 5
    assert [each["configurable"]["nodeName"] for each in reads] == ["assistant"] * 5


async def test_the_metadata_of_a_run_wins_over_that_of_its_config(http):
    config = {"metadata": {"same": "config", "other": "config"}}
    seen = (await wait(http, "told", metadata={"same": "run"}, config=config))["seen"]
    assert (seen["metadata"]["same"], seen["metadata"]["other"]) == ("run", "config")


async def test_the_metadata_of_a_node_names_user_request_and_server(http):
    answer = await http.post(
        "/runs/wait",
        json={"assistant_id": "told", "input": {}},
        headers={"x-request-id": "request-1"},
    )
    metadata = answer.json()["seen"]["metadata"]
    names = ("user_id", "auth_user_id", "request_id", "api_url", "plan")
    found = {name: metadata.get(name, metadata.get(f"langgraph_{name}")) for name in names}
    assert found.pop("api_url").startswith("http://127.0.0.1:")
    assert found == {
        "user_id": "",
        "auth_user_id": "",
        "request_id": "request-1",
        "plan": "loomline",
    }


async def test_the_metadata_of_a_node_has_the_user_that_a_client_names(http):
    named = {"configurable": {"user_id": "theirs"}}
    assert (await wait(http, "told", config=named))["seen"]["metadata"]["user_id"] == "theirs"
    both = {"metadata": {"user_id": "of the run"}, "config": named}
    assert (await wait(http, "told", **both))["seen"]["metadata"]["user_id"] == "of the run"


async def test_the_config_metadata_of_an_assistant_does_not_reach_nodes(http):
    made = await post(
        http, "/assistants", graph_id="told", config={"metadata": {"hidden": 1}}, metadata={"own": 2}
    )  # fmt: skip
    metadata = (await wait(http, made["assistant_id"]))["seen"]["metadata"]
    assert "hidden" not in metadata
    assert metadata["own"] == 2


@pytest.mark.parametrize(
    ("graph", "schema"),
    [
        ("number", {"type": "integer", "default": None}),
        ("items", {"type": "array", "items": {}, "default": None}),
        (
            "entry",
            {
                "type": "object",
                "properties": {"__end__": {"type": "string", "title": "End", "default": None}},
            },
        ),
    ],
)
async def test_the_schema_of_a_state_that_is_no_object_is_told(http, graph, schema):
    described = (await http.get(f"/assistants/{graph}/schemas")).json()
    assert described["state_schema"] == schema | {"title": f"{graph}_state"}
