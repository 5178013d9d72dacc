"""Hold promises against the notes of the nodes and the answers of the server."""

import builtins
import itertools
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.faults.model import (
    INNER,
    READ,
    Replay,
    difference,
    digests,
    inner_state,
    state_after,
    steps_of,
    summary,
    tag_of,
)

UNFORESEEN = (
    "a duty of", "a job failed", ": request failed", "waiting for a run failed", "a sweep failed",
    "never retrieved", "never awaited", "Task was destroyed",
)  # fmt: skip

LOST, TWICE, STATE, RESULT, DAMAGE, OVERLAP, LOG = (
    "runs lost",
    "steps that count twice",
    "states that the run never had",
    "results lost or wrong",
    "damages of the database",
    "executions of a thread that overlap",
    "surprises in logs and answers",
)
KINDS = (LOST, TWICE, STATE, RESULT, DAMAGE, OVERLAP, LOG)


@dataclass
class Verdict:
    """``faults`` are sentences, none where all is well; the rest is counted for the report."""

    faults: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    counts: dict[str, object] = field(default_factory=dict)

    def add(self, kind, *sentences):
        self.faults += [f"{kind}: {each}" for each in sentences]
        self.kinds[kind] += len(sentences)


@dataclass
class Record:
    """The notes from the time of the load, besides the answers to the callers.

    ``ends`` says when processes were killed, by id; ``frozen`` has the ids of processes that
    stood still; ``damages`` are sentences about the database.
    """

    facts: list[dict[str, Any]]
    ends: dict[int, float] = field(default_factory=dict)
    frozen: set[int] = field(default_factory=set)
    damages: list[str] = field(default_factory=list)
    inspections: int = 0
    log: list[str] = field(default_factory=list)


class Span(NamedTuple):
    begin: float
    end: float
    pid: int
    name: str


def verdict_on(load, record):
    """Return the verdict, once the load has settled."""
    facts = record.facts
    verdict = Verdict()
    _statuses(load, verdict)
    _states(load, verdict)
    checked = _check_states(load, facts, verdict)
    checked |= _histories(load, verdict)
    _results(load, verdict)
    _errands(load, facts, verdict)
    _side_effects(facts, verdict)
    _overlaps(record, verdict)
    verdict.add(DAMAGE, *record.damages)
    verdict.add(LOG, *load.surprises, *unforeseen(record.log))
    _counts(load, record, verdict)
    verdict.counts |= checked | {"inspections of the database": record.inspections}
    verdict.counts |= {kind: verdict.kinds[kind] for kind in KINDS}
    return verdict


def _statuses(load, verdict):
    found = {run["run_id"]: run for each in load.final.values() for run in each["runs"]}
    for promise in load.promises:
        status = found.get(promise.run, {"status": "gone"})["status"]
        if status != ("error" if promise.fails else "success"):
            verdict.add(LOST, f"run {promise.tag} was promised and is {status}")
    for thread, each in load.final.items():
        last = each["runs"][0]["status"] if each["runs"] else "gone"
        expected = {"success": "idle", "error": "error"}.get(last)
        if each["status"] != expected:
            verdict.add(LOST, f"thread {thread} is {each['status']}, its last run was a {last}")


def _states(load, verdict):
    """Each step of each run is in its thread's state once, in the order of the runs."""
    by_thread = defaultdict(list)
    for promise in load.promises:
        by_thread[promise.thread].append(promise)
    for thread, each in load.final.items():
        promised = [
            step for promise in by_thread[thread] for step in steps_of(promise.tag, promise.fails)
        ]
        log = each["values"].get("log", [])
        known = [step for step in settled(log, load) if tag_of(step) not in load.uncertain]
        if known != promised:
            verdict.add(LOST, f"the state of {thread} is {known} instead of {promised}")
        if len(set(log)) != len(log):
            verdict.add(TWICE, f"steps of {thread} count twice: {log}")


def settled(log, load):
    """Return the steps that the next run finds.

    The state of a run that has failed beside other nodes shows what those have done, until another
    run begins without it.
    """
    if not log:
        return []
    tag = tag_of(log[-1])
    return [step for step in log if tag_of(step) != tag] + [
        step for step in log if step in steps_of(tag, load.inputs[tag]["fails"])
        and tag_of(step) == tag
    ]  # fmt: skip


