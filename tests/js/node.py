"""Runs scenarios in JavaScript: a process that takes orders and answers, one line each."""

import json
import os
import re
import select
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent
NEWEST = FOLDER / "newest"
PROJECT = FOLDER / "project" / "langgraph.json"

# The process itself gives up earlier, so that it can say where.
_SECONDS = 50


def scenarios():
    """Return the file and the name of every scenario, without running anything."""
    found = []
    for path in sorted((FOLDER / "scenarios").glob("*.mjs")):
        text = path.read_text(encoding="utf-8")
        names = re.findall(r'^scenario\(("[^"\n]+")', text, re.MULTILINE)
        if len(names) != len(re.findall(r"\bscenario\(", text)):
            raise ValueError(f'{path}: every scenario must begin a line with scenario("its name"')
        found += [(path.name, json.loads(name)) for name in names]
    return found


def missing():
    """Return what is missing to run them, or nothing."""
    alone = "To run the Python tests alone, set LOOMLINE_TEST_JS=0."
    if shutil.which("node") is None:
        return f"The JavaScript clients need Node.js 20 or newer; 'node' was not found. {alone}"
    if not all((each / "node_modules" / ".installed").exists() for each in (FOLDER, NEWEST)):
        return f"The JavaScript clients are not installed: run scripts/javascript. {alone}"
    return None


class Node:
    """One process; a new one after a scenario that does not come to an end.

    ``packages`` is the folder whose packages the scenarios use.
    """

    def __init__(self, packages=FOLDER):
        self._environment = os.environ | {"JS_PACKAGES": str(packages)}
        self._process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop()

    def run(self, file, name, url):
        """Run a scenario against a server; return what went wrong, or None."""
        process = self._running()
        process.stdin.write(json.dumps({"file": file, "name": name, "url": url}) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], _SECONDS)
        line = process.stdout.readline() if ready else ""
        if not line:
            self._stop()
            return "Node.js has ended (see above)" if ready else "Node.js does not answer"
        return json.loads(line)["error"]

    def _running(self):
        if self._process is None:
            self._process = subprocess.Popen(
                ["node", "--import", "./packages.mjs", "run.mjs", "--serve"],
                cwd=FOLDER,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return self._process

    def _stop(self):
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
