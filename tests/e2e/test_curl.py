"""The API with nothing but cURL."""

import json
import shutil
import subprocess

import pytest
from tests.serving import serving_here

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

JOKE = {"assistant_id": "joke", "input": {"topic": "ice cream"}, "stream_mode": "updates"}


@pytest.fixture(scope="module")
def curl(tmp_path_factory):
    with serving_here(tmp_path_factory.mktemp("data")) as address:

        def call(path, body=None, *options):
            data = [] if body is None else ["--data", json.dumps(body)]
            command = [
                "curl",
                "--silent",
                "--show-error",
                "--max-time",
                "20",
                *options,
                *data,
                address + path,
            ]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

        yield call


def test_curl_receives_the_events_of_a_run(curl):
    blocks = curl("/runs/stream", JOKE, "--no-buffer").split("\n\n")
    assert [block.splitlines()[0] for block in blocks if block] == [
        "event: metadata",
        "event: updates",
        "event: updates",
        "event: end",
    ]
    assert blocks[1].splitlines()[1] == 'data: {"refine_topic":{"topic":"ice cream and cats"}}'


def test_a_thread_and_its_runs(curl):
    thread = json.loads(curl("/threads", {}))["thread_id"]
    place = f"/threads/{thread}"
    assert (
        json.loads(curl(f"{place}/runs/wait", JOKE))["joke"]
        == "This is a joke about ice cream and cats"
    )
    run = json.loads(curl(f"{place}/runs", JOKE | {"stream_resumable": True}))
    assert json.loads(curl(f"{place}/runs/{run['run_id']}/join"))["joke"]
    assert json.loads(curl(f"{place}/runs/{run['run_id']}"))["status"] == "success"
    replay = curl(f"{place}/runs/{run['run_id']}/stream", None, "--header", "Last-Event-ID: -1")
    assert replay.count("event: updates") == 2
    assert [each["status"] for each in json.loads(curl(f"{place}/runs"))] == ["success", "success"]
    sleeping = json.loads(curl(f"{place}/runs", {"assistant_id": "sleepy", "input": {}}))
    assert (
        curl(
            f"{place}/runs/{sleeping['run_id']}/cancel?wait=true", None, "--request", "POST"
        ).strip()
        == "{}"
    )
    assert json.loads(curl(place))["status"] == "interrupted"
    assert curl(place, None, "--request", "DELETE", "--write-out", "%{http_code}") == "204"
    assert curl(place, None, "--output", "/dev/null", "--write-out", "%{http_code}") == "404"


def test_curl_reads_health_info_and_documentation(curl):
    assert json.loads(curl("/ok"))["ok"]
    assert json.loads(curl("/info"))["version"]
    assert json.loads(curl("/openapi.json"))["openapi"] == "3.1.0"
    assert curl("/docs").startswith("<!doctype html>")
