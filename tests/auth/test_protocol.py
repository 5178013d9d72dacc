"""The thread protocol and threads of others: commands, events, WebSockets."""

import json
from uuid import uuid4

import httpx
import pytest
from tests.auth.test_isolation import SECRET, client, create_one_of_everything, everything_visible
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from loomline.server.api.sockets import close_code
from loomline.server.authz.errors import Refused
from loomline.server.domain.errors import EventsLost, StorageUnavailable, ThreadNotFound

EVERYTHING = {"channels": ["values", "updates", "messages", "lifecycle", "input", "custom"]}
COMMANDS = [
    ("run.start", {"assistant_id": "joke", "input": {"topic": "stolen"}}, "404: "),
    ("input.respond", {"interrupt_id": "x", "response": 1}, "Thread with ID "),
    ("agent.getTree", {}, "No active run"),
    ("state.get", {}, "Thread with ID "),
    ("state.listCheckpoints", {}, "Thread with ID "),
    ("state.fork", {"checkpoint_id": "CHECKPOINT", "input": {}}, "Thread with ID "),
]


@pytest.fixture
def users(owners_server):
    name = uuid4().hex
    with client(owners_server, f"ada-{name}") as ada, client(owners_server, f"bob-{name}") as bob:
        yield ada, bob


def events(http, thread):
    """Return what a stream has told when nothing more comes: at its first heartbeat."""
    told = ""
    with http.stream("POST", f"/threads/{thread}/stream/events", json=EVERYTHING) as answer:
        assert answer.status_code == 200
        for text in answer.iter_text():
            told += text
            if ": heartbeat" in told:
                return told
    return told


@pytest.mark.parametrize(("method", "params", "said"), COMMANDS)
def test_commands_on_threads_of_others_are_refused(users, method, params, said):
    ada, bob = users
    world = create_one_of_everything(ada)
    before = everything_visible(ada, world)
    params = {
        key: world.checkpoint if value == "CHECKPOINT" else value for key, value in params.items()
    }
    command = {"id": 7, "method": method, "params": params}
    for place in (world.thread, world.busy):
        answer = bob.post(f"/threads/{place}/commands", json=command).json()
        assert (answer["type"], answer["id"]) == ("error", 7)
        assert answer["message"].startswith(said)
        assert SECRET not in answer["message"]
    assert everything_visible(ada, world) == before


def test_commands_of_the_owner(users):
    ada, bob = users
    thread = str(uuid4())
    start = {"assistant_id": "joke", "input": {"topic": SECRET}}
    command = {"id": 1, "method": "run.start", "params": start}
    assert ada.post(f"/threads/{thread}/commands", json=command).json()["type"] == "success"
    run = ada.get(f"/threads/{thread}/runs").json()[0]["run_id"]
    ada.get(f"/threads/{thread}/runs/{run}/join")
    found = ada.post(
        f"/threads/{thread}/commands", json={"id": 2, "method": "state.get", "params": {}}
    ).json()
    assert SECRET in found["result"]["values"]["topic"]
    assert bob.get(f"/threads/{thread}").status_code == 404


def test_events_on_threads_of_others_are_hidden(users):
    ada, bob = users
    world = create_one_of_everything(ada)
    assert SECRET in events(ada, world.thread)
    told = events(bob, world.thread)
    assert "data:" not in told
    assert SECRET not in told


def socket(url, thread, name):
    return connect(
        f"{url.replace('http', 'ws', 1)}/threads/{thread}/stream/events",
        additional_headers={"authorization": f"Bearer {name}"} if name else {},
    )


def told_over(connection, command):
    connection.send(json.dumps(command))
    found = []
    while True:
        found.append(json.loads(connection.recv(timeout=150)))
        if found[-1].get("id") == command["id"]:
            return found


def test_websockets_on_threads_of_others_are_refused(users, owners_server):
    ada, bob = users
    world = create_one_of_everything(ada)
    subscribe = {"id": 1, "method": "subscription.subscribe", "params": EVERYTHING}
    state = {"id": 2, "method": "state.get", "params": {}}

    def answers(user):
        name = user.headers["authorization"].removeprefix("Bearer ")
        with socket(owners_server, world.thread, name) as connection:
            return told_over(connection, subscribe), told_over(connection, state)

    (*seen, subscribed), (*_, mine) = answers(ada)
    assert subscribed["result"]["replayed_events"] == len(seen) > 0
    assert SECRET in json.dumps(mine)
    (*seen, subscribed), (*_, theirs) = answers(bob)
    assert (seen, subscribed["result"]["replayed_events"]) == ([], 0)
    assert theirs["type"] == "error"
    assert SECRET not in json.dumps(theirs)


def test_websocket_without_credentials_is_rejected(owners_server):
    with pytest.raises(InvalidStatus) as caught, socket(owners_server, uuid4(), None):
        pass
    assert caught.value.response.status_code == 401


