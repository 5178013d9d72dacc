"""Bad input gets a sentence and the right status, and leaves nothing behind."""

import httpx
import pytest

pytestmark = pytest.mark.two_servers

NOWHERE = "0f5a9d3c-6a1e-4c5e-9b7d-2f4f0a1b2c3d"


@pytest.fixture
async def http(server):
    async with httpx.AsyncClient(base_url=server) as client:
        yield client


@pytest.fixture
async def thread(http):
    return (await http.post("/threads", json={})).json()["thread_id"]


RUN = {"assistant_id": "joke", "input": {"topic": "x"}}

BODIES = [
    (b"", 422, "Invalid JSON in request body"),
    (b"{", 422, "Invalid JSON in request body"),
    (b"{} x", 422, "Invalid JSON in request body"),
    (b"\xff\xfe", 422, "Invalid JSON in request body"),
    (b'{"assistant_id": NaN}', 422, "Invalid JSON in request body"),
    (b'{"assistant_id": 1e400}', 422, "Invalid JSON in request body"),
    (b'{"assistant_id": "\\ud800"}', 422, "Invalid JSON in request body"),
    (b"[" * 5000 + b"]" * 5000, 400, "Recursion limit reached"),
    (
        b'{"assistant_id":"joke","input":' + b"[" * 500 + b"]" * 500 + b"}",
        400,
        "Recursion limit reached",
    ),
    (b"[]", 422, "The request body: Input should be a valid object"),
    (b"null", 422, "The request body: Input should be a valid object"),
    (b"{}", 422, "'assistant_id' is required"),
]

FIELDS = [
    ({"assistant_id": 5}, 422, "'assistant_id'"),
    (
        {"assistant_id": "nope"},
        422,
        "Invalid assistant: 'nope'. Must be either:\n- A valid assistant UUID, or\n- One of the registered graphs: ask, ",
    ),
    ({"assistant_id": NOWHERE}, 404, "Thread or assistant not found."),
    ({"config": None}, 422, "'config'"),
    ({"config": []}, 422, "'config'"),
    ({"config": {"tags": "a"}}, 422, "'config.tags'"),
    ({"config": {"recursion_limit": "5"}}, 422, "'config.recursion_limit'"),
    ({"config": {"configurable": 3}}, 422, "'config.configurable'"),
    (
        {"config": {"configurable": {"a": 1}}, "context": {"b": 1}},
        400,
        "Cannot specify both configurable and context.",
    ),
    ({"metadata": "x"}, 422, "'metadata'"),
    ({"metadata": None}, 422, "'metadata'"),
    ({"stream_mode": "nope"}, 422, "'stream_mode'"),
    ({"stream_mode": ["values", "nope"]}, 422, "'stream_mode"),
    ({"timeout_seconds": 0}, 422, "'timeout_seconds'"),
    ({"timeout_seconds": 1e9}, 422, "'timeout_seconds'"),
    ({"timeout_seconds": "5"}, 422, "'timeout_seconds'"),
    ({"strict_resume": "yes"}, 422, "'strict_resume'"),
    ({"langsmith_tracer": "x"}, 422, "'langsmith_tracer'"),
    ({"langsmith_tracer": {"project_name": 1}}, 422, "'langsmith_tracer.project_name'"),
    ({"feedback_keys": "x"}, 422, "'feedback_keys'"),
    ({"stream_subgraphs": "yes"}, 422, "'stream_subgraphs'"),
    ({"stream_resumable": 1}, 422, "'stream_resumable'"),
    ({"multitask_strategy": "fight"}, 422, "'multitask_strategy'"),
    ({"if_not_exists": "maybe"}, 422, "'if_not_exists'"),
    ({"on_disconnect": "cry"}, 422, "'on_disconnect'"),
    ({"on_completion": "cry"}, 422, "'on_completion'"),
    ({"after_seconds": "5"}, 422, "'after_seconds'"),
    ({"durability": "eternal"}, 422, "'durability'"),
    ({"interrupt_before": "node"}, 422, "'interrupt_before'"),
    ({"interrupt_after": [1]}, 422, "'interrupt_after"),
    ({"command": "resume"}, 422, "'command'"),
    ({"command": {"update": 3}}, 422, "'command.update'"),
    ({"command": {"update": [["key"]]}}, 422, "'command.update'"),
    ({"command": {"goto": 3}}, 422, "'command.goto'"),
    ({"command": {"goto": {"input": 1}}}, 422, "'command.goto'"),
    ({"checkpoint_id": "nope"}, 422, "Invalid checkpoint ID"),
    ({"checkpoint": {"checkpoint_id": "nope"}}, 422, "Invalid checkpoint ID"),
    ({"webhook": ""}, 422, "'webhook'"),
    ({"webhook": "http://127.0.0.1/"}, 422, "Webhook host blocked: loopback IP range"),
]


def check_refused(answer, status, text):
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert list(body) == ["detail"]
    assert text in body["detail"]
    assert "Traceback" not in body["detail"]


@pytest.mark.one_server
@pytest.mark.parametrize(
    "route", ["/threads/{}/runs", "/threads/{}/runs/stream", "/threads/{}/runs/wait"]
)
@pytest.mark.parametrize(("body", "status", "text"), BODIES)
async def test_unreadable_body_is_refused_and_changes_nothing(
    http, thread, route, body, status, text
):
    check_refused(await http.post(route.format(thread), content=body), status, text)
    found = (await http.get(f"/threads/{thread}")).json()
    assert (found["status"], found["metadata"]) == ("idle", {})


