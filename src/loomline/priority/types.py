"""What the handler of priorities takes and gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from typing_extensions import TypedDict

from loomline.auth.types import BaseUser

__all__ = ["PriorityContext", "PrioritySettings"]


@dataclass(frozen=True, slots=True)
class PriorityContext:
    """The run whose thread is to be given settings: whose it is, and of what."""

    user: BaseUser
    permissions: Sequence[str]
    thread_id: str | None
    thread_metadata: dict[str, Any]
    assistant_id: str
    graph_id: str
    assistant_metadata: dict[str, Any]
    run_metadata: dict[str, Any]
    cron_id: str | None


class PrioritySettings(TypedDict, total=False):
    """When the runs of a thread have their turn.

    `priority` is from -5 (first) to 5 (last), 0 unless given; `fairness_group` names who shares a
    turn, in up to 256 characters.
    """

    priority: int | None
    fairness_group: str | None
