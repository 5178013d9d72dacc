"""The priorities of threads, which a function of the user assigns at the first run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, cast

from loomline.auth.types import BaseUser
from loomline.priority.types import PriorityContext
from loomline.server.authz.users import Caller, User
from loomline.server.domain.assistants import Assistant
from loomline.server.domain.errors import ThreadNotFound
from loomline.server.domain.json import JsonObject
from loomline.server.domain.runs import PRIORITIES, NewRun
from loomline.server.graphs.priorities import Assign
from loomline.server.ports.storage import Storage

logger: logging.Logger = logging.getLogger("loomline.runs")

ASSIGN_SECONDS: Final = 5.0
"""The time for the function; a run that waits longer gets the default priority."""

_GROUP_MOST: Final = 256

_ANYONE: Final = User({"identity": "", "is_authenticated": False})
"""The user of a request to a server without authentication."""


class Priorities:
    """Asks the function for threads that have no priority. Without a function all runs have 0.

    The function is called on the event loop of the API, as the handlers of authentication are.
    """

    def __init__(
        self, storage: Storage, assign: Assign | None, seconds: float = ASSIGN_SECONDS
    ) -> None:
        self._storage = storage
        self._assign = assign
        self._seconds = seconds

    async def prioritized(self, caller: Caller, new: NewRun, assistant: Assistant) -> NewRun:
        """Return a run with the priority for its thread.

        If the function fails, the thread keeps no priority, and the next run asks again.

        Args:
            caller: The user who creates the run.
            new: The run.
            assistant: The assistant of the run.
        """
        if self._assign is None:
            return new
        metadata: JsonObject = {}
        thread_id, firing = None if new.own_thread else new.thread_id, new.firing
        if thread_id is not None:
            try:
                if await self._storage.threads.priority(thread_id) is not None:
                    return new
                found = await self._storage.threads.get(thread_id, with_values=False)
                metadata = found.metadata
            except ThreadNotFound:  # the run creates the thread, or is refused
                pass
        context = PriorityContext(
            user=cast("BaseUser", caller.user or _ANYONE),
            permissions=list(caller.permissions),
            thread_id=None if thread_id is None else str(thread_id),
            thread_metadata=metadata,
            assistant_id=str(assistant.assistant_id),
            graph_id=assistant.graph_id,
            assistant_metadata=assistant.metadata,
            run_metadata=new.metadata,
            cron_id=None if firing is None else str(firing.cron_id),
        )
        return replace(new, priority=await self._ask(self._assign, context))

    async def _ask(self, assign: Assign, context: PriorityContext) -> int | None:
        try:
            async with asyncio.timeout(self._seconds):
                return checked(await assign(context))
        except TimeoutError:
            reason = f"it took longer than {self._seconds:g} seconds"
            logger.warning("a run gets the default priority", extra={"reason": reason})
        except Exception as error:  # the user's function may raise any error
            reason = type(error).__name__
            logger.warning(
                "a run gets the default priority", extra={"reason": reason}, exc_info=True
            )
        return None


def checked(settings: Mapping[str, object] | None) -> int:
    """Return the priority in the answer of the function.

    Raises:
        TypeError: A setting has the wrong type.
        ValueError: A setting is out of its range.
    """
    given = {} if settings is None else settings
    if not isinstance(given, Mapping):
        raise TypeError(f"The answer must be a dict or None, got {type(given).__name__}.")
    group = given.get("fairness_group")
    if group is not None and not isinstance(group, str):
        raise TypeError(f"'fairness_group' must be a string, got {type(group).__name__}.")
    if group is not None and not 0 < len(group) <= _GROUP_MOST:
        raise ValueError(f"'fairness_group' must have 1 to {_GROUP_MOST} characters.")
    priority = given.get("priority")
    if priority is None:
        return 0
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise TypeError(f"'priority' must be an integer, got {type(priority).__name__}.")
    if priority not in PRIORITIES:
        raise ValueError(f"'priority' must be from -5 to 5, got {priority}.")
    return priority
