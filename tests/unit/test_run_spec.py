"""The request of a run: its JSON, its form for clients, and how often it is encoded."""

import uuid
from contextlib import asynccontextmanager
from types import SimpleNamespace

import orjson
import pytest
from tests.support import ASSISTANT, new_thread

import loomline
from loomline.encryption.aes import AesEncryption
from loomline.server.authz.authorizer import Authorizer
from loomline.server.authz.users import Caller, User
from loomline.server.clock import SystemClock
from loomline.server.domain import json as domain_json, run_spec
from loomline.server.domain.assistants import Assistant
from loomline.server.domain.json import Encoded, dump
from loomline.server.domain.run_spec import RunSpec, StoredSpec
from loomline.server.domain.runs import QueueLimits
from loomline.server.events.memory import MemoryEventLog
from loomline.server.events.signals import MemorySignals
from loomline.server.services.priorities import Priorities
from loomline.server.services.run_limits import RunLimits
from loomline.server.services.run_request import RunRequest, new_run
from loomline.server.services.runs import Admission, RunService
from loomline.server.storage import encrypted
from loomline.server.storage.encrypted import EncryptedStorage
from loomline.server.storage.saver import SaverOptions
from loomline.server.storage.sealing import Sealer
from loomline.server.storage.sqlite import SqliteStorage
from loomline.server.worker.plan import ServerFacts, make_plan

MARKER = "__event_streaming_v2"
NOW = SystemClock().now()
GRAPH = Assistant(
    assistant_id=ASSISTANT, graph_id="graph", name="graph", description=None, config={},
    context={}, metadata={}, version=1, created_at=NOW, updated_at=NOW,
)  # fmt: skip
FULL = {
    "timeout_seconds": 5.0, "strict_resume": True, "langsmith_tracer": {"project_name": "p"},
    "input": {"a": [1]}, "command": {"resume": None, "goto": "node"}, "stream_mode": ["values"],
    "interrupt_before": "*", "interrupt_after": ["node"], "webhook": "https://example.com/",
    "feedback_keys": ["score"], "temporary": True, "subgraphs": True, "resumable": False,
    "checkpoint_during": False, "durability": "exit",
    "config": {"tags": ["t"], "configurable": {"x-token": "t", "a": 1}}, "context": {"a": 1},
    "secret_headers": ["x-token"], "added": "by a handler",
}  # fmt: skip


def request(**body):
    return RunRequest({"assistant_id": "graph", **body}, uuid.uuid4())


def test_request_with_every_member_is_encoded_as_it_was_decoded():
    assert orjson.loads(RunSpec.load(dump(FULL)).dump()) == FULL


def test_request_with_thread_events_is_encoded_as_it_was_decoded():
    spec = RunSpec.load(dump(FULL)).with_thread_events()
    document = spec.document()
    assert document["config"]["configurable"][MARKER] is True
    assert (document["resumable"], document["subgraphs"]) == (True, True)
    assert RunSpec.load(spec.dump()) == spec


def test_request_of_an_early_version_has_defaults_for_the_members_it_lacks():
    spec = RunSpec.load(Encoded(b'{"input":1,"config":{"configurable":{}}}'))
    assert (spec.input, spec.timeout_seconds, spec.events) == (1, None, "plain")


@pytest.mark.parametrize(
    "body",
    [
        {"input": {"meta": {MARKER: True}}},
        {"config": {"configurable": {MARKER: True}}},
        {"context": {MARKER: True}},
        {"metadata": {MARKER: True}},
        {"command": {"update": {MARKER: True}}},
    ],
)
def test_marker_in_a_request_of_a_user_gives_the_run_no_thread_events(body):
    made = new_run(request(**body), GRAPH, NOW)
    assert made.spec.events == "plain"
    assert StoredSpec(made.request.encoded).events == "plain"


