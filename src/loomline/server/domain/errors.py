"""What can go wrong, named for what happened. None of these knows a status code.

The text of each is a sentence for the user: the API sends it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from uuid import UUID


class LoomlineError(Exception):
    """The base of everything the domain raises."""


class InvalidInput(LoomlineError):
    """A value that does not fit its field."""


class UnusableInput(LoomlineError):
    """A value of the right type that cannot be used for what it is meant for."""


class ContradictoryInput(LoomlineError):
    """Fields that are fine alone and cannot be meant together."""


class TooDeep(LoomlineError):
    """JSON that is nested deeper than can be stored."""

    def __init__(self) -> None:
        super().__init__("Recursion limit reached")


class NotFound(LoomlineError):
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


class AssistantVersionNotFound(NotFound):
    def __init__(self, assistant_id: UUID, version: int) -> None:
        super().__init__(f"Version {version} not found for assistant {assistant_id}")
        self.assistant_id = assistant_id
        self.version = version


class CronNotFound(NotFound):
    def __init__(self, cron_id: UUID) -> None:
        super().__init__(f"Cron '{cron_id}' not found")
        self.cron_id = cron_id


class CronAssistantNotFound(NotFound):
    def __init__(self, name: str) -> None:
        super().__init__(f"Assistant '{name:.200}' not found")
        self.name = name


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
        super().__init__(f"Graph '{graph_id:.200}' not found. Expected one of: {sorted(known)}")
        self.graph_id = graph_id


class Conflict(LoomlineError):
    """The state of things does not allow it now."""


class AssistantExists(Conflict):
    def __init__(self, assistant_id: UUID) -> None:
        super().__init__(f"Assistant {assistant_id} already exists")
        self.assistant_id = assistant_id


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


class AlreadyAnswered(Conflict):
    """Another run answers the interrupt, or has answered it."""

    def __init__(self, interrupt_id: str) -> None:
        super().__init__(f"Unknown or already-consumed interrupt: {interrupt_id:.200}")
        self.interrupt_id = interrupt_id


class ThreadInFlight(Conflict):
    def __init__(self, thread_id: UUID) -> None:
        super().__init__(
            f"Thread {thread_id} has runs that are not over: its state cannot be changed now. Wait"
            " for them, or cancel them."
        )
        self.thread_id = thread_id


class AlreadyFired(Conflict):
    def __init__(self, cron_id: UUID) -> None:
        super().__init__(f"This time of cron {cron_id} has had its run")
        self.cron_id = cron_id


class HistoryTooLarge(InvalidInput):
    """The states that a client asks for are more than one answer carries."""

    def __init__(self, most_bytes: int, states: int) -> None:
        super().__init__(
            f"The history is larger than {most_bytes} bytes, the most of one answer, in which"
            f" {states} states fit. Ask for fewer with 'limit' and continue with 'before', or"
            " for fewer fields with 'select'."
        )


class StateChanged(Conflict):
    def __init__(self, thread_id: UUID) -> None:
        super().__init__(
            f"The state of thread {thread_id} has been changed at the same time. Try again."
        )
        self.thread_id = thread_id


class TooManyRuns(LoomlineError):
    """The queue is full. ``retry_after_seconds`` is when to try again."""

    retry_after_seconds = 5

    @classmethod
    def on_thread(cls, most: int) -> TooManyRuns:
        return cls(
            f"Too many runs are waiting on this thread: {most} are allowed. Try again when some of"
            " them have ended."
        )

    @classmethod
    def in_all(cls, most: int) -> TooManyRuns:
        return cls(f"Too many runs are waiting: {most} are allowed. Try again later.")


class StateRefused(LoomlineError):
    """A change of a thread's state that its graph does not take."""


class ThreadWithoutGraph(StateRefused):
    def __init__(self, thread_id: UUID) -> None:
        super().__init__(
            f"Thread '{thread_id}' has no assigned graph ID. Set 'graph_id' in its metadata, or"
            " start a run on it first."
        )
        self.thread_id = thread_id


class WebhookNotFound(NotFound):
    def __init__(self, webhook_id: UUID) -> None:
        super().__init__(f"There is no webhook {webhook_id} that was given up")
        self.webhook_id = webhook_id


class WebhookFailed(LoomlineError):
    """An attempt to send a webhook that got no answer."""


class GraphTooSlow(LoomlineError):
    """The code of a graph did not end in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The graph did not answer within {seconds:g} seconds.")


class GraphsBlocked(LoomlineError):
    """The event loop of the graphs is blocked by the code of a node."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The graph did not answer within {seconds:g} seconds, because a node of another run"
            " blocks the event loop of the graphs. Try again later. The log of the server names the"
            " line: use 'await' there, or a sync node."
        )


class CheckpointIncomplete(LoomlineError):
    """Values that a checkpoint refers to are missing in the database."""

    def __init__(self, thread_id: str, checkpoint_id: str, channels: Iterable[str]) -> None:
        names = ", ".join(f"'{name:.100}'" for name in islice(channels, 20))
        super().__init__(
            f"Checkpoint {checkpoint_id} of thread {thread_id} cannot be used: the values of"
            f" {names} are missing in the database. Use an earlier checkpoint."
        )


class LeaseLost(LoomlineError):
    """A worker tried to write for a run that is no longer its own."""

    def __init__(self, run_id: UUID) -> None:
        super().__init__(f"Run {run_id} belongs to another worker now")
        self.run_id = run_id


class StorageUnavailable(LoomlineError):
    """The database cannot be reached or cannot be written; trying again later may work."""


class EmbeddingsLoadError(LoomlineError):
    """What makes vectors for the store is configured but cannot be imported or built."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"Failed to load 'store.index.embed' from {source}: {reason}")


class CheckpointerLoadError(LoomlineError):
    """The user's own checkpoint saver is configured but cannot be imported or opened."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"Failed to load 'checkpointer.path' from {source}: {reason}")


class SaverLacks(LoomlineError):
    """The user's own checkpoint saver lacks an operation that a request needs."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(
            f"{what} is not available with the checkpoint saver of 'checkpointer.path': {reason}"
        )


class AuthLoadError(LoomlineError):
    """Authentication is configured but cannot be set up."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"Failed to load 'auth' from {source}: {reason}")


class GraphLoadError(LoomlineError):
    """A graph, or another object of the user, that cannot be imported or built."""

    def __init__(self, graph_id: str, source: str, reason: str, kind: str = "graph") -> None:
        super().__init__(f"Failed to load {kind} '{graph_id}' from {source}: {reason}")
        self.graph_id = graph_id
        self.reason = reason


class UnknownType(LoomlineError):
    """A type that checkpoints may be made of is configured and does not exist."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"'{name}' in \"checkpointer.serde\" cannot be allowed: {reason}.")


class EncryptionFailed(LoomlineError):
    """Something could not be encrypted or decrypted. The text is for the log, not for clients."""


class EventsLost(LoomlineError):
    """A reader asked for events that the log no longer holds."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(
            message or "This reader is too far behind: the oldest events it has not read are gone."
        )


class ResultLost(LoomlineError):
    """The result of a run that has no thread any more is not in its log either."""

    def __init__(self) -> None:
        super().__init__(
            "The run is over, but its result is lost: the run was deleted, or its events were lost"
            " before the result was read. Runs on a thread, and runs with on_completion 'keep',"
            " keep their results."
        )


class EventsUnavailable(EventsLost):
    """The log cannot be reached. The events may be there again later; the runs go on."""
