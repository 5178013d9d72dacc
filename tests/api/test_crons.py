"""Crons over HTTP."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import langgraph_sdk
import pytest

NOWHERE = "0f5a9d3c-6a1e-4c5e-9b7d-2f4f0a1b2c3d"
ROW = [
    "cron_id", "assistant_id", "thread_id", "user_id", "end_time", "schedule", "timezone",
    "payload", "next_run_date", "metadata", "on_run_completed", "enabled", "created_at",
    "updated_at",
]  # fmt: skip
NEW_YEAR = {"assistant_id": "joke", "schedule": "0 0 1 1 *"}


@pytest.fixture
async def http(server):
    async with httpx.AsyncClient(base_url=server) as client:
        yield client


@pytest.fixture
async def sdk(server):
    async with langgraph_sdk.get_client(url=server, api_key=None) as client:
        yield client


@pytest.fixture
async def thread(http):
    return (await http.post("/threads", json={})).json()["thread_id"]


def refused(answer, status, text):
    assert answer.status_code == status, answer.text
    assert text in answer.json()["detail"]


def next_new_year():
    return f"{datetime.now(UTC).year + 1}-01-01T00:00:00+00:00"


async def test_stateless_cron_is_returned_with_every_field(http, sdk):
    made = await sdk.crons.create(
        "joke", schedule="0 0 1 1 *", input={"topic": "x"}, metadata={"a": 1},
        config={"tags": ["t"]}, interrupt_before="*", stream_mode="values", enabled=True,
    )  # fmt: skip
    assert list(made) == ROW
    assert UUID(made["cron_id"]).version == 7
    joke = (await sdk.assistants.search(graph_id="joke", metadata={"created_by": "system"}))[0]
    assert made["assistant_id"] == joke["assistant_id"]
    assert made["payload"] == {
        "assistant_id": joke["assistant_id"], "schedule": "0 0 1 1 *", "input": {"topic": "x"},
        "metadata": {"a": 1}, "interrupt_before": "*", "stream_mode": "values", "enabled": True,
        "config": {"tags": ["t"], "configurable": {"cron_id": made["cron_id"]}},
    }  # fmt: skip
    expected = {
        "thread_id": None, "user_id": "", "end_time": None, "timezone": None, "metadata": {"a": 1},
        "on_run_completed": "delete", "enabled": True, "next_run_date": next_new_year(),
    }  # fmt: skip
    assert {key: made[key] for key in expected} == expected
    assert made["created_at"] == made["updated_at"]
    assert (await http.get(f"/runs/crons/{made['cron_id']}")).json() == made


async def test_a_cron_of_a_thread(http, sdk, thread):
    made = await sdk.crons.create_for_thread(
        thread, "joke", schedule="@daily", input={"topic": "x"}
    )
    assert (made["thread_id"], made["on_run_completed"]) == (thread, None)
    await sdk.threads.delete(thread)
    refused(
        await http.get(f"/runs/crons/{made['cron_id']}"), 404, f"Cron '{made['cron_id']}' not found"
    )


async def test_time_zones_and_ends(sdk):
    end = datetime(2040, 1, 1, tzinfo=UTC)
    made = await sdk.crons.create(
        "joke", schedule="0 0 1 1 *", timezone="Europe/Berlin", end_time=end
    )
    assert made["next_run_date"].endswith("-12-31T23:00:00+00:00")
    assert made["end_time"] == "2040-01-01T00:00:00+00:00"
    after = await sdk.crons.update(made["cron_id"], end_time=None, timezone="UTC")
    assert (after["end_time"], after["next_run_date"]) == (None, next_new_year())
    over = await sdk.crons.create(
        "joke", schedule="0 0 1 1 *", end_time=datetime(2020, 1, 1, tzinfo=UTC)
    )
    assert over["next_run_date"] is None


async def test_context_and_configurable_of_a_cron_exclude_each_other(http):
    made = (await http.post("/runs/crons", json=NEW_YEAR | {"context": {"c": 1}})).json()
    assert made["payload"]["context"] == {"c": 1}
    assert made["payload"]["config"] == {"configurable": {"cron_id": made["cron_id"]}}
    after = await http.patch(f"/runs/crons/{made['cron_id']}", json={"context": {"c": 2}})
    assert after.json()["payload"]["context"] == {"c": 2}
    answer = await http.patch(
        f"/runs/crons/{made['cron_id']}", json={"config": {"configurable": {"d": 1}}}
    )
    refused(answer, 400, "Cannot specify both configurable and context.")


BAD = [
    ({"assistant_id": "nope"}, 404, "Assistant 'nope' not found"),
    ({"assistant_id": NOWHERE}, 404, f"Assistant '{NOWHERE}' not found"),
    ({"assistant_id": None}, 422, "'assistant_id'"),
    ({"schedule": "x"}, 422, "Invalid cron schedule: 'x'. Reason: "),
    ({"schedule": ""}, 422, "Invalid cron schedule: ''. Reason: "),
    ({"schedule": "0 0 30 2 *"}, 422, "failed to find next date"),
    ({"timezone": "Mars/Phobos"}, 422, "Invalid timezone: 'Mars/Phobos'. Use IANA timezone format (e.g. 'America/New_York')."),
    ({"end_time": "soon"}, 422, "Invalid end_time 'soon'"),
    ({"input": "x"}, 422, "'input"),
    ({"input": [1]}, 422, "'input"),
    ({"enabled": None}, 422, "'enabled'"),
    ({"webhook": ""}, 422, "'webhook'"),
    ({"webhook": "http://[::1]/"}, 422, "Webhook host blocked: loopback IP range"),
    ({"on_run_completed": "cry"}, 422, "'on_run_completed'"),
    ({"multitask_strategy": "fight"}, 422, "'multitask_strategy'"),
    ({"stream_mode": "nope"}, 422, "'stream_mode"),
    ({"durability": "eternal"}, 422, "'durability'"),
    ({"config": {"recursion_limit": "x"}}, 422, "'config.recursion_limit'"),
    (
        {"config": {"configurable": {"a": 1}}, "context": {"b": 1}},
        400,
        "Cannot specify both configurable and context.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "status", "text"), BAD)
async def test_invalid_cron_is_refused_and_not_stored(http, thread, fields, status, text):
    before = await http.post("/runs/crons/count", json={})
    refused(await http.post("/runs/crons", json=NEW_YEAR | fields), status, text)
    if "on_run_completed" not in fields:
        refused(
            await http.post(f"/threads/{thread}/runs/crons", json=NEW_YEAR | fields), status, text
        )
    assert (await http.post("/runs/crons/count", json={})).text == before.text


@pytest.mark.one_server
@pytest.mark.parametrize("missing", ["assistant_id", "schedule"])
async def test_cron_without_a_required_field_is_refused(http, missing):
    body = {key: value for key, value in NEW_YEAR.items() if key != missing}
    refused(await http.post("/runs/crons", json=body), 422, f"'{missing}' is required")


async def test_a_cron_needs_its_thread(http):
    answer = await http.post(f"/threads/{NOWHERE}/runs/crons", json=NEW_YEAR)
    refused(answer, 404, f"Thread with ID {NOWHERE} not found")


@pytest.mark.one_server
@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({}, 400, "Request body cannot be empty"),
        ({"schedule": None}, 422, "'schedule'"),
        ({"timezone": None}, 422, "'timezone'"),
        ({"enabled": None}, 422, "'enabled'"),
        ({"schedule": "x"}, 422, "Invalid cron schedule: 'x'."),
        ({"schedule": "0 0 30 2 *"}, 422, "failed to find next date"),
        ({"timezone": "Mars/Phobos"}, 422, "Invalid timezone: 'Mars/Phobos'."),
        ({"end_time": "soon"}, 422, "Invalid end_time 'soon'"),
        ({"on_run_completed": None}, 422, "'on_run_completed'"),
    ],
)  # fmt: skip
async def test_invalid_cron_patch_is_refused_and_changes_nothing(http, body, status, text):
    made = (await http.post("/runs/crons", json=NEW_YEAR)).json()
    path = f"/runs/crons/{made['cron_id']}"
    refused(await http.patch(path, json=body), status, text)
    assert (await http.get(path)).json() == made


async def test_cron_patch_changes_only_the_given_fields(sdk):
    made = await sdk.crons.create(
        "joke", schedule="0 0 1 1 *", metadata={"a": 1}, config={"tags": ["t"]}
    )
    after = await sdk.crons.update(
        made["cron_id"], schedule="* * * * * *", metadata={"b": 1}, enabled=False,
        config={"recursion_limit": 9}, on_run_completed="keep", input={"topic": "y"},
    )  # fmt: skip
    assert (after["schedule"], after["metadata"], after["enabled"]) == (
        "* * * * * *",
        {"a": 1, "b": 1},
        False,
    )
    assert after["payload"]["metadata"] == {"b": 1}
    assert after["payload"]["config"] == {
        "recursion_limit": 9,
        "configurable": {"cron_id": made["cron_id"]},
    }
    assert (after["on_run_completed"], after["payload"]["input"]) == ("keep", {"topic": "y"})
    assert after["next_run_date"] < made["next_run_date"]
    assert after["assistant_id"] == made["assistant_id"]


async def test_the_assistant_cannot_be_changed(http):
    made = (await http.post("/runs/crons", json=NEW_YEAR)).json()
    body = {"assistant_id": "ask", "enabled": False}
    after = (await http.patch(f"/runs/crons/{made['cron_id']}", json=body)).json()
    assert after["assistant_id"] == made["assistant_id"] == after["payload"]["assistant_id"]


async def test_threads_of_their_own_only(http, thread):
    made = (await http.post(f"/threads/{thread}/runs/crons", json=NEW_YEAR)).json()
    path = f"/runs/crons/{made['cron_id']}"
    refused(await http.patch(path, json={"on_run_completed": "keep"}), 400, "'on_run_completed'")


async def test_search_and_count_find_the_same_crons(http, sdk, thread):
    mark = uuid4().hex
    assistant = (await sdk.assistants.create("joke"))["assistant_id"]
    for number in range(3):
        await sdk.crons.create(
            assistant, schedule=f"{number} 0 1 1 *", metadata={"mark": mark, "n": number},
            enabled=number != 1,
        )  # fmt: skip
    mine = await sdk.crons.create_for_thread(
        thread, assistant, schedule="@daily", metadata={"mark": mark}
    )
    where = {"metadata": {"mark": mark}}

    async def search(**body):
        answer = await http.post("/runs/crons/search", json=where | body)
        return [row["metadata"].get("n") for row in answer.json()]

    assert await search() == [None, 2, 1, 0]
    assert await search(sort_by="next_run_date", sort_order="asc") == [None, 0, 1, 2]
    assert await search(enabled=False) == [1]
    assert await search(thread_id=thread) == [None]
    assert await search(assistant_id=assistant, limit=2, offset=1) == [2, 1]
    answer = await http.post(
        "/runs/crons/search", json=where | {"limit": 1, "select": ["cron_id", "now"]}
    )
    assert answer.json() == [{"cron_id": mine["cron_id"]}]
    assert (answer.headers["x-pagination-next"], answer.headers["x-pagination-total"]) == ("1", "4")
    assert [row["cron_id"] for row in await sdk.crons.search(thread_id=thread)] == [mine["cron_id"]]
    assert await sdk.crons.count(assistant_id=assistant) == 4
    assert (await http.post("/runs/crons/count", json=where | {"enabled": True})).text == "3"
    await sdk.assistants.delete(assistant)
    assert await sdk.crons.count(metadata={"mark": mark}) == 0


@pytest.mark.one_server
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"assistant_id": "joke"}, "Invalid assistant ID: must be a UUID"),
        ({"thread_id": "x"}, "Invalid thread ID: must be a UUID"),
        ({"limit": 0}, "'limit'"),
        ({"offset": -1}, "'offset'"),
        ({"enabled": "yes"}, "'enabled'"),
        ({"sort_by": "schedule"}, "'sort_by'"),
        ({"select": ["nope"]}, "'select"),
        ({"metadata": []}, "'metadata'"),
    ],
)
async def test_invalid_cron_search_is_refused_with_its_reason(http, body, text):
    refused(await http.post("/runs/crons/search", json=body), 422, text)


async def test_crons_that_are_not_there(http):
    path = f"/runs/crons/{NOWHERE}"
    for method, body in (("GET", None), ("PATCH", {"enabled": True}), ("DELETE", None)):
        refused(await http.request(method, path, json=body), 404, f"Cron '{NOWHERE}' not found")
    refused(await http.get("/runs/crons/nope"), 422, "Invalid cron ID: must be a UUID")


async def test_deleted_cron_is_gone_for_every_request(http):
    made = (await http.post("/runs/crons", json=NEW_YEAR)).json()
    answer = await http.delete(f"/runs/crons/{made['cron_id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await http.delete(f"/runs/crons/{made['cron_id']}")).status_code == 404
