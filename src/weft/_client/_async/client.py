"""The client as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

import httpx

from weft._client._async.http import HttpClient
from weft._client._async.runs import RunsClient
from weft._client._async.threads import ThreadsClient
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


class LangGraphClient:
    """Everything a server offers, by resource.

    Attributes:
        http: Requests of any kind.
        threads: Threads.
        runs: Runs.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.http = HttpClient(client)
        self.threads = ThreadsClient(self.http)
        self.runs = RunsClient(self.http)

    async def __aenter__(self) -> Self:
        """Return the client itself; leaving the context closes it."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self.http.client.aclose()


def make_client(
    *,
    url: str | None,
    api_key: str | NotGiven | None = NOT_GIVEN,
    headers: Mapping[str, str] | None = None,
    timeout: TimeoutTypes = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> LangGraphClient:
    """Return a client for the server at an address, over a transport if one is given."""
    client = httpx.AsyncClient(
        base_url=url or LOCAL_URL,
        transport=transport or make_transport(),
        timeout=timeouts(timeout),
        headers=client_headers(api_key, headers),
    )
    return LangGraphClient(client)


def make_transport() -> httpx.AsyncBaseTransport:
    """Return a transport that tries again to connect, and keeps its connections."""
    return httpx.AsyncHTTPTransport(retries=CONNECT_RETRIES, limits=LIMITS)
