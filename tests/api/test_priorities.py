"""The order of runs that wait: `priority.path` in langgraph.json."""

import asyncio
import json
import logging
import sys

import httpx
import pytest
from tests.postgres import new_schema
from tests.serving import PROJECT, serving_here

from loomline.server.domain.errors import GraphLoadError
from loomline.server.services import priorities

FOLDER = PROJECT.parent / "priorities"


def config(folder, name="ours"):
    path = folder / "langgraph.json"
    path.write_text(
        json.dumps({
            "graphs": {"noting": f"{FOLDER}/graphs.py:noting"},
            "priority": {"path": f"{FOLDER}/handlers.py:{name}"},
        })
    )  # fmt: skip
    return path


def calls():
    """Return the contexts of the function's calls since the last time."""
    (module,) = [
        module
        for module in list(sys.modules.values())
        if getattr(module, "__file__", None) == str(FOLDER / "handlers.py")
    ]
    found = list(module.calls)
    module.calls.clear()
    return found


class Runs:
    """Runs on a server that executes one at a time, and their order."""

    def __init__(self, http, folder):
        self.http = http
        self.folder = folder

    async def thread(self, **metadata):
        answer = await self.http.post("/threads", json={"metadata": metadata})
        return answer.json()["thread_id"]

    async def add(self, name, thread=None, **body):
        given = {"name": name, "folder": str(self.folder)}
        path = "/runs" if thread is None else f"/threads/{thread}/runs"
        answer = await self.http.post(path, json={"assistant_id": "noting", "input": given} | body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def hold(self):
        """Add a run that occupies the server until ``order`` is called."""
        await self.add("first")
        while not (self.folder / "order").exists():
            await asyncio.sleep(0.01)

    async def order(self, number):
        """Let the runs go on; return the names of all in the order of their starts."""
        (self.folder / "gate").touch()
        names = []
        while len(names) < number:
            await asyncio.sleep(0.01)
            if (self.folder / "order").exists():
                names = (self.folder / "order").read_text().split()
        return names


@pytest.fixture(params=["sqlite", "postgres"])
def database(request):
    return {"database_url": new_schema()} if request.param == "postgres" else {}


@pytest.fixture
async def runs(tmp_path, database):
    serving = serving_here(tmp_path / "data", config=config(tmp_path), concurrency="1", **database)
    with serving as address:
        calls()
        async with httpx.AsyncClient(base_url=address, timeout=300) as http:
            yield Runs(http, tmp_path)


async def test_waiting_runs_start_by_priority_and_then_by_age(runs):
    await runs.hold()
    for name, priority in (("late", 5), ("a", 0), ("b", None), ("urgent", -5), ("soon", -1)):
        await runs.add(name, await runs.thread(priority=priority))
    order = await runs.order(6)
    assert order == ["first", "urgent", "soon", "a", "b", "late"]


async def test_a_stateless_run_has_the_priority_of_its_own_metadata(runs):
    await runs.hold()
    await runs.add("plain")
    await runs.add("urgent", metadata={"priority": -5})
    assert await runs.order(3) == ["first", "urgent", "plain"]


async def test_the_function_gets_the_known_facts_once_per_thread(runs):
    thread = await runs.thread(priority=-2, mine=True)
    run = await runs.add("x", thread, metadata={"of": "run"})
    await runs.add("y", thread)
    (call,) = calls()
    assert call == {
        "user": "",
        "permissions": [],
        "thread_id": thread,
        "thread_metadata": {"priority": -2, "mine": True},
        "assistant_id": run["assistant_id"],
        "graph_id": "noting",
        "assistant_metadata": {"created_by": "system"},
        "run_metadata": {"of": "run"},
        "cron_id": None,
    }
    await runs.add("z")
    (call,) = calls()
    assert (call["thread_id"], call["thread_metadata"]) == (None, {})


@pytest.mark.parametrize("answer", ["raise", "hang", 6, "text", True])
async def test_a_function_that_fails_gives_the_default_and_is_asked_again(
    runs, answer, caplog, monkeypatch
):
    monkeypatch.setattr(priorities.Priorities.__init__, "__defaults__", (0.2,))
    caplog.set_level(logging.WARNING, "loomline.runs")
    await runs.hold()
    thread = await runs.thread(priority=answer)
    before = await runs.thread(priority=0)
    await runs.add("before", before)
    failed = await runs.add("failed", thread)
    assert failed["status"] == "pending"
    calls()
    await runs.add("again", thread, metadata={"priority": -5})
    assert len(calls()) == 1
    assert await runs.order(4) == ["first", "before", "failed", "again"]
    told = [each for each in caplog.records if each.name == "loomline.runs"]
    assert told[0].getMessage() == "a run gets the default priority"


async def test_a_priority_of_the_official_package_works(tmp_path):
    serving = serving_here(tmp_path / "data", config=config(tmp_path, "official"), concurrency="1")
    with serving as address:
        async with httpx.AsyncClient(base_url=address, timeout=300) as http:
            runs = Runs(http, tmp_path)
            await runs.hold()
            await runs.add("plain", await runs.thread())
            await runs.add("urgent", await runs.thread(priority=-1))
            assert await runs.order(3) == ["first", "urgent", "plain"]


async def test_the_run_of_a_cron_tells_the_cron(runs):
    thread = await runs.thread()
    body = {
        "assistant_id": "noting",
        "schedule": "* * * * * *",
        "input": {"name": "cron", "folder": str(runs.folder)},
    }
    answer = await runs.http.post(f"/threads/{thread}/runs/crons", json=body)
    assert answer.status_code == 200, answer.text
    cron = answer.json()["cron_id"]
    await runs.order(1)
    assert calls()[0]["cron_id"] == cron
    await runs.http.delete(f"/runs/crons/{cron}")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "the file has no 'missing'"),
        (
            "number",
            "'number' is of type 'int'. It must be a Priority of loomline or langgraph_sdk.",
        ),
        ("empty", "'empty' has no function. Register one with '@empty.assign'."),
    ],
)
async def test_an_object_that_cannot_be_used_ends_the_start_with_the_reason(tmp_path, name, reason):
    path = config(tmp_path, name)
    with pytest.raises(GraphLoadError) as caught, serving_here(tmp_path, config=path):
        pass
    assert reason in str(caught.value)
    assert "'priority.path'" in str(caught.value)
