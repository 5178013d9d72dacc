"""``RemoteGraph`` of langgraph, whose states are ours."""

from pathlib import Path

import pytest
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command
from langgraph_sdk import get_client, get_sync_client

CONFIG = Path(__file__).parents[1] / "project" / "states" / "langgraph.json"


@pytest.fixture(scope="module")
def remote(serving):
    with (
        serving(config=CONFIG) as address,
        get_sync_client(url=address, api_key=None) as client,
    ):
        # It is made from the address alone where no client is given; nobody would close that one.
        never_used = get_client(url=address, api_key=None)
        yield RemoteGraph("nested", client=never_used, sync_client=client)


def test_remote_graph_reads_and_updates_nested_states(remote):
    thread = remote.sync_client.threads.create()["thread_id"]
    config = {"configurable": {"thread_id": thread}}
    remote.invoke({"items": ["in"]}, config)
    state = remote.get_state(config, subgraphs=True)
    assert state.next == ("child",)
    assert state.values["items"] == ["in", "a"]
    (task,) = state.tasks
    assert task.state.next == ("grandchild",)
    deepest = task.state.tasks[0].state
    assert deepest.tasks[0].name == "ask"
    assert remote.get_state(deepest.config).config == deepest.config
    history = list(remote.get_state_history(config, limit=2))
    assert [each.metadata["step"] for each in history] == [1, 0]
    older = list(remote.get_state_history(config, before=history[0].config, limit=9))
    assert [each.metadata["step"] for each in older] == [0, -1]
    saved = remote.update_state(history[1].config, {"items": ["forked"]}, as_node="a")
    assert saved["configurable"]["thread_id"] == thread
    forked = remote.get_state(config)
    assert forked.config["configurable"]["checkpoint_id"] == saved["configurable"]["checkpoint_id"]
    assert forked.parent_config == history[1].config
    assert forked.values["items"] == ["in", "forked"]
    remote.invoke(None, config)
    remote.invoke(Command(resume="yes"), config)
    assert remote.get_state(config).values["answer"] == "yes"
