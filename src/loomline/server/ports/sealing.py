"""On whose behalf something is stored, for those who encrypt it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from loomline.server.domain.json import JsonObject


@dataclass(slots=True)
class Acting:
    """Who acts. ``metadata`` is what the user's context handler has made of it, once it has.

    A run that goes on after its request has the metadata, and the user no more.
    """

    user: object = None
    metadata: JsonObject | None = None


# Between a request and what it stores lie the graphs and langgraph, who do not hand it on.
ACTING: Final[ContextVar[Acting | None]] = ContextVar("loomline_acting", default=None)
