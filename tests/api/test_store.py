"""The store over HTTP and inside of graphs."""

import asyncio
import json
from uuid import uuid4

import httpx
import langgraph_sdk
import pytest
from tests.serving import PROJECT, serving_here


@pytest.fixture
async def http(server):
    async with httpx.AsyncClient(base_url=server) as client:
        yield client


@pytest.fixture
async def sdk(server):
    async with langgraph_sdk.get_client(url=server, api_key=None) as client:
        yield client


@pytest.fixture
def place():
    return ("tests", uuid4().hex)


def refused(answer, status, text):
    assert answer.status_code == status, answer.text
    assert text in answer.json()["detail"]


async def test_items_with_the_official_client(sdk, place):
    store = sdk.store
    value = {"text": "x", "deep": {"n": [1, 2.5, None]}}
    assert await store.put_item(place, "k", value) is None
    item = await store.get_item(place, "k")
    assert (item["namespace"], item["key"], item["value"]) == (list(place), "k", value)
    assert item["created_at"] == item["updated_at"]
    await store.put_item(place, "k", {"new": 1})
    again = await store.get_item(place, "k")
    assert (again["value"], again["created_at"]) == ({"new": 1}, item["created_at"])
    assert again["updated_at"] > item["updated_at"]
    assert (await store.search_items(place))["items"] == [{**again, "score": None}]
    await store.delete_item(place, "k")
    assert await store.get_item(place, "k") is None
    await store.delete_item(place, "k")


@pytest.mark.parametrize(
    ("asked", "tail", "expected"),
    [
        ({}, [], ["k3", "k2", "k1", "k0"]),
        ({"limit": 2, "offset": 1}, [], ["k2", "k1"]),
        ({}, ["1"], ["k3", "k1"]),
        ({"filter": {"n": {"$gte": 1, "$ne": 2}}}, [], ["k3", "k1"]),
        ({"filter": {"n": {"$gt": "0"}}}, [], []),
        ({"query": "no index here"}, [], ["k3", "k2", "k1", "k0"]),
    ],
    ids=["everything", "page", "longer prefix", "filter", "filter of another type", "query"],
)
async def test_store_search_finds_the_expected_items_by(sdk, place, asked, tail, expected):
    for number in range(4):
        await sdk.store.put_item([*place, str(number % 2)], f"k{number}", {"n": number})
    found = await sdk.store.search_items((*place, *tail), **asked)
    assert [item["key"] for item in found["items"]] == expected


async def test_search_without_a_prefix_finds_all_namespaces(http, sdk, place):
    await sdk.store.put_item(place, "k", {})
    for body in ({}, {"namespace_prefix": None}, {"namespace_prefix": []}):
        items = (await http.post("/store/items/search", json=body)).json()["items"]
        assert items[0]["namespace"] == list(place)


async def test_namespaces_are_listed_by_prefix_suffix_and_depth(sdk, place):
    for tail in (["a"], ["a", "b"], ["c", "b"]):
        await sdk.store.put_item([*place, *tail], "k", {})

    async def names(**asked):
        found = await sdk.store.list_namespaces(prefix=list(place), **asked)
        return [name[2:] for name in found["namespaces"]]

    assert await names() == [["a"], ["a", "b"], ["c", "b"]]
    assert await names(suffix=["b"]) == [["a", "b"], ["c", "b"]]
    assert await names(suffix=["*", "b"], max_depth=3) == [["a"], ["c"]]
    assert await names(limit=1, offset=1) == [["a", "b"]]


async def test_an_item_that_is_not_there(http):
    for query in ("key=k&namespace=no.where", "key=k", "key="):
        answer = await http.get(f"/store/items?{query}")
        assert (answer.status_code, answer.content) == (200, b"null")


async def test_item_with_an_empty_key_is_stored(http, place):
    body = {"namespace": place, "key": "", "value": {"v": 1}}
    answer = await http.put("/store/items", json=body)
    assert (answer.status_code, answer.content) == (204, b"")
    item = (await http.get("/store/items", params={"namespace": ".".join(place), "key": ""})).json()
    assert item["value"] == {"v": 1}
    answer = await http.request("DELETE", "/store/items", json={"namespace": place, "key": ""})
    assert (answer.status_code, answer.content) == (204, b"")


