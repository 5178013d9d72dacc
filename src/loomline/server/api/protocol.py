"""``/threads/{thread_id}/commands`` and ``/threads/{thread_id}/stream/events``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import ClassVar, Final
from uuid import UUID, uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from loomline.server.api.authentication import caller_of
from loomline.server.api.body import decode_json, decoded, path_uuid, read_limited
from loomline.server.api.entries import Entry, Resource, Socket
from loomline.server.api.errors import detail
from loomline.server.api.jsonrules import JsonRules, rules_of
from loomline.server.api.protocol_wire import BadCommand, Command, failure, lost, success
from loomline.server.api.schemas import (
    ANY,
    DETAIL,
    INTEGER,
    OBJECT,
    STREAM,
    STRING,
    Named,
    fields,
)
from loomline.server.api.sockets import Connection, thread_of
from loomline.server.api.stream import endless_stream
from loomline.server.api.wire import encoded_response
from loomline.server.domain.errors import InvalidInput, LoomlineError, TooDeep
from loomline.server.domain.json import JsonObject
from loomline.server.domain.protocol import Numbered, Selection, Topic, make_filter, since
from loomline.server.services.headers import HeaderPicker
from loomline.server.services.protocol_commands import Asked, CommandFailed, ProtocolCommands
from loomline.server.services.protocol_events import ProtocolEvents
from loomline.server.services.requests import ProtocolCommandRequest, ProtocolStreamRequest
from loomline.server.services.run_request import parse_uuid

_EVENTS: Final = "/threads/{thread_id}/stream/events"
_NO_JSON: Final = "Invalid JSON body"


def _failed(command_id: JsonObject) -> JsonObject:
    kinds: JsonObject = {"type": {"const": "error"}, "id": command_id}
    return fields({**kinds, "error": STRING, "message": STRING}, meta=ANY)


_DONE: Final = fields({"type": {"const": "success"}, "id": INTEGER, "result": OBJECT}, meta=ANY)
COMMAND_ANSWER: Final[Named] = Named("CommandAnswer", {"oneOf": [_DONE, _failed(INTEGER)]})
NO_COMMAND: Final[Named] = Named(
    "NoCommand", {"oneOf": [DETAIL, _failed({"type": ["integer", "null"]})]}
)


class ProtocolRoutes(Resource):
    """The thread protocol, over HTTP and over a WebSocket."""

    tag = "threads"
    group: ClassVar[str | None] = "threads"

    def __init__(
        self,
        commands: ProtocolCommands,
        events: ProtocolEvents,
        *,
        body_limit: int,
        heartbeat_seconds: float,
        headers: HeaderPicker | None = None,
    ) -> None:
        self._commands = commands
        self._events = events
        self._limit = body_limit
        self._heartbeat = heartbeat_seconds
        self._headers = headers or HeaderPicker()

    async def command(self, request: Request) -> Response:
        try:
            command = Command.of(await self._read(request))
        except BadCommand as error:
            return encoded_response(failure(error.id, error), 400)
        except InvalidInput as error:
            return detail(400, str(error))
        try:
            thread_id = parse_uuid(request.path_params["thread_id"], "thread")
            result = await self._execute(request, thread_id, command)
        except Exception as error:  # noqa: BLE001 - the boundary: nothing may pass it unanswered
            return encoded_response(failure(command.id, error))
        return encoded_response(success(command, result, 0))

    async def follow(self, request: Request) -> ASGIApp:
        thread_id = path_uuid(request, "thread")
        try:
            given = await self._read(request)
            wanted = given if isinstance(given, dict) else {}
            selection = Selection([make_filter(wanted)])
        except InvalidInput as error:
            return detail(400, str(error))
        batches = await self._events.follow(caller_of(request), thread_id, since(wanted))
        return endless_stream(_frames(batches, selection), heartbeat_seconds=self._heartbeat)

    async def socket(self, websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            thread_id = thread_of(websocket)
        except InvalidInput as error:
            await websocket.close(4422, str(error))
            return
        await Connection(
            websocket,
            Asked(
                caller_of(websocket),
                thread_id,
                headers=self._headers.pick(websocket.headers.items()),
            ),
            commands=self._commands,
            events=self._events,
            limit=self._limit,
        ).serve()

    async def _read(self, request: Request) -> object:
        """Return a body.

        Raises:
            InvalidInput: it is no JSON, or a field is too large.
            TooDeep: it has more levels than are allowed.
            BodyTooLarge: it has more bytes or values than are allowed.
        """
        raw = await read_limited(request, self._limit)
        return await decoded(raw, partial(_command_json, raw, rules_of(request)))

    async def _execute(self, request: Request, thread_id: UUID, command: Command) -> JsonObject:
        """Do a command where there is no connection that it could be about."""
        if command.method in {"subscription.subscribe", "subscription.reconnect"}:
            make_filter(command.params)
            return {"subscription_id": str(uuid4()), "replayed_events": 0}
        if command.method == "subscription.unsubscribe":
            raise CommandFailed("no_such_subscription", "There is no such subscription.")
        asked = Asked(
            caller_of(request),
            thread_id,
            _request_id(request),
            self._headers.pick(request.headers.items()),
        )
        return await self._commands.execute(asked, command.method, command.params)

    def table(self) -> Sequence[Entry]:
        return [
            Entry(
                "POST", "/threads/{thread_id}/commands", self.command,
                "Send a command: start a run, answer what it asks, look at states",
                COMMAND_ANSWER, body=ProtocolCommandRequest, errors=(400, 413),
                malformed=NO_COMMAND, loose=True,
            ),
            Entry(
                "POST", _EVENTS, self.follow,
                "Follow the events of a thread; the same over a WebSocket with GET", STREAM,
                body=ProtocolStreamRequest, errors=(400, 413, 422, 503),
            ),
        ]  # fmt: skip

    def sockets(self) -> Sequence[Socket]:
        return [Socket(_EVENTS, self.socket)]


def _command_json(raw: bytes, rules: JsonRules | None) -> object:
    try:
        value: object = decode_json(raw)
    except (InvalidInput, TooDeep):
        raise InvalidInput(_NO_JSON) from None
    if rules is not None:
        rules.check(raw, value)
    return value


async def _frames(
    batches: AsyncGenerator[Sequence[Numbered]], selection: Selection
) -> AsyncGenerator[bytes]:
    try:
        async with aclosing(batches):
            async for batch in batches:
                frames = [_frame(each) for each in batch if selection.wants(each.key)]
                if frames:
                    yield b"".join(frames)
    except LoomlineError as error:
        yield b"event: error\r\ndata: %b\r\n\r\n" % lost(error)


def _frame(event: Numbered) -> bytes:
    return b"event: %b\r\ndata: %b\r\nid: %d\r\n\r\n" % (
        Topic.of(event.key).method.encode(),
        event.data,
        event.number,
    )


def _request_id(request: Request) -> str:
    return request.headers.get("x-request-id") or str(uuid4())
