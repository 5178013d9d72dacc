"""The thread protocol over a WebSocket: commands in, answers and events out."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from uuid import UUID, uuid4

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from loomline.server.api.authentication import caller_again
from loomline.server.api.body import decode_json, decoded
from loomline.server.api.errors import status_of
from loomline.server.api.jsonrules import JsonRules, TooManyValues, count_values, rules_of
from loomline.server.api.limits import TooManyRequests, count_command
from loomline.server.api.protocol_wire import BadCommand, Command, failure, lost, success
from loomline.server.authz.errors import Refused
from loomline.server.domain.errors import InvalidInput, LoomlineError, TooDeep
from loomline.server.domain.json import Encoded, JsonObject
from loomline.server.domain.protocol import (
    Filter,
    NoChannels,
    Selection,
    UnknownChannels,
    make_filter,
    since,
)
from loomline.server.services.protocol_commands import Asked, CommandFailed, ProtocolCommands
from loomline.server.services.protocol_events import ProtocolEvents
from loomline.server.services.run_request import parse_uuid

logger: logging.Logger = logging.getLogger("loomline.api")

SUBSCRIPTIONS_MOST = 100
"""Subscriptions of one connection."""

_NO_JSON = "Protocol commands must be valid JSON."

# What clients do not come back after, beside the status.
_CLOSED = 4000

_FAILED = 1011

# Statuses that a client may get over by trying again.
_PASSING = frozenset({408, 429})

_GONE = (WebSocketDisconnect, OSError)


class Connection:
    """One client.

    Events are sent by a task of its own, the pump, in the order of their numbers. While a new
    subscription gets what has been before it, the pump stands still.
    """

    def __init__(
        self,
        websocket: WebSocket,
        asked: Asked,
        *,
        commands: ProtocolCommands,
        events: ProtocolEvents,
        limit: int,
    ) -> None:
        self._socket = websocket
        self._asked = asked
        self._caller = asked.caller
        self._thread_id = asked.thread_id
        self._commands = commands
        self._events = events
        self._limit = limit
        self._filters: dict[str, Filter] = {}
        self._selection = Selection([])
        self._position = 0
        self._sent = 0
        self._sending = asyncio.Lock()
        self._pump: asyncio.Task[None] | None = None
        self._shut_out: tuple[int, str] | None = None

    async def serve(self) -> None:
        """Answer commands until the client leaves."""
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                await self._send(await self._answer(message.get("text") or message.get("bytes")))
                if self._shut_out is not None:
                    await self._stop()
                    await self._socket.close(*self._shut_out)
                    return
                self._resume()
        except _GONE:
            return
        finally:
            await self._stop()

    async def _answer(self, frame: str | bytes | None) -> Encoded:
        try:
            command = Command.of(await self._decode(frame or b""))
        except BadCommand as error:
            return self._bad(error)
        try:
            count_command(self._socket.scope)
            await self._identify()
            return success(command, await self._execute(command), self._sent)
        except _GONE:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: nothing may pass it unanswered
            return failure(command.id, error, self._sent)

    def _bad(self, error: BadCommand) -> Encoded:
        try:
            count_command(self._socket.scope)
        except TooManyRequests as refusal:
            return failure(error.id, refusal)
        return failure(error.id, error)

    async def _identify(self) -> None:
        """Find out who the client is by now: what it was allowed when it came may be over.

        Raises:
            Refused: nobody who may.
        """
        try:
            self._caller = await caller_again(self._socket)
        except Refused as error:
            self._shut_out = _CLOSED + error.status, "not authenticated any more"
            raise
        self._asked = replace(self._asked, caller=self._caller)

    async def _decode(self, frame: str | bytes) -> object:
        raw = frame.encode("utf-8", "replace") if isinstance(frame, str) else frame
        if len(raw) > self._limit:
            raise BadCommand(f"A command must not be larger than {self._limit} bytes.")
        return await decoded(raw, partial(_json, raw, rules_of(self._socket)))

    async def _execute(self, command: Command) -> JsonObject:
        params = command.params
        if command.method == "subscription.subscribe":
            return await self._subscribe(command.method, params, 0)
        if command.method == "subscription.reconnect":
            if isinstance(params.get("since"), bool) or not isinstance(params.get("since"), int):
                raise CommandFailed(
                    "invalid_argument", "subscription.reconnect requires an integer since."
                )
            return await self._subscribe(command.method, params, since(params))
        if command.method == "subscription.unsubscribe":
            return await self._unsubscribe(params)
        asked = replace(self._asked, request_id=str(uuid4()))
        return await self._commands.execute(asked, command.method, params)

    async def _subscribe(self, method: str, params: JsonObject, after: int) -> JsonObject:
        wanted = _filter(method, params)
        if len(self._filters) >= SUBSCRIPTIONS_MOST:
            raise CommandFailed(
                "invalid_argument",
                f"A connection can have {SUBSCRIPTIONS_MOST} subscriptions. Unsubscribe first.",
            )
        await self._pause()
        try:
            replayed = await self._replay(Selection([wanted]), after)
        except Refused as error:
            # The status is that of the endpoint for server-sent events: clients do not return.
            if close_code(error) != _FAILED:
                self._shut_out = close_code(error), "not allowed"
            raise
        subscription = str(uuid4())
        self._change({**self._filters, subscription: wanted})
        return {"subscription_id": subscription, "replayed_events": replayed}

    async def _replay(self, wanted: Selection, after: int) -> int:
        """Send what a new subscription has missed; return how many events that were.

        What the others have not got yet is sent along the way.
        """
        reached = self._position if self._filters else after
        replayed = 0
        past = await self._events.past(self._caller, self._thread_id, min(after, reached))
        async with aclosing(past) as batches:
            async for batch in batches:
                for event in batch:
                    new = event.number > after and wanted.wants(event.key)
                    late = event.number > reached and self._selection.wants(event.key)
                    if new or late:
                        await self._deliver(event.number, event.data)
                    replayed += new
                    self._position = max(self._position, event.number)
        self._position = max(self._position, after)
        return replayed

    async def _unsubscribe(self, params: JsonObject) -> JsonObject:
        subscription = params.get("subscription_id")
        if not isinstance(subscription, str) or subscription not in self._filters:
            raise CommandFailed("no_such_subscription", "There is no such subscription.")
        await self._pause()
        self._change({key: each for key, each in self._filters.items() if key != subscription})
        return {}

    def _change(self, filters: dict[str, Filter]) -> None:
        self._filters = filters
        self._selection = Selection(list(filters.values()))

    def _resume(self) -> None:
        if self._pump is None and self._filters:
            self._pump = asyncio.create_task(self._send_events())

    async def _pause(self) -> None:
        """Stop the pump between two events."""
        pump, self._pump = self._pump, None
        if pump is None:
            return
        async with self._sending:
            pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)

    async def _stop(self) -> None:
        """End the pump, wherever it is: nobody reads what it sends."""
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    async def _send_events(self) -> None:
        try:
            await self._follow()
        except _GONE:
            return
        except LoomlineError as error:
            await self._break_off(lost(error), close_code(error))
        except Exception as error:
            logger.exception("a stream of events failed")
            await self._break_off(failure(None, error))

    async def _follow(self) -> None:
        events = await self._events.follow(self._caller, self._thread_id, self._position)
        async with aclosing(events) as batches:
            async for batch in batches:
                for event in batch:
                    if self._selection.wants(event.key):
                        await self._deliver(event.number, event.data)
                    self._position = event.number

    async def _break_off(self, reason: Encoded, code: int = _FAILED) -> None:
        with suppress(*_GONE):
            await self._send(reason)
            await self._socket.close(code, "thread stream ended")

    async def _deliver(self, number: int, data: Encoded) -> None:
        await self._send(data)
        self._sent = max(self._sent, number)

    async def _send(self, data: Encoded) -> None:
        async with self._sending:
            if self._socket.application_state is not WebSocketState.CONNECTED:
                raise WebSocketDisconnect  # the pump has broken off
            await self._socket.send({"type": "websocket.send", "text": data.decode()})


def close_code(error: Exception) -> int:
    """Return the code that a connection is closed with because of an error.

    The statuses of refusals that stay refusals have codes of their own: clients do not connect
    again after one of them.
    """
    status = status_of(error)
    final = status is not None and 400 <= status < 500 and status not in _PASSING
    return _CLOSED + status if status is not None and final else _FAILED


def thread_of(websocket: WebSocket) -> UUID:
    return parse_uuid(websocket.path_params["thread_id"], "thread")


def _json(raw: bytes, rules: JsonRules | None) -> object:
    try:
        if rules is not None:
            count_values(raw, rules.values)
        value: object = decode_json(raw)
    except TooManyValues as error:
        raise BadCommand(str(error)) from None
    except (InvalidInput, TooDeep):
        raise BadCommand(_NO_JSON) from None
    try:
        if rules is not None:
            rules.check(raw, value)
    except (InvalidInput, TooDeep) as error:
        raise BadCommand(str(error), _id_of(value)) from None
    return value


def _id_of(value: object) -> int | None:
    try:
        return Command.of(value).id
    except BadCommand as error:
        return error.id


def _filter(method: str, params: JsonObject) -> Filter:
    try:
        return make_filter(params)
    except NoChannels:
        message = f"{method} requires a non-empty channels array."
    except UnknownChannels:
        message = f"{method} received an unsupported channel."
    raise CommandFailed("invalid_argument", message)
