"""JSON of requests and answers."""

from __future__ import annotations

from typing import Any, Final

import httpx
import orjson

from loomline.errors import APIResponseValidationError

_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS

LARGE: Final = 256 * 1024
"""Bytes of an answer from which on it is decoded on another thread: a hop costs about 50 us, and
decoding this much about 600."""


def encode(value: object) -> bytes:
    """Encode a request body.

    Raises:
        TypeError: it holds something that has no JSON form.
    """
    return orjson.dumps(value, default, _OPTIONS)


def decode(response: httpx.Response) -> Any:
    """Decode the body of a successful answer; None where it is empty.

    Raises:
        APIResponseValidationError: it is not JSON.
    """
    content = response.content
    if not content.strip():
        return None
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise APIResponseValidationError(response, response.text) from error


def error_body(response: httpx.Response) -> object | None:
    """Return what an error answer says: JSON, else text, else None."""
    try:
        body: object = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return response.text or None
    return body


def default(value: Any) -> Any:
    """Return what to encode instead of a value that has no JSON form of its own.

    Raises:
        TypeError: there is nothing.
    """
    if not isinstance(value, type):
        for name in ("model_dump", "dict"):
            method = getattr(value, name, None)
            if callable(method):
                return method()
        if isinstance(value, (set, frozenset)):
            return list(value)
    raise TypeError("Type is not JSON serializable")
