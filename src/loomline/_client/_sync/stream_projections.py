# Generated from stream_projections.py by tools/unasync.py. Do not edit.
"""What can be read of a thread, each in its own form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, Final

from loomline._client._sync.stream_handles import (
    ChatModelStream,
    Makers,
    SyncScopedStreamHandle,
    SyncToolCallHandle,
)
from loomline._client._sync.stream_session import Cursor, Session
from loomline._client.concurrency import SyncResult, sync_closed
from loomline.stream.decoders import (
    DataDecoder,
    ExtensionsDecoder,
    MessagesDecoder,
    SubgraphsDecoder,
    ToolCallsDecoder,
    validate_interleave_channels,
)
from loomline.stream.thread import Run
from loomline.stream.types import Channel, SubgraphStatus, SubscribeParams

_BELOW: Final[list[Channel]] = ["lifecycle", "messages", "tasks", "tools", "custom"]
_DATA: Final = ("values", "updates", "checkpoints", "tasks")


class ValuesProjection(SyncResult[Any]):
    """The values of the state: first as they are now, then as they change.

    Awaiting it waits for the end of the run, as `output` does.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._cursor = Cursor()

    def get(self) -> Any:
        """Wait for the end of the run; return the values that it has left.

        Raises:
            RuntimeError: no run was started, or it failed, or it was cut short.
        """
        return self._session.output(None)

    def __iter__(self) -> Iterator[Any]:
        """Iterate to the end of the run, or its next question."""
        decoder = DataDecoder("values")
        params = _params("values")
        parts = self._session.read(params, decoder.feed, self._cursor, first=True)
        with closing(parts):
            for part in parts:
                yield part


class MessagesProjection:
    """The messages of the models that the graph itself calls, while they are written."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._cursor = Cursor()

    def __iter__(self) -> Iterator[ChatModelStream]:
        """Iterate to the end of the run, or its next question."""
        decoder = MessagesDecoder([], Makers(self._session.hub.guard).message)
        parts = self._session.read(
            _params("messages"),
            decoder.feed,
            self._cursor,
            lambda error, run: decoder.fail(_reason(self._session, error, run, "message")),
        )
        with closing(parts):
            for part in parts:
                yield part


class ToolCallsProjection:
    """The tool calls of the graph itself, while they are executed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._cursor = Cursor()

    def __iter__(self) -> Iterator[SyncToolCallHandle]:
        """Iterate to the end of the run, or its next question."""
        decoder = ToolCallsDecoder([], Makers(self._session.hub.guard).tool_call)
        parts = self._session.read(
            _params("tools"),
            decoder.feed,
            self._cursor,
            lambda error, run: decoder.fail(_failure(self._session, error, run)),
        )
        with closing(parts):
            for part in parts:
                yield part


class SubgraphsProjection:
    """The subgraphs that the graph itself runs, and what happens in them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._cursor = Cursor()

    def __iter__(self) -> Iterator[SyncScopedStreamHandle]:
        """Iterate to the end of the run, or its next question."""
        decoder = SubgraphsDecoder((), Makers(self._session.hub.guard).subgraph, self._cursor.known)
        parts = self._session.read(
            _params(*_BELOW),
            decoder.feed,
            self._cursor,
            lambda error, run: decoder.finish(*_outcome(self._session, error, run)),
        )
        with closing(parts):
            for part in parts:
                yield part


class ExtensionProjection:
    """What the graph writes to one stream of its own."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name
        self._cursor = Cursor()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate to the end of the run, or its next question."""
        decoder = ExtensionsDecoder(self._name)
        params = _params(f"custom:{self._name}")
        parts = self._session.read(params, decoder.feed, self._cursor, quiet=True)
        with closing(parts):
            for part in parts:
                yield part


class ExtensionsProjection:
    """What the graph writes to streams of its own, by name."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._made: dict[str, ExtensionProjection] = {}

    def __getitem__(self, name: str) -> ExtensionProjection:
        """Return the stream of a name.

        Raises:
            ValueError: the name is empty.
        """
        if not name:
            raise ValueError("The name of an extension must be a non-empty string")
        return self._made.setdefault(name, ExtensionProjection(self._session, name))


class Interleaving:
    """Several projections in one, in the order of the events."""

    def __init__(self, session: Session, names: list[str]) -> None:
        validate_interleave_channels(names)
        self._session = session
        makers = Makers(session.hub.guard)
        self._messages = MessagesDecoder([], makers.message)
        self._tools = ToolCallsDecoder([], makers.tool_call)
        self._subgraphs = SubgraphsDecoder((), makers.subgraph)
        self._feeds = {name: self._feed(name) for name in names}
        self._channels = sorted({c for name in names for c in _channels(name)})

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Iterate to the end of the run, or its next question."""
        parts = self._session.read(
            _params(*self._channels), self._decode, Cursor(), self._finish, quiet=True
        )
        with closing(parts):
            for part in parts:
                yield part

    def _decode(self, event: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, feed in self._feeds.items():
            for made in feed(event):
                yield name, made

    def _finish(self, error: BaseException | None, run: Run | None) -> None:
        self._messages.fail(_reason(self._session, error, run, "message"))
        self._tools.fail(_failure(self._session, error, run))
        self._subgraphs.finish(*_outcome(self._session, error, run))

    def _feed(self, name: str) -> Callable[[Mapping[str, Any]], Iterator[Any]]:
        known = {
            "messages": self._messages.feed,
            "tool_calls": self._tools.feed,
            "subgraphs": self._subgraphs.feed,
        }
        if name in known:
            return known[name]
        if name == "values":
            return DataDecoder(name).feed  # of subgraphs too, as everywhere
        return DataDecoder(name, []).feed if name in _DATA else ExtensionsDecoder(name).feed


def _channels(name: str) -> list[Channel]:
    known: dict[str, list[Channel]] = {
        "messages": ["messages"],
        "tool_calls": ["tools"],
        "subgraphs": _BELOW,
    }
    if name in known:
        return known[name]
    return [name] if name in _DATA else [f"custom:{name}"]


def _params(*channels: Channel) -> SubscribeParams:
    return {"channels": list(channels)}


def _failure(
    session: Session, error: BaseException | None, run: Run | None
) -> BaseException | None:
    """Return why what is open ends, if there is a reason."""
    if session.closed:
        return sync_closed(session.title)
    return error or (run.error if run is not None else None)


def _reason(
    session: Session, error: BaseException | None, run: Run | None, what: str
) -> BaseException:
    found = _failure(session, error, run)
    return found or RuntimeError(f"The stream ended before the {what} did.")


def _outcome(
    session: Session, error: BaseException | None, run: Run | None
) -> tuple[SubgraphStatus, str | None]:
    """Return how subgraphs end that have not ended when the reading does."""
    if run is not None and run.state == "paused":
        return "interrupted", None
    failure = _failure(session, error, run)
    return ("completed", None) if failure is None else ("failed", str(failure))
