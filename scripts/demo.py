"""Starts a server on the quickstart example, streams one run of it, and shows what arrives.

python scripts/demo.py           then stops the server
python scripts/demo.py --keep    leaves it running until Ctrl-C
"""
# ruff: noqa: T201 - it talks to a person

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson

from weft import get_sync_client

CONFIG = Path(__file__).resolve().parent.parent / "examples" / "quickstart" / "langgraph.json"
HOST = "127.0.0.1"
START_SECONDS = 30.0
STOP_SECONDS = 15.0
TOPIC = "ice cream"


class Failed(Exception):
    """The demo cannot go on. The text is for the person who started it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit code."""
    given = _parser().parse_args(arguments)
    # A stop by `kill` shall leave no server behind either.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        port = _port(given.port, keep=given.keep)
        with tempfile.TemporaryDirectory(prefix="weft-demo-") as scratch:
            data_dir = given.data_dir if given.keep else scratch
            with _server(port, data_dir) as process:
                _show_run(f"http://{HOST}:{port}")
                if given.keep:
                    return _keep(process, f"http://{HOST}:{port}")
    except Failed as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("demo", description="Stream one run of the quickstart.")
    parser.add_argument("--keep", action="store_true", help="keep serving until Ctrl-C")
    parser.add_argument("--port", type=int, default=2024, help="default 2024")
    parser.add_argument("--data-dir", default=".weft", help="with --keep; default .weft")
    return parser


def _port(wanted: int, *, keep: bool) -> int:
    """Return the port to use: the wanted one, or for a passing server any free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            if keep:
                raise Failed(
                    f"port {wanted} is in use. Stop the program that has it, or choose another"
                    " one: python scripts/demo.py --keep --port 8123"
                ) from error
        else:
            return int(probe.getsockname()[1])
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        free = int(probe.getsockname()[1])
    print(f"Port {wanted} is in use, taking {free} instead.")
    return free


@contextmanager
def _server(port: int, data_dir: str) -> Iterator[subprocess.Popen[bytes]]:
    options = ["--config", str(CONFIG), "--port", str(port), "--data-dir", data_dir]
    print(f"$ weft dev --config {_short(CONFIG)} --port {port}", flush=True)
    process = subprocess.Popen(  # noqa: S603 - our own command line
        [sys.executable, "-m", "weft.server.cli", "dev", *options]
    )
    try:
        _wait_until_ready(process, port)
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"the server ended with code {process.returncode}; see above.")
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/ok", timeout=1) as response:
                response.read()
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise Failed(f"the server did not answer within {START_SECONDS:g} seconds.")


def _show_run(url: str) -> None:
    print(f'\nA run of the graph "joke" with the topic "{TOPIC}", node by node:\n')
    with get_sync_client(url=url) as client:
        for part in client.runs.stream(None, "joke", input={"topic": TOPIC}, stream_mode="updates"):
            if part.event == "error":
                raise Failed(f"the run failed: {orjson.dumps(part.data).decode()}")
            print(f"  {part.event:<9} {orjson.dumps(part.data).decode()}", flush=True)
    print()


def _keep(process: subprocess.Popen[bytes], url: str) -> int:
    print(f"The server is at {url} (routes: {url}/docs). Another run, with cURL:\n")
    print(f"  curl -N {url}/runs/stream -H 'content-type: application/json' \\")
    body = {"assistant_id": "joke", "input": {"topic": "rain"}, "stream_mode": "updates"}
    print(f"    -d '{orjson.dumps(body).decode()}'\n")
    print(f"Graphs: {_short(CONFIG.parent)}; change one, and it is loaded anew. Ctrl-C stops.")
    return process.wait()


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


if __name__ == "__main__":
    sys.exit(main())
