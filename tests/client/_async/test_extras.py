"""What our clients can do beyond the interface."""

import inspect
from datetime import UTC, datetime, timedelta, timezone, tzinfo

import httpx
import pytest
from tests.client.scripted import Script, answer, stream

from loomline._client._async.client import make_client
from loomline.client import LangGraphClient
from loomline.errors import NotFoundError


def over(script):
    transport = httpx.MockTransport(script)
    return LangGraphClient(httpx.AsyncClient(base_url="http://h/base", transport=transport))


def made(script, **options):
    return make_client(url="http://h", transport=httpx.MockTransport(script), **options)


@pytest.mark.parametrize(
    ("timeout", "expected"),
    [
        (None, {"connect": 5, "read": 300, "write": 300, "pool": 5}),
        (1.5, {"connect": 1.5, "read": 1.5, "write": 1.5, "pool": 1.5}),
        ((1, 2), {"connect": 1, "read": 2, "write": None, "pool": None}),
        (httpx.Timeout(4, read=None), {"connect": 4, "read": None, "write": 4, "pool": 4}),
    ],
)
async def test_every_request_may_have_its_own_timeout(timeout, expected):
    script = Script(answer({}), answer({}), stream(b"event: end\n\n"), stream(b"event: end\n\n"))
    client = made(script)
    await client.threads.get("t", timeout=timeout)
    await client.runs.wait("t", "a", timeout=timeout)
    for parts in (
        client.runs.stream("t", "a", timeout=timeout),
        client.threads.join_stream("t", timeout=timeout),
    ):
        async for _ in parts:
            pass
    assert [request.extensions["timeout"] for request in script.requests] == [expected] * 4


async def test_every_method_takes_a_timeout():
    client = over(Script())
    for resource in (client.assistants, client.threads, client.runs, client.crons, client.store):
        for name, method in inspect.getmembers(resource, callable):
            if not name.startswith("_"):
                assert "timeout" in inspect.signature(method).parameters, name


async def test_raw_sends_any_method_and_path():
    script = Script(answer({"a": 1}, 201, x_more="1"), answer({"detail": "no"}, 404))
    client = over(script)
    response = await client.raw("PROPFIND", "/own", json={"b": 2}, params="c=3", headers={"d": "4"})
    assert (response.status_code, response.json(), response.headers["x-more"]) == (
        201,
        {"a": 1},
        "1",
    )
    assert str(script.last.url) == "http://h/base/own?c=3"
    assert (script.last.method, script.body(), script.last.headers["d"]) == (
        "PROPFIND",
        {"b": 2},
        "4",
    )
    with pytest.raises(NotFoundError, match="no"):
        await client.raw("GET", "/own")


async def test_info_returns_the_servers_description():
    script = Script(answer({"version": "1"}))
    assert await over(script).info() == {"version": "1"}
    assert script.last.url.path == "/base/info"


@pytest.mark.parametrize(
    ("said", "ok"),
    [
        (answer({"ok": True, "services": {}}), True),
        (answer({"ok": False}), False),
        (answer([]), False),
        (answer({"detail": "down"}, 503), False),
        (httpx.Response(200, text="<html>"), False),
        (httpx.ConnectError("refused"), False),
        (httpx.ReadTimeout("slow"), False),
    ],
)
async def test_whether_a_server_works(said, ok):
    script = Script(said)
    assert await over(script).ok() is ok
    assert script.last.url.query == b""


async def test_whether_its_database_works():
    script = Script(answer({"ok": True}))
    assert await over(script).ok(check_db=True)
    assert script.last.url.query == b"check_db=1"


async def test_keys_and_headers_that_change():
    script = Script(answer({}), answer({}), answer({}))
    keys, sessions = iter(["k1", None, "k3"]), iter(["s1", "s2", "s3"])
    client = made(script, api_key=lambda: next(keys), headers=lambda: {"x-session": next(sessions)})
    for _ in range(2):
        await client.threads.get("t")
    await client.threads.get("t", headers={"X-Session": "own", "x-api-key": "own"})
    sent = [(r.headers.get("x-api-key"), r.headers.get("x-session")) for r in script.requests]
    assert sent == [("k1", "s1"), (None, "s2"), ("own", "own")]
    assert script.last.headers["user-agent"].startswith("loomline-py/")


async def test_a_stream_that_goes_on_asks_for_its_key_again():
    place = "/threads/t/runs/r/stream"
    script = Script(
        stream(b"event: a\ndata: 1\nid: 1\n\n", location=place),
        answer({"status": "running"}),
        stream(b"event: b\ndata: 2\n\nevent: end\n\n"),
    )
    keys = iter(["k1", "k2", "k3"])
    client = made(script, api_key=lambda: next(keys))
    client.http._sleep = no_wait
    parts = [part.event async for part in client.runs.stream("t", "a")]
    assert parts == ["a", "b"]
    assert [request.headers["x-api-key"] for request in script.requests] == ["k1", "k2", "k3"]
    assert script.last.headers["last-event-id"] == "1"


async def no_wait(seconds):
    pass


async def test_a_changing_header_must_not_be_the_key():
    client = made(Script(), headers=lambda: {"X-API-Key": "k"})
    with pytest.raises(ValueError, match="Cannot set reserved header 'X-API-Key'"):
        await client.threads.get("t")


