"""The client: all its classes, and the two functions that make one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import httpx

from loomline._client._async.assistants import AssistantsClient
from loomline._client._async.client import LangGraphClient, make_client
from loomline._client._async.crons import CronClient
from loomline._client._async.http import HttpClient
from loomline._client._async.runs import RunsClient
from loomline._client._async.store import StoreClient
from loomline._client._async.threads import ThreadsClient
from loomline._client._core.credentials import ApiKeyProvider, HeadersProvider
from loomline._client._core.options import NOT_GIVEN, RESERVED_HEADERS, NotGiven, TimeoutTypes
from loomline._client._sync.assistants import SyncAssistantsClient
from loomline._client._sync.client import SyncLangGraphClient, make_client as make_sync_client
from loomline._client._sync.crons import SyncCronClient
from loomline._client._sync.http import SyncHttpClient
from loomline._client._sync.runs import SyncRunsClient
from loomline._client._sync.store import SyncStoreClient
from loomline._client._sync.threads import SyncThreadsClient
from loomline._client.loopback import ASGIApp, LoopbackTransport, Server
from loomline._client.moved import (  # noqa: F401 - found here by older programs
    _adecode_json,
    _aencode_json,
    _decode_json,
    _encode_json,
    _get_api_key,
    _get_headers,
    _get_run_metadata_from_response,
    _orjson_default,
    _provided_vals,
    get_asgi_transport,
)
from loomline._client.transports import async_transport

__all__ = [
    "RESERVED_HEADERS",
    "AssistantsClient",
    "CronClient",
    "HttpClient",
    "LangGraphClient",
    "RunsClient",
    "StoreClient",
    "SyncAssistantsClient",
    "SyncCronClient",
    "SyncHttpClient",
    "SyncLangGraphClient",
    "SyncRunsClient",
    "SyncStoreClient",
    "SyncThreadsClient",
    "ThreadsClient",
    "TimeoutTypes",
    "configure_loopback_transports",
    "get_asgi_transport",
    "get_client",
    "get_sync_client",
]

# The interface has a function that tells every client, whenever it was made, of the server of this
# process; there is one process, hence one of these.
_SERVER: Final = Server()

# Transports that others made without an application, for `configure_loopback_transports` to give
# them one. Older programs append theirs; clients of ours look at `_SERVER`.
_registered_transports: Final[list[httpx.ASGITransport]] = []


def configure_loopback_transports(app: ASGIApp | None) -> None:
    """Tell clients that were made without an address which server this process runs.

    Args:
        app: The ASGI application of the server; None: there is none any more.
    """
    _SERVER.app = app
    for transport in _registered_transports:
        transport.app = app  # type: ignore[assignment]


def get_client(
    *,
    url: str | None = None,
    api_key: str | ApiKeyProvider | NotGiven | None = NOT_GIVEN,
    headers: Mapping[str, str] | HeadersProvider | None = None,
    timeout: TimeoutTypes = None,
) -> LangGraphClient:
    """Return an asynchronous client.

    Args:
        url: The server's address, with the prefix of its API if it has one. None: the server of
            this process where there is one, else `http://localhost:8123`.
        api_key: The key to send as `x-api-key`. Not given: the first of the variables
            `LANGGRAPH_API_KEY`, `LANGSMITH_API_KEY` and `LANGCHAIN_API_KEY`. None: no key. A
            function, which may be asynchronous, is asked before every request.
        headers: Headers for every request, or a function as for `api_key`.
        timeout: Seconds, or `(connect, read)`, or `(connect, read, write, pool)`, or an
            `httpx.Timeout`. Default: 5 to connect, 300 to read.

    Returns:
        The client. Close it with `aclose()`, or use it as `async with get_client() as client`.

    Raises:
        ValueError: `headers` sets the header that belongs to `api_key`.

    Example:
        >>> async with get_client(url=url) as client:
        ...     thread = await client.threads.create()
        >>> thread["status"]
        'idle'
    """
    transport = None if url is not None else LoopbackTransport(_SERVER, async_transport)
    return make_client(
        url=url, api_key=api_key, headers=headers, timeout=timeout, transport=transport
    )


def get_sync_client(
    *,
    url: str | None = None,
    api_key: str | ApiKeyProvider | NotGiven | None = NOT_GIVEN,
    headers: Mapping[str, str] | HeadersProvider | None = None,
    timeout: TimeoutTypes = None,
) -> SyncLangGraphClient:
    """Return a synchronous client.

    Args:
        url: The server's address; None: `http://localhost:8123`.
        api_key: As for `get_client`; a function must be synchronous.
        headers: Headers for every request, or a function as for `api_key`.
        timeout: As for `get_client`.

    Returns:
        The client. Close it with `close()`, or use it as `with get_sync_client() as client`.

    Raises:
        ValueError: `headers` sets the header that belongs to `api_key`.

    Example:
        >>> with get_sync_client(url=url) as client:
        ...     thread = client.threads.create()
        >>> thread["status"]
        'idle'
    """
    return make_sync_client(url=url, api_key=api_key, headers=headers, timeout=timeout)
