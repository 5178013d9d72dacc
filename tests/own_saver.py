"""Shared by the tests of own savers: a langgraph.json for each saver, and requests."""

import json

from tests.serving import PROJECT

FOLDER = PROJECT.parent / "savers"
GRAPHS = ("steps", "ask", "nested", "gated", "calling")


def config(folder, saver, place="", **sections):
    """Write a langgraph.json that names a saver; return its path."""
    path = folder / "langgraph.json"
    path.write_text(
        json.dumps({
            "graphs": {name: f"{FOLDER}/graphs.py:{name}" for name in GRAPHS},
            "checkpointer": {"path": saver if "/" in saver else f"{FOLDER}/savers.py:{saver}"},
            "env": {"OWN_SAVER": str(place)},
        } | sections)
    )  # fmt: skip
    return path


async def post(http, path, wanted=200, **body):
    answer = await http.post(path, json=body)
    assert answer.status_code == wanted, answer.text
    return answer.json() if answer.content else None


async def get(http, path, wanted=200):
    answer = await http.get(path)
    assert answer.status_code == wanted, answer.text
    return answer.json()


async def new_thread(http):
    return (await post(http, "/threads"))["thread_id"]


async def run(http, thread, graph="steps", **body):
    given = {"assistant_id": graph, "input": {"items": []}} | body
    return await post(http, f"/threads/{thread}/runs/wait", **given)
