"""The thread of a new run, for every database."""

from __future__ import annotations

from collections.abc import Callable

from loomline.server.domain.access import EVERYTHING
from loomline.server.domain.json import JsonObject
from loomline.server.domain.runs import NewRun
from loomline.server.domain.threads import NewThread
from loomline.server.storage.checkpoints import Connection
from loomline.server.storage.threads import ThreadTable


def hold_thread(
    threads: ThreadTable[Connection], connection: Connection, new: NewRun
) -> Callable[[], JsonObject]:
    """Lock the thread of a run, which is created if the run asks for it.

    Returns:
        A function that returns the metadata of the thread. It raises ``ThreadNotFound`` if the
        thread does not exist, or does not meet the condition of the request.
    """
    created = None
    if new.create_thread:
        thread = NewThread(
            new.thread_id, new.thread_metadata, "do_nothing", new.now, new.thread_ttl
        )
        created = threads.add(connection, thread)
    held = threads.ask(connection, new.thread_id, lock=True)

    def metadata() -> JsonObject:
        access = EVERYTHING if created is not None and created() else new.access
        return threads.check(held, new.thread_id, access)

    return metadata
