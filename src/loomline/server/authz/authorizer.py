"""Asks the handlers of an ``Auth`` object what somebody may do."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

import orjson

from loomline.server.authz.errors import BrokenAuth, Refused
from loomline.server.authz.filters import parse_filter
from loomline.server.authz.users import Caller
from loomline.server.domain.access import EVERYTHING, Condition

logger: logging.Logger = logging.getLogger("loomline.auth")

Resource: TypeAlias = Literal["assistants", "threads", "crons", "store"]
Value: TypeAlias = dict[str, Any]
"""A request, as a handler sees and may change it."""

_Handler: TypeAlias = Callable[..., Awaitable[object]]

# The handlers may be of any maker: what is known of the object is the names of its parts.
AuthObject: TypeAlias = Any

_FORBIDDEN: Final = "Forbidden"


class Authorizer:
    """Runs the one handler that is registered most specially for a resource and an action.

    Args:
        auth: An object of ``loomline.Auth`` or ``langgraph_sdk.Auth``; None: everything is allowed.
    """

    def __init__(self, auth: AuthObject = None) -> None:
        self._auth = auth

    async def allow(
        self, caller: Caller, resource: Resource, action: str, value: Value
    ) -> Condition:
        """Return which rows an act may touch; what the handler made of ``value`` stays in it.

        Raises:
            Refused: the handler does not allow it.
            BrokenAuth: the handler returned what means nothing.
        """
        handler = self._handler(resource, action)
        if handler is None or caller.user is None:
            return EVERYTHING
        result = await self._ask(handler, caller, resource, action, value)
        if result is None or result is True:
            access: Condition = EVERYTHING
        elif result is False:
            raise Refused(403, _FORBIDDEN)
        elif isinstance(result, Mapping):
            access = parse_filter(result)
        else:
            raise BrokenAuth(
                "Auth handler returned invalid result. Expected filter dict, None, or boolean."
                f" Got {type(result)} instead."
            )
        if value.get("metadata") is not None:
            value["metadata"] = _json_object(value["metadata"])
        return access

    async def check(self, caller: Caller, resource: Resource, action: str, value: Value) -> None:
        """Do the same for what has no metadata.

        Raises:
            BrokenAuth: the handler returned a filter, which nothing could be held against.
        """
        if await self.allow(caller, resource, action, value) != EVERYTHING:
            raise BrokenAuth(
                f"Your auth handler returned a filter for '{resource}', whose items have no"
                f" metadata. Register a handler of its own with @auth.on.{resource}: it may check"
                " or change value['namespace'], and returns None, True or False."
            )

    def _handler(self, resource: Resource, action: str) -> _Handler | None:
        if self._auth is None:
            return None
        handlers: Mapping[tuple[str, str], list[_Handler]] = self._auth._handlers  # noqa: SLF001
        for key in ((resource, action), (resource, "*"), ("*", action)):
            if found := handlers.get(key):
                return found[-1]
        everything: list[_Handler] = self._auth._global_handlers  # noqa: SLF001
        return everything[-1] if everything else None

    async def _ask(
        self, handler: _Handler, caller: Caller, resource: Resource, action: str, value: Value
    ) -> object:
        context = self._auth.types.AuthContext(
            permissions=caller.permissions,
            user=self._seen(caller),
            resource=resource,
            action=action,
        )
        try:
            return await handler(ctx=context, value=value)
        except AssertionError as error:
            raise Refused(403, str(error) or _FORBIDDEN) from None
        except Exception as error:
            refused = refusal(error)
            if refused is None:
                raise
            raise refused from None

    def _seen(self, caller: Caller) -> object:
        """Return the user as the handlers know it: a studio by the class of their own package."""
        if not caller.studio:
            return caller.user
        return self._auth.types.StudioUser(caller.identity, is_authenticated=True)


def refusal(error: BaseException) -> Refused | None:
    """Return what an exception of a handler tells the client; None: it is a bug.

    ``HTTPException`` is known by its name: it may be ours, langgraph_sdk's or Starlette's.
    """
    status = getattr(error, "status_code", None)
    named = any(kind.__name__ == "HTTPException" for kind in type(error).__mro__)
    if not named or not isinstance(status, int) or not 300 <= status <= 599:
        return None
    headers = getattr(error, "headers", None)
    return Refused(status, str(getattr(error, "detail", "")), headers)


def _json_object(value: object) -> dict[str, Any]:
    try:
        plain = orjson.loads(orjson.dumps(value))
    except (TypeError, ValueError):
        plain = None
    if not isinstance(plain, dict):
        raise BrokenAuth(
            "Your auth handler made value['metadata'] something that is no JSON object."
        )
    return plain
