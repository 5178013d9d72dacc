"""Errors about values that cannot be stored in a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from langgraph.checkpoint.serde.base import SerializerProtocol

_PULLED: Final = "~__pregel_pull, "
"""How langgraph begins the path of a task that is named after its node."""

_DEPTH_MOST: Final = 50


def unstorable(
    serde: SerializerProtocol, error: Exception, channel: str, value: object, task_path: str = ""
) -> TypeError:
    """Return an error that names the key, the node and the remedy.

    Args:
        serde: The serializer that refused the value.
        error: Its error.
        channel: The key of the state.
        value: The value for the key.
        task_path: langgraph's path of the task that returned the value, if it is known.
    """
    node = task_path.removeprefix(_PULLED).partition(", ")[0]
    source = f" that node '{node:.200}' returned" if task_path.startswith(_PULLED) else ""
    return TypeError(
        f"The value{source} for '{channel:.200}' cannot be stored: {error}, at"
        f" '{channel:.200}{_place(serde, value)}'. Return values that JSON has, messages,"
        " dataclasses or pydantic models; or set 'checkpointer.serde.pickle_fallback' in"
        " langgraph.json."
    )


def _place(serde: SerializerProtocol, value: object) -> str:
    """Return the path of keys to the innermost value that the serializer refuses."""
    place = ""
    for _ in range(_DEPTH_MOST):
        found = next((each for each in _members(value) if not _storable(serde, each[1])), None)
        if found is None:
            break
        place, value = f"{place}[{found[0]!r:.100}]", found[1]
    return place


def _members(value: object) -> Iterable[tuple[object, object]]:
    if isinstance(value, Mapping):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, (list, tuple)) else []


def _storable(serde: SerializerProtocol, value: object) -> bool:
    try:
        serde.dumps_typed(value)
    except Exception:  # noqa: BLE001 - the code of the value's class may raise anything
        return False
    return True
