"""Hold what was promised against what the nodes have noted and what the server says."""

import itertools
import json
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.faults.graph import NODES

UNFORESEEN = (
    "a duty of", "a job failed", "request failed", "waiting for a run failed", "a sweep failed",
    "never retrieved", "never awaited", "Task was destroyed",
)  # fmt: skip


@dataclass
class Verdict:
    """``faults`` are sentences, none where all is well; the rest is counted for the report."""

    faults: list[str] = field(default_factory=list)
    counts: dict[str, object] = field(default_factory=dict)


class Span(NamedTuple):
    begin: float
    end: float
    pid: int
    name: str


def judge(load, fleet):
    """Return what is wrong, once the load has settled."""
    facts = [json.loads(line) for line in fleet.notes.read_text().splitlines()]
    ends = fleet.ends
    verdict = Verdict()
    _statuses(load, verdict)
    _states(load, verdict)
    _side_effects(facts, verdict)
    _overlaps(facts, fleet, verdict)
    _log(fleet.log, verdict)
    _counts(load, facts, ends, verdict)
    return verdict


def _statuses(load, verdict):
    found = {run["run_id"]: run for each in load.final.values() for run in each["runs"]}
    for promise in load.promises:
        status = found.get(promise.run, {"status": "gone"})["status"]
        if status != ("error" if promise.fails else "success"):
            verdict.faults.append(f"run {promise.tag} was promised and is {status}")
    for thread, each in load.final.items():
        last = each["runs"][0]["status"]
        expected = {"success": "idle", "error": "error"}.get(last)
        if each["status"] != expected:
            verdict.faults.append(f"thread {thread} is {each['status']}, its last run was a {last}")


def _states(load, verdict):
    """Each step of each run is in its thread's state once, in the order of the runs."""
    for thread, each in load.final.items():
        promises = [promise for promise in load.promises if promise.thread == thread]
        promised = [step for promise in promises for step in _steps(promise)]
        log = (each["values"] or {}).get("log", [])
        known = [step for step in log if step.partition(":")[0] not in load.uncertain]
        if known != promised:
            verdict.faults.append(f"the state of {thread} is {known} instead of {promised}")
        if len(set(log)) != len(log):
            verdict.faults.append(f"steps of {thread} count twice: {log}")


def _steps(promise):
    names = NODES[:1] if promise.fails else NODES
    return [f"{promise.tag}:{name}" for name in names]


def _side_effects(facts, verdict):
    """No execution does a node twice; no two executions say that they are the same attempt."""
    begun = Counter(
        (fact["execution"], fact["run"], fact["node"]) for fact in facts if fact["what"] == "begin"
    )
    verdict.faults += [f"{key} was executed {n} times" for key, n in begun.items() if n > 1]


def _overlaps(facts, fleet, verdict):
    """No two executions of a thread were ever busy at once.

    Only a process that was frozen may end the node that it was in, and begin the next, before it
    knows that somebody else has its run.
    """
    for thread, spans in spans_of(facts, fleet.ends).items():
        for before, after in itertools.pairwise(sorted(spans)):
            if after.begin < before.end and before.pid not in fleet.frozen:
                verdict.faults.append(
                    f"executions {before.name} and {after.name} of {thread} overlap by"
                    f" {before.end - after.begin:.3f} s"
                )


def _log(path, verdict):
    """Nothing has gone wrong that nobody has foreseen."""
    lines = path.read_text().splitlines()
    verdict.faults += [line for line in lines if any(each in line for each in UNFORESEEN)]


def spans_of(facts, ends):
    """Return when each execution was busy, by thread."""
    executions = defaultdict(list)
    for fact in facts:
        executions[fact["thread"], fact["execution"]].append(fact)
    found = defaultdict(list)
    for (thread, execution), each in executions.items():
        first, last = each[0], each[-1]
        end = last["at"]
        if last["what"] == "begin":  # its process was killed in the middle
            end = max(end, ends.get(last["pid"], end))
        name = f"{execution} (run {first['tag']})"
        found[thread].append(Span(first["at"], end, first["pid"], name))
    return found


def _counts(load, facts, ends, verdict):
    begins = [fact for fact in facts if fact["what"] == "begin"]
    nodes = Counter((fact["run"], fact["node"]) for fact in begins)
    executions = defaultdict(set)
    for fact in begins:
        executions[fact["run"]].add(fact["execution"])
    pauses = sorted(_pauses(facts, ends))
    verdict.counts = {
        "runs acknowledged": len(load.promises),
        "of these, failed as they should": sum(promise.fails for promise in load.promises),
        "requests without an answer": len(load.uncertain),
        "runs waited for through `join`": load.followed,
        "waits that never ended": load.unanswered,
        "runs executed more than once": sum(len(each) > 1 for each in executions.values()),
        "executions of one run, at most": max(map(len, executions.values()), default=0),
        "nodes executed": len(begins),
        "nodes executed again": len(begins) - len(nodes),
        "runs taken over from a killed process": len(pauses),
        "seconds until these went on, median": round(statistics.median(pauses or [0]), 1),
        "the same, at most": round(max(pauses, default=0), 1),
    }


def _pauses(facts, ends):
    """Yield how long runs of killed processes waited for the next one."""
    runs = defaultdict(dict)
    for fact in facts:
        runs[fact["run"]].setdefault(fact["execution"], fact)
    for executions in runs.values():
        for before, after in itertools.pairwise(executions.values()):
            if before["pid"] in ends:
                yield after["at"] - ends[before["pid"]]
