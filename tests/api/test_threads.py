"""Threads over HTTP, with the official client and raw."""

import httpx
import langgraph_sdk
import pytest
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError
from tests.serving import serving_here

NOWHERE = "0f5a9d3c-6a1e-4c5e-9b7d-2f4f0a1b2c3d"


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """A client of a server with five threads of which the second has run, and their ids."""
    folder = tmp_path_factory.mktemp("data")
    with serving_here(folder) as address, httpx.Client(base_url=address, timeout=150) as http:
        threads = [
            http.post("/threads", json={"metadata": {"kind": each % 2, "tags": ["a", str(each)]}})
            for each in range(5)
        ]
        ids = [each.json()["thread_id"] for each in threads]
        run = {"assistant_id": "joke", "input": {"topic": "x"}}
        assert http.post(f"/threads/{ids[1]}/runs/wait", json=run).status_code == 200
        yield http, ids


@pytest.fixture
async def sdk(server):
    async with langgraph_sdk.get_client(url=server, api_key=None) as made:
        yield made


@pytest.fixture
async def http(server):
    async with httpx.AsyncClient(base_url=server) as client:
        yield client


SEARCHES = {
    "without fields": ({}, [1, 4, 3, 2, 0]),
    "metadata": ({"metadata": {"kind": 0}, "sort_by": "created_at"}, [4, 2, 0]),
    "metadata with a list": ({"metadata": {"tags": ["3", "a"]}}, [3]),
    "values": ({"values": {"topic": "x and cats"}}, [1]),
    "ids with a page": ({"ids": [0, 2], "limit": 1, "offset": 1}, [0]),
    "a status": ({"status": "interrupted"}, []),
    "an order without a field to sort by": ({"sort_order": "asc", "limit": 1}, [0]),
}


@pytest.mark.parametrize("case", SEARCHES)
def test_thread_search_finds_the_expected_threads_by(five, case):
    (http, ids), (asked, expected) = five, SEARCHES[case]
    if "ids" in asked:
        asked = asked | {"ids": [ids[number] for number in asked["ids"]]}
    found = http.post("/threads/search", json=asked).json()
    assert [each["thread_id"] for each in found] == [ids[number] for number in expected]


def test_thread_search_returns_whole_threads(five):
    http, ids = five
    (found,) = http.post("/threads/search", json={"ids": [ids[4]]}).json()
    assert found == http.get(f"/threads/{ids[4]}").json()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, 5),
        ({"metadata": {"kind": 0}, "status": "idle"}, 3),
        ({"values": {"topic": "x and cats"}}, 1),
    ],
)
def test_thread_count_counts_the_expected_threads(five, asked, expected):
    assert five[0].post("/threads/count", json=asked).json() == expected


@pytest.mark.parametrize(
    ("asked", "count", "following", "total"),
    [
        ({"limit": 2.0, "offset": 0, "metadata": {}}, 2, "2", None),
        ({"limit": 2.0, "offset": 2}, 2, "4", None),
        ({"limit": 2.0, "offset": 4}, 1, None, "5"),
        ({"limit": 2.0, "offset": 6}, 0, None, None),
        ({"limit": 1, "metadata": {"kind": 1}}, 1, "1", "2"),
    ],
)
def test_thread_search_tells_the_next_page_and_the_total(five, asked, count, following, total):
    answer = five[0].post("/threads/search", json=asked)
    assert len(answer.json()) == count
    assert answer.headers.get("x-pagination-next") == following
    if total is not None:
        assert answer.headers["x-pagination-total"] == total


async def test_search_returns_only_selected_and_extracted_fields(sdk, http):
    new = await sdk.threads.create()
    ran = (await sdk.threads.create(metadata={"deep": {"k": [1, {"v": "w"}]}}))["thread_id"]
    await sdk.runs.wait(ran, "ask", input={"log": ["in"]})
    (row,) = await sdk.threads.search(
        ids=[ran],
        select=["status", "thread_id"],
        extract={
            "last": "values.log[-1]",
            "first": "values.log[0]",
            "beyond": "values.log[7]",
            "under": "values.log[-7]",
            "deep": "metadata.deep.k[1].v",
            "slice": "values.log[0:1]",
            "star": "values.log[*]",
            "odd": "values.log[0",
            "text": "values.log[0].x",
            "q": "interrupts",
        },
    )
    assert list(row) == ["status", "thread_id", "extracted"]
    extracted = row["extracted"]
    (interrupts,) = extracted.pop("q").values()
    assert interrupts[0]["value"] == {"question": "Really?"}
    assert extracted == {
        "last": "before",
        "first": "in",
        "beyond": None,
        "under": None,
        "deep": "w",
        "slice": None,
        "star": None,
        "odd": None,
        "text": None,
    }
    (row,) = await sdk.threads.search(ids=[ran], select=["values", "interrupts", "context"])
    assert list(row) == ["values", "interrupts"]
    assert row["values"] == {"log": ["in", "before"]}
    # What a row does not have is left out, not null.
    (row,) = await sdk.threads.search(ids=[new["thread_id"]], select=["interrupts", "values"])
    assert row == {"values": None}
    (row,) = await sdk.threads.search(ids=[new["thread_id"]], select=[], extract={"v": "values.a"})
    assert row == {**new, "extracted": {"v": None}}
    body = {"ids": [ran], "extract": {"whole": "values"}}
    (row,) = (await http.post("/threads/search", json=body)).json()
    assert row["extracted"] == {"whole": row["values"]}


