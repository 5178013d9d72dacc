"""The way in for code that runs in this process: the application, from any event loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final, TypeAlias, TypeVar

import httpx

from loomline._client.loopback import AsgiTransport
from loomline.server.api.authentication import CALLER, show_user
from loomline.server.api.errors import detail
from loomline.server.authz.acting import acting
from loomline.server.authz.users import SERVER, Caller
from loomline.server.domain.json import Encoded

T = TypeVar("T")

_LOST = (
    "This client is used on a thread that the server knows no run of. Call it in a node, or start"
    " the thread with contextvars.copy_context().run(...)."
)

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]


INSIDE: Final = "loomline.inside"
"""What the scope of a request says that comes from this process. No request from outside can."""


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
        scope[INSIDE] = True
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


def as_user(app: App, user: Encoded | None) -> App:
    """Return an application without authentication: every request is the request of one user.

    The way in for webhooks that lead into the server itself: they act as the user of their run.

    Args:
        app: The application.
        user: The user, encoded. None: the run has none, and its requests are strangers'.
    """
    if user is None:
        return app
    caller = Caller.load(user)

    async def serve(scope: Message, receive: Receive, send: Send) -> None:
        scope[CALLER] = caller
        show_user(scope)
        await app(scope, receive, send)

    return serve


class Door:
    """An ASGI application that may be handed out before the one behind it is there."""

    def __init__(self) -> None:
        self._app: App | None = None

    def open(self, app: App) -> None:
        self._app = app

    def close(self) -> None:
        self._app = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if self._app is None:
            raise httpx.ConnectError("The server of this process does not serve at the moment")
        await self._app(scope, receive, send)


def show_official_clients(door: Door) -> None:
    """Make clients of the official package that are made without an address lead here.

    They import the application of the server they were written for, and its transport. Whether
    that server is installed as well makes no difference: it is not the one that runs.
    """
    if "langgraph_api" not in sys.modules and find_spec("langgraph_api") is None:
        sys.modules["langgraph_api"] = ModuleType("langgraph_api")
    _provide("langgraph_api.server", app=door)
    _provide("langgraph_api.asgi_transport", ASGITransport=AsgiTransport)


def _provide(name: str, **content: object) -> None:
    module = ModuleType(name)
    for key, value in content.items():
        setattr(module, key, value)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], child, module)


async def _on(loop: asyncio.AbstractEventLoop, work: Awaitable[T]) -> T:
    """Await something on another loop; when this is cancelled, it is too."""

    async def run() -> T:
        return await work

    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), loop))
