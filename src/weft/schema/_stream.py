"""What a stream of events consists of."""

from typing import Any, NamedTuple


class StreamPart(NamedTuple):
    """One event of a stream.

    ``data`` is the decoded payload (any JSON value, None where there is none), ``id`` the last
    event id that the server has sent.
    """

    event: str
    data: Any
    id: str | None = None