@pytest.mark.one_server
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"limit": 0}, "'limit'"),
        ({"limit": 1001}, "'limit'"),
        ({"limit": 2.5}, "'limit'"),
        ({"limit": "2"}, "'limit'"),
        ({"limit": True}, "'limit'"),
        ({"offset": -1}, "'offset'"),
        ({"metadata": None}, "'metadata'"),
        ({"metadata": []}, "'metadata'"),
        ({"values": "x"}, "'values'"),
        ({"status": "odd"}, "'status'"),
        ({"ids": ["nope"]}, "Invalid thread ID: must be a UUID"),
        ({"ids": NOWHERE}, "'ids'"),
        ({"sort_by": "name"}, "'sort_by'"),
        ({"sort_order": "up"}, "'sort_order'"),
        ({"select": ["error"]}, "'select"),
        (
            {"extract": {"a b": "values"}},
            "Extract key 'a b' must be a valid identifier (letters, digits, underscores)",
        ),
        (
            {"extract": {"a": "status"}},
            "Extract path 'status' must start with one of: config, interrupts, metadata, values",
        ),
        ({"extract": {"a": ""}}, "Extract path '' must start with one of"),
        ({"extract": {"a": 5}}, "'extract.a'"),
        ({"extract": {"a": "values." + "x" * 2000}}, "longer than 1000 characters"),
        ({"extract": {str(n): "values" for n in range(11)}}, "10 paths at most, got 11"),
    ],
)
async def test_searches_that_do_not_fit(http, body, text):
    answer = await http.post("/threads/search", json=body)
    assert answer.status_code == 422, answer.text
    assert text in answer.json()["detail"]


async def test_update_merges_metadata_and_keeps_the_state_time(sdk, http):
    made = await sdk.threads.create(metadata={"a": {"x": 1}, "b": 1})
    thread = made["thread_id"]
    changed = await sdk.threads.update(thread, metadata={"a": {"y": None}, "c": None})
    assert changed["metadata"] == {"a": {"y": None}, "b": 1, "c": None}
    assert changed["updated_at"] > made["updated_at"]
    assert changed["state_updated_at"] == made["state_updated_at"]
    again = await http.patch(f"/threads/{thread}", json={})
    assert again.json()["metadata"] == changed["metadata"]
    assert again.json()["updated_at"] > changed["updated_at"]
    answer = await http.patch(
        f"/threads/{thread}", json={"metadata": {"d": 1}}, headers={"Prefer": "return=minimal"}
    )
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await sdk.threads.get(thread))["metadata"]["d"] == 1
    assert await sdk.threads.update(thread, metadata={}, return_minimal=True) is None
    with pytest.raises(NotFoundError):
        await sdk.threads.update(NOWHERE, metadata={})


async def test_thread_shows_its_time_to_live_on_request(sdk, http):
    thread = (await sdk.threads.create(ttl=5))["thread_id"]
    found = await sdk.threads.get(thread, include=["ttl"])
    ttl = found["ttl"]
    assert list(ttl) == ["strategy", "ttl_minutes", "expires_at"]
    assert (ttl["strategy"], ttl["ttl_minutes"]) == ("delete", 5)
    assert ttl["expires_at"] > found["updated_at"]
    assert "ttl" not in await sdk.threads.get(thread)
    await sdk.threads.update(thread, metadata={}, ttl={"ttl": 0.5, "strategy": "keep_latest"})
    answer = await http.get(f"/threads/{thread}?include=other,ttl")
    assert answer.json()["ttl"]["strategy"] == "keep_latest"
    assert answer.json()["ttl"]["ttl_minutes"] == 0.5
    without = (await sdk.threads.create())["thread_id"]
    assert "ttl" not in await sdk.threads.get(without, include=["ttl", "odd"])
    for bad in (5, {"ttl": 0}, {"ttl": "5"}, {}, {"ttl": 5, "strategy": "odd"}, {"ttl": 1e12}):
        answer = await http.post("/threads", json={"ttl": bad})
        assert answer.status_code == 422, bad
        assert "'ttl" in answer.json()["detail"]


