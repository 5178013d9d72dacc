"""The OpenAPI document, made from the route table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import cast

from pydantic import TypeAdapter
from typing_extensions import TypeAliasType

from weft.server.api.entries import Answer, Entry, Query
from weft.server.domain.json import Json, JsonObject, dump

_REF = "#/components/schemas/{model}"

_STATUS_TEXT: Mapping[int, str] = {
    400: "Fields that contradict each other, or JSON that is nested too deeply",
    404: "There is no such thing, or not for this caller",
    409: "The present state of things does not allow it",
    413: "The body is larger than the limit",
    422: "The request does not fit: no JSON, a wrong type, a malformed id",
    503: "The database cannot be reached; try again later",
}

_QUERY_SCHEMA: Mapping[str, JsonObject] = {
    "integer": {"type": "integer", "minimum": 0},
    "boolean": {"type": "boolean"},
    "string": {"type": "string"},
    "uuid": {"type": "string", "format": "uuid"},
    "strings": {"type": "array", "items": {"type": "string"}},
}


def document(entries: Sequence[Entry], version: str) -> bytes:
    """Return the OpenAPI 3.1 document of the routes, encoded."""
    schemas: JsonObject = {"Error": _object({"detail": {"type": "string"}}), **_OBJECTS}
    paths: dict[str, Json] = {}
    for entry in entries:
        path = paths.setdefault(entry.path, {})
        assert isinstance(path, dict)
        path[entry.method.lower()] = _operation(entry, schemas)
    return dump(
        {
            "openapi": "3.1.0",
            "info": {"title": "Weft", "version": version, "license": {"name": "MIT"}},
            "paths": paths,
            "components": {"schemas": schemas},
        }
    )


def _operation(entry: Entry, schemas: JsonObject) -> JsonObject:
    operation: JsonObject = {
        "operationId": _operation_id(entry),
        "tags": [entry.tag],
        "summary": entry.summary,
        "responses": _responses(entry),
    }
    parameters = [*_path_parameters(entry), *map(_query_parameter, entry.query)]
    if parameters:
        operation["parameters"] = list(parameters)
    if entry.body is not None:
        operation["requestBody"] = _request_body(entry.body, schemas)
    return operation


def _operation_id(entry: Entry) -> str:
    words = re.sub(r"[^a-z]+", "_", entry.path.replace("_id}", "}"))
    return f"{entry.method.lower()}_{words.strip('_')}".rstrip("_")


def _path_parameters(entry: Entry) -> list[Json]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": _TEXT if entry.named else {"type": "string", "format": "uuid"},
        }
        for name in re.findall(r"{(\w+)}", entry.path)
    ]


def _query_parameter(query: Query) -> Json:
    return {
        "name": query.name,
        "in": "query",
        "description": query.text,
        "required": query.required,
        "schema": _QUERY_SCHEMA[query.kind],
    }


def _request_body(body: type | TypeAliasType, schemas: JsonObject) -> JsonObject:
    schema = TypeAdapter(cast("type[object]", body)).json_schema(ref_template=_REF)
    schemas.update(schema.pop("$defs", {}))
    name = body.__name__.removesuffix("Request")
    schemas[name] = schema
    content = {"application/json": {"schema": _ref(name)}}
    return {"required": True, "content": content}  # type: ignore[dict-item]


def _responses(entry: Entry) -> JsonObject:
    good: JsonObject = {"description": "Done"}
    if entry.answer in _CONTENT:
        good["content"] = _CONTENT[entry.answer]
    responses: JsonObject = {str(entry.status): good}
    if entry.minimal:
        responses["204"] = {"description": "Done, with the header `Prefer: return=minimal`"}
    if entry.status == 202:
        responses["200"] = {"description": "Done, with `wait`", "content": _CONTENT["json"]}
    for status in entry.errors:
        responses[str(status)] = {
            "description": _STATUS_TEXT[status],
            "content": {"application/json": {"schema": _ref("Error")}},
        }
    return responses


def _ref(name: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: JsonObject) -> JsonObject:
    return {"application/json": {"schema": schema}}


def _object(properties: JsonObject) -> JsonObject:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _array(items: JsonObject) -> JsonObject:
    return {"type": "array", "items": items}


_TEXT: JsonObject = {"type": "string"}
_ID: JsonObject = {"type": "string", "format": "uuid"}
_TIME: JsonObject = {"type": "string", "format": "date-time"}
_ANY_OBJECT: JsonObject = {"type": "object"}
_MAYBE_TEXT: JsonObject = {"type": ["string", "null"]}

_MAYBE_OBJECT: JsonObject = {"type": ["object", "null"]}

_SCHEMAS: JsonObject = {
    "input_schema": _MAYBE_OBJECT,
    "output_schema": _MAYBE_OBJECT,
    "state_schema": _MAYBE_OBJECT,
    "config_schema": _MAYBE_OBJECT,
    "context_schema": _MAYBE_OBJECT,
}

_VERSION: JsonObject = {
    "assistant_id": _ID,
    "graph_id": _TEXT,
    "config": _ANY_OBJECT,
    "context": _ANY_OBJECT,
    "metadata": _ANY_OBJECT,
    "name": _TEXT,
    "created_at": _TIME,
    "version": {"type": "integer"},
    "description": {"type": ["string", "null"]},
}

_ITEM: JsonObject = {
    "namespace": _array(_TEXT),
    "key": _TEXT,
    "value": _ANY_OBJECT,
    "created_at": _TIME,
    "updated_at": _TIME,
}

_OBJECTS: JsonObject = {
    "Thread": _object(
        {
            "thread_id": _ID,
            "created_at": _TIME,
            "updated_at": _TIME,
            "state_updated_at": _TIME,
            "metadata": _ANY_OBJECT,
            "status": {"enum": ["idle", "busy", "interrupted", "error"]},
            "config": _ANY_OBJECT,
            "values": {},
        }
    ),
    "Run": _object(
        {
            "run_id": _ID,
            "thread_id": _ID,
            "assistant_id": _ID,
            "status": {
                "enum": ["pending", "running", "error", "success", "timeout", "interrupted"]
            },
            "metadata": _ANY_OBJECT,
            "multitask_strategy": {"enum": ["reject", "interrupt", "rollback", "enqueue"]},
            "created_at": _TIME,
            "updated_at": _TIME,
            "kwargs": _ANY_OBJECT,
        }
    ),
    "Assistant": _object({**_VERSION, "updated_at": _TIME}),
    "AssistantVersion": _object(_VERSION),
    "Item": _object(_ITEM),
    "Cron": _object(
        {
            "cron_id": _ID,
            "assistant_id": _ID,
            "thread_id": {"type": ["string", "null"], "format": "uuid"},
            "user_id": _TEXT,
            "end_time": _MAYBE_TEXT,
            "schedule": _TEXT,
            "timezone": _MAYBE_TEXT,
            "payload": _ANY_OBJECT,
            "next_run_date": {"type": ["string", "null"], "format": "date-time"},
            "metadata": _ANY_OBJECT,
            "on_run_completed": {"enum": ["delete", "keep", None]},
            "enabled": {"type": "boolean"},
            "created_at": _TIME,
            "updated_at": _TIME,
        }
    ),
    "SearchItem": _object({**_ITEM, "score": {"type": ["number", "null"]}}),
}

_CONTENT: Mapping[Answer, JsonObject] = {
    "thread": _json(_ref("Thread")),
    "threads": _json(_array(_ANY_OBJECT)),
    "pruned": _json(_object({"pruned_count": {"type": "integer"}})),
    "state": _json(_ANY_OBJECT),
    "states": _json(_array(_ANY_OBJECT)),
    "run": _json(_ref("Run")),
    "all_runs": _json(_array(_ref("Run"))),
    "runs": _json({"type": "array", "items": _ANY_OBJECT}),
    "assistant": _json(_ref("Assistant")),
    "assistants": _json(_array(_ref("Assistant"))),
    "assistant_versions": _json(_array(_ref("AssistantVersion"))),
    "count": _json({"type": "integer"}),
    "graph": _json(_object({"nodes": _array(_ANY_OBJECT), "edges": _array(_ANY_OBJECT)})),
    "schemas": _json(_object({"graph_id": _TEXT, **_SCHEMAS})),
    "subgraphs": _json({"type": "object", "additionalProperties": _object(_SCHEMAS)}),
    "item": _json({"oneOf": [_ref("Item"), {"type": "null"}]}),
    "items": _json(_object({"items": _array(_ref("SearchItem"))})),
    "namespaces": _json(_object({"namespaces": _array(_array(_TEXT))})),
    "cron": _json(_ref("Cron")),
    "crons": _json(_array(_ref("Cron"))),
    "json": _json({}),
    "stream": {"text/event-stream": {"schema": _TEXT}},
    "metrics": {"text/plain": {"schema": _TEXT}, "application/json": {"schema": _ANY_OBJECT}},
    "html": {"text/html": {"schema": _TEXT}},
}
