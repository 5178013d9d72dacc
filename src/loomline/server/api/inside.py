"""The way in for code that runs in this process: the application, from any event loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import timedelta
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final, TypeAlias, TypeVar

import httpx

from loomline import cache
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


_OFFICIAL: Final = "langgraph_api"

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
    """Make imports of ``langgraph_api`` lead to this server.

    Clients of the official package without an address import that server's application and its
    transport, and ``langgraph_sdk.cache`` imports its cache. The real package reads the
    environment when it is imported and fails without Redis. So this package stands in for it,
    installed or not, and has no folder in which an import could find a real module.
    """
    package = ModuleType(_OFFICIAL)
    package.__path__ = []
    package.__spec__ = ModuleSpec(_OFFICIAL, None, is_package=True)
    sys.modules[_OFFICIAL] = package
    _provide("server", app=door)
    _provide("asgi_transport", ASGITransport=AsgiTransport)
    _provide(
        "cache",
        cache_get=cache.cache_get,
        cache_set=_cache_set,
        swr=cache.swr,
        SWRResult=cache.SWRResult,
    )


def _provide(child: str, **content: object) -> None:
    name = f"{_OFFICIAL}.{child}"
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(content)
    sys.modules[name] = module
    setattr(sys.modules[_OFFICIAL], child, module)


async def _cache_set(key: str, value: object, ttl: timedelta | None = None) -> None:
    """Take the lifetime by position, as the official package gives it."""
    await cache.cache_set(key, value, ttl=ttl)


async def _on(loop: asyncio.AbstractEventLoop, work: Awaitable[T]) -> T:
    """Await something on another loop; when this is cancelled, it is too."""

    async def run() -> T:
        return await work

    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), loop))
