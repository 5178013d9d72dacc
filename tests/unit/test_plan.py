"""What a graph is told about its run: the server's values, whatever the client says."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given, strategies as st

from loomline.server.authz.users import Caller, User
from loomline.server.domain.json import dump
from loomline.server.domain.reserved import IDS, SYSTEM_KEYS, is_reserved
from loomline.server.domain.run_spec import StoredSpec
from loomline.server.domain.runs import Claim, Run
from loomline.server.services.headers import HeaderPicker
from loomline.server.worker.plan import ServerFacts, make_plan

SPOOFED = "of somebody else"
NAMES = [
    *IDS, "user_id", "cron_id", "run_attempt", "langgraph_auth_user_id", "langgraph_auth_user",
    "langgraph_request_id", "langgraph_step", "langgraph_node", "langgraph_version",
    "langgraph_host", "langgraph_checkpoint_ns", "checkpoint_ns", "checkpoint_id", "__pregel_x",
]  # fmt: skip
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ADA = Caller(User({"identity": "ada", "is_authenticated": True, "permissions": []}))


def plan_of(*, caller=ADA, configurable=None, config_metadata=None, metadata=None):
    config = {
        "configurable": {"langgraph_request_id": "request", **(configurable or {})},
        "metadata": config_metadata or {},
    }
    kwargs = {
        "input": None, "command": None, "config": config, "context": {}, "stream_mode": ["values"],
        "subgraphs": False, "interrupt_before": None, "interrupt_after": None, "durability": "sync",
    }  # fmt: skip
    run = Run(
        run_id=UUID(int=1), thread_id=UUID(int=2), assistant_id=UUID(int=3), graph_id="graph",
        status="running", metadata=metadata or {}, request=StoredSpec(dump(kwargs)),
        multitask_strategy="enqueue", temporary=False, resumable=False, attempt=1,
        created_at=NOW, updated_at=NOW, user=caller.dump(),
    )  # fmt: skip
    return make_plan(Claim(run, "token", fresh=True), ServerFacts("1"))


OWN = {
    "run_id": str(UUID(int=1)),
    "thread_id": str(UUID(int=2)),
    "assistant_id": str(UUID(int=3)),
    "graph_id": "graph",
    "user_id": "ada",
    "langgraph_auth_user_id": "ada",
    "langgraph_request_id": "request",
}


def spoofed(names=NAMES):
    return dict.fromkeys(names, SPOOFED)


@pytest.mark.parametrize("place", ["config_metadata", "metadata"])
def test_metadata_of_a_client_under_reserved_names_is_left_out(place):
    found = plan_of(**{place: {**spoofed(), "note": "kept"}}).config["metadata"]
    assert SPOOFED not in found.values()
    assert found.items() >= {**OWN, "note": "kept"}.items()


def test_configurable_of_a_client_cannot_name_another_user_or_run():
    names = [name for name in OWN if name != "langgraph_request_id"]
    found = plan_of(configurable=spoofed(names)).config
    assert SPOOFED not in found["configurable"].values()
    assert SPOOFED not in found["metadata"].values()
    for name in names:
        assert found["configurable"][name] == OWN[name]


def test_user_id_of_a_client_stays_without_authentication():
    found = plan_of(caller=Caller(), configurable={"user_id": "theirs"}).config
    assert found["configurable"]["user_id"] == "theirs"
    assert found["configurable"]["langgraph_auth_user_id"] == ""
    assert plan_of(caller=Caller()).config["configurable"]["user_id"] == ""
    kept = plan_of(caller=Caller(), config_metadata={"user_id": "theirs"}).config["metadata"]
    assert (kept["user_id"], kept["langgraph_auth_user_id"]) == ("theirs", "")


@given(
    st.dictionaries(st.sampled_from([*NAMES, "note", "owner", "ls_provider"]), st.integers(0, 9))
)
def test_metadata_never_depends_on_a_reserved_name_of_the_client(given_metadata):
    plain = {name: value for name, value in given_metadata.items() if not is_reserved(name)}
    assert (
        plan_of(config_metadata=given_metadata).config["metadata"]
        == plan_of(config_metadata=plain).config["metadata"]
    )


@pytest.mark.parametrize("name", [name for name in NAMES if is_reserved(name)])
def test_header_with_a_reserved_name_is_not_shown_to_graphs(name):
    assert HeaderPicker(["*"]).pick([(name, SPOOFED)]) == {}


def test_every_id_of_the_server_is_reserved_or_set_by_it():
    assert all(is_reserved(name) for name in SYSTEM_KEYS - {"created_by"})
