"""The client: all its classes, and the two functions that make one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from weft._client._async.client import LangGraphClient, make_client, make_transport
from weft._client._async.http import HttpClient
from weft._client._async.runs import RunsClient
from weft._client._async.threads import ThreadsClient
from weft._client._core.options import NOT_GIVEN, NotGiven, TimeoutTypes
from weft._client._sync.client import SyncLangGraphClient, make_client as make_sync_client
from weft._client._sync.http import SyncHttpClient
from weft._client._sync.runs import SyncRunsClient
from weft._client._sync.threads import SyncThreadsClient
from weft._client.loopback import ASGIApp, LoopbackTransport, Server

__all__ = [
    "HttpClient",
    "LangGraphClient",
    "RunsClient",
    "SyncHttpClient",
    "SyncLangGraphClient",
    "SyncRunsClient",
    "SyncThreadsClient",
    "ThreadsClient",
    "TimeoutTypes",
    "configure_loopback_transports",
    "get_client",
    "get_sync_client",
]

# The interface has a function that tells every client, whenever it was made, of the server of this
# process; there is one process, hence one of these.
_SERVER: Final = Server()


def configure_loopback_transports(app: ASGIApp) -> None:
    """Tell clients that were made without an address which server this process runs.

    Args:
        app: The ASGI application of the server.
    """
    _SERVER.app = app


def get_client(
    *,
    url: str | None = None,
    api_key: str | NotGiven | None = NOT_GIVEN,
    headers: Mapping[str, str] | None = None,
    timeout: TimeoutTypes = None,
) -> LangGraphClient:
    """Return an asynchronous client.

    Args:
        url: The server's address, with the prefix of its API if it has one. None: the server of
            this process where there is one, else `http://localhost:8123`.
        api_key: The key to send as `x-api-key`. Not given: the first of the variables
            `LANGGRAPH_API_KEY`, `LANGSMITH_API_KEY` and `LANGCHAIN_API_KEY`. None: no key.
        headers: Headers for every request.
        timeout: Seconds, or `(connect, read)`, or `(connect, read, write, pool)`, or an
            `httpx.Timeout`. Default: 5 to connect, 300 to read.

    Returns:
        The client. Close it with `aclose()`, or use it as `async with get_client() as client`.

    Raises:
        ValueError: `headers` sets the header that belongs to `api_key`.
    """
    transport = None if url is not None else LoopbackTransport(_SERVER, make_transport)
    return make_client(
        url=url, api_key=api_key, headers=headers, timeout=timeout, transport=transport
    )


def get_sync_client(
    *,
    url: str | None = None,
    api_key: str | NotGiven | None = NOT_GIVEN,
    headers: Mapping[str, str] | None = None,
    timeout: TimeoutTypes = None,
) -> SyncLangGraphClient:
    """Return a synchronous client.

    Args:
        url: The server's address; None: `http://localhost:8123`.
        api_key: As for `get_client`.
        headers: Headers for every request.
        timeout: As for `get_client`.

    Returns:
        The client. Close it with `close()`, or use it as `with get_sync_client() as client`.

    Raises:
        ValueError: `headers` sets the header that belongs to `api_key`.
    """
    return make_sync_client(url=url, api_key=api_key, headers=headers, timeout=timeout)
