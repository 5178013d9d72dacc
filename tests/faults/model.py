"""The witness graph's state, computed from the runs of a thread without any server.

Every channel follows from the channel ``log``, which names the steps that a thread has made, and
from the inputs of its runs. A state with any other contents mixes several states, or has lost a
part of one.
"""

import hashlib
import json
from functools import cache

BRANCHES = ("b", "d")
INNER = ("p", "q")

STEPS = ("a", *BRANCHES, *INNER, "c")
"""The steps of a run, in the order in which langgraph adds them to the log."""

READ = {"a": 0, "b": 1, "d": 1, "p": 1, "q": 1, "c": 5}
"""How many steps of its own run a node of the outer graph finds in the log."""

FAILING = ("b", "q", "c")
"""The nodes that a run may be told to fail in."""

_EMPTY = {"log": [], "steps": 0, "peak": 0, "facts": {}, "asked": 0, "trail": []}

_INNER_INPUT = ("tag", "fails", "seconds", "payload")


@cache
def filler(key, most=3000):
    """Return a string that belongs to a key alone, longer than the strings stored inline."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    return (digest * (most // len(digest)))[: 600 + int(digest[:4], 16) % (most - 600)]


def given(tag, fails="", seconds=0.1):
    """Return the input of a run."""
    return {
        "tag": tag,
        "fails": fails,
        "seconds": seconds,
        "payload": filler(f"payload of {tag}"),
        "options": {"of": tag, "nested": [{"text": filler(f"{tag} {n}", 900)} for n in range(2)]},
        "asked": 1,
    }


STORED_CHANNELS = frozenset(
    {*given("0"), "log", "steps", "peak", "text", "inner", "facts", "draft"}
)
"""Channels whose value is stored with every version. That of ``trail`` follows from the writes."""


def writes(name, state):
    """Return the writes of a node of the outer graph."""
    tag = state["tag"]
    key = f"{tag}:{name}"
    found = {
        "log": [key],
        "steps": 1,
        "trail": [f"trail of {key}"],
        "facts": {name: {"of": tag, "numbers": list(range(len(key))), "text": filler(key, 800)}},
    }
    if name in {"a", "c"}:
        found |= {"text": filler(f"text of {key}"), "peak": weight(key)}
    return found


def inner_writes(name, state):
    """Return the writes of a node of the subgraph, which depend on the channels that it reads."""
    key = f"{state['tag']}:{name}"
    if name == "p":
        return {"log": [key], "draft": filler(f"draft of {key}") + state["payload"][:50]}
    return {"log": [key], "inner": digest(state["draft"]) + filler(f"inner of {key}")}


def weight(key):
    return int(hashlib.sha256(key.encode()).hexdigest()[:7], 16)


def highest(left, right):
    return max(left, right)


def merged(left, right):
    return {**left, **right}


def extended(left, writes):
    return [*left, *(each for write in writes for each in write)]


def steps_of(tag, fails=""):
    """Return the steps that a finished run leaves in the log."""
    names = {"": STEPS, "c": STEPS[:-1]}.get(fails, STEPS[:1])
    return [f"{tag}:{name}" for name in names]


def tag_of(step):
    return step.partition(":")[0]


class Replay:
    """The state of a thread after some steps, with more of them added one by one."""

    def __init__(self, inputs):
        self._inputs = inputs
        self.state = dict(_EMPTY)
        self._tag = None

    def begin(self, tag):
        """Apply the input of a run, unless it is the run that the last step belongs to."""
        if tag != self._tag:
            self._tag = tag
            self._apply(self._inputs[tag])

    def add(self, step):
        tag, _, name = step.partition(":")
        self.begin(tag)
        if name in INNER:
            self._add_inner(tag, name)
        else:
            self._apply(writes(name, self.state))

    def _add_inner(self, tag, name):
        found = inner_writes(name, inner_state(self._inputs[tag], INNER.index(name)))
        self._apply({key: found[key] for key in ("log", "inner") if key in found})

    def _apply(self, update):
        state = self.state = dict(self.state)
        for key, value in update.items():
            if key in {"log", "trail", "steps", "asked"}:
                state[key] = state[key] + value
            elif key == "peak":
                state[key] = highest(state[key], value)
            elif key == "facts":
                state[key] = merged(state[key], value)
            else:
                state[key] = value


def inner_state(run_input, made):
    """Return the state of the subgraph after some of its steps."""
    state = {key: run_input[key] for key in _INNER_INPUT} | {"log": []}
    for name in INNER[:made]:
        found = inner_writes(name, state)
        state |= found | {"log": state["log"] + found["log"]}
    return state


def state_after(log, inputs, tag=None):
    """Return the state that a log stands for, with the input of one more run applied."""
    replay = Replay(inputs)
    for step in log:
        replay.add(step)
    if tag is not None:
        replay.begin(tag)
    return replay.state


def digest(value):
    """Return a short string that stands for a JSON value."""
    content = json.dumps(value, sort_keys=True).encode()
    return hashlib.blake2b(content, digest_size=6).hexdigest()


def digests(state):
    return {channel: digest(value) for channel, value in state.items()}


def summary(values):
    """Return the part of a state that it is judged by, which is much smaller."""
    return {"tag": values.get("tag"), "log": values.get("log"), "state": digests(values)}


def difference(found, expected):
    """Return how the digests of two states differ, as a sentence, or an empty string."""
    parts = {
        "missing": sorted(expected.keys() - found.keys()),
        "unexpected": sorted(found.keys() - expected.keys()),
        "different": sorted(key for key in found.keys() & expected.keys()
                            if found[key] != expected[key]),
    }  # fmt: skip
    return "; ".join(f"{name}: {', '.join(keys)}" for name, keys in parts.items() if keys)
