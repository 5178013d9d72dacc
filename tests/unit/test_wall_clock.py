"""Durations are measured with the monotonic clock: the wall clock may be set back at any time."""

import ast
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support import StandingClock

import loomline
from loomline.cache import bind, swr
from loomline.server.domain.events import Event
from loomline.server.domain.json import Encoded
from loomline.server.events.memory import MemoryEventLog
from loomline.server.storage.memory_cache import MemoryCache

SOURCE = Path(loomline.__file__).parent

STORED = "compared with a time in the database, which processes share and which outlives them"

# Functions that subtract or compare wall clock times, and the reason why each may.
ALLOWED = {
    "server/services/protocol_events.py:_stored_end": STORED,
    "server/services/protocol_events.py:_patience": STORED + "; bounded in both directions",
    "server/worker/loop.py:_patience": STORED + "; bounded in both directions",
    "server/worker/loop.py:_begin": STORED + "; a measure, which is at least 0",
    "server/worker/webhooks.py:_wait": STORED + "; bounded in both directions",
    "server/worker/crons.py:_patience": STORED + "; bounded in both directions",
    "server/worker/sweep.py:act": STORED,
    "server/worker/sweep.py:webhook_sweep": STORED,
    "server/worker/sweep.py:key_sweep": STORED,
    "server/events/memory.py:_next_id": "ids that only grow, whatever the clock says",
    "server/storage/webhooks.py:claim": STORED,
    "server/storage/postgres/storage.py:_compare_clocks": "compares two wall clocks",
}


def is_wall_clock(node):
    """Return whether an expression reads the wall clock anywhere."""
    for each in ast.walk(node):
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute):
            owner, name = each.func.value, each.func.attr
            if name in {"now", "utcnow", "today"}:
                return True
            if name == "time" and isinstance(owner, ast.Name) and owner.id == "time":
                return True
    return False


def assigned(tree):
    """Return the names and attributes that are given a time of the wall clock."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                values = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    values = list(zip(target.elts, node.value.elts, strict=True))
                found |= {ast.unparse(name) for name, value in values if is_wall_clock(value)}
    return found


def measures(function, attributes):
    """Return whether a function subtracts or compares a time of the wall clock."""
    names = assigned(function) | attributes
    for node in ast.walk(function):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
            operands = [node.left, node.right]
        elif isinstance(node, ast.Compare) and not isinstance(
            node.ops[0], (ast.Is, ast.IsNot, ast.In)
        ):
            operands = [node.left, *node.comparators]
        else:
            continue
        if any(is_wall_clock(each) or (names and ast.unparse(each) in names) for each in operands):
            return True
    return False


def found_in(source):
    """Return the functions of a module that measure with the wall clock."""
    tree = ast.parse(source)
    attributes = {name for name in assigned(tree) if name.startswith("self.")}
    functions = [
        each for each in ast.walk(tree) if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    return {each.name for each in functions if measures(each, attributes)}


@pytest.mark.one_interpreter
def test_no_duration_is_measured_with_the_wall_clock():
    found = {
        f"{path.relative_to(SOURCE)}:{name}"
        for path in SOURCE.rglob("*.py")
        for name in found_in(path.read_text(encoding="utf-8"))
    }
    assert found - ALLOWED.keys() == set(), "use Clock.monotonic() for durations"
    assert ALLOWED.keys() - found == set(), "these entries are no longer needed"


@pytest.mark.parametrize(
    "body",
    [
        "return clock.now() - then",
        "now = self._clock.now()\n    return now < until",
        "now = clock.now().timestamp()\n    rest = until - now",
        "if until > time.time(): pass",
        "return (datetime.now(UTC) - then).total_seconds()",
        "a, b = 1, clock.now()\n    return b - a",
    ],
)
def test_duration_by_the_wall_clock_is_found(body):
    assert found_in(f"def f():\n    {body}\n") == {"f"}


@pytest.mark.parametrize(
    "body",
    [
        "return clock.monotonic() - then",
        "now = clock.now()\n    save(now)",
        "return clock.now() + ttl",
    ],
)
def test_other_uses_of_a_clock_are_not_found(body):
    assert found_in(f"def f():\n    {body}\n") == set()


def test_relapse_by_an_attribute_is_found():
    source = """
class A:
    def __init__(self, clock):
        self._at = clock.now()
    def age(self, other):
        return other - self._at
"""
    assert found_in(source) == {"age"}


async def test_cached_value_expires_although_the_clock_was_set_back():
    clock = StandingClock()
    cache = MemoryCache(clock)
    await cache.set("a", 1, timedelta(seconds=10))
    clock.set_back(3600)
    clock.move(9)
    assert await cache.get("a") == 1
    clock.move(1)
    assert await cache.get("a") is None


async def test_closed_log_is_forgotten_although_the_clock_was_set_back():
    clock = StandingClock()
    log = MemoryEventLog(clock)
    for number in range(3):
        await log.append("s", [Event("values", Encoded(b"%d" % number))])
    await log.close("s", 10)
    clock.set_back(3600)
    clock.move(11)
    await log.close("other", 10)  # looks for what has expired
    assert "s" not in log._streams


async def test_value_of_the_future_is_loaded_again():
    clock = StandingClock()
    loads = []

    async def load():
        loads.append(1)
        return len(loads)

    bind(MemoryCache(clock), lambda: clock.now().timestamp())
    try:
        assert (await swr("a", load, fresh_for=timedelta(minutes=5))).value == 1
        clock.set_back(3600)
        assert (await swr("a", load, fresh_for=timedelta(minutes=5))).value == 2
        clock.move(60)
        assert (await swr("a", load, fresh_for=timedelta(minutes=5))).value == 2
    finally:
        bind(None)
