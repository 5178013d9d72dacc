"""For whom graphs run, and what their code may do."""

import asyncio
import threading

import httpx
import pytest
from tests.auth.conftest import handlers, write_config
from tests.serving import Process

import loomline
import loomline.errors
from loomline.server.api.inside import Inside
from loomline.server.authz.acting import acting_for
from loomline.server.authz.users import SERVER, Caller, User


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a process of its own: clients without an address know one server each."""
    folder = tmp_path_factory.mktemp("acting")
    config = write_config(folder, handlers("rich"))
    with Process(folder / "data", config=config) as process:
        yield process.url
        process.stop()


def client(url, name):
    return loomline.get_client(url=url, headers={"authorization": name}, api_key=None)


ADA = {
    "identity": "ada",
    "item": "ada",
    "org": "x",
    "name": "Ada",
    "permissions": ["p"],
    "id": "ada",
    "all": ["p"],
    "user_id": "ada",
}
SPOOFED = {"langgraph_auth_user": {"identity": "eve"}, "langgraph_auth_user_id": "eve"}


async def test_nodes_see_the_user_and_act_for_them(server):
    async with client(server, "ada") as ada, client(server, "bob") as bob:
        await bob.threads.create()
        for given in ({}, {"config": {"configurable": SPOOFED}}, {"context": SPOOFED}):
            before = await ada.threads.count()
            values = await ada.runs.wait(None, "who", input={}, **given)
            assert values["seen"] == ADA
            # It made a thread of ada's, and counted those of nobody else.
            assert values["log"] == ["ada", str(before + 2)]


async def test_claims_of_a_user_are_absent_from_streams_and_states(server):
    async with client(server, "ada") as ada:
        text = ""
        thread = (await ada.threads.create())["thread_id"]
        modes = ["values", "debug", "tasks", "checkpoints", "updates", "events"]
        async for part in ada.runs.stream(thread, "who", input={}, stream_mode=modes):
            text += str(part)
        text += str(await ada.runs.list(thread)) + str(await ada.threads.get_history(thread))
        text += str(await ada.threads.get(thread))
        made = await ada.crons.create("who", schedule="@daily")
        text += str(await ada.crons.search())
        await ada.crons.delete(made["cron_id"])
    assert "ada" in text
    assert "s3cret" not in text


async def test_factories_are_told_for_whom(server):
    async with client(server, "ada") as ada:
        made = await ada.assistants.create("whose", config={"configurable": SPOOFED})
        values = await ada.runs.wait(None, made["assistant_id"], input={})
        assert values["log"] == ["threads.create_run for ada", "ada", "True"]
        thread = (await ada.threads.create())["thread_id"]
        await ada.runs.wait(thread, made["assistant_id"], input={})
        graph = await ada.assistants.get_graph(made["assistant_id"])
        assert "assistants_read_for_ada__ada" in {node["id"] for node in graph["nodes"]}
        # A state is read with the graph as it is made for reading.
        assert (await ada.threads.get_state(thread))["values"]["log"]


async def test_crons_start_runs_of_their_owner(server):
    async with client(server, "ada") as ada, client(server, "bob") as bob:
        cron = await ada.crons.create(
            "who", schedule="* * * * * *", input={}, on_run_completed="keep"
        )
        assert cron["user_id"] == "ada"
        found = []
        async with asyncio.timeout(150):
            while not found:
                found = await ada.threads.search(
                    metadata={"graph_id": "who"}, values={"seen": {"id": "ada"}}, status="idle"
                )
        await ada.crons.delete(cron["cron_id"])
        assert found[0]["metadata"]["owner"] == "ada"
        assert found[0]["values"]["seen"] == ADA
        assert await bob.threads.search(ids=[found[0]["thread_id"]]) == []


@pytest.mark.parametrize("name", ["banned", "clumsy"])
async def test_who_may_not_run_has_no_crons_either(server, name):
    async with client(server, name) as they, client(server, "ada") as ada:
        with pytest.raises(loomline.errors.APIStatusError):
            await they.runs.create(None, "joke", input={})
        made = await they.crons.create("joke", schedule="* * * * * *", input={})
        mine = await ada.crons.create("joke", schedule="* * * * * *", on_run_completed="keep")
        first = made["next_run_date"]
        async with asyncio.timeout(150):
            while (await they.crons.search())[0]["next_run_date"] == first:
                await asyncio.sleep(0.1)
            # A mistake in the handler for one stops nobody else's.
            while not await ada.threads.count(metadata={"graph_id": "joke"}):
                await asyncio.sleep(0.1)
        assert await they.threads.count() == 0
        await they.crons.delete(made["cron_id"])
        await ada.crons.delete(mine["cron_id"])


@pytest.fixture
def elsewhere():
    """An event loop that runs on another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def callers(inside):
    """Return for whom a request from inside is, or the answer to it."""
    sent = []

    async def send(message):
        sent.append(message)

    await inside({"type": "http"}, None, send)
    return sent[0]


async def test_code_without_its_run_is_anonymous_in_strict_mode(elsewhere):
    async def app(scope, receive, send):
        await send(scope["loomline.caller"])

    here = asyncio.get_running_loop()
    ada = Caller(User({"identity": "ada"}))
    for strict in (True, False):
        inside = Inside(app, here, strict=strict)
        assert await callers(inside) is SERVER
        with acting_for(ada):
            assert await callers(inside) is ada
    strict = Inside(app, elsewhere, strict=True)
    assert (await callers(strict))["status"] == 401
    assert await callers(Inside(app, elsewhere)) is SERVER
    with acting_for(ada):
        assert await callers(strict) is ada
    # A caller that somebody else has put there counts for nothing.
    with acting_for(ada):
        sent = []

        async def send(message):
            sent.append(message)

        await strict({"type": "http", "loomline.caller": SERVER}, None, send)
    assert sent == [ada]


def test_headers_cannot_change_the_caller(server):
    """Neither the root path of clients inside nor names of scopes come from outside."""
    for headers in [
        {"x-auth-scheme": "langsmith"}, {"loomline.caller": "x"}, {"x-forwarded-for": "127.0.0.1"},
        {"x-original-url": "/ok"}, {"authorization": "Bearer"},
    ]:  # fmt: skip
        for path in (
            "/threads/count",
            "/noauth/threads/count",
            "/ok/../threads/count",
            "//threads/count",
            "/threads/count?/ok",
            "/docs%2f..%2fthreads/count",
        ):
            answer = httpx.post(server + path, json={}, headers=headers)
            assert answer.status_code in {401, 404}, (path, headers)
            assert "detail" in answer.json()
