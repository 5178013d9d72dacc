"""Count the code lines of the database drivers, file by file and beside the ports.

    python tools/driver_lines.py

A code line has a token other than a comment or a docstring. Migrations are counted apart: each
line of SQL that is not empty and not a comment.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
STORAGE = ROOT / "src/loomline/server/storage"
PORTS = ROOT / "src/loomline/server/ports"
DRIVERS = ("postgres", "sqlite")

_LAYOUT = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENCODING, tokenize.ENDMARKER,
}  # fmt: skip


def code_lines(text: str) -> int:
    """Return the number of lines with code, without comments, docstrings and empty lines."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines.difference(*_docstrings(text)))


def _docstrings(text: str) -> Iterator[range]:
    """Yield the lines of statements that are only a string: docstrings, those of names too."""
    for node in ast.walk(ast.parse(text)):
        value = node.value if isinstance(node, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield range(value.lineno, (value.end_lineno or value.lineno) + 1)


def sql_lines(text: str) -> int:
    """Return the number of lines of SQL, without comments and empty lines."""
    lines = (line.strip() for line in text.splitlines())
    return sum(1 for line in lines if line and not line.startswith("--"))


def measure(folder: Path) -> dict[str, int]:
    """Return the code lines of the modules of a folder, by file name."""
    modules = sorted(folder.rglob("*.py"))
    return {
        path.relative_to(folder).as_posix(): code_lines(path.read_text("utf-8")) for path in modules
    }


def report() -> list[str]:
    """Return the lines of the table."""
    found = {driver: measure(STORAGE / driver) for driver in DRIVERS}
    names = sorted(set().union(*found.values()))
    rows = [(name, *(found[driver].get(name, 0) for driver in DRIVERS)) for name in names]
    rows.append(("all modules", *(sum(found[driver].values()) for driver in DRIVERS)))
    rows.append(("migrations (SQL)", *(_migrations(driver) for driver in DRIVERS)))
    ports = sum(measure(PORTS / "storage").values())
    shared = sum(code_lines(path.read_text("utf-8")) for path in STORAGE.glob("*.py"))
    return [
        f"{'file':26}{'postgres':>9}{'sqlite':>9}",
        *(f"{name:26}{first or '-':>9}{second or '-':>9}" for name, first, second in rows),
        f"ports/storage: {ports} lines; modules that all drivers share: {shared} lines",
    ]


def _migrations(driver: str) -> int:
    scripts = (STORAGE / driver / "migrations").glob("*.sql")
    return sum(sql_lines(path.read_text("utf-8")) for path in scripts)


if __name__ == "__main__":
    print("\n".join(report()))
