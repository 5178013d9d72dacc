"""The log of a server whose runs fail again and again."""

import httpx
import pytest
from tests.serving import Process
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

pytestmark = pytest.mark.slow

RUNS = 20


def test_runs_that_fail_alike_have_one_traceback_and_one_line_each(tmp_path):
    with Process(tmp_path) as server:
        with httpx.Client(base_url=server.url, timeout=150) as http:
            for number in range(RUNS):
                # The text is another one each time, with an escape sequence for terminals.
                body = {"assistant_id": "boom", "input": {"topic": f"\x1b[2J\r{number}"}}
                assert "__error__" in http.post("/runs/wait", json=body).json()
        _, _, log = server.stop()
    lines = log.split("\n")
    failed = [line for line in lines if " run failed " in line]
    assert len(failed) == RUNS
    assert sum("Traceback" in line for line in lines) == 1
    assert [line.endswith(f" repeated={n}") for n, line in enumerate(failed)] == [
        False, *[True] * (RUNS - 1),
    ]  # fmt: skip
    assert "\x1b" not in log
    assert "\r" not in log


def test_refused_websocket_is_answered_403_and_is_no_error_in_the_log(tmp_path):
    with Process(tmp_path) as server:
        address = f"ws://127.0.0.1:{server.port}/threads/x/stream/events"
        for _ in range(3):
            with pytest.raises(InvalidStatus) as refused:
                connect(address, origin="http://evil.example")
            assert refused.value.response.status_code == 403
            assert b"evil.example" in refused.value.response.body
        _, _, log = server.stop()
    assert log.count("a request was refused") == 1
    assert "ERROR" not in log
