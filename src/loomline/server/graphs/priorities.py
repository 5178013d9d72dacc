"""The user's function that assigns priorities to threads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias, cast

from loomline.priority.types import PriorityContext
from loomline.server.domain.errors import GraphLoadError
from loomline.server.graphs.loader import load_attribute
from loomline.server.graphs.spec import GraphSpec

Assign: TypeAlias = Callable[[PriorityContext], Awaitable[Mapping[str, object] | None]]


def load_priority(spec: GraphSpec) -> Assign:
    """Return the function that is registered at the object that ``priority.path`` names.

    Raises:
        GraphLoadError: The object cannot be imported, is no ``Priority``, or has no function.
    """
    found = load_attribute(spec)
    # Its name is the same in the objects of every maker.
    assign = getattr(found, "_assign_handler", None)
    if assign is not None:
        return cast("Assign", assign)
    reason = (
        f"'{spec.attribute}' has no function. Register one with '@{spec.attribute}.assign'."
        if hasattr(found, "_assign_handler")
        else f"'{spec.attribute}' is of type '{type(found).__name__}'. It must be a Priority of"
        " loomline or langgraph_sdk."
    )
    raise GraphLoadError(spec.graph_id, spec.source, reason, spec.kind)
