"""Many requests that nobody would write, in small: ``bench/fuzz_auth.py`` sends more of them."""

import contextlib
import json
import re

import httpx
import pytest
import schemathesis
from bench.fuzz_auth import build, fuzz, pairs, serving, user
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from tests.auth.test_isolation import ROWS, SECRET

HEALTH = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A server in a process of its own, and what Ada has on it."""
    with serving(tmp_path_factory.mktemp("fuzz")) as (url, _), user(url, "ada") as ada:
        yield url, ada, build(ada)


@pytest.mark.timeout(400)
def test_nothing_is_told_and_nothing_changes(world):
    url, ada, ours = world
    before = ours.look(ada)
    statuses = fuzz(url, ours, number=400, seed=20)
    assert {200, 401, 404, 422} <= statuses.keys()
    assert ours.look(ada) == before


@pytest.mark.timeout(400)
def test_same_request_of_two_users_has_answers_without_a_common_id(tmp_path):
    # A world of its own: Ada sends the same requests, and may change what is hers.
    with serving(tmp_path) as (url, _), user(url, "ada") as ada:
        compared = pairs(url, build(ada), rounds=1, seed=20)
    assert set(compared) == set(ROWS)
    for path in ("/runs", "/runs/wait", "/runs/stream", "/runs/batch"):
        assert compared[f"POST {path}"] >= 1, path


@pytest.mark.timeout(400)
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_the_whole_document_with_the_ids_of_others(world, mode):
    url, ada, ours = world
    before = ours.look(ada)
    document = schemathesis.openapi.from_url(f"{url}/openapi.json")
    for found in document.get_all_operations():
        operation = found.ok()
        if operation.tags == ["system"] or "stream" in operation.path or "wait" in operation.path:
            continue
        _send(operation, mode, url, ours)
    assert ours.look(ada) == before


def _send(operation, mode, url, ours):
    @settings(max_examples=2, deadline=None, suppress_health_check=HEALTH, database=None)
    @given(operation.as_strategy(generation_mode=mode), st.data())
    def call(case, data):
        for name in case.path_parameters or {}:
            if name in ours.ids:
                case.path_parameters[name] = data.draw(st.sampled_from(ours.ids[name]))
        body = json.dumps(case.body, default=str) if case.body is not None else ""
        with contextlib.suppress(httpx.InvalidURL, ValueError):
            answer = case.call(headers={"authorization": "Bearer bob"}, timeout=150)
            assert answer.status_code < 500, answer.text
            assert SECRET not in answer.text or SECRET in body

    harmless = mode is GenerationMode.NEGATIVE and not operation.body
    with contextlib.suppress(*[Unsatisfiable] * harmless):
        call()


@pytest.fixture(scope="module")
def http():
    with httpx.Client() as made:
        yield made


NAMES = st.from_regex(re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,30}"), fullmatch=True)
CONTENT = st.binary(max_size=60).map(lambda raw: re.sub(rb"[\x00-\x1f\x7f]", b"", raw).strip())


@pytest.mark.timeout(400)
@settings(max_examples=200, deadline=None, suppress_health_check=HEALTH)
@given(headers=st.dictionaries(NAMES, CONTENT, max_size=5), credentials=CONTENT)
def test_random_headers_open_no_protected_route(world, http, headers, credentials):
    url, _, ours = world
    given_headers = [
        (name.encode(), value)
        for name, value in headers.items()
        if name.lower()
        not in {
            "host",
            "content-length",
            "transfer-encoding",
            "expect",
            "upgrade",
            "connection",
            "te",
            "trailer",
            "authorization",
        }
    ]
    thread = ours.ids["thread_id"][0]
    answer = http.get(
        f"{url}/threads/{thread}", headers=[*given_headers, (b"authorization", credentials)]
    )
    known = re.fullmatch(rb"Bearer (ada|bob)", credentials)
    assert answer.status_code in ({200, 404} if known else {401, 400})
    assert known or SECRET not in answer.text
