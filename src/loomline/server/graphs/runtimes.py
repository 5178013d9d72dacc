"""What factories are told besides the config: what their graph is for, and for whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from langgraph.store.base import BaseStore
from langgraph_sdk import runtime as official

from loomline import runtime as ours
from loomline.runtime import AccessContext

# Factories may ask for the classes of either package: the objects are of the official one, which
# every server has, because langgraph needs it, and count as ours.
ours._ServerRuntimeBase.register(official._ServerRuntimeBase)  # noqa: SLF001
ours._ExecutionRuntime.register(official._ExecutionRuntime)  # noqa: SLF001
ours._ReadRuntime.register(official._ReadRuntime)  # noqa: SLF001

# A user has whatever fields its server gave it, a context is the graph's own.
Runtime: TypeAlias = "official.ServerRuntime[Any]"


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a graph is opened for, and for whom. ``context`` is that of a run."""

    access: AccessContext
    user: Any = None
    context: Any = None

    def runtime(self, store: BaseStore) -> Runtime:
        """Return what a factory is handed."""
        if self.access == "threads.create_run":
            return official._ExecutionRuntime(  # noqa: SLF001
                access_context=self.access, user=self.user, store=store, context=self.context
            )
        return official._ReadRuntime(  # noqa: SLF001
            access_context=self.access, user=self.user, store=store
        )
