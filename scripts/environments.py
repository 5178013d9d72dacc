"""Serve and use graphs in environments with other packages than those of the tests.

.venv/bin/python scripts/environments.py             all, one line each
.venv/bin/python scripts/environments.py official    one
.venv/bin/python scripts/environments.py --freeze    write the constraints of all anew

Each environment is build/environments/NAME, made by pip from the versions in
tests/environments/constraints/NAME.txt, and kept until these or pyproject.toml change. The
program in it is tests/environments/use.py.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "build" / "environments"
TESTS = ROOT / "tests" / "environments"

INSTALL_SECONDS = 600
USE_SECONDS = 600  # on a busy machine

# What is installed beside the server with its lowest or its newest dependencies.
ENVIRONMENTS = {
    "official": ["langgraph-cli[inmem]"],
    "lowest": ["fastapi==0.115.6"],
    "newest": ["langgraph", "langchain", "langgraph-sdk", "deepagents", "fastapi"],
}


def main() -> int:
    """Make the environments and use them; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(ENVIRONMENTS))
    parser.add_argument("--freeze", action="store_true", help="write the constraints anew")
    given = parser.parse_args()
    failed = 0
    for name in given.names or ENVIRONMENTS:
        begun = time.monotonic()
        said, code = check(name, freeze=given.freeze)
        failed |= code
        took = time.monotonic() - begun
        print(f"{name:<10}{'failed' if code else 'ok'}  {took:.0f} s  {said}", flush=True)
    return failed


def check(name: str, *, freeze: bool) -> tuple[str, int]:
    """Return what a program in an environment said, and 0 if it succeeded."""
    try:
        python = make(name, freeze=freeze)
        done = run([python, str(TESTS / "use.py")], USE_SECONDS)
    except subprocess.CalledProcessError as error:
        return f"\n{error.stdout}\n{error.stderr}", 1
    except subprocess.TimeoutExpired as error:
        return f"took longer than {error.timeout:.0f} s", 1
    return done.stdout.strip().splitlines()[-1], 0


def make(name: str, *, freeze: bool) -> str:
    """Make an environment unless it is up to date; return its interpreter."""
    folder, constraints = PLACE / name, TESTS / "constraints" / f"{name}.txt"
    python, made = folder / "bin" / "python", folder / ".made"
    sources = [constraints, ROOT / "pyproject.toml"]
    if not freeze and made.exists() and not any(newer(each, made) for each in sources):
        return str(python)
    venv.EnvBuilder(clear=True, with_pip=True).create(folder)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    pins = lowest(folder) if freeze and name == "lowest" else constraints
    bounds = [] if freeze and name != "lowest" else ["--constraint", str(pins)]
    wanted = ["--editable", f"{ROOT}[server]", *ENVIRONMENTS[name], *bounds]
    run([*pip, "install", "--quiet", "--no-compile", *wanted], INSTALL_SECONDS)
    if freeze:
        listed = run([*pip, "freeze", "--exclude-editable"], INSTALL_SECONDS).stdout
        constraints.write_text(listed)
    made.touch()
    return str(python)


def newer(path: Path, made: Path) -> bool:
    """Return whether a file has changed since an environment was made."""
    return path.stat().st_mtime > made.stat().st_mtime


def lowest(folder: Path) -> Path:
    """Return a file with the lower bounds as constraints."""
    pins = run([sys.executable, str(ROOT / "scripts" / "lowest.py"), "--list"], USE_SECONDS).stdout
    path = folder / "pins.txt"
    path.write_text(pins)
    return path


def run(command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a command.

    Raises:
        CalledProcessError: the command fails.
        TimeoutExpired: the command takes too long.
    """
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds)


if __name__ == "__main__":
    sys.exit(main())
