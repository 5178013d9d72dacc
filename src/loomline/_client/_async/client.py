"""The client as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, cast

import httpx

from loomline._client._async.assistants import AssistantsClient
from loomline._client._async.crons import CronClient
from loomline._client._async.http import HttpClient
from loomline._client._async.runs import RunsClient
from loomline._client._async.store import StoreClient
from loomline._client._async.threads import ThreadsClient
from loomline._client._core.credentials import ApiKeyProvider, Credentials, HeadersProvider, split
from loomline._client._core.options import (
    LOCAL_URL,
    NOT_GIVEN,
    NotGiven,
    TimeoutTypes,
    client_headers,
    timeouts,
)
from loomline._client.transports import async_mounts, async_transport
from loomline.errors import APIError
from loomline.schema import QueryParamTypes, ServerInfo


class LangGraphClient:
    """Everything a server offers, by resource.

    Attributes:
        http: Requests of any kind.
        assistants: Assistants.
        threads: Threads and their states.
        runs: Runs.
        crons: Crons.
        store: The store.
    """

    def __init__(
        self, client: httpx.AsyncClient, *, credentials: Credentials | None = None
    ) -> None:
        self.http: HttpClient = HttpClient(client, credentials=credentials)
        self.assistants: AssistantsClient = AssistantsClient(self.http)
        self.threads: ThreadsClient = ThreadsClient(self.http)
        self.runs: RunsClient = RunsClient(self.http)
        self.crons: CronClient = CronClient(self.http)
        self.store: StoreClient = StoreClient(self.http)

    async def info(self, *, timeout: TimeoutTypes = None) -> ServerInfo:
        """Get what the server says of itself (`GET /info`).

        Args:
            timeout: Seconds for this request.

        Returns:
            Its version, and which features it has under `flags`.

        Example:
            >>> info = await client.info()
            >>> info["flags"]["assistants"]
            True
        """
        return cast("ServerInfo", await self.http.get("/info", timeout=timeout))

    async def ok(self, *, check_db: bool = False, timeout: TimeoutTypes = None) -> bool:
        """Tell whether the server works (`GET /ok`).

        Args:
            check_db: Whether the server is to ask its database as well.
            timeout: Seconds for this request.

        Returns:
            False where the server cannot be reached, refuses, or says that it does not work.

        Example:
            >>> await client.ok()
            True
        """
        own = {"check_db": 1} if check_db else None
        try:
            said = await self.http.get("/ok", params=own, timeout=timeout)
        except APIError:
            return False
        return isinstance(said, dict) and said.get("ok") is True

    async def raw(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: QueryParamTypes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: TimeoutTypes = None,
    ) -> httpx.Response:
        """Send a request of any kind; return the whole answer as it is.

        Args:
            method: The method, for example `GET`.
            path: The path below the client's address.
            json: What to send as JSON; None: no body.
            params: Query parameters.
            headers: Headers for this request.
            timeout: Seconds for this request.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the server could not be reached.

        Example:
            >>> response = await client.raw("GET", "/openapi.json")
            >>> response.json()["openapi"][:2]
            '3.'
        """
        return await self.http.raw(
            method, path, json=json, params=params, headers=headers, timeout=timeout
        )

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
    api_key: str | ApiKeyProvider | NotGiven | None = NOT_GIVEN,
    headers: Mapping[str, str] | HeadersProvider | None = None,
    timeout: TimeoutTypes = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> LangGraphClient:
    """Return a client for the server at an address, over a transport if one is given."""
    given = split(api_key, headers)
    client = httpx.AsyncClient(
        base_url=url or LOCAL_URL,
        transport=transport or async_transport(),
        mounts=None if transport is not None else async_mounts(),
        timeout=timeouts(timeout),
        headers=client_headers(given.api_key, given.headers),
    )
    return LangGraphClient(client, credentials=given.credentials)
