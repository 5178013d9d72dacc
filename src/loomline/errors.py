"""What the client raises.

Every error of the API is also an ``httpx.HTTPStatusError``, and every error of the connection is
also the ``httpx`` error it was, so that handlers for either work.
"""

from __future__ import annotations

from collections.abc import Mapping

import httpx

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "ConflictError",
    "InternalServerError",
    "LangGraphError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "RunError",
    "UnprocessableEntityError",
]


class LangGraphError(Exception):
    """The base of all errors of the API."""


class APIError(httpx.HTTPStatusError, LangGraphError):
    """Something went wrong between this client and the server.

    Attributes:
        message: What happened, in the server's words where it gave any.
        request: The request that failed.
        body: The decoded JSON of the answer, else its text, else None.
        code: The ``code`` of the body, where it has one.
        param: The ``param`` of the body, where it has one.
        type: The ``type`` of the body, where it has one.
    """

    message: str
    body: object | None
    code: str | None
    param: str | None
    type: str | None

    def __init__(
        self,
        message: str,
        response_or_request: httpx.Response | httpx.Request,
        *,
        body: object | None,
    ) -> None:
        # Exception.__init__ through LangGraphError: httpx's own wants a response.
        LangGraphError.__init__(self, message)
        self.message = message
        if isinstance(response_or_request, httpx.Response):
            self.response = response_or_request
            self.request = response_or_request.request
        else:
            self.request = response_or_request
        self.body = body
        self.code = _text(body, "code")
        self.param = _text(body, "param")
        self.type = _text(body, "type")


class APIResponseValidationError(APIError, ValueError):
    """The server's answer is not what the protocol says.

    Attributes:
        status_code: The status of the answer.
    """

    def __init__(
        self, response: httpx.Response, body: object | None, *, message: str | None = None
    ) -> None:
        super().__init__(message or "The server's answer is not valid JSON.", response, body=body)
        self.status_code: int = response.status_code


class APIConnectionError(APIError):
    """The server could not be reached, or the connection broke."""

    def __init__(self, *, message: str = "Connection error.", request: httpx.Request) -> None:
        super().__init__(message, request, body=None)


class APITimeoutError(APIConnectionError):
    """The server took longer than the timeout of the client."""

    def __init__(self, request: httpx.Request, *, message: str = "The request timed out.") -> None:
        super().__init__(message=message, request=request)


class APIStatusError(APIError):
    """The server refused.

    Attributes:
        status_code: The status of the answer.
        request_id: The ``x-request-id`` of the answer.
    """

    def __init__(self, message: str, *, response: httpx.Response, body: object | None) -> None:
        super().__init__(message, response, body=body)
        self.status_code: int = response.status_code
        self.request_id: str | None = response.headers.get("x-request-id")


class BadRequestError(APIStatusError):
    """400: the parts of the request contradict each other."""


class AuthenticationError(APIStatusError):
    """401: the server does not know who asks."""


class PermissionDeniedError(APIStatusError):
    """403: whoever asks may not do that."""


class NotFoundError(APIStatusError):
    """404: there is no such thing."""


class ConflictError(APIStatusError):
    """409: the state of things does not allow it now."""


class UnprocessableEntityError(APIStatusError):
    """422: a part of the request does not fit."""


class RateLimitError(APIStatusError):
    """429: too much at once; later it may work."""


class InternalServerError(APIStatusError):
    """500 and above: the server failed."""


class RunError(Exception):
    """A run that was waited for has failed.

    Attributes:
        error: The class of the exception that the graph raised.
        message: Its text, where the server shows it.
    """

    def __init__(self, error: str, message: str) -> None:
        super().__init__(f"{error}: {message}")
        self.error = error
        self.message = message


_BY_STATUS: Mapping[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}


class _ConnectError(APIConnectionError, httpx.ConnectError):
    pass


class _ReadError(APIConnectionError, httpx.ReadError):
    pass


class _WriteError(APIConnectionError, httpx.WriteError):
    pass


class _RemoteProtocolError(APIConnectionError, httpx.RemoteProtocolError):
    pass


class _TransportError(APIConnectionError, httpx.TransportError):
    pass


class _ConnectTimeout(APITimeoutError, httpx.ConnectTimeout):
    pass


class _ReadTimeout(APITimeoutError, httpx.ReadTimeout):
    pass


class _WriteTimeout(APITimeoutError, httpx.WriteTimeout):
    pass


class _PoolTimeout(APITimeoutError, httpx.PoolTimeout):
    pass


_BY_CAUSE: Mapping[type[httpx.TransportError], type[APIConnectionError]] = {
    httpx.ConnectError: _ConnectError,
    httpx.ReadError: _ReadError,
    httpx.WriteError: _WriteError,
    httpx.RemoteProtocolError: _RemoteProtocolError,
    httpx.ConnectTimeout: _ConnectTimeout,
    httpx.ReadTimeout: _ReadTimeout,
    httpx.WriteTimeout: _WriteTimeout,
    httpx.PoolTimeout: _PoolTimeout,
}


def status_error(response: httpx.Response, body: object | None) -> APIStatusError:
    """Return the error for an answer that is none of success."""
    kind = _BY_STATUS.get(response.status_code)
    if kind is None:
        kind = InternalServerError if response.status_code >= 500 else APIStatusError
    return kind(_message(response, body), response=response, body=body)


def connection_error(error: httpx.TransportError, request: httpx.Request) -> APIConnectionError:
    """Return our error for one of the HTTP library; it is an instance of that one's class too."""
    kind = _BY_CAUSE.get(type(error), _TransportError)
    return kind(message=str(error) or type(error).__name__, request=request)


def _message(response: httpx.Response, body: object | None) -> str:
    nested = body.get("error") if isinstance(body, dict) else None
    for source, names in ((body, ("message", "detail", "error")), (nested, ("message", "detail"))):
        for name in names:
            found = _text(source, name)
            if found:
                return found
    return f"{response.status_code} {response.reason_phrase or 'HTTP Error'}"


def _text(source: object, name: str) -> str | None:
    value = source.get(name) if isinstance(source, dict) else None
    return value if isinstance(value, str) else None
