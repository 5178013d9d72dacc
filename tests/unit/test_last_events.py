"""The last events of runs with a log without an end."""

from datetime import UTC, datetime

import orjson
import pytest
from tests.support import ASSISTANT

from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import Encoded
from loomline.server.domain.last_events import Told, last_events
from loomline.server.domain.protocol import (
    END,
    RUN_ENDS,
    Topic,
    dump_events,
    load_events,
    make_event,
)
from loomline.server.domain.run_spec import RunSpec, StoredSpec
from loomline.server.domain.runs import ATTEMPTS_EXHAUSTED, Run

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOPICS = [Topic("input.requested", ("child:1", "a|b")), Topic("lifecycle", name=END)]


def a_run(**fields):
    given = {
        "run_id": uuid7(), "thread_id": uuid7(), "assistant_id": ASSISTANT, "graph_id": "graph",
        "status": "interrupted", "metadata": {}, "request": StoredSpec(spec=RunSpec()),
        "multitask_strategy": "enqueue", "temporary": False, "resumable": True, "attempt": 0,
        "created_at": NOW, "updated_at": NOW, "number_before": 5, "last_number": 7,
    }  # fmt: skip
    return Run(**{**given, **fields})


def question(number, interrupt_id, namespace=("child:1",)):
    data = Encoded(orjson.dumps({"interrupt_id": interrupt_id, "value": "Sure?"}))
    topic = Topic("input.requested", namespace)
    return make_event("run", number, topic, data, milliseconds=5)


def other(number, topic):
    return make_event("run", number, topic, Encoded(b"{}"), milliseconds=5)


def shown(events):
    found = [orjson.loads(event.data) for event in events]
    return [
        (event.number, event.key, each["params"]["data"]["event"])
        for event, each in zip(events, found, strict=True)
    ]


def test_stored_events_are_read_as_they_were_logged():
    made = [
        make_event("run", number, topic, Encoded(b'{"a":1.0,"b":"\\u001f"}'), milliseconds=5)
        for number, topic in enumerate(TOPICS, 3)
    ]
    assert load_events(dump_events(made)) == made
    assert last_events(a_run(attempt=1), dump_events(made)) == made


def test_run_that_has_never_begun_has_a_beginning_and_an_end():
    begun = Topic("lifecycle").key
    assert shown(last_events(a_run(), None)) == [
        (6, begun, "running"), (7, RUN_ENDS, "interrupted"),
    ]  # fmt: skip


def test_run_that_was_stopped_between_two_attempts_has_an_end():
    found = last_events(a_run(attempt=1), None)
    assert shown(found) == [(7, RUN_ENDS, "interrupted")]


def test_run_that_was_given_up_has_an_end_with_its_error():
    (end,) = last_events(a_run(status="error", attempt=3, error=ATTEMPTS_EXHAUSTED), None)
    data = orjson.loads(end.data)["params"]["data"]
    assert (end.number, data["event"]) == (7, "failed")
    assert data["error"].startswith("The run was given up")


@pytest.mark.parametrize(
    "run", [a_run(last_number=None), a_run(status="success", attempt=1)], ids=["queued", "earlier"]
)
def test_run_without_a_number_or_with_the_success_of_an_early_version_has_no_last_events(run):
    assert last_events(run, None) == []


def test_question_that_another_worker_asks_again_is_not_new():
    told = Told()
    first, second = question(5, "a"), question(1_000_007, "b")
    assert told.new([first]) == [first]
    assert told.new([question(1_000_006, "a"), second]) == [second]
    assert told.asked == {"a", "b"}


def test_stored_end_is_new_after_a_log_with_its_questions():
    told = Told()
    told.new([question(5, "a")])
    end = other(1_000_008, Topic("lifecycle", name=END))
    assert told.new([question(1_000_007, "a"), end]) == [end]
    assert told.ended


def test_events_without_a_question_are_new_once_each():
    events = [other(number, Topic(method)) for number, method in enumerate(["values", "custom"], 1)]
    told = Told()
    assert told.new(events) == events
    assert not told.ended


def test_late_question_of_a_worker_that_lost_its_run_does_not_hide_the_question():
    told = Told()
    told.new([other(1_000_001, Topic("lifecycle"))])
    asked = question(1_000_002, "a")
    assert told.new([question(6, "a"), asked]) == [asked]
