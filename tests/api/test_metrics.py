"""What a server says about itself in numbers."""

import re

import httpx
import pytest
from tests.serving import serving_here
from tests.support import new_run, new_thread, open_storage

pytestmark = pytest.mark.two_servers

RUN = {"assistant_id": "joke", "input": {"topic": "x"}}


@pytest.fixture
async def http(serving):
    """A server of its own: nobody else's requests are counted."""
    with serving(concurrency="5") as address:
        async with httpx.AsyncClient(base_url=address) as client:
            yield client


@pytest.fixture
def most(request):
    """How many runs the server that is asked can have: none where another one executes them."""
    return 0 if "apart" in request.node.name else 5


async def numbers(http, name):
    text = (await http.get("/metrics")).text
    return {
        labels: float(value)
        for labels, value in re.findall(rf"^{name}{{?(.*?)}}? (\S+)$", text, re.MULTILINE)
    }


async def test_requests_are_counted_by_route(http):
    await http.get("/threads/nope")
    await http.get("/threads/other")
    await http.head("/ok")
    await http.post("/runs/stream", json=RUN)
    counted = await numbers(http, "lg_api_http_requests_total")
    assert counted == {
        'method="GET",path="/threads/{thread_id}",status="422"': 2,
        'method="GET",path="/ok",status="200"': 1,
        'method="POST",path="/runs/stream",status="200"': 1,
    }
    labels = 'method="GET",path="/threads/{thread_id}",status="422"'
    took = await numbers(http, "lg_api_http_requests_latency_bucket")
    assert took[f'le="+Inf",{labels}'] == 2
    assert took[f'le="60000.0",{labels}'] == 2
    assert (await numbers(http, "lg_api_http_requests_latency_sum"))[labels] > 0


async def test_runs_of_an_unserved_graph_wait_and_are_counted(tmp_path, caplog):
    async with open_storage(tmp_path) as storage:
        thread = (await storage.threads.create(new_thread())).thread_id
        run = (await storage.runs.create(new_run(thread, graph_id="of tomorrow"))).run
    with serving_here(tmp_path) as address:
        async with httpx.AsyncClient(base_url=address) as http:
            assert (await http.post("/runs/wait", json=RUN)).status_code == 200
            assert await numbers(http, "loomline_queue_unknown_graph_runs") == {"": 1}
            assert await numbers(http, "loomline_runs_claimed_total") == {"": 1}
            shown = (await http.get(f"/threads/{thread}/runs/{run.run_id}")).json()
            assert shown["status"] == "pending"
            assert (await http.post("/runs/cancel", json={"status": "pending"})).is_success
            assert await numbers(http, "loomline_queue_unknown_graph_runs") == {"": 0}
    assert "runs wait for graphs that are not served here" in caplog.messages
    async with open_storage(tmp_path) as storage:
        assert (await storage.runs.get(thread, run.run_id)).attempt == 0


async def test_metrics_have_prometheus_text_format(http, most):
    answer = await http.get("/metrics?format=other")
    assert answer.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"
    assert await numbers(http, "lg_api_workers_max") == {"": most}
    assert await numbers(http, "lg_api_workers_active") == {"": 0}
    assert await numbers(http, "lg_api_workers_available") == {"": most}
    for name in ("process_cpu_seconds_total", "python_gc_collections_total", "python_info"):
        assert f"\n# TYPE {name}" in answer.text
    assert "# TYPE lg_api_http_requests_latency histogram" in (await http.get("/metrics")).text


async def test_metrics_count_pending_and_running_runs(http, most):
    sleepy = {"assistant_id": "sleepy", "input": {"seconds": 60}}
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    for _ in range(3):
        await http.post(f"/threads/{thread}/runs", json=sleepy)
    await http.post("/runs", json=RUN | {"after_seconds": 3600})
    while (await numbers(http, "lg_api_num_running_runs")) != {"": 1}:
        continue
    assert await numbers(http, "lg_api_num_pending_runs") == {"": 3}
    found = (await http.get("/metrics?format=json")).json()
    active = min(most, 1)
    assert found["workers"] == {"max": most, "active": active, "available": most - active}
    assert (await numbers(http, "loomline_runs_claimed_total")) == {"": active}
    assert (await numbers(http, "loomline_queue_oldest_seconds"))[""] > 0
    queue = found["queue"]
    assert (queue["n_pending"], queue["n_running"]) == (3, 1)
    assert queue["pending_runs_wait_time_max_secs"] >= queue["pending_runs_wait_time_med_secs"] > 0
    assert queue["pending_unblocked_runs_wait_time_max_secs"] is None
    assert {"method": "POST", "path": "/threads", "status": 200, "count": 1} in found["api"][
        "http_requests_total"
    ]
    await http.delete(f"/threads/{thread}")


async def test_metrics_count_runs_by_result_and_wait(http, most):
    await http.post("/runs/wait", json=RUN)
    await http.post("/runs/wait", json=RUN | {"assistant_id": "boom"})
    done = {'result="success"': 1, 'result="error"': 1} if most else {}
    while await numbers(http, "loomline_runs_ended_total") != done:
        continue
    claimed = 2 if most else 0
    assert await numbers(http, "loomline_run_wait_seconds_count") == {"": claimed}
    assert (await numbers(http, "loomline_run_wait_seconds_bucket"))['le="60.0"'] == claimed
    assert await numbers(http, "loomline_runs_repeated_total") == {"": 0}
    assert await numbers(http, "loomline_queue_oldest_seconds") == {"": 0}


async def test_metrics_count_the_present_stream_readers(http):
    sleepy = {"assistant_id": "sleepy", "input": {"seconds": 60}}
    async with http.stream("POST", "/runs/stream", json=sleepy | {"on_disconnect": "cancel"}):
        while await numbers(http, "loomline_stream_readers") != {"": 1}:
            continue
    while await numbers(http, "loomline_stream_readers") != {"": 0}:
        continue


async def test_json_metrics_of_an_empty_queue_have_no_times(http):
    assert (await http.get("/metrics?format=json")).json()["queue"] == {
        "n_pending": 0,
        "n_running": 0,
        "pending_runs_wait_time_max_secs": None,
        "pending_runs_wait_time_med_secs": None,
        "pending_unblocked_runs_wait_time_max_secs": None,
    }


async def test_info_lists_the_supported_feature_flags(http):
    assert (await http.get("/info")).json()["flags"] == {
        "strict_resume": True,
        "stream_namespaces": True,
        "assistants": True,
        "crons": True,
        "langsmith": False,
        "langsmith_tracing_replicas": False,
        "langsmith_tracing_session_on_runs": False,
    }
