# Generated from http.py by tools/unasync.py. Do not edit.
"""Requests over HTTP, for the resource clients."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import httpx

from weft._client._compat import SyncSleep, sync_aside, sync_sleep
from weft._client._core.codec import LARGE, decode, encode, error_body
from weft._client._core.reconnect import ATTEMPTS, StreamState, delay, retryable
from weft._client._core.requests import query
from weft._client._core.responses import same_origin
from weft.errors import APIStatusError, connection_error, status_error
from weft.schema import QueryParamTypes, StreamPart
from weft.sse import Decoder

_JSON = {"Content-Type": "application/json"}
_STREAM = {"Accept": "text/event-stream", "Cache-Control": "no-store"}


class SyncHttpClient:
    """Sends requests and reads answers; knows the protocol's rules but none of its routes.

    Args:
        client: The `httpx` client underneath.
        sleep: How to wait before a reconnect.

    Attributes:
        client: The `httpx` client underneath.
    """

    def __init__(self, client: httpx.Client, *, sleep: SyncSleep = sync_sleep) -> None:
        self.client = client
        self._sleep = sleep

    def get(
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
        return self._call("GET", path, params=params, headers=headers, on_response=on_response)

    def post(
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
        return self._call(
            "POST", path, json=json, params=params, headers=headers, on_response=on_response
        )

    def put(
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
        return self._call(
            "PUT", path, json=json, params=params, headers=headers, on_response=on_response
        )

    def patch(
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
        return self._call(
            "PATCH", path, json=json, params=params, headers=headers, on_response=on_response
        )

    def delete(
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
        self._call(
            "DELETE", path, json=json, params=params, headers=headers, on_response=on_response
        )

    def request_reconnect(
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
        response = self._open(request)
        location: str | None = None
        try:
            if on_response is not None:
                on_response(response)
            _check(response)
            given = response.headers.get("Location")
            location = same_origin(request, given) if given else None
            response.read()
        except httpx.TransportError as error:
            if location is None:
                raise connection_error(error, request) from error
            warnings.warn(
                f"Request failed, attempting reconnect to Location: {location}", stacklevel=2
            )
        else:
            return _decoded(response)
        finally:
            response.close()
        return self._again(location, headers, reconnect_limit)

    def stream(
        self,
        path: str,
        method: str,
        *,
        json: Any = None,
        params: QueryParamTypes | None = None,
        headers: Mapping[str, str] | None = None,
        on_response: Callable[[httpx.Response], None] | None = None,
    ) -> Generator[StreamPart]:
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
        link = _Link(request, self._open(request), on_response)
        while True:
            with closing(self._read(link, state, headers)) as parts:
                for part in parts:
                    yield part
            if link.over:
                return
            link = self._reopen(link, state)

    def _read(
        self, link: _Link, state: StreamState, headers: Mapping[str, str] | None
    ) -> Generator[StreamPart]:
        """Yield the events of one connection; afterwards the link knows how it ended."""
        try:
            with closing(_events(link, state)) as events:
                for part in events:
                    yield part
            link.over = self._is_over(state, headers)
        except httpx.HTTPError as error:
            link.failure = _raise_unless_retryable(error, link.request, state)
        finally:
            link.response.close()

    def _reopen(self, link: _Link, state: StreamState) -> _Link:
        """Return the next connection of a stream, after as many attempts as it may take."""
        if not state.cursor:
            warnings.warn("The stream has no event ids: events may be missed", stacklevel=3)
        failure = link.failure
        while state.attempts < ATTEMPTS:
            self._sleep(state.next_delay())
            request = self.client.build_request(
                "GET", state.location or "", headers=state.reconnect_headers()
            )
            try:
                return _Link(request, self._open(request))
            except httpx.TransportError as error:
                failure = error
        message = "Exceeded maximum SSE reconnection attempts"
        raise connection_error(httpx.TransportError(message), link.request) from failure

    def _is_over(self, state: StreamState, headers: Mapping[str, str] | None) -> bool:
        """Return whether a stream that closed cleanly has really ended."""
        path = state.run_path()
        if state.finished or path is None:
            return True
        asked = {"Accept": "application/json", **(headers or {})}
        try:
            run = self._call("GET", path, headers=asked)
        except APIStatusError as error:
            return not retryable(error.status_code)
        except httpx.TransportError:
            return False
        except ValueError:
            return True
        status = run.get("status") if isinstance(run, dict) else None
        return status not in {"pending", "running"}

    def _again(self, location: str, headers: Mapping[str, str] | None, limit: int) -> Any:
        for attempt in range(limit):
            self._sleep(delay(attempt))
            try:
                return self._call("GET", location, headers=headers)
            except APIStatusError as error:
                if not retryable(error.status_code) or attempt == limit - 1:
                    raise
            except httpx.TransportError:
                if attempt == limit - 1:
                    raise
        raise ValueError("reconnect_limit must be at least 1")

    def _call(
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
            response = self.client.send(request)
        except httpx.TransportError as error:
            raise connection_error(error, request) from error
        if on_response is not None:
            on_response(response)
        _check(response)
        return _decoded(response)

    def _open(self, request: httpx.Request) -> httpx.Response:
        try:
            return self.client.send(request, stream=True)
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


def _check(response: httpx.Response) -> None:
    if response.status_code >= 300:
        response.read()
        raise status_error(response, error_body(response))


def _decoded(response: httpx.Response) -> Any:
    if len(response.content) < LARGE:
        return decode(response)
    return sync_aside(lambda: decode(response))


@dataclass(slots=True)
class _Link:
    """One connection of a stream, and how it ended."""

    request: httpx.Request
    response: httpx.Response
    on_response: Callable[[httpx.Response], None] | None = None
    over: bool = False
    failure: Exception | None = None


def _events(link: _Link, state: StreamState) -> Generator[StreamPart]:
    response = link.response
    if link.on_response is not None:
        link.on_response(response)
    _check(response)
    kind = response.headers.get("content-type", "").partition(";")[0]
    if "text/event-stream" not in kind:
        raise httpx.TransportError(f"Expected text/event-stream, got '{kind}'")
    given = response.headers.get("Location")
    if given:
        state.location = same_origin(link.request, given)
    decoder = Decoder(last_event_id=state.cursor)
    for chunk in response.iter_bytes():
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