@pytest.mark.one_server
@pytest.mark.parametrize(("fields", "status", "text"), FIELDS)
async def test_run_with_an_invalid_field_is_refused_and_not_created(
    http, thread, fields, status, text
):
    check_refused(await http.post(f"/threads/{thread}/runs", json=RUN | fields), status, text)
    check_refused(await http.post("/runs/stream", json=RUN | fields), status, text)
    assert (await http.get(f"/threads/{thread}/runs")).json() == []


@pytest.mark.one_server
async def test_resuming_needs_a_thread(http):
    check_refused(
        await http.post("/runs", json=RUN | {"command": {"resume": 1}}),
        400,
        "You must provide a thread_id when resuming.",
    )


PATHS = [
    ("GET", "/threads/nope", 422, "Invalid thread ID: must be a UUID"),
    ("DELETE", "/threads/nope", 422, "Invalid thread ID: must be a UUID"),
    ("GET", f"/threads/{NOWHERE}", 404, f"Thread with ID {NOWHERE} not found"),
    ("DELETE", f"/threads/{NOWHERE}", 404, f"Thread with ID {NOWHERE} not found"),
    ("GET", f"/threads/{NOWHERE}/runs", 404, f"Thread with ID {NOWHERE} not found"),
    ("GET", f"/threads/{NOWHERE}/runs/nope", 422, "Invalid run ID: must be a UUID"),
    ("GET", f"/threads/{NOWHERE}/runs/{NOWHERE}", 404, "Run not found"),
    ("DELETE", f"/threads/{NOWHERE}/runs/{NOWHERE}", 404, "Run not found"),
    ("POST", f"/threads/{NOWHERE}/runs/{NOWHERE}/cancel", 404, "No matching runs to cancel."),
    ("GET", "/assistants/nope", 422, "Invalid assistant ID: must be a UUID"),
    ("GET", f"/assistants/{NOWHERE}", 404, f"Assistant {NOWHERE} not found"),
    ("GET", "/nope", 404, "Not Found"),
    ("PUT", "/threads", 405, "Method Not Allowed"),
    ("GET", "/ok?check_db=perhaps", 422, "check_db"),
]


@pytest.mark.parametrize(("method", "path", "status", "text"), PATHS)
async def test_invalid_path_is_refused_with_its_reason(http, method, path, status, text):
    check_refused(await http.request(method, path), status, text)


@pytest.mark.one_server
@pytest.mark.parametrize(
    "query",
    [
        "limit=x",
        "limit=-1",
        "limit=1.5",
        "offset=-2",
        "limit=99999999999999999999",
        "status=odd",
        "select=odd",
    ],
)
async def test_invalid_query_parameter_is_refused_by_its_name(http, thread, query):
    check_refused(await http.get(f"/threads/{thread}/runs?{query}"), 422, query.partition("=")[0])


@pytest.mark.one_server
async def test_cancelling_needs_a_known_action(http, thread):
    check_refused(
        await http.post(f"/threads/{thread}/runs/{NOWHERE}/cancel?action=explode"),
        422,
        "Invalid action 'explode'",
    )


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("reason=bored", 422, "Invalid reason 'bored'. Expected one of: taken"),
        ("action=rollback&reason=taken", 400, "The reason 'taken' needs the action 'interrupt'."),
    ],
)
async def test_cancel_with_an_unsuitable_reason_is_refused(http, thread, query, status, message):
    place = f"/threads/{thread}/runs/{NOWHERE}/cancel"
    check_refused(await http.post(f"{place}?{query}"), status, message)


async def test_thread_creation_refuses_invalid_ids_and_fields(http):
    check_refused(await http.post("/threads", json={"thread_id": "nope"}), 422, "Invalid thread ID")
    check_refused(await http.post("/threads", json={"metadata": 1}), 422, "'metadata'")
    check_refused(await http.post("/threads", json={"if_exists": "odd"}), 422, "'if_exists'")
    made = (
        await http.post("/threads", json={"thread_id": NOWHERE.upper().replace("-", "")})
    ).json()
    assert made["thread_id"] == NOWHERE
    check_refused(
        await http.post("/threads", json={"thread_id": NOWHERE}),
        409,
        f"Thread with ID {NOWHERE} already exists",
    )
    again = await http.post("/threads", json={"thread_id": NOWHERE, "if_exists": "do_nothing"})
    assert again.json() == made
    await http.delete(f"/threads/{NOWHERE}")


async def test_joining_a_run_that_does_not_exist(http, thread):
    missing = {"error": "HTTPException", "message": "404: Run not found"}
    joined = await http.get(f"/threads/{thread}/runs/{NOWHERE}/join")
    assert (joined.status_code, joined.json()) == (200, {"__error__": missing})
    stream = await http.get(f"/threads/{thread}/runs/{NOWHERE}/stream")
    assert stream.text == (
        'event: error\r\ndata: {"error":"HTTPException","message":"404: Run not found"}\r\n\r\n'
    )


async def test_an_unknown_thread_is_not_made_by_accident(http):
    check_refused(
        await http.post(f"/threads/{NOWHERE}/runs", json=RUN), 404, "Thread or assistant not found."
    )


async def test_a_body_beyond_the_limit(tmp_path):
    from tests.serving import serving_here  # noqa: PLC0415

    with serving_here(tmp_path, body_limit_bytes="2000") as address:
        async with httpx.AsyncClient(base_url=address) as http:
            check_refused(
                await http.post("/threads", content=b"x" * 2001),
                413,
                "larger than the limit of 2000 bytes",
            )
            assert (await http.post("/threads", json={})).status_code == 200


async def test_nul_characters_do_not_reach_the_database(http):
    made = (await http.post("/threads", json={"metadata": {"a\0": ["b\0", "\\u0000"]}})).json()
    assert made["metadata"] == {"a\ufffd": ["b\ufffd", "\\u0000"]}
