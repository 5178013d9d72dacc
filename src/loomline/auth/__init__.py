"""Who may use a server, and for what: handlers that a server calls for every request.

A server finds the object by the path in its configuration (`"auth": {"path": "./auth.py:auth"}`).

    auth = Auth()

    @auth.authenticate
    async def authenticate(authorization: str | None) -> Auth.types.MinimalUserDict:
        user = await find_user(authorization)
        if user is None:
            raise Auth.exceptions.HTTPException(401, "Unknown token")
        return {"identity": user.id}

    @auth.on
    async def only_the_owner(ctx: Auth.types.AuthContext, value: dict):
        owner = {"owner": ctx.user.identity}
        value.setdefault("metadata", {}).update(owner)
        return owner
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Generic, Literal, Protocol, TypeAlias, TypeVar, overload

from loomline.auth import exceptions, types

__all__ = ["Auth", "exceptions", "types"]

T = TypeVar("T")
V = TypeVar("V", contravariant=True)  # noqa: PLC0105 - the name in the interface
VCreate = TypeVar("VCreate")
VRead = TypeVar("VRead")
VUpdate = TypeVar("VUpdate")
VDelete = TypeVar("VDelete")
VSearch = TypeVar("VSearch")
AH = TypeVar("AH", bound=types.Authenticator)
TH = TypeVar("TH", bound=types.Handler)
ResourceActionT = TypeVar("ResourceActionT", bound=str)

_Resource: TypeAlias = Literal["threads", "crons", "assistants"]
_Action: TypeAlias = Literal["create", "read", "update", "delete", "search", "create_run"]
_StoreAction: TypeAlias = Literal["put", "get", "search", "list_namespaces", "delete"]

_ACTIONS: Final = ("create", "read", "update", "delete", "search")
_STORE_ACTIONS: Final = ("put", "get", "search", "list_namespaces", "delete")


class _ActionHandler(Protocol[V]):
    """A handler as servers call it: by name."""

    async def __call__(self, *, ctx: types.AuthContext, value: V) -> types.HandlerResult: ...


AHO = TypeVar("AHO", bound=_ActionHandler[Any])


class Auth:
    """The handlers of a server.

    Attributes:
        on: Registers functions that authorize: `@auth.on` for everything, `@auth.on.threads` for a
            resource, `@auth.on.threads.create` for one of its actions. The most special one counts.
        types: What handlers take and give.
        exceptions: What handlers raise.

    Example:
        >>> auth = Auth()
        >>> @auth.on.threads.create
        ... async def stamp(ctx, value):
        ...     value.setdefault("metadata", {})["owner"] = ctx.user.identity
    """

    __slots__ = (
        "_authenticate_handler",
        "_global_handlers",
        "_handler_cache",
        "_handlers",
        "on",
    )

    types = types
    exceptions = exceptions

    def __init__(self) -> None:
        # Servers of any maker read these, by these names.
        self.on: _On = _On(self)
        self._handlers: dict[tuple[str, str], list[types.Handler]] = {}
        self._global_handlers: list[types.Handler] = []
        self._authenticate_handler: types.Authenticator | None = None
        self._handler_cache: dict[tuple[str, str], types.Handler] = {}

    def authenticate(self, fn: AH) -> AH:
        """Register the function that finds out who asks.

        Args:
            fn: Called with those of these parameters that it names: `request`, `body`, `path`,
                `method`, `path_params`, `query_params`, `headers` (bytes), `authorization`.
                Returns the user: a string (the identity), a mapping with `identity`, or an object
                with that attribute. Raises `HTTPException` to refuse.

        Returns:
            The function itself.

        Raises:
            ValueError: there is one already.
        """
        if self._authenticate_handler is not None:
            raise ValueError(
                f"There is an authentication handler already: {self._authenticate_handler!r}"
            )
        self._authenticate_handler = fn
        return fn


class _ResourceActionOn(Generic[T]):
    """Registers the handler of one action of a resource."""

    def __init__(self, auth: Auth, resource: _Resource, action: _Action, value: type[T]) -> None:
        self.auth: Auth = auth
        self.resource: _Resource = resource
        self.action: _Action = action
        self.value: type[T] = value

    def __call__(self, fn: AHO) -> AHO:
        """Register a handler; return it."""
        _register(self.auth, [(self.resource, self.action)], fn)
        return fn


class _ResourceOn(Generic[VCreate, VRead, VUpdate, VDelete, VSearch]):
    """Registers the handlers of a resource."""

    value: ClassVar[Any]
    Create: ClassVar[Any]
    Read: ClassVar[Any]
    Update: ClassVar[Any]
    Delete: ClassVar[Any]
    Search: ClassVar[Any]
    _actions: ClassVar[tuple[str, ...]] = _ACTIONS

    def __init__(self, auth: Auth, resource: _Resource) -> None:
        self.auth: Auth = auth
        self.resource: _Resource = resource
        self.create: _ResourceActionOn[VCreate] = self._action("create", self.Create)
        self.read: _ResourceActionOn[VRead] = self._action("read", self.Read)
        self.update: _ResourceActionOn[VUpdate] = self._action("update", self.Update)
        self.delete: _ResourceActionOn[VDelete] = self._action("delete", self.Delete)
        self.search: _ResourceActionOn[VSearch] = self._action("search", self.Search)

    def _action(self, action: _Action, value: type[T]) -> _ResourceActionOn[T]:
        return _ResourceActionOn(self.auth, self.resource, action, value)

    @overload
    def __call__(self, fn: AHO) -> AHO: ...

    @overload
    def __call__(
        self,
        *,
        resources: str | Sequence[str] | None = None,
        actions: str | Sequence[str] | None = None,
    ) -> Callable[[AHO], AHO]: ...

    def __call__(
        self,
        fn: AHO | None = None,
        *,
        resources: str | Sequence[str] | None = None,
        actions: str | Sequence[str] | None = None,
    ) -> AHO | Callable[[AHO], AHO]:
        """Register a handler of all actions, or of those that are named; return it."""
        named = self.resource if resources is None else resources
        if (others := _strings("resources", named)) != [self.resource]:
            raise ValueError(
                f"auth.on.{self.resource} cannot register handlers of {', '.join(others)}."
                " Use @auth.on(...) for other or several resources."
            )
        chosen = ["*"] if actions is None else _checked(actions, self._actions, self.resource)
        return _decorator(self.auth, [(self.resource, action) for action in chosen], fn)


class _ThreadsOn(
    _ResourceOn[
        types.ThreadsCreate,
        types.ThreadsRead,
        types.ThreadsUpdate,
        types.ThreadsDelete,
        types.ThreadsSearch,
    ]
):
    value = types.on.threads.value
    Create = types.ThreadsCreate
    Read = types.ThreadsRead
    Update = types.ThreadsUpdate
    Delete = types.ThreadsDelete
    Search = types.ThreadsSearch
    CreateRun: ClassVar[Any] = types.RunsCreate
    _actions = (*_ACTIONS, "create_run")

    def __init__(self, auth: Auth, resource: _Resource) -> None:
        super().__init__(auth, resource)
        self.create_run: _ResourceActionOn[types.RunsCreate] = self._action(
            "create_run", types.RunsCreate
        )


class _AssistantsOn(
    _ResourceOn[
        types.AssistantsCreate,
        types.AssistantsRead,
        types.AssistantsUpdate,
        types.AssistantsDelete,
        types.AssistantsSearch,
    ]
):
    value = types.on.assistants.value
    Create = types.AssistantsCreate
    Read = types.AssistantsRead
    Update = types.AssistantsUpdate
    Delete = types.AssistantsDelete
    Search = types.AssistantsSearch


class _CronsOn(
    _ResourceOn[
        types.CronsCreate,
        types.CronsRead,
        types.CronsUpdate,
        types.CronsDelete,
        types.CronsSearch,
    ]
):
    value = types.on.crons.value
    Create = types.CronsCreate
    Read = types.CronsRead
    Update = types.CronsUpdate
    Delete = types.CronsDelete
    Search = types.CronsSearch


class _StoreActionOn(Generic[T]):
    """Registers the handler of one action of the store."""

    def __init__(self, auth: Auth, action: _StoreAction, value: type[T]) -> None:
        self.auth: Auth = auth
        self.action: _StoreAction = action
        self.value: type[T] = value

    def __call__(self, fn: AHO) -> AHO:
        """Register a handler; return it."""
        _register(self.auth, [("store", self.action)], fn)
        return fn


class _StoreOn:
    """Registers the handlers of the store."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth
        self.put: _StoreActionOn[types.StorePut] = _StoreActionOn(auth, "put", types.StorePut)
        self.get: _StoreActionOn[types.StoreGet] = _StoreActionOn(auth, "get", types.StoreGet)
        self.search: _StoreActionOn[types.StoreSearch] = _StoreActionOn(
            auth, "search", types.StoreSearch
        )
        self.delete: _StoreActionOn[types.StoreDelete] = _StoreActionOn(
            auth, "delete", types.StoreDelete
        )
        self.list_namespaces: _StoreActionOn[types.StoreListNamespaces] = _StoreActionOn(
            auth, "list_namespaces", types.StoreListNamespaces
        )

    @overload
    def __call__(
        self, *, actions: _StoreAction | Sequence[_StoreAction] | None = None
    ) -> Callable[[AHO], AHO]: ...

    @overload
    def __call__(self, fn: AHO) -> AHO: ...

    def __call__(
        self,
        fn: AHO | None = None,
        *,
        actions: _StoreAction | Sequence[_StoreAction] | None = None,
    ) -> AHO | Callable[[AHO], AHO]:
        """Register a handler of all actions, or of those that are named; return it."""
        known = (*_STORE_ACTIONS, "*")
        chosen = ["*"] if actions is None else _checked(actions, known, "store")
        return _decorator(self._auth, [("store", action) for action in chosen], fn)


