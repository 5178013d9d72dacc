"""The schemas of answers, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from loomline.schema import (
    MultitaskStrategy,
    OnCompletionBehavior,
    RunStatus,
    ThreadStatus,
)
from loomline.server.api.entries import Answer
from loomline.server.domain.json import Json, JsonObject
from loomline.server.domain.threads import TtlStrategy


def ref(name: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: JsonObject, **optional: Json) -> JsonObject:
    """Return the schema of an object; the fields given by name may be missing."""
    required: list[Json] = list(properties)
    return {"type": "object", "properties": {**properties, **optional}, "required": required}


def _array(items: JsonObject) -> JsonObject:
    return {"type": "array", "items": items}


def _map(values: JsonObject) -> JsonObject:
    return {"type": "object", "additionalProperties": values}


def _one_of(literal: object, *more: Json) -> JsonObject:
    return {"enum": [*get_args(literal), *more]}


def _maybe(schema: JsonObject) -> JsonObject:
    return {"anyOf": [schema, {"type": "null"}]}


_ANY: JsonObject = {}
_TEXT: JsonObject = {"type": "string"}
_FLAG: JsonObject = {"type": "boolean"}
_COUNT: JsonObject = {"type": "integer", "minimum": 0}
_INTEGER: JsonObject = {"type": "integer"}
_NUMBER: JsonObject = {"type": "number"}
_ID: JsonObject = {"type": "string", "format": "uuid"}
_TIME: JsonObject = {"type": "string", "format": "date-time"}
_ANY_OBJECT: JsonObject = {"type": "object"}
_MAYBE_TEXT: JsonObject = {"type": ["string", "null"]}
_MAYBE_ID: JsonObject = {"type": ["string", "null"], "format": "uuid"}
_MAYBE_TIME: JsonObject = {"type": ["string", "null"], "format": "date-time"}
_MAYBE_OBJECT: JsonObject = {"type": ["object", "null"]}

_COMMAND_DONE: JsonObject = _object(
    {"type": {"const": "success"}, "id": _INTEGER, "result": _ANY_OBJECT}, meta={}
)


def _command_failed(command_id: JsonObject) -> JsonObject:
    fields: JsonObject = {"type": {"const": "error"}, "id": command_id}
    return _object({**fields, "error": _TEXT, "message": _TEXT}, meta={})


_VERSION: JsonObject = {
    "assistant_id": _ID,
    "graph_id": _TEXT,
    "config": _ANY_OBJECT,
    "context": _ANY_OBJECT,
    "metadata": _ANY_OBJECT,
    "name": _TEXT,
    "created_at": _TIME,
    "version": {"type": "integer", "minimum": 1},
    "description": _MAYBE_TEXT,
}

_ITEM: JsonObject = {
    "namespace": _array(_TEXT),
    "key": _TEXT,
    "value": _ANY_OBJECT,
    "created_at": _TIME,
    "updated_at": _TIME,
}

_SIZE: JsonObject = {"count": _COUNT, "bytes": _COUNT}

_THREAD: JsonObject = {
    "thread_id": _ID,
    "created_at": _TIME,
    "updated_at": _TIME,
    "state_updated_at": _TIME,
    "metadata": _ANY_OBJECT,
    "status": _one_of(ThreadStatus),
    "config": _ANY_OBJECT,
    "values": _ANY,
}

# What a thread has only after its first run or change of state.
_AFTER_RUN: JsonObject = {
    "error": _maybe(ref("Failure")),
    "interrupts": _map(_array(ref("Interrupt"))),
}

_STATE: JsonObject = {
    "values": _ANY,
    "next": _array(_TEXT),
    "tasks": _array(ref("ThreadTask")),
    "metadata": _MAYBE_OBJECT,
    "created_at": _MAYBE_TIME,
    "checkpoint": _maybe(ref("Checkpoint")),
    "parent_checkpoint": _maybe(ref("Checkpoint")),
    "interrupts": _array(ref("Interrupt")),
    "checkpoint_id": _MAYBE_TEXT,
    "parent_checkpoint_id": _MAYBE_TEXT,
}

_GRAPH_SCHEMAS: JsonObject = {
    "input_schema": _MAYBE_OBJECT,
    "output_schema": _MAYBE_OBJECT,
    "state_schema": _MAYBE_OBJECT,
    "config_schema": _MAYBE_OBJECT,
    "context_schema": _MAYBE_OBJECT,
}

_HOST: JsonObject = _object(
    {
        "kind": _TEXT,
        "project_id": _MAYBE_TEXT,
        "host_revision_id": _MAYBE_TEXT,
        "revision_id": _MAYBE_TEXT,
        "tenant_id": _MAYBE_TEXT,
    }
)

OBJECTS: JsonObject = {
    "Error": _object({"detail": _TEXT}),
    "Assistant": _object({**_VERSION, "updated_at": _TIME}),
    "AssistantVersion": _object(_VERSION),
    "Graph": _object({"nodes": _array(ref("GraphNode")), "edges": _array(ref("GraphEdge"))}),
    "GraphNode": _object(
        {"id": {"type": ["string", "integer"]}}, type=_TEXT, data=_ANY, metadata=_ANY_OBJECT
    ),
    "GraphEdge": _object(
        {"source": {"type": ["string", "integer"]}, "target": {"type": ["string", "integer"]}},
        conditional=_FLAG,
        data=_ANY,
    ),
    "GraphSchemas": _object({"graph_id": _TEXT, **_GRAPH_SCHEMAS}),
    "SubgraphSchemas": _object(_GRAPH_SCHEMAS),
    "Interrupt": _object({"id": _MAYBE_TEXT, "value": _ANY}, response_schema=_ANY),
    "Failure": _object({"error": _TEXT, "message": _TEXT}),
    "ThreadTtl": _object(
        {"strategy": _one_of(TtlStrategy), "ttl_minutes": _NUMBER, "expires_at": _MAYBE_TIME}
    ),
    "Thread": _object(_THREAD, **_AFTER_RUN, ttl=ref("ThreadTtl")),
    "ThreadSize": _object(
        {
            "thread_id": _ID,
            "total_bytes": _COUNT,
            "checkpoints": _object(_SIZE),
            "channel_values": _object(
                {**_SIZE, "by_channel": _map(_object({"versions": _COUNT, "bytes": _COUNT}))}
            ),
            "pending_writes": _object(_SIZE),
        }
    ),
    "Checkpoint": _object(
        {"thread_id": _TEXT, "checkpoint_ns": _TEXT},
        checkpoint_id=_MAYBE_TEXT,
        checkpoint_map=_MAYBE_OBJECT,
    ),
    "ThreadTask": _object(
        {
            "id": _TEXT,
            "name": _TEXT,
            "path": _array(_ANY),
            "error": _MAYBE_TEXT,
            "interrupts": _array(ref("Interrupt")),
            "checkpoint": _maybe(ref("Checkpoint")),
            "state": _maybe(ref("ThreadState")),
            "result": _ANY,
        }
    ),
    "ThreadState": _object({}, **_STATE),
    "StateUpdated": _object(
        {"checkpoint": ref("Checkpoint"), "configurable": _ANY_OBJECT, "checkpoint_id": _TEXT}
    ),
    "Run": _object(
        {
            "run_id": _ID,
            "thread_id": _ID,
            "assistant_id": _ID,
            "status": _one_of(RunStatus),
            "metadata": _ANY_OBJECT,
            "multitask_strategy": _one_of(MultitaskStrategy),
            "created_at": _TIME,
            "updated_at": _TIME,
            "kwargs": _ANY_OBJECT,
            "cancel_reason": _MAYBE_TEXT,
            "langsmith_session_name": _MAYBE_TEXT,
        }
    ),
    "Cron": _object(
        {
            "cron_id": _ID,
            "assistant_id": _ID,
            "thread_id": _MAYBE_ID,
            "user_id": _TEXT,
            "end_time": _MAYBE_TEXT,
            "schedule": _TEXT,
            "timezone": _MAYBE_TEXT,
            "payload": _ANY_OBJECT,
            "next_run_date": _MAYBE_TIME,
            "metadata": _ANY_OBJECT,
            "on_run_completed": _one_of(OnCompletionBehavior, None),
            "enabled": _FLAG,
            "created_at": _TIME,
            "updated_at": _TIME,
        }
    ),
    "Item": _object(_ITEM),
    "SearchItem": _object({**_ITEM, "score": {"type": ["number", "null"]}}),
    "CommandAnswer": {"oneOf": [_COMMAND_DONE, _command_failed(_INTEGER)]},
    "NoCommand": {
        "oneOf": [_object({"detail": _TEXT}), _command_failed({"type": ["integer", "null"]})]
    },
    "Health": _object({"ok": _FLAG, "services": _ANY_OBJECT}),
    "Info": _object(
        {
            "version": _TEXT,
            "langgraph_py_version": _TEXT,
            "flags": _map(_FLAG),
            "host": _HOST,
            "metadata": _HOST,
        }
    ),
}


def _part(name: str) -> JsonObject:
    whole = OBJECTS[name]
    assert isinstance(whole, dict)
    return {**whole, "required": []}


# Of what a search finds, clients may ask for some fields only.
ROWS: JsonObject = {
    "AssistantRow": _part("Assistant"),
    "ThreadRow": _object({}, **_THREAD, **_AFTER_RUN, extracted=_ANY_OBJECT),
    "RunRow": _part("Run"),
    "CronRow": _part("Cron"),
}


def _json(schema: JsonObject) -> JsonObject:
    return {"application/json": {"schema": schema}}


CONTENT: Mapping[Answer, JsonObject] = {
    "thread": _json(ref("Thread")),
    "threads": _json(_array(ref("ThreadRow"))),
    "thread_size": _json(ref("ThreadSize")),
    "pruned": _json(_object({"pruned_count": _COUNT})),
    "state": _json(ref("ThreadState")),
    "states": _json(_array(ref("ThreadState"))),
    "state_updated": _json(ref("StateUpdated")),
    "run": _json(ref("Run")),
    "all_runs": _json(_array(ref("Run"))),
    "runs": _json(_array(ref("RunRow"))),
    "assistant": _json(ref("Assistant")),
    "assistants": _json(_array(ref("AssistantRow"))),
    "assistant_versions": _json(_array(ref("AssistantVersion"))),
    "count": _json(_COUNT),
    "graph": _json(ref("Graph")),
    "schemas": _json(ref("GraphSchemas")),
    "subgraphs": _json(_map(ref("SubgraphSchemas"))),
    "item": _json(_maybe(ref("Item"))),
    "items": _json(_object({"items": _array(ref("SearchItem"))})),
    "namespaces": _json(_object({"namespaces": _array(_array(_TEXT))})),
    "cron": _json(ref("Cron")),
    "crons": _json(_array(ref("CronRow"))),
    "command": _json(ref("CommandAnswer")),
    "health": _json(ref("Health")),
    "info": _json(ref("Info")),
    "json": _json(_ANY),
    # What one event looks like, OpenAPI cannot say before 3.2.
    "stream": {"text/event-stream": {}},
    "metrics": {"text/plain": {"schema": _TEXT}, "application/json": {"schema": _ANY_OBJECT}},
    "html": {"text/html": {"schema": _TEXT}},
}
