"""Rows of the route table, and the resources that they belong to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from typing_extensions import TypeAliasType

from loomline.server.api.errors import Handler
from loomline.server.api.limits import ServeSocket
from loomline.server.api.queries import Query
from loomline.server.api.schemas import ERROR, Content
from loomline.server.domain.json import JsonObject

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One route.

    Attributes:
        method: The HTTP method.
        path: The path, with parameters in braces.
        handler: Answers the requests.
        summary: A sentence for the OpenAPI document.
        answer: The schema of a good answer; None: it has no body.
        body: The type of the request body.
        query: The query parameters.
        errors: The other statuses of the route.
        status: The status of a good answer.
        malformed: The schema of an answer with status 400.
        named: The id in the path may be a name as well.
        loose: An error about the id in the path is part of a good answer.
        minimal: The header ``Prefer: return=minimal`` asks for an empty answer.
        idempotent: The header ``Idempotency-Key`` prevents a repetition.
        resumes: The header ``Last-Event-ID`` names the last event that the client has.
    """

    method: Method
    path: str
    handler: Handler
    summary: str
    answer: JsonObject | Content | None
    body: type | TypeAliasType | None = None
    query: Sequence[Query[Any]] = ()
    errors: Sequence[int] = ()
    status: int = 200
    malformed: JsonObject = field(default_factory=lambda: ERROR)
    named: bool = False
    loose: bool = False
    minimal: bool = False
    idempotent: bool = False
    resumes: bool = False


@dataclass(frozen=True, slots=True)
class Socket:
    """One route that is a WebSocket."""

    path: str
    serve: ServeSocket


class Resource(ABC):
    """The routes of one subject, with their handlers.

    Attributes:
        tag: Groups the routes in the OpenAPI document.
        group: The option ``http.disable_<group>`` switches the routes off; None: they stay.
        open: Whether the routes are served without authentication.
    """

    tag: ClassVar[str]
    group: ClassVar[str | None]
    open: ClassVar[bool] = False

    @abstractmethod
    def table(self) -> Sequence[Entry]:
        """Return the routes, the most frequent first."""

    def sockets(self) -> Sequence[Socket]:
        """Return the routes that are WebSockets."""
        return ()
