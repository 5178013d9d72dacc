"""What handlers of authentication and authorization take and give.

The `value` of an authorization handler is the request in the form of one of the dictionaries
here, by resource and action. A handler may change it, and the server goes on with what it is then.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, Required, TypeAlias, TypeVar, runtime_checkable
from uuid import UUID

from typing_extensions import TypedDict

__all__ = [
    "AssistantsCreate",
    "AssistantsDelete",
    "AssistantsRead",
    "AssistantsSearch",
    "AssistantsUpdate",
    "AuthContext",
    "Authenticator",
    "BaseAuthContext",
    "BaseUser",
    "CronsCreate",
    "CronsDelete",
    "CronsRead",
    "CronsSearch",
    "CronsUpdate",
    "FilterType",
    "Handler",
    "HandlerResult",
    "IfNotExists",
    "MetadataInput",
    "MinimalUser",
    "MinimalUserDict",
    "MultitaskStrategy",
    "OnConflictBehavior",
    "RunStatus",
    "RunsCreate",
    "StoreDelete",
    "StoreGet",
    "StoreListNamespaces",
    "StorePut",
    "StoreSearch",
    "StudioUser",
    "ThreadStatus",
    "ThreadTTL",
    "ThreadsCreate",
    "ThreadsDelete",
    "ThreadsRead",
    "ThreadsSearch",
    "ThreadsUpdate",
    "on",
]

T = TypeVar("T")

RunStatus: TypeAlias = Literal["pending", "error", "success", "timeout", "interrupted"]
"""How far a run has come."""

MultitaskStrategy: TypeAlias = Literal["reject", "rollback", "interrupt", "enqueue"]
"""What happens to a new run when the thread is busy."""

OnConflictBehavior: TypeAlias = Literal["raise", "do_nothing"]
"""What creating something that exists does."""

IfNotExists: TypeAlias = Literal["create", "reject"]
"""What a run on an unknown thread does."""

ThreadStatus: TypeAlias = Literal["idle", "busy", "interrupted", "error"]
"""What a thread is doing."""

MetadataInput: TypeAlias = dict[str, Any]
"""Metadata, as a client sends them."""

_Scalar: TypeAlias = str | int | float | bool | None

FilterType: TypeAlias = Mapping[str, _Scalar | Mapping[str, _Scalar | Sequence[_Scalar]]]
"""What the metadata of a resource must be for a user to see it. All keys must hold.

`{"owner": "ada"}` or `{"owner": {"$eq": "ada"}}`: exactly this value;
`{"team": {"$contains": "a"}}`: a list with this member, or with all of `{"$contains": ["a", "b"]}`.
"""

HandlerResult: TypeAlias = bool | FilterType | None
"""None or True lets a request pass, False refuses it, a filter lets it see what fits."""

Handler: TypeAlias = Callable[..., Awaitable[HandlerResult]]
"""A function that authorizes: `async def handler(ctx, value)`."""


@runtime_checkable
class MinimalUser(Protocol):
    """The least that a user has."""

    @property
    def identity(self) -> str:
        """What tells this user from all others."""
        ...


class MinimalUserDict(TypedDict, total=False):
    """A user as a dictionary; further keys are kept."""

    identity: Required[str]
    display_name: str
    is_authenticated: bool
    permissions: Sequence[str]


@runtime_checkable
class BaseUser(Protocol):
    """A user, as handlers and graphs see it: with attributes, and as a mapping."""

    @property
    def is_authenticated(self) -> bool:
        """Whether the user has been authenticated."""
        ...

    @property
    def display_name(self) -> str:
        """What people call the user."""
        ...

    @property
    def identity(self) -> str:
        """What tells this user from all others."""
        ...

    @property
    def permissions(self) -> Sequence[str]:
        """What the user may do, in words of the application."""
        ...

    def __getitem__(self, key: str) -> Any:
        """Return a field of the user."""
        ...

    def __contains__(self, key: object) -> bool:
        """Tell whether the user has a field."""
        ...

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the fields."""
        ...


