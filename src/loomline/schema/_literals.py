"""Closed sets of words on the wire."""

from typing import Literal, TypeAlias

RunStatus: TypeAlias = Literal["pending", "running", "error", "success", "timeout", "interrupted"]
"""How far a run has come."""

ThreadStatus: TypeAlias = Literal["idle", "busy", "interrupted", "error"]
"""What a thread is doing."""

StreamMode: TypeAlias = Literal[
    "values",
    "messages",
    "updates",
    "events",
    "tasks",
    "checkpoints",
    "debug",
    "custom",
    "messages-tuple",
    "tools",
    "lifecycle",
]
"""What a run sends while it executes."""

ThreadStreamMode: TypeAlias = Literal["run_modes", "lifecycle", "state_update"]
"""What the stream of a thread sends: what its runs send, their beginnings and ends, new states."""

StreamVersion: TypeAlias = Literal["v1", "v2"]
"""The form in which events are handed out."""

MultitaskStrategy: TypeAlias = Literal["reject", "interrupt", "rollback", "enqueue"]
"""What happens to a new run when the thread is busy."""

OnConflictBehavior: TypeAlias = Literal["raise", "do_nothing"]
"""What creating something that exists does."""

IfNotExists: TypeAlias = Literal["create", "reject"]
"""What a run on an unknown thread does."""

DisconnectMode: TypeAlias = Literal["cancel", "continue"]
"""What becomes of a run when its client leaves."""

OnCompletionBehavior: TypeAlias = Literal["delete", "keep"]
"""What becomes of the thread of a stateless run when the run ends."""

CancelAction: TypeAlias = Literal["interrupt", "rollback"]
"""Whether a cancelled run keeps what it has done so far."""

BulkCancelRunsStatus: TypeAlias = Literal["pending", "running", "all"]
"""Which runs of a server are cancelled together."""

Durability: TypeAlias = Literal["sync", "async", "exit"]
"""When checkpoints are written, in langgraph's words."""

PruneStrategy: TypeAlias = Literal["delete", "keep_latest"]
"""Whether a pruned thread goes altogether or keeps its latest checkpoint."""

All: TypeAlias = Literal["*"]
"""Every node."""

SortOrder: TypeAlias = Literal["asc", "desc"]
"""Smallest or oldest first, or last."""

AssistantSortBy: TypeAlias = Literal["assistant_id", "graph_id", "name", "created_at", "updated_at"]
"""A field that a search of assistants can be sorted by."""

ThreadSortBy: TypeAlias = Literal[
    "thread_id", "status", "created_at", "updated_at", "state_updated_at"
]
"""A field that a search of threads can be sorted by."""

CronSortBy: TypeAlias = Literal[
    "cron_id",
    "assistant_id",
    "thread_id",
    "created_at",
    "updated_at",
    "next_run_date",
    "end_time",
]
"""A field that a search of crons can be sorted by."""

AssistantSelectField: TypeAlias = Literal[
    "assistant_id",
    "graph_id",
    "name",
    "description",
    "config",
    "context",
    "created_at",
    "updated_at",
    "metadata",
    "version",
]
"""A field of an assistant that a search can be limited to."""

ThreadSelectField: TypeAlias = Literal[
    "thread_id",
    "created_at",
    "updated_at",
    "metadata",
    "config",
    "context",
    "status",
    "values",
    "interrupts",
]
"""A field of a thread that a search can be limited to."""

RunSelectField: TypeAlias = Literal[
    "run_id",
    "thread_id",
    "assistant_id",
    "created_at",
    "updated_at",
    "status",
    "metadata",
    "kwargs",
    "multitask_strategy",
    "cancel_reason",
]
"""A field of a run that a listing can be limited to."""

CronSelectField: TypeAlias = Literal[
    "cron_id",
    "assistant_id",
    "thread_id",
    "end_time",
    "schedule",
    "timezone",
    "created_at",
    "updated_at",
    "user_id",
    "payload",
    "next_run_date",
    "metadata",
    "now",
    "on_run_completed",
    "enabled",
]
"""A field of a cron that a search can be limited to."""

ThreadStateSelectField: TypeAlias = (
    Literal[
        "values",
        "next",
        "tasks",
        "checkpoint",
        "metadata",
        "created_at",
        "parent_checkpoint",
        "interrupts",
    ]
    | str
)
"""A field of a state that an answer can be limited to, or one value as `values.<key>`."""
