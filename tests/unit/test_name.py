"""The project has one name everywhere."""

import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_interpreter

ROOT = Path(__file__).parents[2]

FORMER = "we" + "ft"
"""The name before the first release, in two parts so that this file does not contain it."""

LEFT_OUT = {
    ".git", "node_modules", "__pycache__", "build", "dist", ".mypy_cache", ".pytest_cache",
    ".ruff_cache", ".import_linter_cache", ".hypothesis",
}  # fmt: skip


def files(root):
    """Yield every file of the project that is not installed, cached or measured."""
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".venv") and name not in LEFT_OUT]
        yield from (Path(folder, name) for name in names if not name.startswith(".coverage"))


def mentions(path):
    return FORMER in path.name.lower() or FORMER.encode() in path.read_bytes().lower()


def test_tree_has_no_trace_of_the_former_name():
    found = [str(path.relative_to(ROOT)) for path in files(ROOT) if mentions(path)]
    assert not found


def test_a_file_with_the_former_name_is_found(tmp_path):
    inside, named, neither = tmp_path / "a.md", tmp_path / f"{FORMER}.md", tmp_path / "b.md"
    inside.write_text(f"pip install {FORMER.upper()}")
    named.write_text("")
    neither.write_text("loomline")
    assert {path for path in files(tmp_path) if mentions(path)} == {inside, named}
