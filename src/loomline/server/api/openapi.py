"""The OpenAPI document, made from the route table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic import TypeAdapter
from typing_extensions import TypeAliasType

from loomline.server.api.authentication import OPEN_PATHS
from loomline.server.api.entries import Entry, Query
from loomline.server.api.schemas import CONTENT, OBJECTS, ROWS, ref
from loomline.server.domain.idempotency import KEY_MOST
from loomline.server.domain.json import Json, JsonObject, dump

_REF = "#/components/schemas/{model}"

_STATUS_TEXT: Mapping[int, str] = {
    400: "Fields that contradict each other, or JSON that is nested too deeply",
    401: "Nobody knows who asks",
    403: "This caller may not do it",
    404: "There is no such thing, or not for this caller",
    409: "The present state of things does not allow it",
    413: "The body is larger than the limit",
    422: "The request does not fit: no JSON, a wrong type, a malformed id",
    429: "Too much at once; the header `retry-after` says when to try again",
    503: "The database cannot be reached; try again later",
}

_REFUSALS = (401, 403)

_QUERY_SCHEMA: Mapping[str, JsonObject] = {
    "integer": {"type": "integer", "minimum": 0},
    "boolean": {"anyOf": [{"type": "boolean"}, {"enum": ["0", "1", ""]}]},
    "levels": {"anyOf": [{"type": "boolean"}, {"type": "integer", "minimum": 1}]},
    "string": {"type": "string"},
    "uuid": {"type": "string", "format": "uuid"},
    "strings": {"type": "array", "items": {"type": "string"}},
}

_IDEMPOTENCY_KEY: JsonObject = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key with the same body gives the same run, for 24 hours.",
    "required": False,
    "schema": {
        "type": "string", "format": "idempotency-key", "minLength": 1, "maxLength": KEY_MOST,
    },
}  # fmt: skip

_LAST_EVENT_ID: JsonObject = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": (
        "The id of the last event that the client has; the stream goes on after it. `-1`: all"
        " events."
    ),
    "required": False,
    "schema": {"type": "string", "format": "event-id"},
}
_PREFER: JsonObject = {
    "name": "Prefer",
    "in": "header",
    "description": "`return=minimal` asks for an answer without a body.",
    "required": False,
    "schema": {"type": "string"},
}


def document(
    entries: Sequence[Entry],
    version: str,
    *,
    protected: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the OpenAPI 3.1 document of the routes, encoded.

    ``protected``: most routes ask who somebody is. ``extra`` is what the configuration says of
    how: ``securitySchemes``, ``security``, ``paths``.
    """
    schemas: JsonObject = {**OBJECTS, **ROWS}
    paths: dict[str, Json] = {}
    for entry in entries:
        path = paths.setdefault(entry.path, {})
        assert isinstance(path, dict)
        path[entry.method.lower()] = _operation(
            entry, schemas, protected=protected and entry.path not in OPEN_PATHS
        )
    whole: JsonObject = {
        "openapi": "3.1.0",
        "info": {"title": "Loomline", "version": version, "license": {"name": "MIT"}},
        "paths": paths,
        "components": {"schemas": schemas},
    }
    return dump(_with_security(whole, extra or {}))


def _with_security(whole: JsonObject, extra: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = dict(whole)
    if "securitySchemes" in extra:
        schemes = {"securitySchemes": extra["securitySchemes"]}
        merged["components"] = {**merged["components"], **schemes}
    if "security" in extra:
        merged["security"] = extra["security"]
    for path, operations in extra.get("paths", {}).items():
        known = merged["paths"].setdefault(path, {})
        for method, operation in operations.items():
            known[method] = {**known.get(method, {}), **operation}
    return merged


def _operation(entry: Entry, schemas: JsonObject, *, protected: bool) -> JsonObject:
    operation: JsonObject = {
        "operationId": _operation_id(entry),
        "tags": [entry.tag],
        "summary": entry.summary,
        "responses": _responses(entry, (*entry.errors, *_REFUSALS) if protected else entry.errors),
    }
    parameters = [*_path_parameters(entry), *map(_query_parameter, entry.query)]
    parameters += [header for wanted, header in _headers(entry) if wanted]
    if parameters:
        operation["parameters"] = list(parameters)
    if entry.body is not None:
        operation["requestBody"] = _request_body(entry.body, schemas)
    return operation


def _headers(entry: Entry) -> Sequence[tuple[bool, JsonObject]]:
    """Return the headers that routes read, each with whether this route does."""
    return (
        (entry.idempotent, _IDEMPOTENCY_KEY),
        (entry.resumes, _LAST_EVENT_ID),
        (entry.minimal, _PREFER),
    )


def _operation_id(entry: Entry) -> str:
    words = re.sub(r"[^a-z]+", "_", entry.path.replace("_id}", "}"))
    return f"{entry.method.lower()}_{words.strip('_')}".rstrip("_")


def _path_parameters(entry: Entry) -> list[Json]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": _path_schema(entry, name),
        }
        for name in re.findall(r"{(\w+)}", entry.path)
    ]


def _path_schema(entry: Entry, name: str) -> JsonObject:
    if name == "namespace" or entry.loose:
        return _QUERY_SCHEMA["string"]
    return {"type": "string", "format": "assistant" if entry.named else "uuid"}


def _query_parameter(query: Query) -> Json:
    return {
        "name": query.name,
        "in": "query",
        "description": query.text,
        "required": query.required,
        "schema": _query_schema(query),
    }


def _query_schema(query: Query) -> JsonObject:
    schema = _QUERY_SCHEMA[query.kind]
    if query.kind == "integer":
        return {**schema, "maximum": query.most}
    if not query.words:
        return schema
    words: JsonObject = {"enum": list(query.words)}
    return {**schema, "items": words} if query.kind == "strings" else words


def _request_body(body: type | TypeAliasType, schemas: JsonObject) -> JsonObject:
    schema = TypeAdapter(cast("type[object]", body)).json_schema(ref_template=_REF)
    schemas.update(schema.pop("$defs", {}))
    name = body.__name__.removesuffix("Request")
    schemas[name] = schema
    content = {"application/json": {"schema": ref(name)}}
    return {"required": True, "content": content}  # type: ignore[dict-item]


def _responses(entry: Entry, errors: Sequence[int]) -> JsonObject:
    good: JsonObject = {"description": "Done"}
    if entry.answer in CONTENT:
        good["content"] = CONTENT[entry.answer]
    responses: JsonObject = {str(entry.status): good}
    if entry.minimal:
        responses["204"] = {"description": "Done, with the header `Prefer: return=minimal`"}
    if entry.status == 202:
        responses["200"] = {"description": "Done, with `wait`", "content": CONTENT["json"]}
    for status in errors:
        responses[str(status)] = {
            "description": _STATUS_TEXT[status],
            "content": {"application/json": {"schema": ref(_error(entry, status))}},
        }
    return responses


def _error(entry: Entry, status: int) -> str:
    return "NoCommand" if entry.answer == "command" and status == 400 else "Error"
