"""Our names, signatures and fields against those of the interface (`data/surface.json`)."""

import inspect
import json
import typing
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import loomline
import loomline.stream

SURFACE = json.loads(Path(__file__, "../data/surface.json").resolve().read_text())
PACKAGE = "langgraph_sdk"

ACCEPTED = {
    "pos": {inspect.Parameter.POSITIONAL_ONLY},
    "pos_or_kw": {inspect.Parameter.POSITIONAL_OR_KEYWORD},
    # One that may be given by position as well takes every call.
    "kw": {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD},
    "*args": {inspect.Parameter.VAR_POSITIONAL},
    "**kwargs": {inspect.Parameter.VAR_KEYWORD},
}

# What differs on purpose, and why.
OPTIONAL_HERE = {
    # Servers and callers leave these out; requiring them would be wrong.
    "RunCreate": {
        "input", "metadata", "config", "context", "checkpoint_id", "interrupt_before",
        "interrupt_after", "webhook", "multitask_strategy",
    },
}  # fmt: skip
REQUIRED_HERE = {
    "SearchItem": {"namespace", "key", "value", "created_at", "updated_at"},  # of every item
}
ADDED_PARAMETERS = {"timeout", "credentials", "sleep"}
ADDED_TO = {
    "APITimeoutError.__init__": {"message"},
    # Nobody but the client makes these.
    "ScopedStreamHandle.__init__": {"guard"},
    "SyncScopedStreamHandle.__init__": {"guard"},
    # The sync classes are generated, so they take the size of a queue that they do not have.
    "SyncProtocolSseTransport.__init__": {"max_queue_size"},
    "SyncProtocolWebSocketTransport.__init__": {"max_queue_size"},
    "SubgraphsDecoder.__init__": {"known"},
    "SyncThreadStream.__init__": {"max_queue_size"},
    "SyncToolCallHandle.__init__": {"guard"},
    "ToolCallHandle.__init__": {"guard"},
}
NOT_A_COROUTINE = {"ThreadsClient.join_stream"}  # can be awaited, and need not be


