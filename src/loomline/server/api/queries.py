"""Query parameters: one object reads a parameter's value and describes it for OpenAPI."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Final, Generic, TypeVar, cast
from uuid import UUID

from starlette.requests import Request

from loomline.server.api.body import decode_json
from loomline.server.domain.errors import InvalidInput
from loomline.server.domain.json import JsonObject
from loomline.server.services.requests import OFFSET_MOST
from loomline.server.services.run_request import parse_uuid

T = TypeVar("T")

SHOWN: Final = 200
"""Characters of a wrong value that an error repeats."""

_DIGITS_MOST: Final = 18
_TRUE: Final = frozenset({"true", "True"})

_XRAY_SHOWN: Final = 50
_LEVEL_DIGITS_MOST: Final = 40
_LEVELS_MOST: Final = 1000

_STRING: Final[JsonObject] = {"type": "string"}


@dataclass(frozen=True)
class Query(ABC, Generic[T]):
    """A query parameter. ``help`` is its description in the OpenAPI document."""

    name: str
    _: KW_ONLY
    help: str
    required: bool = False

    @property
    @abstractmethod
    def schema(self) -> JsonObject:
        """The JSON schema of the values."""

    @abstractmethod
    def read(self, request: Request) -> T:
        """Return the value of a request.

        Raises:
            InvalidInput: The request has a value that is not allowed.
        """

    def described(self) -> JsonObject:
        """Return the parameter as a Parameter Object of OpenAPI."""
        return {
            "name": self.name,
            "in": "query",
            "description": self.help,
            "required": self.required,
            "schema": self.schema,
        }

    def _given(self, request: Request) -> str | None:
        values = request.query_params.getlist(self.name)
        if len(values) > 1:
            raise InvalidInput(f"Invalid {self.name}: it takes one value, and has {len(values)}")
        return values[0] if values else None


@dataclass(frozen=True)
class IntegerQuery(Query[int]):
    """A number from 0 to ``most``; ``default`` where the request has none."""

    _: KW_ONLY
    default: int
    most: int = OFFSET_MOST

    @property
    def schema(self) -> JsonObject:
        return {"type": "integer", "minimum": 0, "maximum": self.most, "default": self.default}

    def read(self, request: Request) -> int:
        text = self._given(request)
        if text is None:
            return self.default
        digits = text.isascii() and text.isdigit() and len(text) <= _DIGITS_MOST
        if not digits or int(text) > self.most:
            raise InvalidInput(
                f"Invalid {self.name} '{text[:SHOWN]}': must be an integer from 0 to {self.most}"
            )
        return int(text)


@dataclass(frozen=True)
class FlagQuery(Query[bool]):
    """A boolean; absent or empty, it is false."""

    @property
    def schema(self) -> JsonObject:
        return {**_flag_schema(), "default": False}

    def read(self, request: Request) -> bool:
        return _flag(self.name, self._given(request)) or False


@dataclass(frozen=True)
class OptionalFlagQuery(Query[bool | None]):
    """A boolean; None where the parameter is absent or empty."""

    @property
    def schema(self) -> JsonObject:
        return _flag_schema()

    def read(self, request: Request) -> bool | None:
        return _flag(self.name, self._given(request))


@dataclass(frozen=True)
class ConsentQuery(Query[bool]):
    """A boolean that is true for the word ``true``, and false for every other string."""

    @property
    def schema(self) -> JsonObject:
        return {**_STRING, "default": "false"}

    def read(self, request: Request) -> bool:
        return self._given(request) in _TRUE


@dataclass(frozen=True)
class LevelsQuery(Query[bool | int]):
    """Whether to look into subgraphs, or how many levels of them; absent, it is false."""

    @property
    def schema(self) -> JsonObject:
        kinds: JsonObject = {
            "anyOf": [{"type": "boolean"}, {"type": "integer", "minimum": 1}],
        }
        return {**kinds, "default": False}

    def read(self, request: Request) -> bool | int:
        text = self._given(request)
        if text is None or text.lower() == "false":
            return False
        if text.lower() == "true":
            return True
        digits = text.isascii() and text.isdigit() and len(text) <= _LEVEL_DIGITS_MOST
        if digits and int(text) > 0:
            return min(int(text), _LEVELS_MOST)
        raise InvalidInput(
            f"Invalid {self.name} value '{text[:_XRAY_SHOWN]}': must be true, false or a number of"
            " levels from 1"
        )


@dataclass(frozen=True)
class StringQuery(Query[str | None]):
    """Any string, without NUL characters, which not every database can store.

    ``pattern`` describes the strings that the service accepts.
    """

    _: KW_ONLY
    pattern: str | None = None

    @property
    def schema(self) -> JsonObject:
        return _STRING if self.pattern is None else {**_STRING, "pattern": self.pattern}

    def read(self, request: Request) -> str | None:
        text = self._given(request)
        return None if text is None else text.replace("\0", "\ufffd")


@dataclass(frozen=True)
class ChoiceQuery(Query[T]):
    """One of some words; ``default`` where the request has none."""

    _: KW_ONLY
    words: Sequence[str]
    default: T

    @property
    def schema(self) -> JsonObject:
        schema: JsonObject = {"enum": list(self.words)}
        return schema if self.default is None else {**schema, "default": str(self.default)}

    def read(self, request: Request) -> T:
        text = self._given(request)
        if text is None:
            return self.default
        if text not in self.words:
            raise InvalidInput(
                f"Invalid {self.name} '{text[:SHOWN]}'. Expected one of: {', '.join(self.words)}"
            )
        return cast("T", text)


@dataclass(frozen=True)
class UuidQuery(Query[UUID | None]):
    """The id of a ``kind`` of object, None where the request has none.

    With ``blank`` an empty string stands for no id.
    """

    _: KW_ONLY
    kind: str
    blank: bool = False

    @property
    def schema(self) -> JsonObject:
        schema: JsonObject = {**_STRING, "format": "uuid"}
        return {"anyOf": [schema, {"enum": [""]}]} if self.blank else schema

    def read(self, request: Request) -> UUID | None:
        text = self._given(request)
        absent = text is None or (self.blank and not text)
        return None if absent else parse_uuid(text, self.kind)


@dataclass(frozen=True)
class RepeatedQuery(Query[list[str]]):
    """Strings, one in each repetition of the parameter; an empty string counts."""

    @property
    def schema(self) -> JsonObject:
        return {"type": "array", "items": _STRING}

    def read(self, request: Request) -> list[str]:
        return request.query_params.getlist(self.name)


@dataclass(frozen=True)
class ListQuery(Query[list[str]]):
    """Strings that clients send as repeated parameters or as one JSON array.

    With ``commas`` each of them may be a list of its own, separated by commas.
    """

    _: KW_ONLY
    commas: bool = False

    @property
    def schema(self) -> JsonObject:
        return {"type": "array", "items": _STRING}

    def read(self, request: Request) -> list[str]:
        found = self._strings(request)
        return [part for each in found for part in each.split(",")] if self.commas else found

    def _strings(self, request: Request) -> list[str]:
        given = [text for text in request.query_params.getlist(self.name) if text]
        if len(given) == 1 and given[0].startswith("["):
            value = decode_json(given[0].encode())
            if isinstance(value, list) and all(isinstance(each, str) for each in value):
                return value
            raise InvalidInput(f"Invalid {self.name}: must be a list of strings")
        return given


@dataclass(frozen=True)
class WordsQuery(ListQuery):
    """A list of some words. ``refusal`` makes the error of the other words."""

    _: KW_ONLY
    words: Sequence[str]
    refusal: Callable[[Sequence[str]], str]

    @property
    def schema(self) -> JsonObject:
        return {"type": "array", "items": {"enum": list(self.words)}}

    def read(self, request: Request) -> list[str]:
        found = super().read(request)
        unknown = [each for each in found if each not in self.words]
        if unknown:
            raise InvalidInput(self.refusal(unknown))
        return found


def unknown_mode(unknown: Sequence[str]) -> str:
    """Return the error of a stream mode that does not exist."""
    return f"Invalid stream mode: {unknown[0][:SHOWN]}"


def _flag(name: str, text: str | None) -> bool | None:
    """Return the value of a boolean, None where it is absent or empty.

    Raises:
        InvalidInput: The string is not a boolean.
    """
    if not text:
        return None
    if text.lower() in {"0", "false"}:
        return False
    if text.lower() in {"1", "true"}:
        return True
    raise InvalidInput(f"Invalid {name} '{text[:SHOWN]}': must be true or false")


def _flag_schema() -> JsonObject:
    return {"anyOf": [{"type": "boolean"}, {"enum": ["0", "1", ""]}]}
