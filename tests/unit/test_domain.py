"""Decisions and values of the domain that have no other page."""

import pytest
from tests.support import new_run

from loomline.server.domain.errors import TooDeep
from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import dump, load_object
from loomline.server.domain.runs import run_metadata, thread_metadata_after
from loomline.server.domain.threads import status_after


@pytest.mark.parametrize(
    ("status", "has_next", "expected"),
    [
        ("success", False, "idle"),
        ("success", True, "interrupted"),
        ("interrupted", False, "interrupted"),
        ("error", True, "error"),
        ("timeout", False, "error"),
    ],
)
def test_the_status_of_a_thread_follows_its_run(status, has_next, expected):
    assert status_after(status, has_next=has_next) == expected


def test_of_metadata_the_later_wins():
    run = new_run(
        uuid7(),
        assistant_metadata={"from": "assistant", "a": 1},
        metadata={"from": "request", "graph_id": "forged"},
    )
    made = run_metadata(run, {"from": "thread", "t": 1})
    assert made == {
        "from": "request",
        "a": 1,
        "t": 1,
        "graph_id": "graph",
        "assistant_id": str(run.assistant_id),
    }


@pytest.mark.parametrize("own_thread", [True, False])
def test_a_thread_takes_the_metadata_of_the_run_it_is_made_for(own_thread):
    run = new_run(uuid7(), metadata={"r": 1}, own_thread=own_thread)
    made = thread_metadata_after(run, {"t": 1, "graph_id": "older"})
    assert ("r" in made) == own_thread
    assert (made["t"], made["graph_id"]) == (1, "graph")


def test_json_goes_in_and_out():
    assert load_object(dump({"a": [1, None, "ä"]})) == {"a": [1, None, "ä"]}


def test_json_that_is_too_deep():
    value = 1
    for _ in range(1000):
        value = [value]
    with pytest.raises(TooDeep):
        dump(value)
