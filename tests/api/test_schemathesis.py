"""The live server does what its OpenAPI document says, whatever it is sent."""

import contextlib

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tests.serving import Process

EXAMPLES = 6
TAGS = ("assistants", "threads", "runs", "crons", "store", "system")
HEALTH = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]

# What is valid for the schema and still cannot be: fields that exclude each other, for one.
ACCEPTED = ["2xx", "400", "404", "409"]

GRAPHS = st.sampled_from(["joke", "ask", "context", "progress"])
# What stays open is read for so many seconds.
ENDLESS = {
    "GET /threads/{thread_id}/stream": 1,
    "POST /threads/{thread_id}/stream/events": 1,
}

# Runs to come are not executed while the test lasts.
LIMITS = {"webhook_networks": "127.0.0.0/8", "max_queued_runs_per_thread": "1000000"}

FORMATS = {
    "graph": GRAPHS,
    "assistant": GRAPHS | st.uuids().map(str),
    "cron": st.sampled_from(["* * * * *", "@daily", "0 0 1 1 *", "*/5 9-17 * * mon-fri 30"]),
    # Nobody listens there.
    "webhook": st.sampled_from(["http://127.0.0.1:9/", "http://127.0.0.1:9/hook?a=b"]),
    "idempotency-key": st.uuids().map(str),
    "event-id": st.sampled_from(["-1", "0-0", "1700000000000-3"]),
    "timezone": st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]),
}


@pytest.fixture(scope="module")
def operations(tmp_path_factory):
    for name, strategy in FORMATS.items():
        schemathesis.openapi.format(name, strategy)
    config = schemathesis.Config()
    config.projects.default.checks.positive_data_acceptance.expected_statuses = ACCEPTED
    # Another process: hypothesis objects to random numbers that are drawn beside its own.
    with Process(tmp_path_factory.mktemp("data"), log_level="error", **LIMITS) as server:
        document = schemathesis.openapi.from_url(f"{server.url}/openapi.json", config=config)
        yield [found.ok() for found in document.get_all_operations()]


def in_64_bits(value):
    """Return a JSON value with its integers cut to 64 bits.

    The server refuses larger ones anywhere in a body, which the schemas of free objects do not say.
    """
    if isinstance(value, dict):
        return {key: in_64_bits(each) for key, each in value.items()}
    if isinstance(value, list):
        return [in_64_bits(each) for each in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return min(max(value, -(1 << 63)), (1 << 64) - 1)
    return value


def send(operation, mode):
    # The generator of wrong data calls strings valid that break the format of their field.
    excluded = [positive_data_acceptance] if mode is GenerationMode.NEGATIVE else []

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=HEALTH, database=None)
    @given(operation.as_strategy(generation_mode=mode))
    def call(case):
        if isinstance(case.body, dict) and "after_seconds" in case.body:
            case.body["after_seconds"] = 0
        case.body = in_64_bits(case.body)
        case.call_and_validate(timeout=ENDLESS.get(operation.label, 20), excluded_checks=excluded)

    # What takes nothing cannot be sent anything wrong.
    harmless = mode is GenerationMode.NEGATIVE and not operation.body
    with contextlib.suppress(*[Unsatisfiable] * harmless):
        call()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("tag", TAGS)
def test_answers_are_as_documented(operations, tag, mode):
    for operation in operations:
        if operation.tags == [tag]:
            send(operation, mode)


def test_every_route_is_tried(operations):
    assert {tag for operation in operations for tag in operation.tags} == set(TAGS)
