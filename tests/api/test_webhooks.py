"""Webhooks, told to a real receiver."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from datetime import datetime

import httpx
import langgraph_sdk
import pytest
from tests.receiver import receiving
from tests.serving import PROJECT

import loomline

pytestmark = pytest.mark.two_servers

KEYS = [b"0123456789abcdef", b"fedcba9876543210"]
SECRET = " ".join(f"whsec_{base64.b64encode(key).decode()}" for key in KEYS)
HERE = "127.0.0.0/8"
JOKE = {"topic": "tea"}


@pytest.fixture(scope="module")
def server(serving):
    with serving(
        webhook_networks=HERE,
        webhook_secret=SECRET,
        webhook_retry_seconds="0.02",
        webhook_attempts="3",
        webhook_timeout_seconds="2",
    ) as address:
        yield address


@pytest.fixture
def receiver():
    with receiving() as made:
        yield made


@pytest.fixture
async def thread(client):
    return (await client.threads.create())["thread_id"]


async def came(receiver, seconds=20):
    return await asyncio.to_thread(receiver.next, seconds)


async def outbox(server):
    async with httpx.AsyncClient(base_url=server) as http:
        return (await http.get("/metrics", params={"format": "json"})).json()["webhooks"]


async def until(condition, seconds=150):
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await asyncio.sleep(0.01)
        return found


async def test_the_end_of_a_run_is_told(client, thread, receiver):
    run = await client.runs.create(thread, "joke", input=JOKE, webhook=f"{receiver.url}/a?b=c")
    told = await came(receiver)
    body = told.body
    stored = await client.runs.get(thread, run["run_id"])
    assert {name: body[name] for name in stored} == {**stored, "updated_at": body["updated_at"]}
    assert body["status"] == "success"
    assert body["kwargs"]["webhook"] == f"{receiver.url}/a?b=c"
    assert body["values"] == (await client.threads.get(thread))["values"]
    assert "error" not in body
    times = [body[f"{name}_at"] for name in ("created", "run_started", "run_ended", "webhook_sent")]
    assert times == sorted(times)
    assert all(datetime.fromisoformat(each).utcoffset() is not None for each in times)
    assert told.path == "/a?b=c"
    assert told.headers["content-type"] == "application/json"
    assert told.headers["host"] == receiver.url.removeprefix("http://")


@pytest.mark.one_client
async def test_it_is_signed_with_every_secret(client, thread, receiver):
    await client.runs.create(thread, "joke", input=JOKE, webhook=receiver.url)
    told = await came(receiver)
    stamp = told.headers["webhook-timestamp"]
    assert abs(int(stamp) - time.time()) < 30
    content = f"{told.headers['webhook-id']}.{stamp}.".encode() + told.content
    expected = [
        base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode() for key in KEYS
    ]
    assert told.headers["webhook-signature"].split() == [f"v1,{each}" for each in expected]


@pytest.mark.one_client
@pytest.mark.parametrize("graph", ["boom", "ask"])
async def test_webhook_tells_failures_and_interrupts(client, thread, receiver, graph):
    await client.runs.wait(thread, graph, input=JOKE, webhook=receiver.url, **_quiet(client, graph))
    body = (await came(receiver)).body
    if graph == "boom":
        assert (body["status"], body["error"]) == (
            "error",
            {"error": "ValueError", "message": "boom: tea"},
        )
    else:
        assert body["status"] == "success"
        assert "__interrupt__" not in body["values"]


def _quiet(client, graph):
    return {"raise_error": False} if graph == "boom" else {}


async def test_every_way_of_creating_a_run(client, thread, receiver):
    hook = {"input": JOKE, "webhook": receiver.url}
    async for _ in client.runs.stream(thread, "joke", **hook):
        pass
    assert (await came(receiver)).body["values"]["topic"] == "tea and cats"
    await client.runs.wait(None, "joke", **hook)
    assert (await came(receiver)).body["values"] is None
    kept = await client.runs.create(None, "joke", on_completion="keep", **hook)
    told = (await came(receiver)).body
    assert (told["run_id"], told["values"]["topic"]) == (kept["run_id"], "tea and cats")
    await client.runs.create_batch([{"assistant_id": "joke", **hook}] * 2)
    assert {(await came(receiver)).body["status"] for _ in range(2)} == {"success"}


@pytest.mark.one_client
async def test_a_cron_tells_too(client, receiver):
    cron = await client.crons.create(
        "joke", schedule="* * * * * *", input=JOKE, webhook=receiver.url
    )
    body = (await came(receiver)).body
    await client.crons.delete(cron["cron_id"])
    assert body["kwargs"]["config"]["configurable"]["cron_id"] == cron["cron_id"]


@pytest.mark.one_client
async def test_runs_that_never_began(client, thread, receiver):
    later = {"input": JOKE, "webhook": receiver.url, "after_seconds": 1000}
    run = await client.runs.create(thread, "joke", **later)
    await client.runs.cancel(thread, run["run_id"])
    body = (await came(receiver)).body
    assert (body["status"], body["run_started_at"]) == ("interrupted", None)
    assert body["cancel_reason"].startswith("interrupt requested via POST")
    run = await client.runs.create(thread, "joke", **later)
    await client.runs.cancel(thread, run["run_id"], action="rollback")
    body = (await came(receiver)).body
    assert (body["status"], body["values"]) == ("rollback", None)
    for strategy, status in (("interrupt", "interrupted"), ("rollback", "rollback")):
        before = await client.runs.create(thread, "joke", **later)
        await client.runs.wait(thread, "joke", input=JOKE, multitask_strategy=strategy)
        body = (await came(receiver)).body
        assert (body["run_id"], body["status"]) == (before["run_id"], status)
        superseded = body["cancel_reason"] or ""
        assert superseded.startswith("superseded by run") == (status == "interrupted")


@pytest.mark.one_client
async def test_a_running_run_that_is_cancelled(client, thread, receiver):
    async for part in client.runs.stream(
        thread, "sleepy", input={"seconds": 60}, webhook=receiver.url, stream_mode=["values"]
    ):
        if part.event == "metadata":
            run = part.data["run_id"]
            await client.runs.cancel(thread, run, action="rollback")
    body = (await came(receiver)).body
    assert (body["status"], body["error"]["error"]) == ("rollback", "UserRollback")


@pytest.mark.one_client
async def test_failing_webhook_is_sent_again_and_finally_given_up(
    request, client, server, thread, receiver
):
    before = await outbox(server)
    receiver.answers.put(500)
    await client.runs.create(thread, "joke", input=JOKE, webhook=receiver.url)
    first, second = await came(receiver), await came(receiver)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert {**first.body, "webhook_sent_at": second.body["webhook_sent_at"]} == second.body

    for status in (500, 302, 404):
        receiver.answers.put(status)
    receiver.headers["location"] = f"{receiver.url}/elsewhere"
    await client.runs.create(thread, "joke", input=JOKE, webhook=receiver.url)
    assert {(await came(receiver)).path for _ in range(3)} == {"/"}

    async def given_up():
        now = await outbox(server)
        return now["n_dead"] > before["n_dead"] and now["n_pending"] == 0 and now

    after = await until(given_up)
    totals = ("failed_attempts_total", "delivered_total", "given_up_total")
    counted = [after[name] - before[name] for name in totals]
    # Either of two servers sends, and each counts what it has sent.
    alone = request.node.callspec.params["serving"] != "apart"
    assert counted == [4, 1, 1] if alone else sum(counted) <= 6


@pytest.mark.one_client
async def test_a_receiver_that_hangs_is_left(client, server, thread, receiver):
    receiver.hold = threading.Event()
    before = await outbox(server)
    await client.runs.create(thread, "joke", input=JOKE, webhook=receiver.url)
    await came(receiver)
    second = await came(receiver)  # the first was left after two seconds
    receiver.hold.set()
    assert second.body["status"] == "success"

    async def done():
        return (await outbox(server))["n_pending"] == 0

    await until(done)
    assert (await outbox(server))["n_dead"] == before["n_dead"]


REFUSED = {
    "http://10.0.0.1/": "Webhook host blocked: private IP range",
    "http://169.254.169.254/latest/meta-data": "Webhook host blocked: link-local IP range",
    "http://[::ffff:10.1.1.1]/": "Webhook host blocked: private IP range",
    "http://[::1]:80/": "Webhook host blocked: loopback IP range",
    "http://[64:ff9b::a00:1]/": "Webhook host blocked: private IP range",
    "http://0.0.0.0/": "Webhook host blocked: private IP range",
    "http://nowhere.invalid/": "Webhook host blocked: DNS resolution failed",
    "/threads": "Webhook host blocked: relative URLs are not allowed",
    "ftp://example.com/": "it must begin with https:// or http://",
    "//example.com/": "it must begin with https:// or http://",
    "http://": "it must name a host",
    "http://a b/": "it must not contain spaces or backslashes",
    "http://example.com\\@10.0.0.1/": "it must not contain spaces or backslashes",
    "http://example.com:99999/": "its host or port cannot be read",
}  # fmt: skip


@pytest.mark.one_server
@pytest.mark.parametrize("url", REFUSED)
async def test_where_webhooks_must_not_go(server, url):
    async with httpx.AsyncClient(base_url=server) as http:
        for path in ("/runs", "/runs/wait", "/runs/stream"):
            answer = await http.post(path, json={"assistant_id": "joke", "webhook": url})
            assert answer.status_code == 422
            assert REFUSED[url] in answer.json()["detail"]
        batch = [{"assistant_id": "joke", "webhook": url}]
        assert (await http.post("/runs/batch", json=batch)).status_code == 422
        cron = {"assistant_id": "joke", "schedule": "@yearly"}
        answer = await http.post("/runs/crons", json={**cron, "webhook": url})
        assert answer.status_code == 422
        made = (await http.post("/runs/crons", json=cron)).json()["cron_id"]
        answer = await http.patch(f"/runs/crons/{made}", json={"webhook": url})
        assert answer.status_code == 422
        await http.delete(f"/runs/crons/{made}")


def project(tmp_path, **sections):
    """Write a langgraph.json with the graphs of the tests."""
    graphs = json.loads(PROJECT.read_text())["graphs"]
    named = {name: f"{PROJECT.parent / each}" for name, each in graphs.items()}
    path = tmp_path / "langgraph.json"
    path.write_text(json.dumps({"graphs": named, **sections}))
    return path


@pytest.mark.one_server
@pytest.mark.parametrize("get_client", [loomline.get_client, langgraph_sdk.get_client])
async def test_the_sections_of_the_file(serving, tmp_path, receiver, get_client):
    url = {"require_https": False, "disable_loopback": False, "allowed_domains": ["localhost"]}
    headers = {"x-token": "Bearer ${{ env.LG_WEBHOOK_TOKEN }}"}
    config = project(
        tmp_path, webhooks={"url": url, "headers": headers}, env={"LG_WEBHOOK_TOKEN": "abc"}
    )
    port = receiver.url.rpartition(":")[2]
    with serving(config=config) as address:
        async with get_client(url=address, api_key=None) as client:
            hook = f"http://ann:p%40ss@localhost:{port}/"
            await client.runs.create(None, "joke", input=JOKE, webhook=hook)
            told = await came(receiver)
            assert told.headers["x-token"] == "Bearer abc"
            assert told.headers["host"] == f"localhost:{port}"
            assert base64.b64decode(told.headers["authorization"][6:]) == b"ann:p@ss"
            with pytest.raises(Exception, match="not in an allowed domain"):
                await client.runs.create(None, "joke", webhook=receiver.url)


async def test_into_the_server_itself(serving, tmp_path, receiver):
    config = project(tmp_path, webhooks={"url": {"disable_loopback": False}})
    with serving(config=config) as address:
        async with loomline.get_client(url=address, api_key=None) as client:
            await client.runs.create(None, "joke", input=JOKE, webhook="/threads")

            async def made():
                return await client.threads.search(metadata={"graph_id": "joke"}, status="idle")

            await until(made)


async def test_webhooks_that_are_switched_off(serving, tmp_path, receiver):
    with serving(config=project(tmp_path, http={"disable_webhooks": True})) as address:
        async with loomline.get_client(url=address, api_key=None) as client:
            run = await client.runs.create(None, "joke", input=JOKE, webhook=receiver.url)
            await client.runs.join(run["thread_id"], run["run_id"])
            assert (await outbox(address))["n_pending"] == 0
            assert receiver.came.empty()