class StudioUser:
    """A developer who looks at a server with a studio.

    Args:
        username: The identity, and the name to show.
        is_authenticated: Whether the developer has been authenticated.
    """

    __slots__ = ("_is_authenticated", "_permissions", "username")

    username: str

    def __init__(self, username: str, is_authenticated: bool = False) -> None:
        self.username = username
        self._is_authenticated = is_authenticated
        self._permissions = ["authenticated"] if is_authenticated else []

    @property
    def is_authenticated(self) -> bool:
        """Whether the developer has been authenticated."""
        return self._is_authenticated

    @property
    def display_name(self) -> str:
        """The name to show."""
        return self.username

    @property
    def identity(self) -> str:
        """What tells this user from all others."""
        return self.username

    @property
    def permissions(self) -> Sequence[str]:
        """`authenticated`, or nothing."""
        return self._permissions

    def __getitem__(self, key: str) -> Any:
        if key not in _USER_FIELDS:
            raise KeyError(key)
        return getattr(self, key)

    def __contains__(self, key: object) -> bool:
        return key in _USER_FIELDS

    def __iter__(self) -> Iterator[str]:
        return iter(_USER_FIELDS)


_USER_FIELDS = ("identity", "display_name", "is_authenticated", "permissions")

Authenticator: TypeAlias = Callable[
    ..., Awaitable[MinimalUser | str | BaseUser | MinimalUserDict | Mapping[str, Any]]
]
"""A function that authenticates. It is called with those of these parameters that it names:
`request`, `body`, `path`, `method`, `path_params`, `query_params`, `headers`, `authorization`."""


@dataclass(slots=True)
class BaseAuthContext:
    """Who asks."""

    permissions: Sequence[str]
    user: BaseUser


@dataclass(slots=True)
class AuthContext(BaseAuthContext):
    """Who asks, and for what."""

    resource: Literal["runs", "threads", "crons", "assistants", "store"]
    action: Literal[
        "create",
        "read",
        "update",
        "delete",
        "search",
        "create_run",
        "put",
        "get",
        "list_namespaces",
    ]


class ThreadTTL(TypedDict, total=False):
    """When a thread expires; `ttl` is in minutes."""

    strategy: Literal["delete"]
    ttl: int


class ThreadsCreate(TypedDict, total=False):
    """A thread is to be created."""

    thread_id: UUID
    metadata: MetadataInput
    if_exists: OnConflictBehavior
    ttl: ThreadTTL


class ThreadsRead(TypedDict, total=False):
    """A thread, or a run of it, is to be read."""

    thread_id: UUID
    run_id: UUID | None


class ThreadsUpdate(TypedDict, total=False):
    """A thread is to be changed, or a run of it cancelled (`action`)."""

    thread_id: UUID
    metadata: MetadataInput
    action: Literal["interrupt", "rollback"] | None


class ThreadsDelete(TypedDict, total=False):
    """A thread, or a run of it, is to be deleted."""

    thread_id: UUID
    run_id: UUID | None


class ThreadsSearch(TypedDict, total=False):
    """Threads are to be found."""

    metadata: MetadataInput
    values: MetadataInput
    status: ThreadStatus | None
    limit: int
    offset: int
    ids: Sequence[UUID] | None
    thread_id: UUID | None


class RunsCreate(TypedDict, total=False):
    """A run is to be started."""

    assistant_id: UUID | None
    thread_id: UUID | None
    run_id: UUID | None
    status: RunStatus | None
    metadata: MetadataInput
    prevent_insert_if_inflight: bool
    multitask_strategy: MultitaskStrategy
    if_not_exists: IfNotExists
    after_seconds: int
    kwargs: dict[str, Any]
    action: Literal["interrupt", "rollback"] | None


class AssistantsCreate(TypedDict, total=False):
    """An assistant is to be created."""

    assistant_id: UUID
    graph_id: str
    config: dict[str, Any]
    context: dict[str, Any]
    metadata: MetadataInput
    if_exists: OnConflictBehavior
    name: str


class AssistantsRead(TypedDict, total=False):
    """An assistant is to be read."""

    assistant_id: UUID
    metadata: MetadataInput


class AssistantsUpdate(TypedDict, total=False):
    """An assistant is to be changed."""

    assistant_id: UUID
    graph_id: str | None
    config: dict[str, Any]
    context: dict[str, Any]
    metadata: MetadataInput
    name: str | None
    version: int | None


class AssistantsDelete(TypedDict):
    """An assistant is to be deleted."""

    assistant_id: UUID


class AssistantsSearch(TypedDict):
    """Assistants are to be found."""

    graph_id: str | None
    metadata: MetadataInput
    limit: int
    offset: int


class CronsCreate(TypedDict, total=False):
    """A cron is to be created."""

    payload: dict[str, Any]
    schedule: str
    cron_id: UUID | None
    thread_id: UUID | None
    user_id: str | None
    end_time: datetime | None


