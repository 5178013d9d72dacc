"""What type checkers say of the package, and of programs that use it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SNIPPETS = Path(__file__).parent / "snippets"


def run(name, *arguments):
    # It finds packages by the interpreter that comes first on the path.
    folder = Path(sys.executable).parent
    path = os.pathsep.join([str(folder), os.environ["PATH"]])
    return subprocess.run(
        [str(folder / name), *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, "PATH": path},
    )  # fmt: skip


def test_mypy_accepts_ordinary_programs(tmp_path):
    # Not the project's settings: those of somebody who only says --strict.
    done = run("mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", str(SNIPPETS))
    assert done.returncode == 0, done.stdout


def test_pyright_accepts_ordinary_programs(tmp_path):
    settings = {
        "include": [str(SNIPPETS)],
        "typeCheckingMode": "strict",
        "reportUnusedVariable": False,
    }
    config = tmp_path / "pyrightconfig.json"
    config.write_text(json.dumps(settings))
    done = run("basedpyright", "--project", str(config))
    assert done.returncode == 0, done.stdout


def test_the_public_types_are_complete():
    done = run("basedpyright", "--verifytypes", "loomline", "--ignoreexternal", "--outputjson")
    report = json.loads(done.stdout)["typeCompleteness"]
    unknown = [s["name"] for s in report["symbols"] if s["isExported"] and not s["isTypeKnown"]]
    assert report["exportedSymbolCounts"]["withKnownType"] > 500
    assert unknown == []
    assert report["completenessScore"] == 1
