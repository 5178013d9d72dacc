# Generated from http.py by tools/unasync.py. Do not edit.
"""Requests over HTTP, for the resource clients."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import httpx

from loomline._client._compat import SyncSleep, sync_aside, sync_credentials, sync_sleep
from loomline._client._core.codec import LARGE, decode, encode, error_body
from loomline._client._core.credentials import Credentials, with_credentials
from loomline._client._core.options import TimeoutTypes, timeouts
from loomline._client._core.reconnect import ATTEMPTS, StreamState, delay, retryable
from loomline._client._core.requests import query
from loomline._client._core.responses import same_origin
from loomline.errors import APIStatusError, connection_error, status_error
from loomline.schema import QueryParamTypes, StreamPart
from loomline.sse import Decoder

_JSON = {"Content-Type": "application/json"}
_STREAM = {"Accept": "text/event-stream", "Cache-Control": "no-store"}


class SyncHttpClient:
    """Sends requests and reads answers; knows the protocol's rules but none of its routes.

    Args:
        client: The `httpx` client underneath.
        sleep: How to wait before a reconnect.
        credentials: Where the key and the headers of each request come from, if they change.

    Attributes:
        client: The `httpx` client underneath.
        credentials: The source of the key and the headers of each request, if they change.
    """

    def __init__(
        self,
        client: httpx.Client,
        *,
        sleep: SyncSleep = sync_sleep,
        credentials: Credentials | None = None,
    ) -> None:
        self.client = client
        self._sleep = sleep
        self.credentials = credentials

    def get(
        self,
        path: str,
        *,
        params: QueryParamTypes | None = None,
        headers: Mapping[str, str] | None = None,
        on_response: Callable[[httpx.Response], None] | None = None,
        timeout: TimeoutTypes = None,
    ) -> Any:
        """Send a GET request; return the decoded answer.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the server could not be reached.
        """
        return self._call(
            "GET",
            path,
            params=params,
            headers=headers,
            on_response=on_response,
            timeout=timeout,
        )

    def post(
        self,
        path: str,
        *,
        json: Any,
        params: QueryParamTypes | None = None,
        headers: Mapping[str, str] | None = None,
        on_response: Callable[[httpx.Response], None] | None = None,
        timeout: TimeoutTypes = None,
    ) -> Any:
        """Send a POST request, without a body when `json` is None; return the decoded answer.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the server could not be reached.
        """
        return self._call(
            "POST",
            path,
            json=json,
            params=params,
            headers=headers,
            on_response=on_response,
            timeout=timeout,
        )

    def put(
        self,
        path: str,
        *,
        json: Any,
        params: QueryParamTypes | None = None,
        headers: Mapping[str, str] | None = None,
        on_response: Callable[[httpx.Response], None] | None = None,
        timeout: TimeoutTypes = None,
    ) -> Any:
        """Send a PUT request; return the decoded answer.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the server could not be reached.
        """
        return self._call(
            "PUT",
            path,
            json=json,
            params=params,
            headers=headers,
            on_response=on_response,
            timeout=timeout,
        )

    def patch(
        self,
        path: str,
        *,
        json: Any,
        params: QueryParamTypes | None = None,
        headers: Mapping[str, str] | None = None,
        on_response: Callable[[httpx.Response], None] | None = None,
        timeout: TimeoutTypes = None,
    ) -> Any:
        """Send a PATCH request; return the decoded answer.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the server could not be reached.
        """
        return self._call(
            "PATCH",
            path,
            json=json,
            params=params,
            headers=headers,
            on_response=on_response,
            timeout=timeout,
        )

    def delete(
        self,
        path: str,
        *,
        json: Any = None,
        params: QueryParamTypes | None = None,
        headers: Mapping[str, str] | None = None,
        on_response: Callable[[httpx.Response], None] | None = None,
        timeout: TimeoutTypes = None,
    ) -> None:
        """Send a DELETE request.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the server could not be reached.
        """
        self._call(
            "DELETE",
            path,
            json=json,
            params=params,
            headers=headers,
            on_response=on_response,
            timeout=timeout,
        )

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
            path: The path below the client's address, or a whole URL.
            json: What to send as JSON; None: no body.
            params: Query parameters.
            headers: Headers for this request.
            timeout: Seconds, in the forms of `get_sync_client`; None: the client's.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the server could not be reached.
        """
        request = self._request(
            method, path, json=json, params=params, headers=headers, timeout=timeout
        )
        response = self._send(request)
        _check_read(response)
        return response

    def open(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: TimeoutTypes = None,
    ) -> httpx.Response:
        """Send a request; return its answer, the body of which is still to be read.

        Args:
            method: The method, for example `POST`.
            path: The path below the client's address.
            json: What to send as JSON; None: no body.
            headers: Headers for this request.
            timeout: Seconds, in the forms of `get_sync_client`; None: the client's.

        Returns:
            The answer. Whoever asked closes it.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the server could not be reached.
        """
        request = self._request(method, path, json=json, headers=headers, timeout=timeout)
        response = self._open(request)
        try:
            _check(response)
        except BaseException:
            response.close()
            raise
        return response

    def prepare(self, path: str, *, headers: Mapping[str, str] | None = None) -> httpx.Request:
        """Return the request that a GET would send, with its address, headers and cookies."""
        return self._request("GET", path, headers=headers)

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
        timeout: TimeoutTypes = None,
    ) -> Any:
        """Send a request that may take long; go on at its `Location` when the line breaks.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the server could not be reached, also after all attempts.
            ValueError: the server names a location on another server.
        """
        request = self._request(
            method, path, json=json, params=params, headers=headers, timeout=timeout
        )
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
        return self._again(location, headers, reconnect_limit, timeout)

    def stream(
        self,
        path: str,
        method: str,
        *,
        json: Any = None,
        params: QueryParamTypes | None = None,
        headers: Mapping[str, str] | None = None,
        on_response: Callable[[httpx.Response], None] | None = None,
        timeout: TimeoutTypes = None,
    ) -> Generator[StreamPart]:
        """Yield the events of a stream, over broken connections where the server allows it.

        Nothing is sent before the first iteration.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the connection broke and could not be taken up again.
            ValueError: the server names a location on another server.
        """
        first = {**_STREAM, **(headers or {})}
        state = StreamState(headers=first, timeout=timeout)
        request = self._request(
            method, path, json=json, params=params, headers=first, timeout=timeout
        )
        link = _Link(request, self._open(request), on_response)
        while True:
            with closing(self._read(link, state, headers)) as batches:
                for batch in batches:
                    for part in state.delivered(batch):
                        yield part
            if link.over:
                return
            link = self._reopen(link, state)

    def _read(
        self, link: _Link, state: StreamState, headers: Mapping[str, str] | None
    ) -> Generator[Iterable[StreamPart]]:
        """Yield the events of one connection, as they come in pieces of the answer.

        Afterwards the link knows how it ended.
        """
        try:
            _accept(link, state)
            decoder = Decoder(last_event_id=state.cursor)
            for chunk in link.response.iter_bytes():
                yield decoder.feed(chunk)
            yield decoder.finish()
            state.finished = state.finished or decoder.ended
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
            headers = state.reconnect_headers()
            request = self._request(
                "GET", state.location or "", headers=headers, timeout=state.timeout
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
            run = self._call("GET", path, headers=asked, timeout=state.timeout)
        except APIStatusError as error:
            return not retryable(error.status_code)
        except httpx.TransportError:
            return False
        except ValueError:
            return True
        status = run.get("status") if isinstance(run, dict) else None
        return status not in {"pending", "running"}

    def _again(
        self,
        location: str,
        headers: Mapping[str, str] | None,
        limit: int,
        timeout: TimeoutTypes,
    ) -> Any:
        for attempt in range(limit):
            self._sleep(delay(attempt))
            try:
                return self._call("GET", location, headers=headers, timeout=timeout)
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
        timeout: TimeoutTypes = None,
    ) -> Any:
        request = self._request(
            method, path, json=json, params=params, headers=headers, timeout=timeout
        )
        response = self._send(request)
        if on_response is not None:
            on_response(response)
        _check_read(response)
        return _decoded(response)

    def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return self.client.send(request)
        except httpx.TransportError as error:
            raise connection_error(error, request) from error

    def _open(self, request: httpx.Request) -> httpx.Response:
        try:
            return self.client.send(request, stream=True)
        except httpx.TransportError as error:
            raise connection_error(error, request) from error

    def _request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: QueryParamTypes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: TimeoutTypes = None,
    ) -> httpx.Request:
        content = None if json is None else encode(json)
        sent = {**(_JSON if content is not None else {}), **(headers or {})}
        if self.credentials is not None:
            sent = with_credentials(sync_credentials(self.credentials), sent)
        return self.client.build_request(
            method,
            path,
            content=content,
            params=query({}, params),
            headers=sent,
            timeout=httpx.USE_CLIENT_DEFAULT if timeout is None else timeouts(timeout),
        )


def _check(response: httpx.Response) -> None:
    if response.status_code >= 300:
        response.read()
        _check_read(response)


def _check_read(response: httpx.Response) -> None:
    if response.status_code >= 300:
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


def _accept(link: _Link, state: StreamState) -> None:
    """Look at the head of an answer: whether it is a stream, and where it goes on."""
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
