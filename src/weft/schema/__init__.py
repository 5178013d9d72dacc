"""The wire vocabulary: literals and typed dictionaries shared by client and server."""

from weft.schema._literals import (
    CancelAction,
    DisconnectMode,
    Durability,
    IfNotExists,
    MultitaskStrategy,
    OnCompletionBehavior,
    OnConflictBehavior,
    RunStatus,
    StreamMode,
    ThreadStatus,
)
from weft.schema._stream import StreamPart

__all__ = [
    "CancelAction",
    "DisconnectMode",
    "Durability",
    "IfNotExists",
    "MultitaskStrategy",
    "OnCompletionBehavior",
    "OnConflictBehavior",
    "RunStatus",
    "StreamMode",
    "StreamPart",
    "ThreadStatus",
]
