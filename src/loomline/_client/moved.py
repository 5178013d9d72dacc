"""Helpers that older versions of the interface have in its client module.

Nothing here is used by Loomline itself; programs that were written for those versions find them at
`loomline.client`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from loomline._client._compat import async_aside
from loomline._client._core.codec import LARGE, decode, default, encode
from loomline._client._core.options import NOT_GIVEN, NotGiven, api_key as resolve, client_headers
from loomline._client._core.requests import present
from loomline._client._core.responses import run_created
from loomline._client.loopback import AsgiTransport
from loomline.schema import RunCreateMetadata

_JSON = {"Content-Type": "application/json"}


def get_asgi_transport() -> type[httpx.ASGITransport]:
    """Return a transport class for applications in this process; it streams their answers."""
    return AsgiTransport


def _get_api_key(api_key: str | NotGiven | None = NOT_GIVEN) -> str | None:
    return resolve(api_key)


def _get_headers(
    api_key: str | NotGiven | None, custom_headers: Mapping[str, str] | None
) -> dict[str, str]:
    return client_headers(api_key, custom_headers)


def _get_run_metadata_from_response(response: httpx.Response) -> RunCreateMetadata | None:
    return run_created(response)


def _orjson_default(obj: Any) -> Any:
    return default(obj)


def _provided_vals(d: Mapping[str, Any]) -> dict[str, Any]:
    return present(d)


def _encode_json(json: Any) -> tuple[dict[str, str], bytes | None]:
    body = encode(json)
    return {**_JSON, "Content-Length": str(len(body))}, body


async def _aencode_json(json: Any) -> tuple[dict[str, str], bytes | None]:
    return _encode_json(json)


def _decode_json(r: httpx.Response) -> Any:
    r.read()
    return decode(r)


async def _adecode_json(r: httpx.Response) -> Any:
    await r.aread()
    return decode(r) if len(r.content) < LARGE else await async_aside(lambda: decode(r))
