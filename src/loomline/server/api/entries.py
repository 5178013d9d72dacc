"""What a row of the route table says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from typing_extensions import TypeAliasType

from loomline.server.api.errors import Handler
from loomline.server.services.requests import OFFSET_MOST

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Answer = Literal[
    "thread", "threads", "thread_size", "pruned", "state", "states", "state_updated", "run", "runs",
    "all_runs",
    "assistant", "assistants", "assistant_versions", "count", "graph",
    "schemas", "subgraphs", "item", "items", "namespaces", "cron", "crons",
    "health", "info",
    "command", "metrics", "stream", "json", "empty", "html",
]  # fmt: skip
"""The schema of a good answer, as ``openapi`` knows it."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query parameter.

    ``most``: the highest integer it may be. ``words``: what it may be, or consist of; none named:
    anything.
    """

    name: str
    kind: Literal["integer", "boolean", "levels", "string", "strings", "uuid"]
    text: str
    required: bool = False
    most: int = OFFSET_MOST
    words: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One route. ``errors`` are the statuses it may answer besides the good one.

    ``named``: the id in the path may be a name as well; ``loose``: what is wrong with it is told
    in the answer. ``minimal``: who prefers a minimal answer gets an empty one. ``idempotent``: it
    may bear a key, and then does nothing twice. ``resumes``: it may name the last event that the
    client has.
    """

    method: Method
    path: str
    handler: Handler
    tag: str
    summary: str
    answer: Answer
    body: type | TypeAliasType | None = None
    query: Sequence[Query] = ()
    errors: Sequence[int] = ()
    status: int = 200
    named: bool = False
    loose: bool = False
    minimal: bool = False
    idempotent: bool = False
    resumes: bool = False