class _On:
    """Registers functions that authorize.

    Attributes:
        assistants: Those of assistants.
        threads: Those of threads and runs.
        crons: Those of crons.
        store: Those of the store.
        value: The type of `value` in a handler of everything.
    """

    # A slot of the interface that is never filled: runs are `threads.create_run`.
    __slots__ = ("_auth", "assistants", "crons", "runs", "store", "threads", "value")

    def __init__(self, auth: Auth) -> None:
        self._auth = auth
        self.assistants: _AssistantsOn = _AssistantsOn(auth, "assistants")
        self.threads: _ThreadsOn = _ThreadsOn(auth, "threads")
        self.crons: _CronsOn = _CronsOn(auth, "crons")
        self.store: _StoreOn = _StoreOn(auth)
        self.value: Any = dict[str, Any]

    @overload
    def __call__(
        self,
        *,
        resources: str | Sequence[str] | None = None,
        actions: str | Sequence[str] | None = None,
    ) -> Callable[[AHO], AHO]: ...

    @overload
    def __call__(self, fn: AHO) -> AHO: ...

    def __call__(
        self,
        fn: AHO | None = None,
        *,
        resources: str | Sequence[str] | None = None,
        actions: str | Sequence[str] | None = None,
    ) -> AHO | Callable[[AHO], AHO]:
        """Register a handler of everything, or of the resources and actions named; return it."""
        chosen = _several("actions", actions)
        keys = [(name, action) for name in _several("resources", resources) for action in chosen]
        return _decorator(self._auth, keys, fn)


