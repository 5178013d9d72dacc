"""``/threads/{thread_id}/stream``: the events of all runs of a thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, cast, get_args

from starlette.requests import Request
from starlette.types import ASGIApp

from loomline.schema import ThreadStreamMode
from loomline.server.api.authentication import caller_of
from loomline.server.api.body import path_uuid
from loomline.server.api.entries import Entry, Resource
from loomline.server.api.queries import WordsQuery, unknown_mode
from loomline.server.api.schemas import STREAM
from loomline.server.api.stream import failed_stream, thread_stream
from loomline.server.domain.errors import InvalidInput, ThreadNotFound
from loomline.server.domain.events import START, EventId
from loomline.server.services.thread_stream import ThreadStreamService

_DEFAULT_MODE: Final[ThreadStreamMode] = "run_modes"
_FROM_THE_START: Final = frozenset({"-1", "-", "0"})

MODES: Final = WordsQuery(
    "stream_modes", words=get_args(ThreadStreamMode), commas=True, refusal=unknown_mode,
    help=f"Events of runs, of their ends, new states. Default: {_DEFAULT_MODE}.",
)  # fmt: skip
MODE: Final = WordsQuery(
    "stream_mode", words=get_args(ThreadStreamMode), commas=True, refusal=unknown_mode,
    help="The same.",
)  # fmt: skip


class ThreadStreamRoutes(Resource):
    """The stream of a thread."""

    tag = "threads"
    group: ClassVar[str | None] = "threads"

    def __init__(self, threads: ThreadStreamService, *, heartbeat_seconds: float) -> None:
        self._threads = threads
        self._heartbeat = heartbeat_seconds

    async def follow(self, request: Request) -> ASGIApp:
        thread_id = path_uuid(request, "thread")
        cursor, modes = _cursor(request), _modes(request)
        try:
            batches = await self._threads.follow(caller_of(request), thread_id, cursor, modes)
        except ThreadNotFound as error:
            return failed_stream(
                "HTTPException", f"404: {error}", headers={}, heartbeat_seconds=self._heartbeat
            )
        return thread_stream(batches, heartbeat_seconds=self._heartbeat)

    def table(self) -> Sequence[Entry]:
        return [
            Entry(
                "GET", "/threads/{thread_id}/stream", self.follow, "Follow all runs of a thread",
                STREAM, query=(MODES, MODE), errors=(422, 503), resumes=True,
            ),
        ]  # fmt: skip


def _modes(request: Request) -> frozenset[ThreadStreamMode]:
    """Return the modes of both parameters."""
    modes = MODES.read(request) + MODE.read(request)
    return frozenset(cast("list[ThreadStreamMode]", modes or [_DEFAULT_MODE]))


def _cursor(request: Request) -> EventId | None:
    """Return the id of the last event that the client has; None without the header.

    Raises:
        InvalidInput: The header is not the id of an event.
    """
    text = request.headers.get("last-event-id")
    if not text:
        return None
    found = START if text in _FROM_THE_START else EventId.parse(text)
    if found is None:
        raise InvalidInput("Invalid last-event-id: must be a valid Redis stream ID")
    return found
