"""The results of runs, for callers that wait for them."""

from __future__ import annotations

from contextlib import aclosing, suppress
from uuid import UUID

from loomline.server.domain.access import Condition
from loomline.server.domain.errors import (
    EventsLost,
    EventsUnavailable,
    ResultLost,
    RunNotFound,
    StorageUnavailable,
    ThreadNotFound,
)
from loomline.server.domain.events import (
    CHECKPOINT,
    START,
    Cursor,
    Ended,
    Ending,
    Lost,
    Result,
    ending,
)
from loomline.server.domain.json import EMPTY_OBJECT, Encoded, dump
from loomline.server.domain.run_results import stored_result
from loomline.server.domain.runs import Created, Run
from loomline.server.ports.clock import Clock
from loomline.server.ports.events import EventLog, EventReader
from loomline.server.ports.storage import Storage

AWAY_TRIES = 30
"""How often an event log that is away is asked for a result that nothing else holds."""

AWAY_SECONDS = 1.0


class RunResults:
    """Reads the result of a run in its event log, or in the database if the log lacks it.

    A worker appends the result to the log before it stores the end of the run, and removes the
    thread of a temporary run with the same transaction. So the log is the only place of such a
    result, and an answer without a look into it would report an empty result for a lost one.
    """

    def __init__(self, storage: Storage, events: EventLog, clock: Clock) -> None:
        self._storage = storage
        self._events = events
        self._clock = clock

    async def of_new(self, created: Created) -> Encoded:
        """Return the result of a run that this request has created, once the run has ended.

        Raises:
            RunNotFound: the run was deleted before it ended.
            ResultLost: the log has lost the result, and nothing else had it.
        """
        run = created.run
        return await self._result(run, self._events.read(str(run.run_id), START), created.access)

    async def of_replayed(self, created: Created) -> Encoded:
        """Return the result of a run that an earlier request has created, once it has ended.

        Raises:
            RunNotFound: the run was deleted, or its thread is not the caller's any more.
            ResultLost: the result of a run without a thread has been forgotten.
        """
        run = created.run
        return await self._result(run, await self.attach(run, START), created.access)

    async def of_joined(self, thread_id: UUID | None, run_id: UUID, access: Condition) -> Encoded:
        """Return the result of a run that the caller names, once it has ended.

        Raises:
            RunNotFound: the thread has no such run, or is not the caller's.
            ResultLost: the log has lost the result, and nothing else had it.
        """
        run = await self._storage.runs.get(thread_id, run_id, access=access)
        return await self._result(run, await self.attach(run, START), access)

    async def ended(self, thread_id: UUID, run_id: UUID) -> None:
        """Return once a run has ended or is gone; the caller has been allowed to stop it."""
        try:
            run = await self._storage.runs.get(thread_id, run_id)
        except RunNotFound:
            return
        await self._ending(run, await self.attach(run, START))

    async def attach(self, run: Run, after: Cursor) -> EventReader:
        """Return a reader that ends even if the run ends at this very moment."""
        reader = self._events.read(str(run.run_id), after)
        # Read after the reader was made: a run that is active now will close its log later.
        if not await self._active(run):
            reader.drain()
        return reader

    async def after_checkpoint(self, run: Run, checkpoint_id: UUID) -> Cursor:
        """Return the place after a checkpoint of a run; its beginning for any other checkpoint."""
        wanted = dump(str(checkpoint_id))
        reader = self._events.read(str(run.run_id), START)
        reader.drain()
        async with aclosing(reader):
            with suppress(EventsLost):
                async for batch in reader:
                    found = [each.id for each in batch if each.event == (CHECKPOINT, wanted, None)]
                    if found:
                        return found[0]
        return START

    async def final_status(self, run: Run) -> str | None:
        """Return the status of a run that has ended; None for an active or deleted run."""
        with suppress(RunNotFound, StorageUnavailable):
            found = await self._storage.runs.get(run.thread_id, run.run_id)
            return None if found.active else found.status
        return None

    async def _active(self, run: Run) -> bool:
        try:
            return (await self._storage.runs.get(run.thread_id, run.run_id)).active
        except RunNotFound:
            return False

    async def _result(self, run: Run, reader: EventReader, access: Condition) -> Encoded:
        end = await self._ending(run, reader)
        for _ in range(AWAY_TRIES):
            if isinstance(end, Result):
                return end.data
            try:
                return await self._stored(run, access)
            except (RunNotFound, ThreadNotFound):
                if end != Lost(away=True):
                    break
            await self._clock.sleep(AWAY_SECONDS)
            end = await self._ending(run, await self.attach(run, START))
        if isinstance(end, Ended) and (run.temporary or await self._visible(run, access)):
            return EMPTY_OBJECT  # a rollback has removed the run
        raise ResultLost if run.temporary else RunNotFound(run.run_id)

    async def _ending(self, run: Run, reader: EventReader) -> Ending:
        """Return the end of a run once it has ended, which the database decides."""
        while True:
            try:
                return ending(await reader.last())
            except EventsLost as error:
                if not await self._active(run):
                    return Lost(away=isinstance(error, EventsUnavailable))
            reader = self._events.read(str(run.run_id), START)

    async def _visible(self, run: Run, access: Condition) -> bool:
        try:
            await self._storage.threads.get(run.thread_id, with_values=False, access=access)
        except ThreadNotFound:
            return False
        return True

    async def _stored(self, run: Run, access: Condition) -> Encoded:
        """Return the result that the database holds: the run's error, or the thread's values.

        Raises:
            RunNotFound: the run is gone, or its thread is not the caller's.
            ThreadNotFound: the thread has gone meanwhile.
        """
        run = await self._storage.runs.get(run.thread_id, run.run_id, access=access)
        thread = await self._storage.threads.get(run.thread_id, access=access)
        return stored_result(run, thread)