def _check_states(load, facts, verdict):
    """Hold the state that every node has read against those that its run really had.

    The log of a thread only grows, so each node of each run has one state to begin with: that of
    the steps before it. It is the same in every execution of the run.
    """
    logs = {thread: settled(each["values"].get("log", []), load)
            for thread, each in load.final.items()}  # fmt: skip
    expected = {}
    for log in logs.values():
        expected |= _readings(log, load.inputs)
    begins = [fact for fact in facts if fact["what"] == "begin"]
    runs, last, known = {}, {}, set()
    takeovers = 0
    for fact in begins:
        takeovers += last.get(fact["run"], fact["execution"]) != fact["execution"]
        last[fact["run"]] = fact["execution"]
        tag = runs.setdefault(fact["run"], fact["tag"])
        wrong = _wrong(fact, tag, logs, expected, load.inputs)
        # What a thread has lost, every later state of it lacks as well.
        if wrong and (fact["thread"], wrong) not in known:
            known.add((fact["thread"], wrong))
            verdict.add(STATE, f"run {tag} began {fact['node']} in execution {fact['execution']}"
                        f" ({wrong}; log: {_end(fact['log'])})")  # fmt: skip
    return {"states checked": len(begins), "states checked at takeovers": takeovers}


def _readings(log, inputs):
    """Return the digests of the states of a thread, by run and number of its steps."""
    replay, found, made = Replay(inputs), {}, Counter()
    for step in log:
        tag = tag_of(step)
        if not made[tag]:
            replay.begin(tag)
            found[tag, 0] = digests(replay.state)
        replay.add(step)
        made[tag] += 1
        if made[tag] in READ.values():
            found[tag, made[tag]] = digests(replay.state)
    return found


def _wrong(fact, tag, logs, expected, inputs):
    """Return how the state of a note differs from the state that its run had, or an empty string."""
    if tag not in inputs:
        return f"with the input of an unknown run: {tag}"
    if fact["node"] in INNER:
        right = digests(inner_state(inputs[tag], INNER.index(fact["node"])))
    else:
        depth = READ[fact["node"]]
        right = expected.get((tag, depth)) or _unfinished(fact, tag, depth, logs, inputs)
    return "nothing that the thread ever had" if right is None else difference(fact["state"], right)


def _end(log):
    """Return the last steps of a log, which say where it is."""
    return log if log is None or len(log) <= 8 else [f"({len(log) - 8} more)", *log[-8:]]


def _unfinished(fact, tag, depth, logs, inputs):
    """Return the digests that a run may read whose steps are not in the state of its thread."""
    log = fact["log"] or []
    before, own = log[: len(log) - depth], log[len(log) - depth :]
    final = logs.get(fact["thread"], [])
    whole = before == final[: len(before)] and not _cuts(final, len(before))
    if not whole or own != steps_of(tag)[:depth]:
        return None
    return digests(state_after(log, inputs, tag))


def _cuts(log, place):
    """Return whether a place in a log is in the middle of a run."""
    return 0 < place < len(log) and tag_of(log[place - 1]) == tag_of(log[place])


def _histories(load, verdict):
    """Every state that the server tells of a thread is a state that the thread had."""
    checked = 0
    for thread, each in load.final.items():
        final = settled(each["values"].get("log", []), load)
        states = [summary(each["values"]), *each["history"]]
        checked += len(states)
        wrongs = {_inconsistent(state, final, load): state["log"] for state in states}
        for wrong, log in wrongs.items():
            if wrong:
                verdict.add(STATE, f"the server tells of {thread}: {wrong}; log: {_end(log)}")
    return {"states checked in histories": checked}


def _inconsistent(state, final, load):
    """Return the fault of a state that the server has told, or an empty string."""
    log, tag = state["log"] or [], state["tag"]
    if tag is None:
        return "" if not log else "a log without a run"
    if tag not in load.inputs or not all(tag_of(step) in load.inputs for step in log):
        return f"an unknown run: {tag}"
    begun = settled(log, load)
    if begun != final[: len(begun)]:
        return "a log that the thread never had"
    return difference(state["state"], digests(state_after(log, load.inputs, tag)))


def _results(load, verdict):
    """A result is the state that the run has left, or an explicit error."""
    for promise, result in load.joined:
        wrong = wrong_result(promise.tag, result, load)
        if wrong:
            verdict.add(RESULT, f"run {promise.tag} was joined: {wrong}")


