"""The way in for code that runs in this process: the application, from any event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias, TypeVar

from weft.server.api.authentication import CALLER
from weft.server.api.errors import detail
from weft.server.authz.acting import acting
from weft.server.authz.users import SERVER

T = TypeVar("T")

_LOST = (
    "This client is used on a thread that the server knows no run of. Call it in a node, or start"
    " the thread with contextvars.copy_context().run(...)."
)

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]


class Inside:
    """An ASGI application that is called on one event loop, whichever loop it is called from.

    Graphs run on loops of their own, and the application has tasks and connections on its own.
    Nobody is authenticated: whoever asks acts for the user of the run that it belongs to, and code
    of the server's own loop, which belongs to none, for the server.

    Args:
        app: The application.
        loop: The loop that it runs on.
        strict: Whether other code that belongs to no run is refused: it may have lost its user.
    """

    def __init__(self, app: App, loop: asyncio.AbstractEventLoop, *, strict: bool = False) -> None:
        self._app = app
        self._loop = loop
        self._strict = strict

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        here = asyncio.get_running_loop()
        caller = acting()
        if caller is None and self._strict and here is not self._loop:
            await detail(401, _LOST)(scope, receive, send)
            return
        scope[CALLER] = caller or SERVER
        if here is self._loop:
            await self._app(scope, receive, send)
            return

        async def receive_there() -> Message:
            return await _on(here, receive())

        async def send_there(message: Message) -> None:
            await _on(here, send(message))

        await _on(self._loop, self._app(scope, receive_there, send_there))


async def _on(loop: asyncio.AbstractEventLoop, work: Awaitable[T]) -> T:
    """Await something on another loop; when this is cancelled, it is too."""

    async def run() -> T:
        return await work

    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), loop))
