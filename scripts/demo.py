"""Serve the quickstart example, stream one run through the client, and print it.

python scripts/demo.py           then stop
python scripts/demo.py --keep    then keep serving until Ctrl-C
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from loomline import get_sync_client
from loomline.errors import APIConnectionError

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "examples" / "quickstart" / "langgraph.json"
PORT = 2024
START_SECONDS = 90.0  # on a busy machine


def main() -> int:
    """Run the demonstration; return the exit code."""
    parser = argparse.ArgumentParser(description="Serve the quickstart example and use it.")
    parser.add_argument("--keep", action="store_true", help="keep serving afterwards")
    keep: bool = parser.parse_args().keep
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = _port()
    with tempfile.TemporaryDirectory(prefix="loomline-demo-") as folder:
        data_dir = ROOT / ".loomline" if keep else Path(folder)
        server = _start(port, data_dir)
        try:
            return _show(server, f"http://127.0.0.1:{port}", keep=keep)
        except KeyboardInterrupt:
            return 0
        finally:
            _stop(server)


def _port() -> int:
    """Return the usual port, or a free one where that is taken."""
    for port in (PORT, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found: int = probe.getsockname()[1]
            if port == 0:
                print(f"Port {PORT} is in use, so this uses {found}.")
            return found
    return PORT


def _start(port: int, data_dir: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "loomline.server.cli", "dev", "--config", str(CONFIG),
        "--port", str(port), "--data-dir", str(data_dir),
    ]  # fmt: skip
    print(f"$ loomline dev --config examples/quickstart/langgraph.json --port {port}", flush=True)
    return subprocess.Popen(command)


def _show(server: subprocess.Popen[bytes], url: str, *, keep: bool) -> int:
    if not _answers(server, url):
        print("The server did not start.", file=sys.stderr)
        return 1
    _stream(url)
    if keep:
        print(f"\nServing at {url} (API: {url}/docs). Ctrl-C stops it. Try:\n\n{_curl(url)}\n")
        sys.stdout.flush()
        return server.wait()
    return 0


def _answers(server: subprocess.Popen[bytes], url: str) -> bool:
    deadline = time.monotonic() + START_SECONDS
    with get_sync_client(url=url, api_key=None, timeout=2) as client:
        while time.monotonic() < deadline and server.poll() is None:
            with contextlib.suppress(APIConnectionError):
                return bool(client.http.get("/ok")["ok"])
    return False


def _stream(url: str) -> None:
    print('\nStreaming a run of "joke" with {"topic": "ice cream"}:\n')
    with get_sync_client(url=url, api_key=None) as client:
        for part in client.runs.stream(
            None, "joke", input={"topic": "ice cream"}, stream_mode="updates"
        ):
            print(f"  {part.event:<10}{json.dumps(part.data)}")


def _curl(url: str) -> str:
    body = json.dumps({"assistant_id": "joke", "input": {"topic": "tea"}, "stream_mode": "updates"})
    return f"  curl -N {url}/runs/stream -d '{body}'"


def _stop(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        server.terminate()
    try:
        server.wait(15)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
