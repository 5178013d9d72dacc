"""Changes of the states of threads."""

from __future__ import annotations

from typing import Protocol

from langgraph.checkpoint.base import BaseCheckpointSaver

from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.threads import NewThread, Thread, ThreadState


class StateEdit(Protocol):
    """A change of a thread's state that is prepared first and then stored as one."""

    @property
    def checkpointer(self) -> BaseCheckpointSaver[str]:
        """Return a saver that finds what was written to it, which nobody else does yet.

        Only its asynchronous methods for reading and writing checkpoints are there to be used.
        """
        ...

    async def commit(
        self, state: ThreadState, new: NewThread | None = None, *, access: Condition = EVERYTHING
    ) -> Thread:
        """Store the written checkpoints and what the thread's row says of them, in one act.

        The thread's error is gone then. With ``new`` the thread is created in the same act; where
        it exists and ``new`` says to do nothing, nothing is written and the stored one returned.

        Raises:
            ThreadNotFound: there is no such thread; nothing has been written.
            ThreadInFlight: it has active runs; nothing has been written.
            StateChanged: a checkpoint has been stored after the newest of a namespace was read
                through ``checkpointer``; nothing has been written.
            ThreadExists: it was to be created, and exists; nothing has been written.
        """
        ...
