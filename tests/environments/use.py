"""Serve the graphs of this folder with the interpreter that runs this, and use them.

python use.py

It needs nothing besides the server and its dependencies. Where the official server is installed, it
serves the same folder at the same time. The last line names the versions.
"""

import asyncio
import contextlib
import importlib
import pkgutil
import shutil
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
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(serving(ours))
        official = stack.enter_context(serving(theirs)) if installed("langgraph-api") else None
        for package in (loomline, langgraph_sdk):
            asyncio.run(use(package, url))
        web(url)
        preflight(url)
        if official is not None:
            asyncio.run(use(loomline, official))
            web(official)
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


def ours(folder: Path, port: int) -> list[str]:
    options = ["--port", str(port), "--data-dir", str(folder)]
    return [sys.executable, "-m", "loomline.server.cli", "dev", "--no-reload", *options]


def theirs(folder: Path, port: int) -> list[str]:
    program = Path(sys.executable).with_name("langgraph")
    return [str(program), "dev", "--no-reload", "--no-browser", "--port", str(port)]


@contextlib.contextmanager
def serving(command):
    """Serve a copy of this folder, beside which the server keeps its data, and give its address."""
    with tempfile.TemporaryDirectory() as name:
        project, log = Path(name) / "project", Path(name) / "log"
        shutil.copytree(HERE, project, ignore=shutil.ignore_patterns("__pycache__", "constraints"))
        port = free_port()
        words = command(Path(name) / "data", port)
        with log.open("wb") as out:
            server = subprocess.Popen(words, stdout=out, stderr=out, cwd=project)
        url = f"http://127.0.0.1:{port}"
        try:
            wait(server, url)
            yield url
        except BaseException:
            print(log.read_text(), file=sys.stderr)
            raise
        finally:
            stop(server)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stop(server: "subprocess.Popen[bytes]") -> None:
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


async def use(package, url: str) -> None:
    async with package.get_client(url=url, api_key=None) as client:
        await use_client(client)


async def use_client(client) -> None:
    thread = await client.threads.create()
    given = {"asked": "what"}
    asked = await client.runs.wait(thread["thread_id"], "plain", input=given)
    assert asked["__interrupt__"][0]["value"] == "which?", asked
    state = await client.threads.get_state(thread["thread_id"])
    assert (state["next"], state["values"]["cached"]) == (["ask"], "what"), state
    assert state["values"]["graphs"] == ["agent", "plain"], state
    item = await client.store.get_item(["asked"], "what")
    assert item["value"] == {"by": "a node"}, item
    done = await client.runs.wait(thread["thread_id"], "plain", command={"resume": "this"})
    assert done["answer"] == "this", done
    await client.threads.update_state(thread["thread_id"], {"answer": "that"}, as_node="ask")
    answers = [
        each["values"].get("answer")
        for each in await client.threads.get_history(thread["thread_id"])
    ]
    assert answers[:2] == ["that", "this"], answers
    await client.store.put_item(["notes"], "one", {"words": "a note"})
    notes = (await client.store.search_items(["notes"]))["items"]
    assert [each["value"] for each in notes] == [{"words": "a note"}], notes
    words = {"messages": [{"role": "user", "content": "hello"}]}
    parts = [
        part.event
        async for part in client.runs.stream(
            None, "agent", input=words, stream_mode=["values", "messages", "updates"]
        )
    ]
    assert "error" not in parts, parts
    assert {"metadata", "values", "updates"} <= set(parts), parts
    (agent,) = await client.assistants.search(graph_id="agent")
    schemas = await client.assistants.get_schemas(agent["assistant_id"])
    assert "messages" in schemas["state_schema"]["properties"], schemas
    await protocol(client, words)


async def protocol(client, words) -> None:
    """Follow a run over the thread protocol, where the client has it."""
    if not hasattr(client.threads, "stream"):
        return
    async with client.threads.stream(assistant_id="agent") as stream:
        await stream.run.start(input=words)
        final = await stream.output
    content = final["messages"][-1]["content"]
    # The newest langchain gives streamed messages blocks instead of a string.
    said = content if isinstance(content, str) else "".join(each["text"] for each in content)
    assert said == "five words from a model", final


def web(url: str) -> None:
    """Use the application around the server, and the server through the application's middleware."""
    by = "fastapi" if installed("fastapi") else "starlette"
    greeting = httpx.post(f"{url}/hello", json={"name": "you"}, timeout=60)
    assert greeting.json() == {"hello": "you", "by": by, "started": True}, greeting.text
    for path in ("/hello", "/assistants/search"):
        answer = httpx.post(f"{url}{path}", json={"name": "you"}, timeout=60)
        assert (answer.status_code, answer.headers.get("x-by")) == (200, by), (path, answer.headers)
    if by == "fastapi":
        assert httpx.post(f"{url}/hello", json={}, timeout=60).status_code == 422


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