PUT = {"namespace": ["a"], "key": "k", "value": {}}


@pytest.mark.one_server
@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"namespace": []}, 400, "Namespace cannot be empty."),
        ({"namespace": ["langgraph", "x"]}, 400, 'Root label for namespace cannot be "langgraph". Got: ('),
        ({"namespace": ["a.b"]}, 422, "Namespace label 'a.b' must be a non-empty string without periods"),
        ({"namespace": ["a", ""]}, 422, "Namespace label '' must be a non-empty string"),
        ({"namespace": "a"}, 422, "'namespace'"),
        ({"namespace": [1]}, 422, "'namespace"),
        ({"key": 1}, 422, "'key'"),
        ({"key": None}, 422, "'key'"),
        ({"value": None}, 422, "'value'"),
        ({"value": [1]}, 422, "'value'"),
        ({"index": True}, 422, "'index"),
        ({"index": 0}, 422, "'index"),
        ({"index": [1]}, 422, "'index"),
        ({"ttl": 0}, 422, "'ttl'"),
        ({"ttl": -1}, 422, "'ttl'"),
        ({"ttl": "5"}, 422, "'ttl'"),
        ({"ttl": True}, 422, "'ttl'"),
    ],
)  # fmt: skip
async def test_invalid_item_is_refused_with_its_reason(http, change, status, text):
    refused(await http.put("/store/items", json=PUT | change), status, text)


@pytest.mark.one_server
@pytest.mark.parametrize("missing", ["namespace", "key", "value"])
async def test_item_without_a_required_field_is_refused(http, missing):
    body = {key: value for key, value in PUT.items() if key != missing}
    refused(await http.put("/store/items", json=body), 422, f"'{missing}' is required")


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("items/search", {"limit": 0}, 422, "'limit'"),
        ("items/search", {"limit": -1}, 422, "'limit'"),
        ("items/search", {"limit": 1001}, 422, "'limit'"),
        ("items/search", {"offset": -1}, 422, "'offset'"),
        ("items/search", {"filter": []}, 422, "'filter'"),
        ("items/search", {"filter": {"a": {"$foo": 1}}}, 400, "Unsupported operator: $foo"),
        ("items/search", {"filter": {"a": {"b": {"$foo": 1}}}}, 400, "Unsupported operator: $foo"),
        ("items/search", {"namespace_prefix": ["a.b"]}, 422, "Namespace label 'a.b'"),
        ("items/search", {"refresh_ttl": 1}, 422, "'refresh_ttl'"),
        ("namespaces", {"limit": -1}, 422, "'limit'"),
        ("namespaces", {"offset": -1}, 422, "'offset'"),
        ("namespaces", {"max_depth": 0}, 422, "'max_depth'"),
        ("namespaces", {"max_depth": 1.5}, 422, "'max_depth'"),
        ("namespaces", {"prefix": [""]}, 422, "Namespace label ''"),
        ("namespaces", {"suffix": ["a.b"]}, 422, "Namespace label 'a.b'"),
    ],
)
async def test_invalid_store_search_is_refused_with_its_reason(http, path, body, status, text):
    refused(await http.post(f"/store/{path}", json=body), status, text)


@pytest.mark.one_server
async def test_invalid_item_request_is_refused_with_its_reason(http):
    answer = await http.get("/store/items?namespace=a")
    assert answer.status_code == 400
    assert answer.json() == {"detail": "Key is required", "error": "Key is required"}
    refused(await http.get("/store/items?namespace=a..b&key=k"), 422, "Namespace label ''")
    refused(await http.get("/store/items?key=k&refresh_ttl=maybe"), 422, "refresh_ttl")
    refused(await http.request("DELETE", "/store/items", json={"namespace": ["a"]}), 422, "'key'")
    refused(
        await http.request("DELETE", "/store/items", json=PUT | {"namespace": ["."]}),
        422,
        "label '.'",
    )