def place(reference):
    """Return the object of ours for a reference `module:name`."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module.replace(PACKAGE, "loomline", 1)), name)


def ours(path):
    module, _, name = path.rpartition(".")
    if module.startswith("_"):
        module = f"_client.{module}"
    return getattr(import_module(f"loomline.{module}" if module else "loomline"), name)


def definition(path):
    entry = SURFACE["names"][path]
    if entry["status"] == "removed":
        return entry["seed_definition"]
    return SURFACE["objects"].get(entry.get("ref"), {"kind": "module"})


def paths(*kinds):
    return [path for path in SURFACE["names"] if definition(path)["kind"] in kinds]


@pytest.mark.parametrize("path", sorted(SURFACE["names"]))
def test_every_name_is_there(path):
    assert ours(path) is not None


@pytest.mark.parametrize("path", paths("literal"))
def test_literals_have_the_same_values(path):
    values = typing.get_args(ours(path))
    assert sorted(map(str, values)) == sorted(definition(path)["values"])


@pytest.mark.parametrize("path", paths("typeddict"))
def test_typed_dictionaries_have_the_same_fields(path):
    fields = definition(path)["fields"]
    name = path.rpartition(".")[2]
    found = ours(path)
    assert fields.keys() <= found.__annotations__.keys() | _inherited(found)
    required = {field for field, entry in fields.items() if entry["required"]}
    required = required - OPTIONAL_HERE.get(name, set()) | REQUIRED_HERE.get(name, set())
    assert required <= found.__required_keys__
    assert not (fields.keys() - required) & found.__required_keys__


def _inherited(found):
    return found.__required_keys__ | found.__optional_keys__


def methods():
    for path in paths("class", "protocol", "exception"):
        for name, member in definition(path).get("members", {}).items():
            if member["kind"] == "method" and "params" in member:
                yield pytest.param(path, name, member, id=f"{path}.{name}")


@pytest.mark.parametrize(("path", "name", "member"), list(methods()))
def test_methods_have_the_same_parameters(path, name, member):
    method = inspect.getattr_static(ours(path), name)
    if isinstance(method, staticmethod | classmethod):
        method = method.__func__
    full = f"{path.rpartition('.')[2]}.{name}"
    check_parameters(method, member["params"], ADDED_TO.get(full, set()))
    asynchronous = bool(member.get("async")) and full not in NOT_A_COROUTINE
    assert inspect.iscoroutinefunction(method) == asynchronous


@pytest.mark.parametrize("path", paths("function"))
def test_functions_have_the_same_parameters(path):
    check_parameters(ours(path), definition(path)["params"])


def check_parameters(function, wanted, added=frozenset()):
    found = inspect.signature(function).parameters
    for entry in wanted:
        if entry["name"] in {"args", "kwargs"} and entry["kind"] in {"*args", "**kwargs"}:
            continue
        parameter = found[entry["name"]]
        assert parameter.kind in ACCEPTED[entry["kind"]], entry["name"]
        check_default(parameter, entry)
    positional = [e["name"] for e in wanted if e["kind"] in {"pos", "pos_or_kw"}]
    assert list(found)[: len(positional)] == positional
    for name in found.keys() - {entry["name"] for entry in wanted}:
        assert name in ADDED_PARAMETERS | added
        assert found[name].default is not inspect.Parameter.empty


def check_default(parameter, entry):
    if "default" not in entry:
        assert parameter.default is inspect.Parameter.empty, entry["name"]
    elif entry["default"].startswith("<websockets."):
        assert parameter.default is None  # an optional dependency, imported when it is needed
    elif entry["default"] == "<sentinel>":
        assert parameter.default is not None
        assert parameter.default is not inspect.Parameter.empty
    else:
        assert repr(parameter.default) == entry["default"], entry["name"]


def attributes():
    for path in paths("class"):
        for name, member in definition(path).get("members", {}).items():
            if member["kind"] != "method":
                yield pytest.param(path, name, id=f"{path}.{name}")


@pytest.mark.parametrize(("path", "name"), list(attributes()))
def test_classes_have_the_same_properties(path, name):
    assert hasattr(ours(path), name)


@pytest.mark.parametrize("path", paths("namedtuple"))
def test_tuples_have_the_same_fields(path):
    fields = definition(path)["fields"]
    assert list(ours(path)._fields) == list(fields)
    assert ours(path)._field_defaults == {"id": None}


@pytest.mark.parametrize("path", paths("exception"))
def test_errors_have_the_same_bases(path):
    names = {base.__name__ for base in ours(path).__mro__}
    assert {base.rpartition(".")[2] for base in definition(path)["bases"]} <= names


def test_unreachable_modules_of_the_interface_are_left_out():
    """No call takes or gives it: the ways in are `threads.stream` and what that returns."""
    for module in ("controller", "sync_controller", "multi_cursor_buffer"):
        assert find_spec(f"loomline.stream.{module}") is None
        assert not any(path.startswith(f"stream.{module}") for path in SURFACE["names"])


@pytest.mark.parametrize("name", sorted(loomline.stream.__all__))
def test_the_module_of_thread_streaming_exports_its_names(name):
    assert getattr(import_module("loomline.stream"), name) is not None


def test_the_module_of_thread_streaming_exports_the_documented_names():
    documented = {
        "AsyncProtocolTransport", "AsyncThreadStream", "EventStreamHandle", "HttpClient",
        "InterruptPayload", "ProtocolSseTransport", "ProtocolWebSocketTransport",
        "QueryParamTypes", "RunModule", "ScopedStreamHandle", "SubgraphStatus", "ToolCallHandle",
    }  # fmt: skip
    twins = {
        "SyncEventStreamHandle", "SyncHttpClient", "SyncProtocolSseTransport",
        "SyncProtocolTransport", "SyncProtocolWebSocketTransport", "SyncRunModule",
        "SyncScopedStreamHandle", "SyncThreadStream", "SyncToolCallHandle",
    }  # fmt: skip
    assert documented | twins <= set(loomline.stream.__all__)


def test_the_module_of_thread_streaming_refuses_other_names():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        loomline.stream.nothing  # noqa: B018


def test_the_clients_have_the_resources():
    for client in (loomline.get_client(url="http://h"), loomline.get_sync_client(url="http://h")):
        for name in ("http", "assistants", "threads", "runs", "crons", "store"):
            assert getattr(client, name) is not None
