"""Results of many megabytes, of runs that leave nothing behind but their result."""

import asyncio
import json

import httpx
import pytest
from tests.postgres import new_schema
from tests.serving import Process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

MEGABYTES = 20

GRAPH = f"""
from typing import TypedDict
from langgraph.graph import StateGraph

class State(TypedDict, total=False):
    number: int
    text: str

async def large(state):
    return {{"text": "x" * ({MEGABYTES} * 1_000_000)}}

graph = StateGraph(State).add_node(large).add_edge("__start__", "large").compile()
"""


@pytest.fixture(params=["sqlite", "postgres"])
def server(request, tmp_path):
    (tmp_path / "large.py").write_text(GRAPH)
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"large": "./large.py:graph"}}))
    flags = {"database_url": new_schema()} if request.param == "postgres" else {}
    with Process(tmp_path / "data", config=config, **flags) as process:
        yield process.url
        process.stop()


async def test_large_result_of_a_run_without_a_thread_arrives_whole(server):
    async with httpx.AsyncClient(base_url=server, timeout=150) as http:

        async def ask(number):
            body = {"assistant_id": "large", "input": {"number": number}}
            return (await http.post("/runs/wait", json=body)).json()

        found = await asyncio.gather(*[ask(number) for number in range(2)])
    for number, values in enumerate(found):
        assert (values.get("number"), len(values.get("text", ""))) == (number, MEGABYTES * 10**6)
