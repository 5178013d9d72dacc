"""Closed sets of words on the wire."""

from typing import Literal

RunStatus = Literal["pending", "running", "error", "success", "timeout", "interrupted"]
"""How far a run has come."""

ThreadStatus = Literal["idle", "busy", "interrupted", "error"]
"""What a thread is doing."""

StreamMode = Literal[
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

MultitaskStrategy = Literal["reject", "interrupt", "rollback", "enqueue"]
"""What happens to a new run when the thread is busy."""

OnConflictBehavior = Literal["raise", "do_nothing"]
"""What creating something that exists does."""

IfNotExists = Literal["create", "reject"]
"""What a run on an unknown thread does."""

DisconnectMode = Literal["cancel", "continue"]
"""What becomes of a run when its client leaves."""

OnCompletionBehavior = Literal["delete", "keep"]
"""What becomes of the thread of a stateless run when the run ends."""

CancelAction = Literal["interrupt", "rollback"]
"""Whether a cancelled run keeps what it has done so far."""

Durability = Literal["sync", "async", "exit"]
"""When checkpoints are written, in langgraph's words."""
