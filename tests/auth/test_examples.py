"""What people write first: tokens, owners, namespaces; with either package on either side."""

import langgraph_sdk
import pytest
from tests.auth.conftest import handlers, write_config
from tests.serving import serving_here

import loomline


@pytest.fixture(scope="module", params=["owner_loomline", "owner_official"])
def server(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    with serving_here(folder / "data", config=write_config(folder, handlers(request.param))) as url:
        yield url


@pytest.fixture(params=[loomline, langgraph_sdk], ids=["loomline", "official"])
def client(request, server):
    def make(name):
        headers = {} if name is None else {"authorization": f"Bearer {name}"}
        return request.param.get_client(url=server, headers=headers, api_key=None)

    return make


async def test_a_token_is_needed(client):
    async with client(None) as nobody, client("eve") as eve:
        for each in (nobody, eve):
            with pytest.raises(Exception, match="Who are you") as caught:
                await each.threads.search()
            assert caught.value.response.status_code == 401
            assert caught.value.response.headers["www-authenticate"] == "Bearer"


async def test_threads_are_their_owners(client):
    async with client("ada") as ada, client("bob") as bob:
        thread = await ada.threads.create(metadata={"owner": "bob", "n": 1})
        key = thread["thread_id"]
        assert thread["metadata"] == {"owner": "ada", "n": 1}
        await ada.runs.wait(key, "joke", input={"topic": "tea"})
        assert (await ada.threads.get_state(key))["values"]["topic"] == "tea and cats"
        assert key in {each["thread_id"] for each in await ada.threads.search()}
        assert key not in {each["thread_id"] for each in await bob.threads.search(limit=1000)}
        for act in (
            bob.threads.get(key), bob.threads.get_state(key), bob.threads.delete(key),
            bob.runs.list(key), bob.runs.wait(key, "joke", input={}), bob.threads.copy(key),
        ):  # fmt: skip
            with pytest.raises(Exception, match="not found") as caught:
                await act
            assert caught.value.response.status_code == 404
        for choice in ("raise", "do_nothing"):
            with pytest.raises(Exception, match="already exists") as caught:
                await bob.threads.create(thread_id=key, if_exists=choice)
            assert caught.value.response.status_code == 409
        # Nobody gives away what they have, or takes what others have, by naming another owner.
        changed = await ada.threads.update(key, metadata={"owner": "bob"})
        assert changed["metadata"]["owner"] == "ada"
        copied = await ada.threads.copy(key)
        assert copied is None or copied["metadata"]["owner"] == "ada"


async def test_assistants_are_their_owners_and_graphs_everybodys(client):
    async with client("ada") as ada, client("bob") as bob:
        made = await ada.assistants.create("joke", name="mine")
        key = made["assistant_id"]
        assert made["metadata"] == {"owner": "ada"}
        assert (await ada.runs.wait(None, key, input={"topic": "x"}))["topic"] == "x and cats"
        assert (await bob.runs.wait(None, "joke", input={"topic": "x"}))["topic"] == "x and cats"
        with pytest.raises(Exception, match="not found"):
            await bob.runs.wait(None, key, input={"topic": "x"})
        with pytest.raises(Exception, match="not found"):
            await bob.crons.create(key, schedule="@daily")
        assert await bob.assistants.search(metadata={"owner": "ada"}) == []
        await ada.assistants.delete(key)


async def test_each_has_a_store_of_their_own(client):
    async with client("ada") as ada, client("bob") as bob:
        await ada.store.put_item(["notes"], "one", {"text": "hello"})
        await bob.store.put_item(["notes"], "one", {"text": "other"})
        assert (await ada.store.get_item(["notes"], "one"))["value"] == {"text": "hello"}
        found = await ada.store.search_items(["notes"])
        assert [each["namespace"] for each in found["items"]] == [["ada", "notes"]]
        assert (await bob.store.list_namespaces())["namespaces"] == [["bob", "notes"]]
        await bob.store.delete_item(["notes"], "one")
        assert await ada.store.get_item(["notes"], "one")


async def test_a_run_on_a_new_thread_is_its_creators(client):
    async with client("ada") as ada, client("bob") as bob:
        key = "0f5a9d3c-6a1e-4c5e-9b7d-2f4f0a1b2c3d"
        await ada.runs.wait(key, "joke", input={"topic": "x"}, if_not_exists="create")
        assert (await ada.threads.get(key))["metadata"]["owner"] == "ada"
        with pytest.raises(Exception, match="not found"):
            await bob.runs.wait(key, "joke", input={"topic": "x"}, if_not_exists="create")
        await ada.threads.delete(key)
