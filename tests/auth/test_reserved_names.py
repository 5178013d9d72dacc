"""Clients cannot say under the server's names what events and checkpoints show."""

import json

import pytest
from tests.auth.conftest import handlers
from tests.auth.test_isolation import client

SPOOFED = "of-somebody-else"
NAMES = [
    "run_id", "thread_id", "assistant_id", "graph_id", "user_id", "langgraph_auth_user_id",
    "langgraph_request_id", "langgraph_node", "run_attempt",
]  # fmt: skip


@pytest.fixture
def ada(serve):
    with serve(handlers("owners")) as url, client(url, "ada") as http:
        yield http


def test_events_and_checkpoints_show_the_values_of_the_server(ada):
    thread = ada.post("/threads", json={}).json()["thread_id"]
    body = {
        "assistant_id": "joke",
        "input": {"topic": "tea"},
        "config": {"metadata": dict.fromkeys(NAMES, SPOOFED)},
        "metadata": dict.fromkeys(NAMES, SPOOFED),
        "stream_mode": ["events", "debug", "checkpoints", "tasks"],
    }
    answer = ada.post(f"/threads/{thread}/runs/stream", json=body)
    assert answer.status_code == 200
    # The run itself keeps what the client has noted on it; nothing else repeats it.
    assert SPOOFED not in answer.text
    assert '"langgraph_auth_user_id":"ada"' in answer.text
    states = ada.get(f"/threads/{thread}/history").json()
    assert SPOOFED not in json.dumps([each["metadata"] for each in states])
    assert {each["metadata"]["user_id"] for each in states} == {"ada"}


@pytest.mark.parametrize("place", ["config", "assistant"])
def test_user_id_of_a_client_is_replaced_by_the_identity(ada, place):
    config = {"configurable": {"user_id": "eve"}}
    body = {"assistant_id": "who", "input": {}}
    if place == "config":
        body["config"] = config
    else:
        made = ada.post("/assistants", json={"graph_id": "who", "config": config}).json()
        body["assistant_id"] = made["assistant_id"]
    assert ada.post("/runs/wait", json=body).json()["seen"]["user_id"] == "ada"


def test_user_id_in_the_context_belongs_to_the_client(ada):
    body = {"assistant_id": "context", "input": {}, "context": {"user_id": "x", "color": "blue"}}
    seen = ada.post("/runs/wait", json=body).json()["seen"]
    assert (seen["color"], seen["configurable"]["user_id"]) == ("blue", "ada")