async def test_nul_characters_are_replaced_everywhere(http, place):
    await http.put("/store/items", json={"namespace": place, "key": "a\0", "value": {"b\0": "\0"}})
    item = (
        await http.get("/store/items", params={"namespace": ".".join(place), "key": "a\0"})
    ).json()
    assert (item["key"], item["value"]) == ("a\ufffd", {"b\ufffd": "\ufffd"})


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_graphs_see_the_same_store(http, sdk, place, colour):
    await sdk.store.put_item(place, "from outside", {"v": 1})
    body = {"assistant_id": "keeper", "input": {"place": list(place), "colour": colour}}
    result = (await http.post("/runs/wait", json=body)).json()
    assert result["seen"] == {"v": 1}
    assert (await sdk.store.get_item(place, "from inside"))["value"] == {"colour": colour}


@pytest.fixture(scope="module")
def meaning(tmp_path_factory):
    """A server whose store is searched by meaning, with short lives by default."""
    folder = tmp_path_factory.mktemp("meaning")
    (folder / "embed.py").write_text(EMBED)
    for name, function in (("sync", "letters"), ("async", "aletters")):
        config = {
            "graphs": {"keeper": f"{PROJECT.parent}/graphs.py:keeper"},
            "store": {
                "index": {"dims": 3, "embed": f"./embed.py:{function}", "fields": ["text"]},
                "ttl": {"default_ttl": 0.02, "refresh_on_read": False},
            },
        }
        (folder / f"{name}.json").write_text(json.dumps(config))
    return folder


EMBED = """
import time
from pathlib import Path

def letters(texts):
    while "slow" in texts and not Path(__file__).with_name("go").exists():
        time.sleep(0.01)
    return [[text.count(letter) for letter in "abc"] for text in texts]

async def aletters(texts):
    return letters(texts)
"""


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_search_with_a_query_orders_items_by_similarity(meaning, serving, colour):
    with serving(config=meaning / f"{colour}.json") as address:
        async with langgraph_sdk.get_client(url=address, api_key=None) as client:
            store = client.store
            await store.put_item(["m"], "a", {"text": "aa"}, ttl=60)
            await store.put_item(["m"], "ab", {"text": "ab"}, ttl=60)
            await store.put_item(["m"], "none", {"text": "a"}, index=False, ttl=60)
            found = (await store.search_items(["m"], query="a"))["items"]
            assert [item["key"] for item in found] == ["a", "ab", "none"]
            assert [item["score"] for item in found] == [
                pytest.approx(1),
                pytest.approx(0.7071, abs=1e-4),
                None,
            ]
            for node in ("sync", "async"):
                asked = {"place": ["m"], "query": "b", "colour": node}
                result = await client.runs.wait(None, "keeper", input=asked)
                assert result["seen"] == "ab"


async def test_slow_embeddings_do_not_hold_up_the_server(meaning, tmp_path):
    with serving_here(tmp_path, config=meaning / "async.json") as address:
        async with httpx.AsyncClient(base_url=address) as http:
            body = {"namespace": ["m"], "key": "k", "value": {"text": "slow"}}
            putting = asyncio.create_task(http.put("/store/items", json=body))
            for _ in range(10):
                assert (await http.get("/ok")).status_code == 200
            assert not putting.done()
            (meaning / "go").touch()
            assert (await putting).status_code == 204


async def test_expired_items_of_the_store_are_deleted(meaning, serving):
    with serving(config=meaning / "sync.json") as address:
        async with langgraph_sdk.get_client(url=address, api_key=None) as client:
            await client.store.put_item(["t"], "short", {})
            await client.store.put_item(["t"], "long", {}, ttl=60)
            while await client.store.get_item(["t"], "short"):
                await asyncio.sleep(0.05)
            found = (await client.store.search_items(["t"]))["items"]
            assert [item["key"] for item in found] == ["long"]
