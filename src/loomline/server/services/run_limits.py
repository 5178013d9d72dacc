"""What a request may ask for at most."""

from __future__ import annotations

from dataclasses import dataclass

from loomline.server.domain.assistants import Assistant
from loomline.server.domain.errors import InvalidInput
from loomline.server.domain.json import Json, JsonObject
from loomline.server.domain.runs import QueueLimits
from loomline.server.services.requests import RunCreateRequest


@dataclass(frozen=True, slots=True)
class RunLimits:
    """``recursion_limit``: steps of a graph in one run."""

    queue: QueueLimits
    recursion_limit: int

    def check(self, body: RunCreateRequest, assistant: Assistant) -> None:
        """Make sure that a run keeps within the limits, its assistant's config included.

        Raises:
            InvalidInput: it does not.
        """
        for config in (body.get("config", {}), assistant.config):
            self._check(config)

    def _check(self, config: JsonObject) -> None:
        limit: Json = config.get("recursion_limit", 0)
        if isinstance(limit, int) and limit > self.recursion_limit:
            raise InvalidInput(
                f"'config.recursion_limit' must be at most {self.recursion_limit} on this server,"
                f" got {limit}"
            )