def is_studio_user(user: types.MinimalUser | types.BaseUser | types.MinimalUserDict) -> bool:
    """Tell whether somebody looks at the server with a studio.

    Args:
        user: The user, as an object or as a dictionary.
    """
    if isinstance(user, dict):
        return user.get("kind") == "StudioUser"
    return isinstance(user, types.StudioUser)


def _decorator(
    auth: Auth, keys: Sequence[tuple[str, str]], fn: TH | None
) -> TH | Callable[[TH], TH]:
    def register(handler: TH) -> TH:
        _register(auth, keys, handler)
        return handler

    return register if fn is None else register(fn)


def _register(auth: Auth, keys: Sequence[tuple[str, str]], handler: types.Handler) -> None:
    """Register a handler under all keys, or under none.

    Raises:
        ValueError: it is no handler, or one of the keys is taken.
    """
    _validate_handler(handler)
    for key in keys:
        if key == ("*", "*") and auth._global_handlers:
            raise ValueError("There is a handler of everything already.")
        if key in auth._handlers or keys.count(key) > 1:
            raise ValueError(f"There is a handler of {key[0]}, {key[1]} already.")
    for key in keys:
        if key == ("*", "*"):
            auth._global_handlers.append(handler)
        else:
            auth._handlers[key] = [handler]


def _validate_handler(fn: Callable[..., Any]) -> None:
    name = getattr(fn, "__name__", repr(fn))
    if not inspect.iscoroutinefunction(fn):
        raise ValueError(
            f"The handler '{name}' must be an async function: put 'async' before 'def'."
        )
    parameters = inspect.signature(fn).parameters
    for wanted in ("ctx", "value"):
        if wanted not in parameters:
            raise ValueError(
                f"The handler '{name}' must have a parameter '{wanted}':"
                f" async def {name}(ctx, value)."
            )


def _several(what: str, names: str | Sequence[str] | None) -> list[str]:
    """Return the names, `*` for none given.

    Raises:
        ValueError: the sequence is empty.
    """
    if names is None or isinstance(names, str):
        return [names or "*"]
    if not (several := list(names)):
        # A list that came out empty is a mistake: it means neither nothing nor everything.
        raise ValueError(f"{what} must not be empty: leave it out to mean all of them.")
    return several


def _strings(what: str, names: object) -> list[str]:
    """Return one string or several as a list.

    Raises:
        TypeError: they are neither a string nor a sequence of strings.
        ValueError: there are none.
    """
    many = [names] if isinstance(names, str) else names
    found = [name for name in many if isinstance(name, str)] if isinstance(many, Sequence) else []
    if not isinstance(many, Sequence) or len(found) != len(many):
        raise TypeError(f"{what} must be a string or a sequence of strings")
    if not found:
        raise ValueError(f"{what} must not be empty")
    return found


def _checked(actions: str | Sequence[str], known: Sequence[str], resource: str) -> list[str]:
    """Return actions as a list.

    Raises:
        TypeError: they are neither a string nor a sequence of strings.
        ValueError: there are none, one is named twice, or one is unknown.
    """
    chosen = _strings("actions", actions)
    if unknown := [action for action in chosen if action not in known]:
        raise ValueError(
            f"Unknown actions of {resource}: {', '.join(unknown)}. There are {', '.join(known)}."
        )
    if len(set(chosen)) != len(chosen):
        raise ValueError("actions must not name one twice")
    return chosen