def wrong_result(tag, result, load):
    """Return the fault of an answer with the result of a run, or an empty string."""
    fails = load.inputs[tag]["fails"]
    if not isinstance(result, dict) or not result:
        return f"its result is {result!r}"
    if "__error__" in result:
        return _wrong_error(tag, fails, result["__error__"])
    if fails:
        return "it was to fail, and has a result"
    log = result.get("log") or []
    if not set(steps_of(tag)) <= set(log) or not all(tag_of(step) in load.inputs for step in log):
        return f"its result has the log {log}"
    return difference(digests(result), digests(state_after(log, load.inputs, result.get("tag"))))


def _wrong_error(tag, fails, error):
    if fails:
        # A join that finds the database away says so, whatever the end of the run.
        known = error.get("message") == tag or error.get("error") == "StorageUnavailable"
        return "" if known else f"its error is {error}"
    # An error of Python's own comes from a node that has found a state it cannot work with.
    return f"its error is {error}" if hasattr(builtins, str(error.get("error"))) else ""


def _errands(load, facts, verdict):
    """Each acknowledged run without a thread was executed, and its end was told as promised."""
    begun = {(fact["tag"], fact["node"]) for fact in facts if fact["what"] == "begin"}
    for errand in load.errands:
        if (errand.tag, errand.fails or "c") not in begun:
            verdict.add(LOST, f"run {errand.tag} without a thread was promised, and not executed")
        bodies = load.receiver.received.get(errand.run, [])
        if not bodies:
            verdict.add(LOST, f"the webhook of run {errand.tag} was not sent")
        wrongs = [wrong_result(errand.tag, answer, load) for answer in errand.answers]
        wrongs += [_wrong_webhook(errand, body, load) for body in bodies]
        for wrong in filter(None, wrongs):
            verdict.add(RESULT, f"run {errand.tag} without a thread: {wrong}")


def _wrong_webhook(errand, body, load):
    if body["status"] != ("error" if errand.fails else "success"):
        return f"its webhook says {body['status']}: {body.get('error')}"
    if not errand.kept or errand.fails:
        return ""
    return wrong_result(errand.tag, body["values"], load)


def _side_effects(facts, verdict):
    """No execution does a node twice; no two executions say that they are the same attempt."""
    begun = Counter(
        (fact["execution"], fact["run"], fact["node"]) for fact in facts if fact["what"] == "begin"
    )
    again = [f"{key} was executed {n} times" for key, n in begun.items() if n > 1]
    verdict.add(TWICE, *again)


def _overlaps(record, verdict):
    """No two executions of a thread were ever busy at once.

    Only a process that was frozen may end the node that it was in, and begin the next, before it
    knows that another process has its run.
    """
    for thread, spans in spans_of(record.facts, record.ends).items():
        for before, after in itertools.pairwise(sorted(spans)):
            if after.begin < before.end and before.pid not in record.frozen:
                verdict.add(
                    OVERLAP,
                    f"executions {before.name} and {after.name} of {thread} overlap by"
                    f" {before.end - after.begin:.3f} s",
                )


def unforeseen(lines):
    return [line for line in lines if any(each in line for each in UNFORESEEN)]


def spans_of(facts, ends):
    """Return when each execution was busy, by thread."""
    executions = defaultdict(list)
    for fact in facts:
        executions[fact["thread"], fact["execution"]].append(fact)
    found = defaultdict(list)
    for (thread, execution), each in executions.items():
        first, end = each[0], each[-1]["at"]
        if sum(1 if fact["what"] == "begin" else -1 for fact in each):
            # Its process was killed in the middle of a node.
            end = max(end, ends.get(first["pid"], end))
        name = f"{execution} (run {first['tag']})"
        found[thread].append(Span(first["at"], end, first["pid"], name))
    return found


def _counts(load, record, verdict):
    facts = record.facts
    begins = [fact for fact in facts if fact["what"] == "begin"]
    nodes = Counter((fact["run"], fact["node"]) for fact in begins)
    executions = defaultdict(set)
    for fact in begins:
        executions[fact["run"]].add(fact["execution"])
    pauses = sorted(_pauses(facts, record.ends))
    verdict.counts = {
        "runs acknowledged": len(load.promises),
        "of these, failed as they should": sum(bool(each.fails) for each in load.promises),
        "runs without a thread acknowledged": len(load.errands),
        "results of these": sum(len(each.answers) for each in load.errands),
        "webhooks of these": sum(map(len, load.receiver.received.values())),
        "requests without an answer": len(load.uncertain),
        "runs waited for through `join`": len(load.joined),
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
            if ends.get(before["pid"], after["at"]) < after["at"]:
                yield after["at"] - ends[before["pid"]]
