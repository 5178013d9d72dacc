"""Reading requests: bodies and path ids."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import partial
from typing import Final, Generic, TypeVar, cast
from uuid import UUID

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request
from typing_extensions import TypeAliasType

from loomline.server.api.errors import BodyTooLarge
from loomline.server.api.jsonrules import JsonRules, ValueCount, rules_of
from loomline.server.domain.errors import InvalidInput, TooDeep
from loomline.server.services.run_request import parse_uuid

T = TypeVar("T")

_AT_ONCE_BYTES = 256 * 1024
"""Bodies up to this size are decoded on the event loop: a thread would take longer."""

_DIGITS_MOST: Final = 20
"""Characters of the longest integers of 64 bits."""

_MANY_DIGITS: Final = re.compile(rb"[0-9]{19}")

_NUMBER_OR_STRING: Final = re.compile(
    rb'"[^"\\]*(?:\\.[^"\\]*)*"'
    rb"|-?[0-9]+[.eE][0-9.eE+-]*"
    rb"|(?P<integer>-?[0-9]+)"
)

_SHOWN = 200
"""Characters of a wrong value that an error repeats."""


class Body(Generic[T]):
    """Decodes and validates bodies of one type."""

    def __init__(self, kind: type[T] | TypeAliasType, limit: int) -> None:
        self._adapter: TypeAdapter[T] = TypeAdapter(cast("type[T]", kind))
        self._limit = limit

    async def read(self, request: Request) -> T:
        """Return the validated body.

        Raises:
            InvalidInput: it is no JSON, or a field is missing, wrong or too large.
            TooDeep: it is nested too deeply.
            BodyTooLarge: it has more bytes or values than allowed.
        """
        raw = await read_limited(request, self._limit)
        return await decoded(raw, partial(self._validated, raw, rules_of(request)))

    def _validated(self, raw: bytes, rules: JsonRules | None) -> T:
        value = decode_json(raw)
        if rules is not None:
            rules.check(raw, value)
        try:
            return self._adapter.validate_python(value, strict=True)
        except ValidationError as error:
            raise InvalidInput(_sentence(error.errors(include_url=False)[0])) from None


async def decoded(raw: bytes, decode: Callable[[], T]) -> T:
    """Return the result of decoding, on a thread where it may take long."""
    return decode() if len(raw) <= _AT_ONCE_BYTES else await asyncio.to_thread(decode)


async def read_limited(request: Request, limit: int) -> bytes:
    """Return the body, giving up as soon as it has more bytes or values than allowed.

    Raises:
        BodyTooLarge: it has.
    """
    chunks: list[bytes] = []
    size = 0
    rules = rules_of(request)
    count = None if rules is None else ValueCount(rules.values)
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise BodyTooLarge(f"The request body is larger than the limit of {limit} bytes.")
        if count is not None:
            count.add(chunk)
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def path_uuid(request: Request, what: str) -> UUID:
    return parse_uuid(request.path_params[f"{what}_id"], what)


def decode_json(raw: bytes) -> object:
    """Return the value of a JSON document, without NUL characters.

    Raises:
        InvalidInput: The document is not JSON, or has an integer beyond 64 bits.
        TooDeep: The document is nested too deeply.
    """
    try:
        value: object = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if "depth" in error.msg:
            raise TooDeep from None
        raise InvalidInput("Invalid JSON in request body") from None
    _refuse_large_integers(raw)
    # NUL cannot be stored by every database; clients of the reference see U+FFFD as well.
    return _without_nul(value) if b"\\u0000" in raw else value


def _refuse_large_integers(raw: bytes) -> None:
    """Refuse integers that orjson would turn into floats, which are other numbers.

    Raises:
        InvalidInput: An integer does not fit into 64 bits.
    """
    if _MANY_DIGITS.search(raw) is None:
        return
    for token in _NUMBER_OR_STRING.finditer(raw):
        number = token["integer"]
        if number is not None and not _fits(number):
            shown = number[:_SHOWN].decode()
            raise InvalidInput(f"Integer {shown} is beyond 64 bits: send it as a string.")


def _fits(number: bytes) -> bool:
    return len(number) <= _DIGITS_MOST and -(1 << 63) <= int(number) < 1 << 64


def _without_nul(value: object) -> object:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(each) for each in value]
    if isinstance(value, dict):
        return {str(_without_nul(key)): _without_nul(each) for key, each in value.items()}
    return value


def _sentence(error: ErrorDetails) -> str:
    place = ".".join(str(part) for part in error["loc"] if not _is_type(part))
    where = f"'{place}'" if place else "The request body"
    if error["type"] == "missing":
        return f"{where} is required"
    shown = _shown(error["input"])
    return f"{where}: {error['msg'].replace('dictionary', 'object')}, got {shown}"


def _shown(value: object) -> str:
    given = repr(value[: _SHOWN + 1] if isinstance(value, str) else value)
    return given if len(given) <= _SHOWN else f"{given[:_SHOWN]}..."


def _is_type(part: int | str) -> bool:
    """Return whether a part of a location names a member of a union instead of a field."""
    return isinstance(part, str) and ("[" in part or part in {"str", "none", "literal"})
