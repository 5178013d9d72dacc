"""The vocabulary of the schemas of answers, and the schemas that several resources share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, get_args

from loomline.server.domain.json import Json, JsonObject


class Named(dict[str, Json]):
    """A reference to a schema that the OpenAPI document lists under a name of its own.

    It is the reference as JSON, and carries the definition.
    """

    __slots__ = ("definition", "name")

    def __init__(self, name: str, definition: JsonObject) -> None:
        super().__init__(ref(name))
        self.name: str = name
        self.definition: JsonObject = definition

    def row(self, name: str) -> Named:
        """Return the schema of an object that has only the fields a client has asked for."""
        return Named(name, {**self.definition, "required": []})


@dataclass(frozen=True, slots=True)
class Content:
    """A good answer that is not JSON alone: a schema by media type."""

    schemas: Mapping[str, JsonObject]


def ref(name: str) -> JsonObject:
    """Return a reference by name alone, for a schema that contains itself."""
    return {"$ref": f"#/components/schemas/{name}"}


def fields(properties: JsonObject, **optional: Json) -> JsonObject:
    """Return the schema of an object; the fields given by name may be missing."""
    required: list[Json] = list(properties)
    return {"type": "object", "properties": {**properties, **optional}, "required": required}


def array(items: JsonObject) -> JsonObject:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def mapping(values: JsonObject) -> JsonObject:
    """Return the schema of an object with any keys."""
    return {"type": "object", "additionalProperties": values}


def one_of(literal: object, *more: Json) -> JsonObject:
    """Return the schema of the words of a ``Literal``."""
    return {"enum": [*get_args(literal), *more]}


def maybe(schema: JsonObject) -> JsonObject:
    """Return a schema that null fits, too."""
    return {"anyOf": [schema, {"type": "null"}]}


def named_schemas(value: object) -> Iterator[Named]:
    """Yield the named schemas in a schema, those in their definitions included."""
    if isinstance(value, Named):
        yield value
        yield from named_schemas(value.definition)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from named_schemas(each)
    elif isinstance(value, list):
        for each in value:
            yield from named_schemas(each)


ANY: Final[JsonObject] = {}
STRING: Final[JsonObject] = {"type": "string"}
FLAG: Final[JsonObject] = {"type": "boolean"}
COUNT: Final[JsonObject] = {"type": "integer", "minimum": 0}
INTEGER: Final[JsonObject] = {"type": "integer"}
NUMBER: Final[JsonObject] = {"type": "number"}
ID: Final[JsonObject] = {"type": "string", "format": "uuid"}
TIME: Final[JsonObject] = {"type": "string", "format": "date-time"}
OBJECT: Final[JsonObject] = {"type": "object"}
MAYBE_STRING: Final[JsonObject] = {"type": ["string", "null"]}
MAYBE_ID: Final[JsonObject] = {"type": ["string", "null"], "format": "uuid"}
MAYBE_TIME: Final[JsonObject] = {"type": ["string", "null"], "format": "date-time"}
MAYBE_OBJECT: Final[JsonObject] = {"type": ["object", "null"]}

DETAIL: Final[JsonObject] = fields({"detail": STRING})
ERROR: Final[Named] = Named("Error", DETAIL)
INTERRUPT: Final[Named] = Named(
    "Interrupt", fields({"id": MAYBE_STRING, "value": ANY}, response_schema=ANY)
)

# OpenAPI cannot describe the form of an event before version 3.2.
STREAM: Final = Content({"text/event-stream": {}})
HTML: Final = Content({"text/html": {"schema": STRING}})
