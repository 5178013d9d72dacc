"""Measures: the counts of a process, as Prometheus reads them, and spans around operations."""

import contextlib
import re
import threading

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.conformance.acts import add, thread_of
from tests.support import worker_of

from loomline.server.api.metrics import measured
from loomline.server.clock import SystemClock
from loomline.server.domain.measures import (
    LATENCY,
    RECORDED,
    REQUESTS,
    RUN_WAIT,
    RUNS_CLAIMED,
    RUNS_ENDED,
    STREAM_READERS,
)
from loomline.server.ports.measures import NO_MEASURES, NoMeasures
from loomline.server.prometheus import PrometheusMeasures
from loomline.server.storage.sqlite import SqliteStorage


class Spans(NoMeasures):
    """Measures that keep all operations and the notes about them."""

    def __init__(self):
        self.ended = []
        self.open = 0

    @contextlib.contextmanager
    def span(self, kind, name="", **facts):
        noted = dict(facts)
        self.open += 1
        try:
            yield Noted(noted)
        finally:
            self.open -= 1
            self.ended.append((kind, name, noted))

    def of(self, kind):
        return [(name, noted) for each, name, noted in self.ended if each == kind]


class Noted:
    def __init__(self, facts):
        self.facts = facts

    def note(self, **facts):
        self.facts |= facts


def lines(measures, name):
    text = measures.exposition().decode()
    return dict(re.findall(rf"^({name}(?:{{.*}})?) (\S+)$", text, re.MULTILINE))


def test_metrics_without_labels_are_shown_before_the_first_count():
    measures = PrometheusMeasures()
    text = measures.exposition().decode()
    for metric in RECORDED:
        assert f"# TYPE {metric.name}" in text
    assert lines(measures, "loomline_runs_claimed_total") == {"loomline_runs_claimed_total": "0.0"}
    assert lines(measures, "loomline_runs_ended_total") == {}


def test_counts_are_kept_apart_by_their_labels():
    measures = PrometheusMeasures()
    for result, amount in (("success", 1), ("error", 1), ("success", 3)):
        measures.count(RUNS_ENDED, result, amount=amount)
    assert measures.counts(RUNS_ENDED) == {("success",): 4, ("error",): 1}
    assert lines(measures, "loomline_runs_ended_total") == {
        'loomline_runs_ended_total{result="success"}': "4.0",
        'loomline_runs_ended_total{result="error"}': "1.0",
    }


def test_histogram_counts_values_up_to_each_bound():
    measures = PrometheusMeasures()
    for value in (0.005, 0.006, 7200.0):
        measures.observe(RUN_WAIT, value)
    found = lines(measures, "loomline_run_wait_seconds_bucket")
    assert found['loomline_run_wait_seconds_bucket{le="0.005"}'] == "1.0"
    assert found['loomline_run_wait_seconds_bucket{le="0.01"}'] == "2.0"
    assert found['loomline_run_wait_seconds_bucket{le="3600.0"}'] == "2.0"
    assert found['loomline_run_wait_seconds_bucket{le="+Inf"}'] == "3.0"
    (total,) = lines(measures, "loomline_run_wait_seconds_sum").values()
    assert float(total) == pytest.approx(7200.011)


def test_gauge_shows_its_latest_value_and_nothing_before_the_first():
    measures = PrometheusMeasures()
    assert lines(measures, STREAM_READERS.name) == {}
    for value in (3, 1):
        measures.gauge(STREAM_READERS, value)
    assert lines(measures, STREAM_READERS.name) == {STREAM_READERS.name: "1.0"}


def test_counts_of_several_threads_add_up_exactly():
    measures = PrometheusMeasures()

    def count():
        for _ in range(2000):
            measures.count(RUNS_CLAIMED)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert measures.counts(RUNS_CLAIMED) == {(): 16_000}


def test_spans_without_an_observer_do_nothing_and_swallow_nothing():
    with pytest.raises(ValueError, match="passes"), NO_MEASURES.span("run", "graph") as span:
        span.note(result="error")
        raise ValueError("passes")


@pytest.fixture
async def http():
    measures = Recording()

    async def answer(request):
        if request.path_params["name"] == "broken":
            raise ZeroDivisionError
        assert measures.open == 1
        return PlainTextResponse("x", status_code=202)

    route = Route("/{name}", measured(answer, "GET", "/{name}", measures))
    transport = httpx.ASGITransport(Starlette(routes=[route]), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        client.measures = measures
        yield client


class Recording(Spans, PrometheusMeasures):
    def __init__(self):
        Spans.__init__(self)
        PrometheusMeasures.__init__(self)

    count = PrometheusMeasures.count
    gauge = PrometheusMeasures.gauge
    observe = PrometheusMeasures.observe


async def test_request_has_a_span_and_counts_under_its_template(http):
    assert (await http.get("/a")).status_code == 202
    assert http.measures.of("request") == [("GET /{name}", {"status": 202})]
    assert http.measures.counts(REQUESTS) == {("GET", "/{name}", "202"): 1}
    assert lines(http.measures, f"{LATENCY.name}_count").popitem()[1] == "1.0"


async def test_span_of_a_request_whose_handler_raises_is_closed(http):
    assert (await http.get("/broken")).status_code == 500
    assert (http.measures.open, http.measures.of("request")) == (0, [("GET /{name}", {})])


async def test_storage_calls_and_claims_have_spans(tmp_path):
    spans, clock = Spans(), SystemClock()
    storage = SqliteStorage(tmp_path / "loomline.db", clock=clock, measures=spans)
    await storage.open()
    thread = await thread_of(storage)
    await add(storage, thread)
    assert spans.of("storage")[0] == ("write", {})
    await storage.threads.get(thread)
    worker = worker_of(storage, clock, concurrency=1, measures=spans)
    worker._runner.submit = lambda job: None  # the claimed run is not executed
    await worker._claim()
    assert spans.of("claim") == [("", {"runs": 1})]
    await storage.close()
    assert spans.open == 0
