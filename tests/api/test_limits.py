"""What a server allows at most."""

import httpx
import pytest

import loomline

pytestmark = pytest.mark.two_servers


@pytest.fixture(scope="module")
def server(serving):
    limits = {"max_queued_runs_per_thread": "2", "max_pending_runs": "4"}
    with serving(**limits, max_recursion_limit="50") as address:
        yield address


async def refused(server, path, body):
    async with httpx.AsyncClient(base_url=server) as http:
        answer = await http.post(path, json=body)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    return answer.json()["detail"]


async def test_runs_beyond_the_queue_limits_are_refused(client, server):
    later = {"assistant_id": "joke", "after_seconds": 1000}
    thread = (await client.threads.create())["thread_id"]
    runs = [await client.runs.create(thread, "joke", after_seconds=1000) for _ in range(2)]
    assert "on this thread: 2 are allowed" in await refused(
        server, f"/threads/{thread}/runs", later
    )
    runs += [await client.runs.create(None, "joke", after_seconds=1000) for _ in range(2)]
    for path in ("/runs", "/runs/wait", "/runs/stream"):
        assert "waiting: 4 are allowed" in await refused(server, path, later)
    for run in runs:
        await client.runs.cancel(run["thread_id"], run["run_id"])
    await client.runs.wait(thread, "joke", input={"topic": "tea"})


async def test_recursion_limit_above_the_servers_maximum_is_refused(client):
    await client.runs.wait(None, "joke", input={"topic": "x"}, config={"recursion_limit": 50})
    with pytest.raises(Exception, match="must be at most 50 on this server, got 51"):
        await client.runs.create(None, "joke", config={"recursion_limit": 51})
    assistant = await client.assistants.create("joke", config={"recursion_limit": 51})
    with pytest.raises(Exception, match="must be at most 50"):
        await client.runs.create(None, assistant["assistant_id"])
    await client.assistants.delete(assistant["assistant_id"])


async def test_our_client_names_the_error(server):
    async with loomline.get_client(url=server) as client:
        thread = (await client.threads.create())["thread_id"]
        for _ in range(2):
            await client.runs.create(thread, "joke", after_seconds=1000)
        with pytest.raises(loomline.errors.RateLimitError):
            await client.runs.create(thread, "joke")
        await client.threads.delete(thread)
