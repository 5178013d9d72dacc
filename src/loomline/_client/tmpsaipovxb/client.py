# Generated from client.py by tools/unasync.py. Do not edit.
"""The client as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, cast

import httpx

from loomline._client._core.credentials import ApiKeyProvider, Credentials, HeadersProvider, split
from loomline._client._core.options import (
    LOCAL_URL,
    NOT_GIVEN,
    NotGiven,
    TimeoutTypes,
    client_headers,
    timeouts,
)
from loomline._client._sync.assistants import SyncAssistantsClient
from loomline._client._sync.crons import SyncCronClient
from loomline._client._sync.http import SyncHttpClient
from loomline._client._sync.runs import SyncRunsClient
from loomline._client._sync.store import SyncStoreClient
from loomline._client._sync.threads import SyncThreadsClient
from loomline._client.transports import sync_mounts, sync_transport
from loomline.errors import APIError
from loomline.schema import QueryParamTypes, ServerInfo


class SyncLangGraphClient:
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
        self, client: httpx.Client, *, credentials: Credentials | None = None
    ) -> None:
        self.http: SyncHttpClient = SyncHttpClient(client, credentials=credentials)
        self.assistants: SyncAssistantsClient = SyncAssistantsClient(self.http)
        self.threads: SyncThreadsClient = SyncThreadsClient(self.http)
        self.runs: SyncRunsClient = SyncRunsClient(self.http)
        self.crons: SyncCronClient = SyncCronClient(self.http)
        self.store: SyncStoreClient = SyncStoreClient(self.http)

    def info(self, *, timeout: TimeoutTypes = None) -> ServerInfo:
        """Get what the server says of itself (`GET /info`).

        Args:
            timeout: Seconds for this request.

        Returns:
            Its version, and which features it has under `flags`.

        Example:
            >>> info = client.info()
            >>> info["flags"]["assistants"]
            True
        """
        return cast("ServerInfo", self.http.get("/info", timeout=timeout))

    def ok(self, *, check_db: bool = False, timeout: TimeoutTypes = None) -> bool:
        """Tell whether the server works (`GET /ok`).

        Args:
            check_db: Whether the server is to ask its database as well.
            timeout: Seconds for this request.

        Returns:
            False where the server cannot be reached, refuses, or says that it does not work.

        Example:
            >>> client.ok()
            True
        """
        own = {"check_db": 1} if check_db else None
        try:
            said = self.http.get("/ok", params=own, timeout=timeout)
        except APIError:
            return False
        return isinstance(said, dict) and said.get("ok") is True

    def raw(
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
            >>> response = client.raw("GET", "/openapi.json")
            >>> response.json()["openapi"][:2]
            '3.'
        """
        return self.http.raw(
            method, path, json=json, params=params, headers=headers, timeout=timeout
        )

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
    api_key: str | ApiKeyProvider | NotGiven | None = NOT_GIVEN,
    headers: Mapping[str, str] | HeadersProvider | None = None,
    timeout: TimeoutTypes = None,
    transport: httpx.BaseTransport | None = None,
) -> SyncLangGraphClient:
    """Return a client for the server at an address, over a transport if one is given."""
    given = split(api_key, headers)
    client = httpx.Client(
        base_url=url or LOCAL_URL,
        transport=transport or sync_transport(),
        mounts=None if transport is not None else sync_mounts(),
        timeout=timeouts(timeout),
        headers=client_headers(given.api_key, given.headers),
    )
    return SyncLangGraphClient(client, credentials=given.credentials)
