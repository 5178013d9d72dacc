"""Callers that start runs all the time, and remember which ones were promised to them."""

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass, field
from uuid import uuid4

import httpx

FINAL = {"success", "error", "timeout", "interrupted"}

PATIENCE_SECONDS = 60

BROKEN = (httpx.HTTPError, httpx.StreamError)


@dataclass(frozen=True)
class Promise:
    """A run that the server has acknowledged."""

    thread: str
    run: str
    tag: str
    fails: bool


@dataclass
class Load:
    """Each caller has a thread, and keeps a few runs queued on it."""

    urls: list[str]
    seconds: float = 0.1
    promises: list[Promise] = field(default_factory=list)
    uncertain: set[str] = field(default_factory=set)  # tags: sent, but not answered
    followed: int = 0
    unanswered: int = 0
    final: dict[str, dict[str, object]] = field(default_factory=dict)
    stopped: bool = False

    async def __aenter__(self):
        # Connections are kept alive: a server that is gone must be noticed on these, too.
        self._client = httpx.AsyncClient(
            timeout=PATIENCE_SECONDS, limits=httpx.Limits(max_connections=None)
        )
        return self

    async def __aexit__(self, *_):
        await self._client.aclose()

    async def _request(self, method, path, **options):
        return await self._client.request(method, random.choice(self.urls) + path, **options)

    async def call(self, number):
        thread = str(uuid4())
        for block in range(1_000_000):
            if self.stopped:
                return
            tags = [f"{number}-{block}-{each}" for each in range(3)]
            made = [await self._create(thread, tag) for tag in tags]
            last = next((run for run in reversed(made) if run), None)
            if last:
                await self._follow(thread, last)
            else:
                await asyncio.sleep(0.05)

    async def _create(self, thread, tag):
        """Send a request once: whether an unanswered one was executed cannot be known."""
        fails = random.random() < 0.05
        seconds = random.uniform(0.2, 1.8) * self.seconds
        body = {
            "assistant_id": "witness",
            "input": {"tag": tag, "fails": fails, "seconds": seconds},
            "multitask_strategy": "enqueue",
            "if_not_exists": "create",
        }
        self.uncertain.add(tag)
        try:
            answer = await self._request("POST", f"/threads/{thread}/runs", json=body)
        except BROKEN:
            return None
        if answer.status_code != 200:
            assert answer.status_code == 503, answer.text
            return None
        self.uncertain.discard(tag)
        run = answer.json()["run_id"]
        self.promises.append(Promise(thread, run, tag, fails))
        return run

    async def _follow(self, thread, run):
        """Wait for a run as clients do, at another server when one goes away."""
        while not self.stopped:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    answer = await self._request("GET", f"/threads/{thread}/runs/{run}/join")
            except TimeoutError:
                self.unanswered += 1
            except BROKEN:
                await asyncio.sleep(0.05)
            else:
                self.followed += answer.status_code == 200
                return

    async def settle(self, seconds):
        """Wait until every thread is quiet; keep what the server then says of it."""
        deadline = time.monotonic() + seconds
        waiting = {promise.thread for promise in self.promises}
        while waiting and time.monotonic() < deadline:
            for thread in sorted(waiting):
                with contextlib.suppress(*BROKEN):
                    found = await self._look(thread)
                    self.final[thread] = found
                    if all(run["status"] in FINAL for run in found["runs"]):
                        waiting.discard(thread)
            await asyncio.sleep(0.1)

    async def _look(self, thread):
        runs, page = [], [None]
        while page:
            query = {"limit": 100, "offset": len(runs)}
            page = (await self._request("GET", f"/threads/{thread}/runs", params=query)).json()
            runs += page
        state = (await self._request("GET", f"/threads/{thread}")).json()
        return {"status": state["status"], "values": state["values"], "runs": runs}

    @contextlib.asynccontextmanager
    async def running(self, callers):
        tasks = [asyncio.create_task(self.call(number)) for number in range(callers)]
        try:
            yield
            self.stopped = True
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
