"""The handler of an ``Auth`` object, called with what it asks for."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

from loomline.server.authz.authorizer import AuthObject, refusal
from loomline.server.authz.errors import BrokenAuth, Refused
from loomline.server.authz.requests import PARAMETERS, AuthRequest
from loomline.server.authz.users import FIELDS, Caller, User, is_identity
from loomline.server.domain.errors import AuthLoadError, GraphLoadError
from loomline.server.graphs.loader import load_attribute
from loomline.server.graphs.spec import GraphSpec

_PARTS: Final = ("_handlers", "_global_handlers", "_authenticate_handler", "types")


def load_auth(spec: GraphSpec) -> AuthObject:
    """Return the object that ``auth.path`` names.

    Raises:
        AuthLoadError: it cannot be imported, or is no object of ``Auth``.
    """
    try:
        found = load_attribute(spec)
    except GraphLoadError as error:
        raise AuthLoadError(spec.source, error.reason) from error
    if any(not hasattr(found, part) for part in _PARTS):
        raise AuthLoadError(
            spec.source,
            f"'{spec.attribute}' is of type '{type(found).__name__}'. It must be an object of"
            " loomline.Auth or langgraph_sdk.Auth.",
        )
    return found


class HandlerAuthenticator:
    """Calls ``@auth.authenticate``. A function that is not async runs on a thread.

    Raises:
        AuthLoadError: the handler asks for what there is not.
    """

    def __init__(self, handler: Callable[..., object], source: str) -> None:
        self._handler = handler
        self._names = _parameters(handler, source)
        self._on_thread = not inspect.iscoroutinefunction(_function(handler))

    async def authenticate(self, request: AuthRequest) -> Caller:
        given = {name: await request.parameter(name) for name in self._names}
        try:
            if self._on_thread:
                result = await asyncio.to_thread(self._handler, **given)
            else:
                result = self._handler(**given)
            if inspect.isawaitable(result):
                result = await cast("Awaitable[object]", result)
        except Exception as error:
            refused = refusal(error) or _starlette_refusal(error)
            if refused is None:
                raise
            raise refused from None
        return caller_of(result)


def caller_of(result: object) -> Caller:
    """Return who asks, of what a handler returned in any of its forms.

    Raises:
        BrokenAuth: it is none of them.
        Refused: it is somebody who has not been authenticated.
    """
    permissions: object = None
    if isinstance(result, tuple) and len(result) == 2:
        permissions, result = result
    fields = _fields(result)
    identity = fields.get("identity")
    if not is_identity(identity):
        raise BrokenAuth(
            "Expected a BaseUser instance with required property: identity (str). Your auth handler"
            f" returned {type(result).__name__}. Return a text, a dictionary with 'identity', or an"
            " object with that attribute; the identity must not be empty, '*', or have control"
            " characters."
        )
    if permissions is not None:
        fields["permissions"] = permissions
    given = fields.get("permissions") or ()
    if isinstance(given, str) or not all(isinstance(each, str) for each in given):
        raise BrokenAuth("Your auth handler returned permissions that are no list of texts.")
    user = User(fields)
    if not user.is_authenticated:
        raise Refused(401, "Unauthorized")
    return Caller(user)


def _fields(result: object) -> dict[str, Any]:
    if isinstance(result, str):
        return {"identity": result}
    if isinstance(result, Mapping):
        return dict(result)
    found = {key: each for key, each in _inside(result).items() if not key.startswith("_")}
    named = {name: getattr(result, name) for name in FIELDS if hasattr(result, name)}
    return found | named


def _inside(value: object) -> dict[str, Any]:
    """Return the fields of an object, of whatever kind it is."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    dump = getattr(value, "model_dump", None)
    found = dump() if callable(dump) else getattr(value, "__dict__", {})
    return dict(found) if isinstance(found, Mapping) else {}


def _starlette_refusal(error: Exception) -> Refused | None:
    for kind in type(error).__mro__:
        if kind.__name__ == "AuthenticationError" and kind.__module__.startswith("starlette."):
            return Refused(403, str(error) or "Forbidden")
    return None


def _function(handler: Callable[..., object]) -> Callable[..., object]:
    """Return the function that is called: objects can be handlers too."""
    if inspect.isroutine(handler):
        return handler
    return cast("Callable[..., object]", getattr(handler, "__call__", handler))  # noqa: B004


def _parameters(handler: Callable[..., object], source: str) -> tuple[str, ...]:
    wanted: list[str] = []
    for each in inspect.signature(handler).parameters.values():
        known = each.name in PARAMETERS and each.kind is not each.POSITIONAL_ONLY
        if known and each.kind not in {each.VAR_KEYWORD, each.VAR_POSITIONAL}:
            wanted.append(each.name)
        elif each.default is each.empty and each.kind not in {
            each.VAR_KEYWORD,
            each.VAR_POSITIONAL,
        }:
            raise AuthLoadError(
                source,
                f"the server has nothing to give for the parameter '{each.name}' of your"
                f" authenticate handler. It can ask for: {', '.join(PARAMETERS)}.",
            )
    return tuple(wanted)
