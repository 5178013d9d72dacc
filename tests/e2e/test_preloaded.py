"""Processes that tests fork instead of starting an interpreter behave like started ones."""

import os
import signal
import subprocess
import sys

import pytest
from tests.preloaded import Preloaded

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these processes"),
]


def test_forked_process_ends_with_the_code_and_the_output_of_the_command():
    process = Preloaded(["--version"], env=os.environ)
    out, err = process.communicate(timeout=150)
    assert (process.returncode, out.startswith("loomline "), err) == (0, True, "")
    wrong = Preloaded(["serve", "--port", "none"], env=os.environ)
    out, err = wrong.communicate(timeout=150)
    assert (wrong.returncode, out) == (2, "")
    assert "none" in err


def test_forked_process_has_its_own_environment_folder_and_limits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "langgraph.json").write_text('{"graphs": {"a": "./g.py:graph"}}')
    (tmp_path / "g.py").write_text(
        "import os, resource, sys\n"
        "sys.exit(f\"{os.getcwd()} {os.environ['OWN']} {resource.getrlimit(resource.RLIMIT_NOFILE)}\""
        " f\" {'PATH' in os.environ} {sorted(os.listdir('/proc/self/fd'))[:4]}\")\n"
    )
    process = Preloaded(["serve", "--port", "0"], env={"OWN": "value"}, files=(200, 300))
    _, err = process.communicate(timeout=150)
    # The server raises its soft limit to the hard one.
    assert f"{tmp_path} value (300, 300) False ['0', '1', '2', '3']" in err


def test_forked_process_that_is_killed_tells_its_signal(tmp_path):
    (tmp_path / "langgraph.json").write_text('{"graphs": {"a": "./g.py:graph"}}')
    (tmp_path / "g.py").write_text("import time\nprint('waits', flush=True)\ntime.sleep(600)\n")
    config = str(tmp_path / "langgraph.json")
    process = Preloaded(["serve", "--port", "0", "--config", config], env=os.environ)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=150) == -signal.SIGKILL
    process.kill()  # of a process that has ended: nothing happens
