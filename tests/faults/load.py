"""Callers that start runs all the time, and remember which ones were promised to them."""

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from time import monotonic
from uuid import uuid4

import httpx
from tests.faults.model import FAILING, given, summary
from tests.faults.receiver import Receiver

FINAL = {"success", "error", "timeout", "interrupted"}

PATIENCE_SECONDS = 180

BLOCKS_OF_A_THREAD = 8
"""A caller then begins another thread, so that states stay small and threads new."""

BROKEN = (httpx.HTTPError, httpx.StreamError)


@dataclass(frozen=True)
class Promise:
    """A run that the server has acknowledged. ``fails``: the node that it is to fail in."""

    thread: str
    run: str
    tag: str
    fails: str = ""


@dataclass
class Errand:
    """A run without a thread that the server has acknowledged, with a webhook for its end."""

    tag: str
    fails: str
    run: str
    kept: bool = False
    answers: list[object] = field(default_factory=list)


@dataclass
class Load:
    """Each caller has a thread, keeps a few runs queued on it, and starts others without one."""

    urls: list[str]
    seconds: float = 0.1
    promises: list[Promise] = field(default_factory=list)
    errands: list[Errand] = field(default_factory=list)
    inputs: dict[str, dict[str, object]] = field(default_factory=dict)  # by tag
    uncertain: set[str] = field(default_factory=set)  # tags: sent, but not answered
    joined: list[tuple[Promise, object]] = field(default_factory=list)
    unanswered: int = 0
    surprises: list[str] = field(default_factory=list)
    final: dict[str, dict[str, object]] = field(default_factory=dict)
    receiver: Receiver = field(default_factory=Receiver)
    stopped: bool = False

    async def __aenter__(self):
        # Connections are kept alive: a server that is gone must be noticed on these, too.
        self._client = httpx.AsyncClient(
            timeout=PATIENCE_SECONDS, limits=httpx.Limits(max_connections=None)
        )
        await self.receiver.__aenter__()
        return self

    async def __aexit__(self, *_):
        await self.receiver.__aexit__()
        await self._client.aclose()

    async def _request(self, method, path, **options):
        return await self._client.request(method, random.choice(self.urls) + path, **options)

    async def call(self, number):
        thread = str(uuid4())
        for block in range(1_000_000):
            if self.stopped:
                return
            if block % BLOCKS_OF_A_THREAD == 0:
                thread = str(uuid4())
            tags = [f"{number}-{block}-{each}" for each in range(3)]
            made = [await self._create(thread, tag) for tag in tags]
            await random.choice((self._wait, self._keep, self._notify))(f"{number}-{block}-e")
            last = next((run for run in reversed(made) if run), None)
            if last:
                await self._follow(last)
            else:
                await asyncio.sleep(0.05)

    def _body(self, tag, **more):
        fails = random.choice(FAILING) if random.random() < 0.05 else ""
        seconds = random.uniform(0.2, 1.8) * self.seconds
        self.inputs[tag] = given(tag, fails, seconds)
        self.uncertain.add(tag)
        return {
            "assistant_id": "witness",
            "input": self.inputs[tag],
            "durability": random.choice(("sync", "async", "exit")),
            **more,
        }

    async def _create(self, thread, tag):
        body = self._body(tag, multitask_strategy="enqueue", if_not_exists="create")
        run = await self._post(f"/threads/{thread}/runs", body)
        if run is None:
            return None
        promise = Promise(thread, run["run_id"], tag, body["input"]["fails"])
        self.promises.append(promise)
        self.uncertain.discard(tag)
        return promise

    async def _post(self, path, body):
        """Send a request once: whether an unanswered one was executed cannot be known."""
        try:
            answer = await self._request("POST", path, json=body)
        except BROKEN:
            return None
        if answer.status_code == 200:
            return answer.json()
        if answer.status_code != 503:
            self.surprises.append(f"{path} answered {answer.status_code}: {answer.text}")
        return None

    async def _keep(self, tag):
        """Start a run in the background whose thread is kept."""
        body = self._body(tag, on_completion="keep")
        run = await self._post("/runs", body)
        if run is not None:
            self.uncertain.discard(tag)
            promise = Promise(run["thread_id"], run["run_id"], tag, body["input"]["fails"])
            self.promises.append(promise)

    async def _notify(self, tag):
        """Start a run in the background whose end is told by a webhook."""
        kept = random.random() < 0.5
        keep = {"on_completion": "keep"} if kept else {}
        body = self._body(tag, webhook=self.receiver.url, **keep)
        run = await self._post("/runs", body)
        if run is not None:
            self.uncertain.discard(tag)
            fails = body["input"]["fails"]
            self.errands.append(Errand(tag, fails, run["run_id"], kept=kept))

    async def _wait(self, tag):
        """Start a run and wait for its result, at its place when the connection breaks."""
        body = self._body(tag, webhook=self.receiver.url)
        errand = None
        try:
            url = random.choice(self.urls) + "/runs/wait"
            async with self._client.stream("POST", url, json=body) as answer:
                if answer.status_code != 200:
                    await self._refused(answer)
                    return
                place = answer.headers["content-location"]
                errand = Errand(tag, body["input"]["fails"], place.rpartition("/")[2])
                self.uncertain.discard(tag)
                self.errands.append(errand)
                await answer.aread()
                errand.answers.append(answer.json())
        except BROKEN:
            if errand is not None:
                await self._join_errand(errand, place)

    async def _refused(self, answer):
        await answer.aread()
        if answer.status_code != 503:
            self.surprises.append(f"/runs/wait answered {answer.status_code}: {answer.text}")

    async def _join_errand(self, errand, place):
        found = await self._ask(f"{place}/join")
        if found is not None and found.status_code == 200:
            errand.answers.append(found.json())

    async def _follow(self, promise):
        """Wait for a run as clients do, at another server when one goes away."""
        found = await self._ask(f"/threads/{promise.thread}/runs/{promise.run}/join")
        if found is not None and found.status_code == 200:
            self.joined.append((promise, found.json()))

    async def _ask(self, path):
        while not self.stopped:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    return await self._request("GET", path)
            except TimeoutError:
                self.unanswered += 1
            except BROKEN:
                await asyncio.sleep(0.05)
        return None

    async def settle(self, seconds):
        """Wait until every thread is quiet and every webhook sent; keep the server's answers."""
        deadline = monotonic() + seconds
        waiting = {promise.thread for promise in self.promises}
        while (waiting or not self._notified()) and monotonic() < deadline:
            for thread in sorted(waiting):
                with contextlib.suppress(*BROKEN):
                    found = await self._look(thread)
                    self.final[thread] = found
                    if all(run["status"] in FINAL for run in found["runs"]):
                        waiting.discard(thread)
            await asyncio.sleep(0.1)

    def _notified(self):
        received = self.receiver.received
        return all(errand.run in received for errand in self.errands)

    async def _look(self, thread):
        runs, page = [], [None]
        while page:
            query = {"limit": 100, "offset": len(runs)}
            page = await self._get(f"/threads/{thread}/runs", params=query)
            runs += page
        state = await self._get(f"/threads/{thread}")
        history = await self._get(f"/threads/{thread}/history", params={"limit": 20})
        return {
            "status": state["status"],
            "values": state["values"] or {},
            "runs": runs,
            "history": [summary(each["values"] or {}) for each in history],
        }

    async def _get(self, path, **options):
        answer = await self._request("GET", path, **options)
        answer.raise_for_status()
        return answer.json()

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