class CronsDelete(TypedDict):
    """A cron is to be deleted."""

    cron_id: UUID


class CronsRead(TypedDict):
    """A cron is to be read."""

    cron_id: UUID


class CronsUpdate(TypedDict, total=False):
    """A cron is to be changed."""

    cron_id: UUID
    payload: dict[str, Any] | None
    schedule: str | None


class CronsSearch(TypedDict, total=False):
    """Crons are to be found."""

    assistant_id: UUID | None
    thread_id: UUID | None
    limit: int
    offset: int


class StoreGet(TypedDict):
    """A value of the store is to be read."""

    namespace: tuple[str, ...]
    key: str


class StoreSearch(TypedDict):
    """Values of the store are to be found, below a namespace."""

    namespace: tuple[str, ...]
    filter: dict[str, Any] | None
    limit: int
    offset: int
    query: str | None


class StoreListNamespaces(TypedDict):
    """Namespaces of the store are to be listed; `namespace` is what they begin with."""

    namespace: tuple[str, ...] | None
    suffix: tuple[str, ...] | None
    max_depth: int | None
    limit: int
    offset: int


class StorePut(TypedDict):
    """A value is to be put into the store."""

    namespace: tuple[str, ...]
    key: str
    value: dict[str, Any] | None
    index: Literal[False] | list[str] | None


class StoreDelete(TypedDict):
    """A value of the store is to be deleted."""

    namespace: tuple[str, ...]
    key: str


class on:
    """The types of `value`, by resource and action: `Auth.types.on.threads.create.value`."""

    value: TypeAlias = dict[str, Any]

    class threads:
        """Threads and their runs."""

        value: TypeAlias = (
            ThreadsCreate | ThreadsRead | ThreadsUpdate | ThreadsDelete | ThreadsSearch | RunsCreate
        )

        class create:
            """A thread is to be created."""

            value: TypeAlias = ThreadsCreate

        class create_run:
            """A run is to be started."""

            value: TypeAlias = RunsCreate

        class read:
            """A thread, or a run of it, is to be read."""

            value: TypeAlias = ThreadsRead

        class update:
            """A thread is to be changed."""

            value: TypeAlias = ThreadsUpdate

        class delete:
            """A thread, or a run of it, is to be deleted."""

            value: TypeAlias = ThreadsDelete

        class search:
            """Threads are to be found."""

            value: TypeAlias = ThreadsSearch

    class assistants:
        """Assistants."""

        value: TypeAlias = (
            AssistantsCreate
            | AssistantsRead
            | AssistantsUpdate
            | AssistantsDelete
            | AssistantsSearch
        )

        class create:
            """An assistant is to be created."""

            value: TypeAlias = AssistantsCreate

        class read:
            """An assistant is to be read."""

            value: TypeAlias = AssistantsRead

        class update:
            """An assistant is to be changed."""

            value: TypeAlias = AssistantsUpdate

        class delete:
            """An assistant is to be deleted."""

            value: TypeAlias = AssistantsDelete

        class search:
            """Assistants are to be found."""

            value: TypeAlias = AssistantsSearch

    class crons:
        """Crons."""

        value: TypeAlias = CronsCreate | CronsRead | CronsUpdate | CronsDelete | CronsSearch

        class create:
            """A cron is to be created."""

            value: TypeAlias = CronsCreate

        class read:
            """A cron is to be read."""

            value: TypeAlias = CronsRead

        class update:
            """A cron is to be changed."""

            value: TypeAlias = CronsUpdate

        class delete:
            """A cron is to be deleted."""

            value: TypeAlias = CronsDelete

        class search:
            """Crons are to be found."""

            value: TypeAlias = CronsSearch

    class store:
        """The store."""

        value: TypeAlias = StoreGet | StoreSearch | StoreListNamespaces | StorePut | StoreDelete

        class put:
            """A value is to be put into the store."""

            value: TypeAlias = StorePut

        class get:
            """A value of the store is to be read."""

            value: TypeAlias = StoreGet

        class search:
            """Values of the store are to be found."""

            value: TypeAlias = StoreSearch

        class delete:
            """A value of the store is to be deleted."""

            value: TypeAlias = StoreDelete

        class list_namespaces:
            """Namespaces of the store are to be listed."""

            value: TypeAlias = StoreListNamespaces