async def test_a_fixed_key_beside_changing_headers():
    script = Script(answer({}))
    await made(script, api_key="fixed", headers=lambda: {"a": "1"}).threads.get("t")
    assert (script.last.headers["x-api-key"], script.last.headers["a"]) == ("fixed", "1")


PAGED = [
    ("assistants", {"graph_id": "g", "name": "n"}),
    ("threads", {"metadata": {"a": 1}, "status": "idle", "extract": {"x": "values.y"}}),
    ("crons", {"enabled": False, "thread_id": "t"}),
]


@pytest.mark.parametrize(("resource", "filters"), PAGED)
async def test_search_all_yields_every_page(resource, filters):
    script = Script(
        answer([1, 2], X_Pagination_Next="2"), answer([3, 4], X_Pagination_Next="4"), answer([5])
    )
    client = over(script)
    found = [row async for row in getattr(client, resource).search_all(**filters, page_size=2)]
    assert found == [1, 2, 3, 4, 5]
    assert [script.body(index)["offset"] for index in range(3)] == [0, 2, 4]
    for index in range(3):
        assert {"limit": 2, **filters}.items() <= script.body(index).items()


@pytest.mark.parametrize("following", ["0", "x", "-1", ""])
@pytest.mark.parametrize("resource", [resource for resource, _ in PAGED])
async def test_a_search_ends_where_the_next_page_leads_nowhere(resource, following):
    script = Script(answer([1], X_Pagination_Next=following))
    assert [row async for row in getattr(over(script), resource).search_all()] == [1]


async def test_pages_are_asked_for_when_they_are_needed():
    script = Script(answer([1, 2], X_Pagination_Next="2"))
    async for row in over(script).threads.search_all(page_size=2):
        if row == 2:
            break
    assert len(script.requests) == 1


async def test_whole_searches_of_the_store():
    script = Script(
        answer({"items": [{"key": "a"}, {"key": "b"}]}), answer({"items": [{"key": "c"}]})
    )
    found = over(script).store.search_all(["n"], filter={"f": 1}, query="q", page_size=2)
    assert [item["key"] async for item in found] == ["a", "b", "c"]
    assert script.body(1) == {
        "namespace_prefix": ["n"], "filter": {"f": 1}, "limit": 2, "offset": 2, "query": "q",
    }  # fmt: skip


async def test_the_stream_of_a_thread_may_be_awaited_and_need_not_be():
    script = Script(stream(b"event: a\n\n"), stream(b"event: b\n\n"))
    client = over(script)
    awaited = await client.threads.join_stream("t")
    assert [part.event async for part in awaited] == ["a"]
    assert [part.event async for part in client.threads.join_stream("t")] == ["b"]


async def test_the_next_page_of_assistants():
    script = Script(answer([], X_Pagination_Next="10"), answer([]))
    client = over(script)
    assert await client.assistants.search(response_format="object") == {
        "assistants": [],
        "next": "10",
    }
    assert await client.assistants.search(response_format="object") == {
        "assistants": [],
        "next": None,
    }
    with pytest.raises(ValueError, match=r"not .xml."):
        await client.assistants.search(response_format="xml")


@pytest.mark.parametrize("method", ["put_item", "get_item"])
async def test_labels_have_no_periods(method):
    arguments = {"value": {}} if method == "put_item" else {}
    with pytest.raises(ValueError, match=r"Invalid namespace label 'b\.c'"):
        await getattr(over(Script()).store, method)(["a", "b.c"], key="k", **arguments)


class Nameless(tzinfo):
    def tzname(self, _):
        return None

    utcoffset = dst = tzname


@pytest.mark.parametrize(
    ("zone", "error"),
    [(5, TypeError), (Nameless(), ValueError)],
    ids=["number", "nameless"],
)
async def test_time_zones_have_names(zone, error):
    with pytest.raises(error):
        await over(Script()).crons.create("a", schedule="* * * * *", timezone=zone)


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        ("Asia/Tokyo", "Asia/Tokyo"),
        (UTC, "UTC"),
        (timezone(timedelta(hours=1)), "UTC+01:00"),
    ],
)
async def test_cron_time_zone_is_sent_by_its_name(zone, name):
    script = Script(answer({}))
    await over(script).crons.create("a", schedule="* * * * *", timezone=zone)
    assert script.body()["timezone"] == name


@pytest.mark.parametrize(
    ("given", "sent"), [({}, {}), ({"end_time": None}, {"end_time": None}), ({"end_time": datetime(2030, 1, 1, tzinfo=UTC)}, {"end_time": "2030-01-01T00:00:00+00:00"})],
    ids=["not given", "cleared", "set"],
)  # fmt: skip
async def test_the_end_of_a_cron(given, sent):
    script = Script(answer({}))
    await over(script).crons.update("c", **given)
    assert script.body() == sent


@pytest.mark.parametrize("name", ["x-api-key", "X-API-Key", "X-Api-Key"])
async def test_the_key_has_a_parameter_of_its_own(name):
    with pytest.raises(ValueError, match=f"Cannot set reserved header '{name}'"):
        made(Script(), headers={name: "k"})


async def test_deleting_encodes_like_everything_else():
    script = Script(answer(None))
    await over(script).http.delete("/x", json={"set": {1}})
    assert script.body() == {"set": [1]}
