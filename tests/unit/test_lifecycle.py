"""The mode ``lifecycle`` of runs: the events of subgraphs."""

import orjson
import pytest

from loomline.server.domain.json import Encoded
from loomline.server.domain.runs import Outcome
from loomline.server.worker.lifecycle import Lifecycle

CHILD = ("tools:t1",)
DEEP = ("tools:t1", "inner:t2")
FAILED = Outcome("error", "error", error=Encoded(b'{"error":"E","message":"m","reason":"r"}'))


def begun(task="t1", **fields):
    return {"id": task, "name": "tools", "triggers": ["x"], **fields}


def ended(task="t1", **fields):
    return {"id": task, "name": "tools", "error": None, "interrupts": [], **fields}


def read(events):
    return [(each.name, orjson.loads(each.data)) for each in events]


@pytest.mark.parametrize(
    "given",
    [
        {"__type": "tool_call_with_context", "tool_call": {"id": "call"}, "state": {}},
        [{"id": "call", "name": "f"}, {"id": "other"}],
    ],
)
def test_subgraph_of_a_tool_call_names_the_call_at_both_ends(given):
    lifecycle = Lifecycle(show_all_errors=False)
    assert lifecycle.note((), "tasks", begun(input=given)) == []
    place = {"namespace": ["tools:t1"], "tool_call_id": "call"}
    name = "lifecycle|tools:t1"
    assert read(lifecycle.note(CHILD, "values", {})) == [(name, {"event": "started", **place})]
    assert read(lifecycle.note(CHILD, "values", {})) == []
    end = lifecycle.note((), "tasks", ended())
    assert read(end) == [(name, {"event": "completed", **place})]
    (again,) = read(lifecycle.note(CHILD, "values", {}))
    assert again[1] == {"event": "started", "namespace": ["tools:t1"]}


@pytest.mark.parametrize("given", [None, "text", [], [3], {"tool_call": None}, {"messages": []}])
def test_subgraph_of_another_task_names_no_call(given):
    lifecycle = Lifecycle(show_all_errors=False)
    lifecycle.note((), "tasks", begun(input=given))
    ((_, data),) = read(lifecycle.note(CHILD, "values", {}))
    assert data == {"event": "started", "namespace": ["tools:t1"]}


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"interrupts": [{"id": "i"}]}, {"event": "interrupted"}),
        (
            {"error": ValueError("no")},
            {"event": "failed", "error": {"error": "ValueError", "message": "no"}},
        ),
        (
            {"error": OSError("/secret")},
            {
                "event": "failed",
                "error": {"error": "OSError", "message": "An internal error occurred"},
            },
        ),
    ],
)
def test_end_of_a_subgraph_tells_how_its_task_ended(fields, shown):
    lifecycle = Lifecycle(show_all_errors=False)
    lifecycle.note(CHILD, "values", {})
    ((_, data),) = read(lifecycle.note((), "tasks", ended(**fields)))
    assert data == {**shown, "namespace": ["tools:t1"]}


@pytest.mark.parametrize(
    ("outcome", "shown"),
    [
        (Outcome("interrupted", "interrupted"), {"event": "interrupted"}),
        (FAILED, {"event": "failed", "error": {"error": "E", "message": "m"}}),
    ],
)
def test_subgraphs_that_are_open_at_the_end_of_a_run_end_from_the_inside(outcome, shown):
    lifecycle = Lifecycle(show_all_errors=False)
    assert [name for name, _ in read(lifecycle.note(DEEP, "values", {}))] == [
        "lifecycle|tools:t1", "lifecycle|tools:t1|inner:t2",
    ]  # fmt: skip
    assert read(lifecycle.ended(outcome)) == [
        ("lifecycle|tools:t1|inner:t2", {**shown, "namespace": list(DEEP)}),
        ("lifecycle|tools:t1", {**shown, "namespace": list(CHILD)}),
    ]
    assert lifecycle.ended(outcome) == []
