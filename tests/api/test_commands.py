"""Commands, checkpoints and limits of runs."""

import json

import httpx
import pytest
from tests.serving import serving_here

pytestmark = pytest.mark.two_servers


@pytest.fixture
async def http(server):
    async with httpx.AsyncClient(base_url=server) as client:
        yield client


@pytest.fixture
async def thread(http):
    return (await http.post("/threads", json={})).json()["thread_id"]


async def wait(http, thread, assistant="joke", **body):
    return (
        await http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": assistant} | body)
    ).json()


@pytest.mark.parametrize(
    "goto",
    [
        "generate_joke",
        ["generate_joke"],
        {"node": "generate_joke", "input": {"topic": "tea"}},
        [{"node": "generate_joke", "input": {"topic": "tea"}}],
    ],
)
async def test_going_to_a_node(http, thread, goto):
    await wait(http, thread, input={"topic": "tea"})
    result = await wait(http, thread, command={"goto": goto, "update": {"topic": "tea"}})
    assert result["joke"] == "This is a joke about tea"


@pytest.mark.parametrize("update", [{"topic": "new"}, [["topic", "new"]]])
async def test_command_with_update_changes_the_threads_state(http, thread, update):
    await wait(http, thread, input={"topic": "tea"})
    assert (await wait(http, thread, command={"update": update}))["topic"] == "new"


@pytest.mark.parametrize("command", [{}, {"resume": None}, {"unknown": 1}])
async def test_a_command_that_says_nothing_goes_on(http, thread, command):
    await wait(http, thread, input={"topic": "tea"}, interrupt_before=["generate_joke"])
    assert (await wait(http, thread, command=command, input={"topic": "ignored"}))["joke"].endswith(
        "tea and cats"
    )


async def test_answering_an_interrupt_by_its_id(http, thread):
    asked = (await wait(http, thread, "ask", input={}))["__interrupt__"][0]
    assert (await wait(http, thread, "ask", command={"resume": {asked["id"]: "by id"}}))[
        "answer"
    ] == "by id"


async def test_nothing_to_go_on_from(http, thread):
    assert (await wait(http, thread, input=None))["__error__"]["error"] == "EmptyInputError"
    assert (await wait(http, thread, input=5))["__error__"]["error"] == "InvalidUpdateError"


async def test_starting_from_an_earlier_checkpoint(http, thread):
    body = {
        "assistant_id": "joke",
        "input": {"topic": "tea"},
        "stream_mode": "checkpoints",
        "stream_resumable": True,
    }
    text = (await http.post(f"/threads/{thread}/runs/stream", json=body)).text
    points = [
        json.loads(line[6:]) for line in text.splitlines() if line.startswith('data: {"config"')
    ]
    before = next(point for point in points if point["next"] == ["generate_joke"])
    checkpoint_id = before["config"]["configurable"]["checkpoint_id"]
    for given in (
        {"checkpoint_id": checkpoint_id},
        {"checkpoint": {"checkpoint_id": checkpoint_id}},
    ):
        result = await wait(http, thread, input=None, **given)
        assert result["joke"] == "This is a joke about tea and cats"


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_interrupted_run_resumes_with_every_durability(http, thread, durability):
    assert (await wait(http, thread, input={"topic": "tea"}, durability=durability))["joke"]
    assert (await wait(http, thread, "ask", input={}, durability=durability))["__interrupt__"]
    assert (await wait(http, thread, "ask", command={"resume": "yes"}))["answer"] == "yes"


async def test_run_beyond_its_recursion_limit_ends_with_an_error(http, thread):
    result = await wait(http, thread, input={"topic": "tea"}, config={"recursion_limit": 1})
    assert result["__error__"]["error"] == "GraphRecursionError"


async def test_callbacks_are_not_taken_from_the_wire(http, thread):
    assert (await wait(http, thread, input={"topic": "tea"}, config={"callbacks": ["x"]}))["joke"]


async def test_a_run_that_takes_too_long(tmp_path):
    with serving_here(tmp_path, run_timeout_seconds="1") as address:
        async with httpx.AsyncClient(base_url=address, timeout=150) as http:
            thread = (await http.post("/threads", json={})).json()["thread_id"]
            result = await wait(http, thread, "sleepy", input={})
            assert result == {"__error__": {"error": "TimeoutError", "message": ""}}
            (run,) = (await http.get(f"/threads/{thread}/runs")).json()
            assert run["status"] == "timeout"
            found = (await http.get(f"/threads/{thread}")).json()
            assert (found["status"], found["values"]["log"]) == ("error", ["first"])
            assert (await wait(http, thread, "sleepy", input={"seconds": 0}))["log"][-1] == "last"


async def test_all_texts_are_shown_while_developing(tmp_path):
    with serving_here(tmp_path, dev=True) as address:
        async with httpx.AsyncClient(base_url=address) as http:
            answer = await http.post("/runs/wait", json={"assistant_id": "secret", "input": {}})
            assert answer.json()["__error__"]["message"] == "/etc/shadow is not readable"


async def test_a_full_server_executes_one_after_the_other(tmp_path):
    with serving_here(tmp_path, concurrency="1") as address:
        async with httpx.AsyncClient(base_url=address) as http:
            runs = [
                (
                    await http.post(
                        "/runs",
                        json={
                            "assistant_id": "sleepy",
                            "input": {"seconds": 0.05},
                            "on_completion": "keep",
                        },
                    )
                ).json()
                for _ in range(5)
            ]
            for run in runs:
                joined = await http.get(f"/threads/{run['thread_id']}/runs/{run['run_id']}/join")
                assert joined.json()["log"] == ["first", "slept", "last"]
