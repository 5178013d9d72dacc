"""Results of runs, derived from the reports of a root graph."""

import asyncio

import orjson
import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Interrupt
from typing_extensions import TypedDict

from loomline.server.domain.json import Encoded
from loomline.server.domain.outputs import Output
from loomline.server.graphs.states import Summary
from loomline.server.worker.plain_view import PlainView
from loomline.server.worker.questions import Questions
from loomline.server.worker.results import Report, output_of

FIRST, SECOND = Interrupt("one?", id="1"), Interrupt("two?", id="2")
STATE = Summary(has_next=True, values=Encoded(b'{"a":1,"b":2}'), interrupts=Encoded(b"{}"))


def reported(*chunks, **fields):
    report = Report(**fields)
    for chunk in chunks:
        report.note((), *chunk)
    return report


def result(report):
    return orjson.loads(report.result(report.thread_values()))


@pytest.mark.parametrize(
    ("named", "whole", "channels"),
    [
        (["a", "b"], ["b", "a"], None),
        (["a"], ["a", "b"], ("a",)),
        ("x", "x", None),
        ("x", ["x", "y"], "x"),
        (["x"], "x", None),
    ],
)
def test_an_output_names_the_channels_that_its_schema_shows(named, whole, channels):
    output = Output.among(named, whole)
    assert output == Output(channels) == Output.load(output.dump())


def test_an_output_is_a_part_of_the_values():
    values = {"a": 1, "b": 2}
    assert Output(("a", "c")).of(values) == {"a": 1}
    assert Output("b").of(values) == 2
    assert Output().of(values) == values
    assert Output(("a",)).of_encoded(Encoded(b'{"a":1,"b":2}')) == b'{"a":1}'
    assert Output(("a",)).of_encoded(Encoded(b"[1]")) == b"[1]"
    assert Output().of_encoded(Encoded(b"[1]")) == b"[1]"


def test_the_output_of_a_graph_is_that_of_its_schema():
    class Shown(TypedDict, total=False):
        a: int

    class Whole(Shown, total=False):
        b: int

    builder = StateGraph(Whole, output_schema=Shown)
    builder.add_node("node", lambda _: {"b": 1})
    builder.add_edge(START, "node")
    assert output_of(builder.compile()) == Output(("a",))


def test_a_result_is_the_last_values_with_all_questions():
    report = reported(
        ("values", {"a": 1}),
        ("updates", {"__interrupt__": (FIRST,)}),
        ("values", {"a": 1, "__interrupt__": (FIRST,)}),
        ("updates", {"__interrupt__": (SECOND,)}),
        ("values", {"a": 2}),
    )
    assert report.paused
    found = result(report)
    assert (found["a"], [each["id"] for each in found["__interrupt__"]]) == (2, ["1", "2"])


def test_a_result_without_an_object_is_its_questions():
    report = reported(("values", [1]), ("updates", {"__interrupt__": (FIRST,)}))
    assert [each["id"] for each in result(report)["__interrupt__"]] == ["1"]


def test_reports_of_subgraphs_do_not_count():
    report = reported(("values", {"a": 1}))
    report.note(("child:1",), "values", {"a": 2})
    report.note(("child:1",), "updates", {"__interrupt__": (FIRST,)})
    assert (result(report), report.paused) == ({"a": 1}, False)


@pytest.mark.parametrize(
    ("report", "tells"),
    [
        (reported(("values", {"a": 1})), True),
        (reported(), False),
        (reported(("values", {"a": 1}), output=Output(("a",))), False),
        (reported(("values", {"a": 1}), output=Output(("a",)), of_state=True), True),
        (reported(("values", {"a": 1}), ("updates", {"__interrupt__": ()})), False),
    ],
)
def test_a_report_tells_the_state_where_its_values_are_all_of_it(report, tells):
    assert report.tells_state is tells
    assert (report.thread_values() is not None) is tells


def test_the_values_of_the_thread_are_those_of_the_state_where_it_was_read():
    report = reported(("values", {"a": 1}), output=Output(("a",)), state=STATE)
    assert (report.thread_values(), result(report)) == (STATE.values, {"a": 1})


