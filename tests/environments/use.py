"""Serve the graphs of this folder with the interpreter that runs this, and use them.

python use.py

It needs nothing besides the server and its dependencies. The last line says what was used.
"""

import asyncio
import contextlib
import importlib
import pkgutil
import socket
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import httpx
import langgraph_sdk

import loomline

HERE = Path(__file__).parent
STOP_SECONDS = 60.0
START_SECONDS = 280.0  # on a busy machine
SHOWN = ("langgraph", "langgraph-sdk", "langchain", "deepagents", "starlette", "fastapi",
         "langgraph-api")  # fmt: skip


def main() -> None:
    import_everything()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as url:
        for package in (loomline, langgraph_sdk):
            asyncio.run(use(package.get_client(url=url, api_key=None)))
        web(url)
        preflight(url)
    print(", ".join(f"{name} {found}" for name in SHOWN if (found := installed(name))))


def import_everything() -> None:
    """Import every module whose dependencies are installed: a name may be missing in a version."""
    for each in pkgutil.walk_packages(loomline.__path__, "loomline.", onerror=failed):
        if each.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(each.name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith(("loomline", "langgraph", "starlette")):
                raise


def failed(name: str) -> None:
    error = sys.exc_info()[1]
    if not isinstance(error, ModuleNotFoundError):
        raise SystemExit(f"{name} cannot be imported: {error!r}")


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


@contextlib.contextmanager
def serving(folder: Path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "loomline.server.cli", "dev", "--no-reload",
        "--config", str(HERE / "langgraph.json"), "--port", str(port), "--data-dir", str(folder),
    ]  # fmt: skip
    log = folder / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out)
    url = f"http://127.0.0.1:{port}"
    try:
        wait(server, url)
        yield url
    except BaseException:
        print(log.read_text(), file=sys.stderr)
        raise
    finally:
        server.terminate()
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait(server: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            assert httpx.get(f"{url}/ok", timeout=5).status_code == 200
            return
        time.sleep(0.1)
    raise AssertionError("the server did not start")


async def use(client) -> None:
    thread = await client.threads.create()
    given = {"asked": "what"}
    asked = await client.runs.wait(thread["thread_id"], "plain", input=given)
    assert asked["__interrupt__"][0]["value"] == "which?", asked
    state = await client.threads.get_state(thread["thread_id"])
    assert (state["next"], state["values"]["cached"]) == (["ask"], "what"), state
    assert state["values"]["graphs"] == ["agent", "plain"], state
    done = await client.runs.wait(thread["thread_id"], "plain", command={"resume": "this"})
    assert done["answer"] == "this", done
    words = {"messages": [{"role": "user", "content": "hello"}]}
    parts = [
        part.event
        async for part in client.runs.stream(
            None, "agent", input=words, stream_mode=["values", "messages", "updates"]
        )
    ]
    assert "error" not in parts, parts
    assert {"metadata", "values", "updates"} <= set(parts), parts
    schemas = await client.assistants.get_schemas("agent")
    assert "messages" in schemas["state_schema"]["properties"], schemas
    await protocol(client, words)


async def protocol(client, words) -> None:
    """Follow a run over the thread protocol, where the client has it."""
    if not hasattr(client.threads, "stream"):
        return
    async with client.threads.stream(assistant_id="agent") as stream:
        await stream.run.start(input=words)
        final = await stream.output
    assert final["messages"][-1]["content"] == "five words from a model", final


def web(url: str) -> None:
    found = httpx.get(f"{url}/hello", timeout=60).json()
    assert found == {"hello": "fastapi" if installed("fastapi") else "starlette"}, found


def preflight(url: str) -> None:
    asked = {
        "origin": "http://localhost:3000",
        "access-control-request-method": "POST",
        "access-control-request-private-network": "true",
    }
    answer = httpx.options(f"{url}/threads", headers=asked, timeout=60)
    allowed = answer.headers.get("access-control-allow-private-network")
    assert (answer.status_code, allowed) == (200, "true"), answer.headers


if __name__ == "__main__":
    main()