def test_handler_that_sets_the_marker_gives_the_run_no_thread_events():
    spec = new_run(request(), GRAPH, NOW).spec
    document = {**spec.document(), "config": {"configurable": {MARKER: True, "own": 1}}}
    changed = spec.changed(document)
    assert (changed.events, changed.config) == ("plain", {"configurable": {"own": 1}})


def test_handler_that_removes_a_member_of_the_request_has_it_removed():
    spec = new_run(request(timeout_seconds=5.0), GRAPH, NOW).spec
    document = {name: each for name, each in spec.document().items() if name != "timeout_seconds"}
    assert (spec.timeout_seconds, spec.changed(document).timeout_seconds) == (5.0, None)


def test_request_with_secret_headers_is_shown_without_their_values():
    shown = orjson.loads(StoredSpec(dump(FULL)).shown())
    assert shown["config"]["configurable"] == {"x-token": "***", "a": 1}
    assert "secret_headers" not in shown


def test_request_is_decoded_once_per_row():
    stored = StoredSpec(dump(FULL))
    assert stored.spec is stored.spec


class OneAssistant:
    """The assistants of a server that has one."""

    async def target(self, _):
        return GRAPH

    def check_target(self, *_):
        return


class Guard:
    enabled = True

    async def check(self, _):
        return


class Counting(AesEncryption):
    """Encryption that counts the requests of runs which it encrypts and decrypts."""

    def __init__(self, keys):
        self.passes = []
        super().__init__(keys)

    async def _encrypt_json(self, context, data):
        self.passes += ["seal"] * ("stream_mode" in data)
        return await super()._encrypt_json(context, data)

    async def _decrypt_json(self, context, data):
        self.passes += ["open"] * ("stream_mode" in data)
        return await super()._decrypt_json(context, data)


@asynccontextmanager
async def encrypted_service(folder, auth):
    encryption = Counting([b"k" * 32])
    sealer, clock = Sealer(encryption), SystemClock()
    inner = SqliteStorage(folder / "loomline.db", clock=clock, saver=SaverOptions(sealer))
    storage = EncryptedStorage(inner, sealer)
    await storage.open()
    runs = RunService(
        storage=storage,
        events=MemoryEventLog(clock),
        signals=MemorySignals(),
        assistants=OneAssistant(),
        clock=clock,
        admission=Admission(Guard(), Priorities(storage, None), RunLimits(QueueLimits(100), 100)),
        authz=Authorizer(auth),
    )
    try:
        yield SimpleNamespace(storage=storage, runs=runs, passes=encryption.passes)
    finally:
        await storage.close()


def counted(monkeypatch, passes):
    """Count the requests that every module encodes and decodes."""

    def dumping(value):
        passes.extend(["dump"] * (isinstance(value, dict) and "stream_mode" in value))
        return domain_json.dump(value)

    def loading(encoded):
        found = domain_json.load_object(encoded)
        passes.extend(["load"] * ("stream_mode" in found))
        return found

    for module in (run_spec, encrypted):
        monkeypatch.setattr(module, "dump", dumping)
        monkeypatch.setattr(module, "load_object", loading)


async def test_request_goes_through_json_four_times_from_the_client_to_the_graph(
    tmp_path, monkeypatch
):
    auth = loomline.Auth()

    @auth.on.threads.create_run
    async def label(ctx, value):
        value["metadata"]["owner"] = ctx.user.identity

    caller = Caller(User({"identity": "ada"}))
    async with encrypted_service(tmp_path, auth) as site:
        thread = (await site.storage.threads.create(new_thread())).thread_id
        counted(monkeypatch, site.passes)
        body = {"assistant_id": "graph", "input": {"topic": "x"}}
        await site.runs.create(caller, RunRequest(body, thread, thread_events=True))
        (claim,) = await site.storage.runs.claim("worker", 1, 60.0)
        plan = make_plan(claim, ServerFacts("0"))
    assert (plan.input, plan.protocol) == ({"topic": "x"}, True)
    assert site.passes == ["seal", "dump", "load", "open"]