def test_a_run_that_reports_no_values_has_the_output_of_the_state():
    assert result(reported(output=Output(("a",)), state=STATE)) == {"a": 1}
    assert result(reported()) == {}


def names(events):
    return [(event.name, orjson.loads(event.data)) for event in events]


def test_the_plain_view_shows_the_output_alone():
    view = PlainView(reported(output=Output(("a", "c")), of_state=True))
    first = {"a": [1], "b": 1}
    assert names(view.events((), "values", first)) == [("values", {"a": [1]})]
    assert view.events((), "values", {**first, "b": 2}) == []
    update = {"n": {"b": 1}, "m": {"a": 1, "b": 1}, "l": [{"b": 1}, {"c": 1}, {"a": 1}], "k": None}
    assert names(view.events((), "updates", update)) == [
        ("updates", {"n": None, "m": {"a": 1}, "l": [{"c": 1}, {"a": 1}], "k": None})
    ]
    assert names(view.events(("x:1",), "updates", {"n": {"b": 1}})) == [
        ("updates|x:1", {"n": {"b": 1}})
    ]
    ((_, asked),) = names(view.events((), "values", {**first, "__interrupt__": (FIRST,)}))
    assert (asked["a"], asked["__interrupt__"][0]["id"], "b" in asked) == ([1], "1", False)


class Database:
    """The state of a thread that shows one question more at each look."""

    def __init__(self, *shown):
        self.shown = list(shown)
        self.stored = []
        self.asks = {"1": "one?", "2": "two?"}

    async def look(self):
        asked = self.shown[0] if len(self.shown) == 1 else self.shown.pop(0)
        interrupts = orjson.dumps({"task": [{"id": id_, "value": self.asks[id_]} for id_ in asked]})
        return Summary(has_next=True, values=Encoded(b"{}"), interrupts=Encoded(interrupts))

    async def store(self, interrupts):
        self.stored.append([each["id"] for each in orjson.loads(interrupts)["task"]])


ROOT_ASKS = ((), "updates", {"__interrupt__": (FIRST,)})
CHILD_ASKS = (("child:1",), "updates", {"__interrupt__": (FIRST,)})
OTHER: tuple[tuple[str, ...], str, dict[str, object]] = ((), "updates", {"node": {}})


async def test_a_question_waits_until_the_state_shows_it():
    database = Database([], [], ["1"])
    questions = Questions(database.look, database.store, at_end=False)
    assert await questions.told(OTHER) == [OTHER]
    assert await questions.told(CHILD_ASKS) == []
    assert await questions.told(ROOT_ASKS) == [CHILD_ASKS, ROOT_ASKS]
    assert await questions.told(ROOT_ASKS) == [ROOT_ASKS]
    assert database.stored == [["1"]]
    assert questions.rest(Report()) == []


async def test_a_question_with_the_id_of_a_former_one_waits_for_its_own_value():
    database = Database(["1"])
    again = ((), "updates", {"__interrupt__": (Interrupt("again?", id="1"),)})
    questions = Questions(database.look, database.store, at_end=False)
    told = asyncio.ensure_future(questions.told(again))
    done, _ = await asyncio.wait([told], timeout=0.1)
    assert not done
    database.asks = {"1": "again?"}
    assert await told == [again]


async def test_questions_that_one_state_shows_are_stored_once():
    database = Database(["1", "2"])
    questions = Questions(database.look, database.store, at_end=False)
    await questions.told(ROOT_ASKS)
    await questions.told(((), "updates", {"__interrupt__": (SECOND,)}))
    assert database.stored == [["1", "2"]]


async def test_questions_that_are_stored_at_the_end_are_told_with_the_last_values():
    database = Database(["1"])
    questions = Questions(database.look, database.store, at_end=True)
    values = ((), "values", {"a": 1, "__interrupt__": (FIRST,)})
    assert await questions.told(values) == []
    report = reported(("values", {"a": 1}), ("values", {"a": 2}))
    assert questions.rest(report) == [((), "values", {"a": 2, "__interrupt__": (FIRST,)})]
    assert database.stored == []


async def test_a_question_whose_reading_is_cancelled_is_not_told():
    async def never():
        await asyncio.Event().wait()

    questions = Questions(never, never, at_end=False)
    task = asyncio.ensure_future(questions.told(ROOT_ASKS))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