REVOKING = """
from pathlib import Path

from loomline import Auth

auth = Auth()
users = Path(__file__).with_name("users")


@auth.authenticate
async def authenticate(headers):
    known = dict(line.split() for line in users.read_text().splitlines())
    token = headers[b"authorization"].decode()
    if token not in known:
        raise Auth.exceptions.HTTPException(status_code=401, detail="Who are you?")
    return known[token]


@auth.on.threads.create_run
async def start(ctx, value):
    if (users.parent / "closed").exists():
        raise Auth.exceptions.HTTPException(status_code=403, detail="Closed today.")


@auth.on.threads.read
async def read(ctx, value):
    if (users.parent / "refusal").exists():
        status = int((users.parent / "refusal").read_text())
        raise Auth.exceptions.HTTPException(status_code=status, detail="Not for you.")
"""


@pytest.fixture
def revoking(serve, tmp_path):
    """A server, what lets users into it, and what shuts them out again."""
    users = tmp_path / "users"
    users.write_text("mine ada")
    with serve({}, code=REVOKING) as address:
        yield address, users


START = {
    "id": 1,
    "method": "run.start",
    "params": {"assistant_id": "joke", "input": {"topic": "t"}},
}


@pytest.mark.parametrize("later", ["", "mine bob"], ids=["nobody", "somebody else"])
def test_a_socket_whose_credentials_are_revoked(revoking, later):
    address, users = revoking
    thread = uuid4()
    with connect(
        f"{address.replace('http', 'ws', 1)}/threads/{thread}/stream/events",
        additional_headers={"authorization": "mine"},
    ) as connection:
        assert told_over(connection, START)[-1]["type"] == "success"
        users.write_text(later)
        (answer,) = told_over(connection, START)
        assert (answer["type"], answer["error"]) == ("error", "permission_denied")
        assert answer["message"].startswith("401: ")
        with pytest.raises(ConnectionClosedError) as caught:
            connection.recv(timeout=150)
        assert caught.value.rcvd.code == 4401
    users.write_text("mine ada")
    with httpx.Client(base_url=address, headers={"authorization": "mine"}) as http:
        assert len(http.get(f"/threads/{thread}/runs").json()) == 1


def test_a_socket_whose_user_may_not_any_more(revoking, tmp_path):
    address, _ = revoking
    thread, headers = uuid4(), {"authorization": "mine"}
    with connect(
        f"{address.replace('http', 'ws', 1)}/threads/{thread}/stream/events",
        additional_headers=headers,
    ) as connection:
        run = told_over(connection, START)[-1]["result"]["run_id"]
        # Before it has begun, it has no tree.
        httpx.get(f"{address}/threads/{thread}/runs/{run}/join", headers=headers, timeout=150)
        (tmp_path / "closed").touch()
        answer = told_over(connection, START)[-1]
        assert (answer["error"], answer["message"]) == ("permission_denied", "403: Closed today.")
        # Reading is still allowed. The state can be read whether the run has begun or not.
        state = {"id": 2, "method": "state.get", "params": {}}
        assert told_over(connection, state)[-1]["type"] == "success"


def test_a_stream_that_comes_back_asks_again(revoking):
    address, users = revoking
    headers = {"authorization": "mine"}
    body = {"channels": ["lifecycle"]}
    with httpx.Client(base_url=address, headers=headers) as http:
        path = f"/threads/{uuid4()}"
        with http.stream("POST", f"{path}/stream/events", json=body) as answer:
            assert answer.status_code == 200
        users.write_text("")
        assert http.post(f"{path}/stream/events", json=body).status_code == 401


@pytest.mark.parametrize(("status", "code"), [(403, 4403), (404, 4404)])
def test_socket_of_a_user_who_may_not_read_is_closed_with_the_status(
    revoking, tmp_path, status, code
):
    address, _ = revoking
    (tmp_path / "refusal").write_text(str(status))
    subscribe = {"id": 1, "method": "subscription.subscribe", "params": {"channels": ["values"]}}
    with connect(
        f"{address.replace('http', 'ws', 1)}/threads/{uuid4()}/stream/events",
        additional_headers={"authorization": "mine"},
    ) as connection:
        (answer,) = told_over(connection, subscribe)
        assert (answer["type"], answer["message"]) == ("error", f"{status}: Not for you.")
        with pytest.raises(ConnectionClosedError) as caught:
            connection.recv(timeout=150)
        assert caught.value.rcvd.code == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused(403, "no"), 4403), (Refused(408, "no"), 1011), (Refused(429, "no"), 1011),
        (Refused(500, "no"), 1011), (ThreadNotFound(uuid4()), 4404), (EventsLost(), 1011),
        (StorageUnavailable("away"), 1011), (ValueError("bug"), 1011),
    ],
)  # fmt: skip
def test_close_code_names_the_status_of_refusals_that_stay(error, code):
    assert close_code(error) == code
