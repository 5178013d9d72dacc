"""All code of the graphs runs on one event loop, so that graph modules may have locks."""

import asyncio
import shutil
from pathlib import Path

import httpx
import pytest

PROJECT = Path(__file__).parents[1] / "project" / "loops"
AT_ONCE = 60


@pytest.fixture(scope="module")
def address(serving, tmp_path_factory):
    # Modules are those of the process, and the next server of this process has another loop.
    folder = tmp_path_factory.mktemp("project") / "loops"
    shutil.copytree(PROJECT, folder)
    with serving(config=folder / "langgraph.json") as address:
        yield address


@pytest.fixture
async def http(address):
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, limits=limits, timeout=300) as made:
        yield made


async def ended(http, thread, graph):
    answer = await http.post(
        f"/threads/{thread}/runs/wait",
        json={"assistant_id": graph, "input": {}, "if_not_exists": "create"},
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def threads(http, number):
    made = await asyncio.gather(*(http.post("/threads", json={}) for _ in range(number)))
    return [each.json()["thread_id"] for each in made]


@pytest.mark.parametrize("graph", ["locking", "made"])
async def test_a_lock_of_a_graph_module_works_in_many_runs_at_once(http, graph):
    results = await asyncio.gather(
        *(ended(http, thread, graph) for thread in await threads(http, AT_ONCE))
    )
    wanted = {"thread": "loomline-runner", "slept": True}
    assert [each for each in results if each != wanted] == []


async def test_a_lock_of_a_graph_module_works_in_runs_and_reads_at_once(http):
    thread, *more = await threads(http, AT_ONCE // 4 + 1)
    await ended(http, thread, "made")
    paths = [
        f"/threads/{thread}/state",
        f"/threads/{thread}/history",
        "/assistants/made/graph",
        "/assistants/made/schemas",
        "/assistants/made/subgraphs",
    ]
    runs = [ended(http, each, "made") for each in more]
    change = {"values": {"slept": False}, "as_node": "remember"}
    changes = [http.post(f"/threads/{thread}/state", json=change) for _ in range(5)]
    search = {"namespace_prefix": ["loops"], "query": "abcd"}
    searches = [http.post("/store/items/search", json=search) for _ in range(5)]
    reads = [http.get(path) for path in paths * 5]
    answers = await asyncio.gather(*runs, *changes, *searches, *reads)
    assert [each.text for each in answers[len(runs) :] if each.status_code != 200] == []
