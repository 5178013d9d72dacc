"""Kill, stop and cut off servers while they work; write what came of it to bench/faults.md.

    python bench/faults.py [--kills 50] [--others 10] [--only A,B,C] [--minutes 60] [--seed N]
                           [--report PATH]

For each shape: so many processes are killed at random moments, one in five while it starts; then
as many other faults of each kind that the shape knows. The tests have a short version of it.
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
from tests.faults.verdict import Verdict, judge

SHAPES = {shape.name[0]: shape for shape in (EMBEDDED, POSTGRES, SCALED)}

FLAGS = {"lease_seconds": 3, "max_attempts": 100, "shutdown_grace_seconds": 0.2}

INTRODUCTION = """# What survives

Written by `python bench/faults.py` ({date}, Python {python}).

{callers} callers start runs of three nodes without a pause, three at a time on a thread of each,
and wait for them, while the processes that serve them are killed (`SIGKILL`), stopped (`SIGTERM`,
with {grace} s of grace), and lose what they are connected to, at random moments. Every node notes
its start and its end in a file. In the end:

* every run that was acknowledged has succeeded, or failed with its own error (one in twenty does so
  on purpose);
* every step of every run is in the state of its thread exactly once, in the order of the runs,
  whether it was executed once or again;
* no execution did a node twice: a node's side effects happened at most once per execution of the
  run;
* no two executions of a thread were ever busy at once, in one process or in several (but for what
  a frozen process does in the moment in which it wakes up: nothing of that is stored);
* no thread is left busy, and no caller waited for ever.
"""


def plan(shape: Shape, kills: int, others: int) -> list[Any]:
    """Return the faults of a shape, in random order."""
    chosen: list[Any] = [
        acts.kill_while_starting if number % 5 == 4 else acts.kill for number in range(kills)
    ]
    chosen += [acts.stop] * others
    if shape.postgres:
        chosen += [acts.cut] * others + [acts.outage] * (others // 4)
    if shape.redis:
        chosen += [acts.restart_redis] * others + [acts.freeze] * (others // 2)
    random.shuffle(chosen)
    return chosen


async def suffer(
    folder: Path, shape: Shape, faults: list[Any], args: argparse.Namespace
) -> tuple[Verdict, int]:
    """Let a shape suffer; return the verdict, and how many faults there was time for."""
    deadline = time.monotonic() + args.minutes * 60
    done = 0
    with Fleet(folder, shape, **FLAGS) as fleet:
        async with Load(fleet.urls) as load:
            async with load.running(args.callers):
                while done < len(faults) and time.monotonic() < deadline:
                    await acts.pause()
                    await faults[done](fleet)
                    done += 1
                    print(f"\r{shape.name}: {done}/{len(faults)} faults", end="", flush=True)
                await acts.pause()
            await load.settle(120)
        verdict = judge(load, fleet)
        if verdict.faults:
            kept = Path(tempfile.mkdtemp(prefix="loomline-faults-"))
            fleet.notes.rename(kept / "notes")
            fleet.log.rename(kept / "log")
            print(f"\nnotes and log are kept in {kept}")
    return verdict, done


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
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--others", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=60.0, help="of each shape, at most")
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
