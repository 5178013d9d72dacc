"""Requests over HTTP, for the resource clients."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx

from weft._client._compat import AsyncSleep, async_aside, async_sleep
from weft._client._core.codec import LARGE, decode, encode, error_body
from weft._client._core.reconnect import ATTEMPTS, StreamState, delay, retryable
from weft._client._core.requests import query
from weft._client._core.responses import same_origin
from weft.errors import APIStatusError, connection_error, status_error
from weft.schema import QueryParamTypes, StreamPart
from weft.sse import Decoder

_JSON = {"Content-Type": "application/json"}
_STREAM = {"Accept": "text/event-stream", "Cache-Control": "no-store"}


class HttpClient:
    """Sends requests and reads answers; knows the protocol's rules but none of its routes.

    Args:
        client: The `httpx` client underneath.
        sleep: How to wait before a reconnect.

    Attributes:
        client: The `httpx` client underneath.
    """

    def __init__(self, client: httpx.AsyncClient, *, sleep: AsyncSleep = async_sleep) -> None:
        self.client = client
        self._sleep = sleep

    async def get(
        self,
        path: str,
        *,
        params: QueryParamTypes | None = None,
        headers: Mapping[str, str] | None = None,
        on_response: Callable[[httpx.Response], None] | None = None,
    ) -> Any:
        """Send a GET request; return the decoded answer.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the server could not be reached.
        """
        return await self._call(
            "GET", path, params=params, headers=headers, on_response=on_response
        )

    async def post(
        self,
        path: str,
        *,
        json: Any,
        params: QueryParamTypes | None = None,
        headers: Mapping[str, str] | None = None,
        on_response: Callable[[httpx.Response], None] | None = None,
    ) -> Any:
        """Send a POST request, without a body when `json` is None; return the decoded answer.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the server could not be reached.
        """
        return await self._call(
            "POST", path, json=json, params=params, headers=headers, on_response=on_response
        )

    async def put(
        self,
        path: str,
        *,
        json: Any,
        params: QueryParamTypes | None = None,
        headers: Mapping[str, str] | None = None,
        on_response: Callable[[httpx.Response], None] | None = None,
    ) -> Any:
        """Send a PUT request; return the decoded answer.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the server could not be reached.
        """
        return await self._call(
            "PUT", path, json=json, params=params, headers=headers, on_response=on_response
        )

    async def patch(
        self,
        path: str,
        *,
        json: Any,
        params: QueryParamTypes | None = None,
        headers: Mapping[str, str] | None = None,
        on_response: Callable[[httpx.Response], None] | None = None,
    ) -> Any:
        """Send a PATCH request; return the decoded answer.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the server could not be reached.
        """
        return await self._call(
            "PATCH", path, json=json, params=params, headers=headers, on_response=on_response
        )

    async def delete(
        self,
        path: str,
        *,
        json: Any = None,
        params: QueryParamTypes | None = None,
        headers: Mapping[str, str] | None = None,
        on_response: Callable[[httpx.Response], None] | None = None,
    ) -> None:
        """Send a DELETE request.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the server could not be reached.
        """
        await self._call(
            "DELETE", path, json=json, params=params, headers=headers, on_response=on_response
        )

    async def request_reconnect(
        self,
        path: str,
        method: str,
        *,
        json: Any = None,
        params: QueryParamTypes | None = None,
        headers: Mapping[str, str] | None = None,
        on_response: Callable[[httpx.Response], None] | None = None,
        reconnect_limit: int = ATTEMPTS,
    ) -> Any:
        """Send a request that may take long; go on at its `Location` when the line breaks.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the server could not be reached, also after all attempts.
            ValueError: the server names a location on another server.
        """
        request = self._request(method, path, json, params, headers)
        response = await self._open(request)
        location: str | None = None
        try:
            if on_response is not None:
                on_response(response)
            await _check(response)
            given = response.headers.get("Location")
            location = same_origin(request, given) if given else None
            await response.aread()
        except httpx.TransportError as error:
            if location is None:
                raise connection_error(error, request) from error
            warnings.warn(
                f"Request failed, attempting reconnect to Location: {location}", stacklevel=2
            )
        else:
            return await _decoded(response)
        finally:
            await response.aclose()
        return await self._again(location, headers, reconnect_limit)

    async def stream(
        self,
        path: str,
        method: str,
        *,
        json: Any = None,
        params: QueryParamTypes | None = None,
        headers: Mapping[str, str] | None = None,
        on_response: Callable[[httpx.Response], None] | None = None,
    ) -> AsyncGenerator[StreamPart]:
        """Yield the events of a stream, over broken connections where the server allows it.

        Nothing is sent before the first iteration.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the connection broke and could not be taken up again.
            ValueError: the server names a location on another server.
        """
        first = {**_STREAM, **(headers or {})}
        state = StreamState(headers=first)
        request = self._request(method, path, json, params, first)
        link = _Link(request, await self._open(request), on_response)
        while True:
            async with aclosing(self._read(link, state, headers)) as parts:
                async for part in parts:
                    yield part
            if link.over:
                return
            link = await self._reopen(link, state)

    async def _read(
        self, link: _Link, state: StreamState, headers: Mapping[str, str] | None
    ) -> AsyncGenerator[StreamPart]:
        """Yield the events of one connection; afterwards the link knows how it ended."""
        try:
            async with aclosing(_events(link, state)) as events:
                async for part in events:
                    yield part
            link.over = await self._is_over(state, headers)
        except httpx.HTTPError as error:
            link.failure = _raise_unless_retryable(error, link.request, state)
        finally:
            await link.response.aclose()

    async def _reopen(self, link: _Link, state: StreamState) -> _Link:
        """Return the next connection of a stream, after as many attempts as it may take."""
        if not state.cursor:
            warnings.warn("The stream has no event ids: events may be missed", stacklevel=3)
        failure = link.failure
        while state.attempts < ATTEMPTS:
            await self._sleep(state.next_delay())
            request = self.client.build_request(
                "GET", state.location or "", headers=state.reconnect_headers()
            )
            try:
                return _Link(request, await self._open(request))
            except httpx.TransportError as error:
                failure = error
        message = "Exceeded maximum SSE reconnection attempts"
        raise connection_error(httpx.TransportError(message), link.request) from failure

    async def _is_over(self, state: StreamState, headers: Mapping[str, str] | None) -> bool:
        """Return whether a stream that closed cleanly has really ended."""
        path = state.run_path()
        if state.finished or path is None:
            return True
        asked = {"Accept": "application/json", **(headers or {})}
        try:
            run = await self._call("GET", path, headers=asked)
        except APIStatusError as error:
            return not retryable(error.status_code)
        except httpx.TransportError:
            return False
        except ValueError:
            return True
        status = run.get("status") if isinstance(run, dict) else None
        return status not in {"pending", "running"}

    async def _again(self, location: str, headers: Mapping[str, str] | None, limit: int) -> Any:
        for attempt in range(limit):
            await self._sleep(delay(attempt))
            try:
                return await self._call("GET", location, headers=headers)
            except APIStatusError as error:
                if not retryable(error.status_code) or attempt == limit - 1:
                    raise
            except httpx.TransportError:
                if attempt == limit - 1:
                    raise
        raise ValueError("reconnect_limit must be at least 1")

    async def _call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: QueryParamTypes | None = None,
        headers: Mapping[str, str] | None = None,
        on_response: Callable[[httpx.Response], None] | None = None,
    ) -> Any:
        request = self._request(method, path, json, params, headers)
        try:
            response = await self.client.send(request)
        except httpx.TransportError as error:
            raise connection_error(error, request) from error
        if on_response is not None:
            on_response(response)
        await _check(response)
        return await _decoded(response)

    async def _open(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self.client.send(request, stream=True)
        except httpx.TransportError as error:
            raise connection_error(error, request) from error

    def _request(
        self,
        method: str,
        path: str,
        json: Any,
        params: QueryParamTypes | None,
        headers: Mapping[str, str] | None,
    ) -> httpx.Request:
        content = None if json is None else encode(json)
        sent = {**(_JSON if content is not None else {}), **(headers or {})}
        return self.client.build_request(
            method, path, content=content, params=query({}, params), headers=sent
        )


async def _check(response: httpx.Response) -> None:
    if response.status_code >= 300:
        await response.aread()
        raise status_error(response, error_body(response))


async def _decoded(response: httpx.Response) -> Any:
    if len(response.content) < LARGE:
        return decode(response)
    return await async_aside(lambda: decode(response))


@dataclass(slots=True)
class _Link:
    """One connection of a stream, and how it ended."""

    request: httpx.Request
    response: httpx.Response
    on_response: Callable[[httpx.Response], None] | None = None
    over: bool = False
    failure: Exception | None = None


async def _events(link: _Link, state: StreamState) -> AsyncGenerator[StreamPart]:
    response = link.response
    if link.on_response is not None:
        link.on_response(response)
    await _check(response)
    kind = response.headers.get("content-type", "").partition(";")[0]
    if "text/event-stream" not in kind:
        raise httpx.TransportError(f"Expected text/event-stream, got '{kind}'")
    given = response.headers.get("Location")
    if given:
        state.location = same_origin(link.request, given)
    decoder = Decoder(last_event_id=state.cursor)
    async for chunk in response.aiter_bytes():
        for part in decoder.feed(chunk):
            state.progressed(part.event, part.id)
            yield part
    for part in decoder.finish():
        state.progressed(part.event, part.id)
        yield part
    state.finished = state.finished or decoder.ended


def _raise_unless_retryable(
    error: httpx.HTTPError, request: httpx.Request, state: StreamState
) -> Exception:
    """Return an error after which the stream may go on; raise any other."""
    if isinstance(error, APIStatusError):
        if state.attempts == 0 or not retryable(error.status_code):
            raise error
        return error
    if not isinstance(error, httpx.TransportError):
        raise error
    if state.location is None:
        raise connection_error(error, request) from error
    return error
