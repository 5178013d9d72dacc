"""Reading checkpoints without their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from loomline.server.domain.json import JsonObject


@runtime_checkable
class ReadsHeads(Protocol):
    """A saver that can list checkpoints without reading their values."""

    async def heads(
        self,
        config: RunnableConfig,
        *,
        filter: JsonObject | None = None,
        before: RunnableConfig | None = None,
        limit: int,
    ) -> Sequence[CheckpointTuple]:
        """Return checkpoints, newest first, with no values and no writes."""
        ...
