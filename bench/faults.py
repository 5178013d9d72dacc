"""Kill, stop, cut off and stall servers while they work; write the outcome to bench/faults.md.

    python bench/faults.py [--kills 100] [--others 20] [--only A,B,C] [--minutes 15] [--seed N]
                           [--report PATH]

For each shape: ``--kills`` processes are killed at random moments, one in five while it starts, and
between them ``--others`` faults of each other kind that the shape knows happen, of the slow kinds
half as many. ``--minutes`` ends each shape early. The tests have a short version of it.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.faults import acts
from tests.faults.fleet import EMBEDDED, POSTGRES, SCALED, Fleet, Shape
from tests.faults.load import Load
from tests.faults.verdict import Verdict, verdict_on

SHAPES = {shape.name[0]: shape for shape in (EMBEDDED, POSTGRES, SCALED)}

FLAGS = {"lease_seconds": 3, "max_attempts": 100, "shutdown_grace_seconds": 0.2}

INTRODUCTION = """# What survives

Written by `python bench/faults.py` ({date}, Python {python}).

{callers} callers start runs without a pause, three at a time on a thread of each and one without a
thread, and wait for them. A run has six nodes: three of them side by side, two in a subgraph. Its
state has strings, lists and dicts of up to some kilobytes and reducers of five kinds; its
durability is chosen at random. Meanwhile the processes that serve the runs are killed (`SIGKILL`),
stopped (`SIGTERM`, with {grace} s of grace) and cut off, and the disk and the databases fail and
stall, at random moments. Every node notes its start, its end and a digest of each channel that it
reads. In the end:

* every run that was acknowledged has succeeded, or failed with its own error (one in twenty does so
  on purpose), with a thread and without one; the results and webhooks of the latter are right;
* every step of every run is in the state of its thread exactly once, in the order of the runs,
  whether it was executed once or again;
* every node of every execution has read a state that its run really had, computed from the runs of
  its thread: never a mixture, never without a channel. So is every state in the histories;
* after each kill SQLite's `integrity_check` and `foreign_key_check` find nothing, and on both
  databases no checkpoint names a value or a parent that is missing;
* no execution did a node twice: a node's side effects happened at most once per execution of the
  run;
* no two executions of a thread were ever busy at once, in one process or in several (except for
  the moment in which a frozen process wakes up: nothing of that is stored);
* no thread is left busy, and no caller waited for ever.
"""


def plan(shape: Shape, kills: int, others: int) -> list[Any]:
    """Return the faults of a shape.

    Each kind is spread over the whole: a run that ends early has had some of every kind.
    """
    frequent = [acts.stop]
    rare: list[Any] = []
    if not shape.postgres:
        frequent += [acts.fill_disk_now_and_then]
        rare += [acts.fill_disk, acts.lock_file]
    else:
        frequent += [acts.cut, acts.cut_writes, acts.cancel_writes]
        rare += [acts.lock_tables, acts.freeze_backends, acts.outage]
    if shape.redis:
        frequent += [acts.restart_redis]
        rare += [acts.freeze]
    chosen = [(number, kills, acts.kill) for number in range(kills) if number % 5 != 4]
    chosen += [(number, kills, acts.kill_while_starting) for number in range(4, kills, 5)]
    chosen += [(number, others, act) for act in frequent for number in range(others)]
    fewer = max(others // 2, min(others, 1))
    chosen += [(number, fewer, act) for act in rare for number in range(fewer)]
    # At a random moment of its share of the time.
    chosen.sort(key=lambda each: (each[0] + random.random()) / each[1])
    return [act for _, _, act in chosen]


async def suffer(
    folder: Path, shape: Shape, faults: list[Any], args: argparse.Namespace
) -> tuple[Verdict, int]:
    """Let a shape suffer; return the verdict, and how many faults there was time for."""
    done = 0
    with Fleet(folder, shape, **FLAGS) as fleet:
        deadline = time.monotonic() + args.minutes * 60
        async with Load(fleet.urls) as load:
            async with load.running(args.callers):
                while done < len(faults) and time.monotonic() < deadline:
                    await acts.pause()
                    await faults[done](fleet)
                    done += 1
                    print(f"\r{shape.name}: {done}/{len(faults)} faults", end="", flush=True)
                await acts.pause()
            await load.settle(300)
            fleet.end()
            verdict = verdict_on(load, fleet.record())
        if verdict.faults:
            keep(fleet, verdict)
    return verdict, done


def keep(fleet: Fleet, verdict: Verdict) -> None:
    """Keep the material that a fault is found with."""
    kept = Path(tempfile.mkdtemp(prefix="loomline-faults-"))
    fleet.notes.rename(kept / "notes")
    fleet.logs.rename(kept / "logs")
    (kept / "faults").write_text("\n".join(verdict.faults))
    print(f"\nnotes, logs and faults are kept in {kept}")


def table(results: dict[str, tuple[Verdict, dict[str, Any]]]) -> str:
    names = list(results)
    counted = {name: {**before, **verdict.counts} for name, (verdict, before) in results.items()}
    rows = dict.fromkeys(key for counts in counted.values() for key in counts)
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for row in rows:
        cells = (f"{counted[name].get(row, '-')}" for name in names)
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--others", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=15.0, help="of each shape, at most")
    parser.add_argument("--callers", type=int, default=12)
    parser.add_argument("--only", default=",".join(SHAPES))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--report", type=Path, default=ROOT / "bench" / "faults.md")
    args = parser.parse_args()
    random.seed(args.seed)
    results = {}
    for name in args.only.split(","):
        shape, began = SHAPES[name], time.monotonic()
        faults = plan(shape, args.kills, args.others)
        with tempfile.TemporaryDirectory() as folder:
            verdict, done = asyncio.run(suffer(Path(folder), shape, faults, args))
        counts: dict[str, Any] = {
            act.__doc__.partition("\n")[0].rstrip("."): number
            for act, number in sorted(
                Counter(faults[:done]).items(), key=lambda pair: pair[0].__name__
            )
        }
        counts["seconds"] = round(time.monotonic() - began)
        results[shape.name] = (verdict, counts)
        print(f"\n{shape.name}: {len(verdict.faults)} promises broken")
        print("\n".join(verdict.faults[:20]))
        # After each, so that an interruption loses no more than it must.
        args.report.write_text(report(results, args))
    print(args.report.read_text())
    return 1 if any(verdict.faults for verdict, _ in results.values()) else 0


def report(results: dict[str, tuple[Verdict, dict[str, Any]]], args: argparse.Namespace) -> str:
    introduction = INTRODUCTION.format(
        date=time.strftime("%B %Y"),
        python=platform.python_version(),
        callers=args.callers,
        grace=FLAGS["shutdown_grace_seconds"],
    )
    broken = sum(len(verdict.faults) for verdict, _ in results.values())
    return f"{introduction}\n{table(results)}\n\nPromises broken: {broken}. Seed {args.seed}.\n"


if __name__ == "__main__":
    sys.exit(main())
