"""Which optional methods a checkpoint saver has."""

from __future__ import annotations

from langgraph.checkpoint.base import BaseCheckpointSaver


def has_method(saver: BaseCheckpointSaver[str], name: str) -> bool:
    """Return whether a saver has a method of its own, not only the one of the base class."""
    return getattr(type(saver), name) is not getattr(BaseCheckpointSaver, name)
