# Generated from client.py by tools/unasync.py. Do not edit.
"""The client as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

import httpx

from weft._client._core.options import (
    CONNECT_RETRIES,
    LIMITS,
    LOCAL_URL,
    NOT_GIVEN,
    NotGiven,
    TimeoutTypes,
    client_headers,
    timeouts,
)
from weft._client._sync.http import SyncHttpClient
from weft._client._sync.runs import SyncRunsClient
from weft._client._sync.threads import SyncThreadsClient


class SyncLangGraphClient:
    """Everything a server offers, by resource.

    Attributes:
        http: Requests of any kind.
        threads: Threads.
        runs: Runs.
    """

    def __init__(self, client: httpx.Client) -> None:
        self.http = SyncHttpClient(client)
        self.threads = SyncThreadsClient(self.http)
        self.runs = SyncRunsClient(self.http)

    def __enter__(self) -> Self:
        """Return the client itself; leaving the context closes it."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.http.client.close()


def make_client(
    *,
    url: str | None,
    api_key: str | NotGiven | None = NOT_GIVEN,
    headers: Mapping[str, str] | None = None,
    timeout: TimeoutTypes = None,
    transport: httpx.BaseTransport | None = None,
) -> SyncLangGraphClient:
    """Return a client for the server at an address, over a transport if one is given."""
    client = httpx.Client(
        base_url=url or LOCAL_URL,
        transport=transport or make_transport(),
        timeout=timeouts(timeout),
        headers=client_headers(api_key, headers),
    )
    return SyncLangGraphClient(client)


def make_transport() -> httpx.BaseTransport:
    """Return a transport that tries again to connect, and keeps its connections."""
    return httpx.HTTPTransport(retries=CONNECT_RETRIES, limits=LIMITS)
