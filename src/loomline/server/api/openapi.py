"""The OpenAPI document, made from the route table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic import TypeAdapter
from typing_extensions import TypeAliasType

from loomline.server.api.entries import Entry, Resource
from loomline.server.api.schemas import ANY, ERROR, Content, named_schemas, ref
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
    resources: Sequence[Resource],
    version: str,
    *,
    protected: bool = False,
    errors: Sequence[int] = (),
    extra: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the OpenAPI 3.1 document of the resources, encoded.

    Args:
        resources: The resources.
        version: The version of the server.
        protected: Whether callers are authenticated, except by resources that are open.
        errors: Statuses that every route may have, besides its own.
        extra: ``securitySchemes``, ``security`` and ``paths`` of the configuration.
    """
    schemas: JsonObject = {}
    paths: dict[str, Json] = {}
    for resource in resources:
        more = (*errors, *_REFUSALS) if protected and not resource.open else tuple(errors)
        for entry in resource.table():
            path = paths.setdefault(entry.path, {})
            assert isinstance(path, dict)
            path[entry.method.lower()] = _operation(entry, resource.tag, more, schemas)
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


def _operation(entry: Entry, tag: str, errors: Sequence[int], schemas: JsonObject) -> JsonObject:
    responses = _responses(entry, (*entry.errors, *errors))
    schemas.update({each.name: each.definition for each in named_schemas(responses)})
    operation: JsonObject = {
        "operationId": _operation_id(entry),
        "tags": [tag],
        "summary": entry.summary,
        "responses": responses,
    }
    parameters = [*_path_parameters(entry), *(query.described() for query in entry.query)]
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
        return {"type": "string"}
    return {"type": "string", "format": "assistant" if entry.named else "uuid"}


def _request_body(body: type | TypeAliasType, schemas: JsonObject) -> JsonObject:
    schema = TypeAdapter(cast("type[object]", body)).json_schema(ref_template=_REF)
    schemas.update(schema.pop("$defs", {}))
    name = body.__name__.removesuffix("Request")
    schemas[name] = schema
    content = {"application/json": {"schema": ref(name)}}
    return {"required": True, "content": content}  # type: ignore[dict-item]


def _responses(entry: Entry, errors: Sequence[int]) -> JsonObject:
    good: JsonObject = {"description": "Done"}
    if entry.answer is not None:
        good["content"] = _content(entry.answer)
    responses: JsonObject = {str(entry.status): good}
    if entry.minimal:
        responses["204"] = {"description": "Done, with the header `Prefer: return=minimal`"}
    if entry.status == 202:
        responses["200"] = {"description": "Done, with `wait`", "content": _content(ANY)}
    for status in errors:
        schema = entry.malformed if status == 400 else ERROR
        responses[str(status)] = {
            "description": _STATUS_TEXT[status],
            "content": _content(schema),
        }
    return responses


def _content(answer: JsonObject | Content) -> JsonObject:
    if isinstance(answer, Content):
        return dict(answer.schemas)
    return {"application/json": {"schema": answer}}
