"""What can go wrong, named for what happened. None of these knows a status code.

The text of each is a sentence for the user: the API sends it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID


class WeftError(Exception):
    """The base of everything the domain raises."""


class InvalidInput(WeftError):
    """A value that does not fit its field."""


class ContradictoryInput(WeftError):
    """Fields that are fine alone and cannot be meant together."""


class TooDeep(WeftError):
    """JSON that is nested deeper than can be stored."""

    def __init__(self) -> None:
        super().__init__("Recursion limit reached")


class NotFound(WeftError):
    """Something that is not there, or not for this caller."""


class ThreadNotFound(NotFound):
    def __init__(self, thread_id: UUID) -> None:
        super().__init__(f"Thread with ID {thread_id} not found")
        self.thread_id = thread_id


class RunNotFound(NotFound):
    def __init__(self, run_id: UUID) -> None:
        super().__init__("Run not found")
        self.run_id = run_id


class AssistantNotFound(NotFound):
    def __init__(self, assistant_id: UUID) -> None:
        super().__init__(f"Assistant {assistant_id} not found")
        self.assistant_id = assistant_id


class RunTargetNotFound(NotFound):
    def __init__(self) -> None:
        super().__init__("Thread or assistant not found.")


class NothingToCancel(NotFound):
    def __init__(self) -> None:
        super().__init__(
            "No matching runs to cancel. Only pending and running runs can be cancelled."
        )


class GraphNotFound(NotFound):
    def __init__(self, graph_id: str, known: Iterable[str]) -> None:
        super().__init__(f"Graph '{graph_id}' not found. Expected one of: {sorted(known)}")
        self.graph_id = graph_id


class Conflict(WeftError):
    """The state of things does not allow it now."""


class ThreadExists(Conflict):
    def __init__(self, thread_id: UUID) -> None:
        super().__init__(f"Thread with ID {thread_id} already exists")
        self.thread_id = thread_id


class ThreadBusy(Conflict):
    def __init__(self) -> None:
        super().__init__(
            "Thread is already running a task. Wait for it to finish or choose a different"
            " multitask strategy."
        )


class LeaseLost(WeftError):
    """A worker tried to write for a run that is no longer its own."""

    def __init__(self, run_id: UUID) -> None:
        super().__init__(f"Run {run_id} belongs to another worker now")
        self.run_id = run_id


class StorageUnavailable(WeftError):
    """The database cannot be reached or cannot be written; trying again later may work."""


class GraphLoadError(WeftError):
    """A graph that is configured but cannot be imported or built."""

    def __init__(self, graph_id: str, source: str, reason: str) -> None:
        super().__init__(f"Failed to load graph '{graph_id}' from {source}: {reason}")
        self.graph_id = graph_id


class EventsLost(WeftError):
    """A reader asked for events that the log no longer holds."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(
            message or "This reader is too far behind: the oldest events it has not read are gone."
        )


class EventsUnavailable(EventsLost):
    """The log cannot be reached. The events may be there again later; the runs go on."""