async def test_copied_thread_has_the_state_of_its_source(sdk, http):
    thread = (await sdk.threads.create(metadata={"a": 1}))["thread_id"]
    await sdk.runs.wait(thread, "ask", input={"log": []})
    source = await sdk.threads.get(thread)
    copied = await sdk.threads.copy(thread)
    different = {"thread_id", "created_at", "updated_at", "state_updated_at"}
    for key in source:
        assert (copied[key] == source[key]) == (key not in different), key
    assert copied["thread_id"][14] == "4"
    state = await sdk.threads.get_state(copied["thread_id"])
    original = await sdk.threads.get_state(thread)
    assert state["checkpoint_id"] == original["checkpoint_id"]
    assert state["metadata"]["thread_id"] == copied["thread_id"]
    assert state["metadata"]["run_id"] == original["metadata"]["run_id"]
    assert await sdk.runs.list(copied["thread_id"]) == []
    answer = await http.post(f"/threads/{copied['thread_id']}/copy", content=b"ignored")
    assert answer.status_code == 200
    assert (await http.post(f"/threads/{NOWHERE}/copy")).status_code == 404
    assert (await http.post("/threads/nope/copy")).status_code == 422


async def test_pruning_deletes_the_listed_threads(sdk, http):
    threads = [(await sdk.threads.create())["thread_id"] for _ in range(3)]
    for thread in threads:
        await sdk.runs.wait(thread, "ask", input={"log": []})
    body = {"thread_ids": [threads[0], NOWHERE, threads[1]]}
    answer = await http.post("/threads/prune", json=body)
    assert (answer.status_code, answer.json()) == (200, {"pruned_count": 2})
    for thread in threads[:2]:
        assert (await http.get(f"/threads/{thread}")).status_code == 404
    pruned = await sdk.threads.prune([threads[2]], strategy="keep_latest")
    assert pruned == {"pruned_count": 1}
    before = await sdk.threads.get(threads[2])
    assert len(await sdk.threads.get_history(threads[2], limit=10)) == 1
    assert before["status"] == "interrupted"
    result = await sdk.runs.wait(threads[2], "ask", command={"resume": "yes"})
    assert result == {"answer": "yes", "log": ["before", "after"]}
    for bad in ({}, {"thread_ids": ["nope"]}, {"thread_ids": [], "strategy": "odd"}):
        assert (await http.post("/threads/prune", json=bad)).status_code == 422


async def test_pruning_stops_the_threads_running_run(sdk):
    thread = (await sdk.threads.create())["thread_id"]
    runs = []
    async for part in sdk.runs.stream(thread, "sleepy", input={}):
        if part.event == "metadata":
            runs.append(part.data["run_id"])
            await sdk.threads.prune([thread])
    with pytest.raises(NotFoundError):
        await sdk.runs.get(thread, runs[0])


async def test_storage_size_counts_the_rows_of_a_thread(sdk, http):
    thread = (await sdk.threads.create())["thread_id"]
    nothing = {"count": 0, "bytes": 0}
    assert (await http.get(f"/threads/{thread}/storage")).json() == {
        "thread_id": thread,
        "total_bytes": 0,
        "checkpoints": nothing,
        "channel_values": {**nothing, "by_channel": {}},
        "pending_writes": nothing,
    }
    await sdk.runs.wait(thread, "joke", input={"topic": "x" * 1000})
    found = (await http.get(f"/threads/{thread}/storage")).json()
    assert found["checkpoints"]["count"] == 4
    topics = found["channel_values"]["by_channel"]["topic"]
    assert topics["versions"] == 2
    assert topics["bytes"] > 2000
    parts = [found[name]["bytes"] for name in ("checkpoints", "channel_values", "pending_writes")]
    assert found["total_bytes"] == sum(parts)
    assert (await http.get(f"/threads/{NOWHERE}/storage")).status_code == 404


async def test_creation_refuses_taken_and_invalid_thread_ids(sdk):
    thread = (await sdk.threads.create())["thread_id"]
    with pytest.raises(ConflictError, match=f"Thread with ID {thread} already exists"):
        await sdk.threads.create(thread_id=thread)
    with pytest.raises(UnprocessableEntityError, match="Invalid thread ID: must be a UUID"):
        await sdk.threads.create(thread_id="nope")
    # The words of a collection are not ids.
    for path in ("search", "count", "prune"):
        with pytest.raises(UnprocessableEntityError):
            await sdk.threads.get(path)


async def test_openapi_document_lists_the_routes_of_threads(http):
    document = (await http.get("/openapi.json")).json()
    paths = document["paths"]
    assert set(paths["/threads/{thread_id}/state"]) == {"get", "post", "patch"}
    assert set(paths["/threads/{thread_id}/history"]) == {"get", "post"}
    assert "204" in paths["/threads/{thread_id}"]["patch"]["responses"]
    search = document["components"]["schemas"]["ThreadSearch"]["properties"]
    assert search["limit"] == {"maximum": 1000, "minimum": 1, "title": "Limit", "type": "integer"}


async def test_a_wrong_method_is_told_the_right_ones(http):
    for path, methods in (
        (f"/threads/{NOWHERE}", {"GET", "HEAD", "PATCH", "DELETE"}),
        (f"/threads/{NOWHERE}/state", {"GET", "HEAD", "POST", "PATCH"}),
        ("/threads/prune", {"POST"}),
    ):
        answer = await http.put(path, json={})
        assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"})
        assert set(answer.headers["allow"].split(", ")) >= methods
    assert (await http.head("/ok")).status_code == 200
