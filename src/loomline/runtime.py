"""What a server hands to a graph factory.

def make_graph(runtime: ServerRuntime[Context]) -> CompiledStateGraph:
    execution = runtime.execution_runtime
    model = execution.context["model"] if execution is not None else "small"
    return build(model)
"""

from __future__ import annotations

from abc import ABCMeta
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias

from typing_extensions import TypeAliasType, TypeVar

from loomline.auth.types import BaseUser

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore

__all__ = ["AccessContext", "ServerRuntime"]

ContextT = TypeVar("ContextT", default=Any)

AccessContext: TypeAlias = Literal[
    "threads.create_run", "threads.update", "threads.read", "assistants.read"
]
"""What the graph is needed for: to run, to write or read a state, to be drawn."""


# Abstract bases: classes with slots cannot be inherited together with those of the official
# package, so a server hands out objects of that one and registers its classes here.
@dataclass(frozen=True, kw_only=True, slots=True)
class _ServerRuntimeBase(Generic[ContextT], metaclass=ABCMeta):
    """What every factory is told.

    Attributes:
        access_context: What the graph is needed for.
        user: Who asks; None on a server without authentication.
        store: The store that the graph's nodes see.
    """

    access_context: AccessContext
    user: BaseUser | None = field(default=None)
    store: BaseStore

    @property
    def execution_runtime(self) -> _ExecutionRuntime[ContextT] | None:
        """This object where the graph is to run, else None."""
        return self if isinstance(self, _ExecutionRuntime) else None

    def ensure_user(self) -> BaseUser:
        """Return who asks.

        Raises:
            PermissionError: the server has no authentication.
        """
        if self.user is None:
            raise PermissionError(
                f"There is no user for '{self.access_context}': the server has no authentication."
            )
        return self.user


@dataclass(frozen=True, kw_only=True, slots=True)
class _ExecutionRuntime(_ServerRuntimeBase[ContextT], Generic[ContextT]):
    """What a factory is told when the graph is to run.

    Attributes:
        context: The static context of the run.
    """

    context: ContextT = field(default=None)  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True, slots=True)
class _ReadRuntime(_ServerRuntimeBase[ContextT], Generic[ContextT]):
    """What a factory is told when the graph is not to run."""


ServerRuntime = TypeAliasType(
    "ServerRuntime", _ExecutionRuntime[ContextT] | _ReadRuntime[ContextT], type_params=(ContextT,)
)
"""What a server hands to a graph factory; `execution_runtime` tells whether it is to run."""
