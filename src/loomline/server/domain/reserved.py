"""The names that only the server gives values to, in what graphs and tracers see of a run."""

from __future__ import annotations

from typing import Final

from loomline.server.domain.json import JsonObject

IDS: Final = ("assistant_id", "graph_id", "run_id", "thread_id")
"""The names of a run and its surroundings."""

USER: Final = "user_id"
"""The authenticated user. Where there is none, clients may use the name for themselves."""

REQUEST: Final = "langgraph_request_id"

AUTH_PREFIX: Final = "langgraph_auth_"
"""How the names of all else that tells the authenticated user begin."""

SYSTEM_PREFIX: Final = "langgraph_"

EXECUTION: Final = "__is_for_execution__"
"""The key in ``configurable`` that tells factories of graphs whether a run uses the graph."""

THREAD_EVENTS: Final = "__event_streaming_v2"
"""The key in ``configurable`` of the runs that have events of the thread protocol."""

_FORGED: Final = (AUTH_PREFIX, EXECUTION, "__pregel_", THREAD_EVENTS)

_PREFIXES: Final = ("__", "checkpoint_", SYSTEM_PREFIX)

SYSTEM_KEYS: Final = frozenset({*IDS, "created_by", "cron_id", "run_attempt"})
"""The metadata that the server itself looks for. They are ids, and never encrypted."""

_OWN: Final = frozenset({*IDS, "cron_id", "run_attempt"})


def is_reserved(name: str) -> bool:
    """Return whether clients cannot set a name in the metadata of events and checkpoints."""
    return name in _OWN or name.startswith(_PREFIXES)


def unreserved(given: JsonObject) -> JsonObject:
    """Return a client's metadata without the names that only the server sets."""
    return {name: value for name, value in given.items() if not is_reserved(name)}


def unforged(given: JsonObject) -> JsonObject:
    """Return a client's ``configurable`` without the keys that only server and langgraph set."""
    return {name: value for name, value in given.items() if not name.startswith(_FORGED)}
