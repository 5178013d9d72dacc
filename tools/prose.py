"""Count free relatives and indefinites in docstrings, comments and documentation pages.

    python tools/prose.py                  exit 1 if a file has more of them than it may
    python tools/prose.py --record         the same, and lower the record where files have improved
    python tools/prose.py PATH...          print the figure of files or folders
    python tools/prose.py --list PATH...   print each place too

A file may have 2 per 1,000 words. Files that had more when the record was made are listed in
tools/prose_record.json with their number of words, which never rises. The figure needs neither
history nor a base commit, so it is the same in every clone.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import re
import sys
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECORD = "tools/prose_record.json"

FOLDERS = ("bench", "docs", "examples", "scripts", "src", "tests", "tools")
LEFT_OUT = {"_sync", "node_modules", "__pycache__"}  # generated, installed, cached

PER_THOUSAND = 2

FREE = re.compile(
    r"\b(what|whoever|whatever|whose|somebody|nobody|everybody|whichever"
    r"|those that|one that|that is none|it is none"
    r"|no (?:text|json|event|graph|number|option))\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z']+")
_CODE = re.compile(r"^( *)(```|~~~).*?^\1\2 *$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Prose:
    """The prose of one file: its number of words, and each hit as a line number and a phrase."""

    words: int
    hits: tuple[tuple[int, str], ...]

    @property
    def allowed(self) -> int:
        """How many hits a file of this length may have."""
        return PER_THOUSAND * self.words // 1000


def measure(path: Path) -> Prose:
    """Count the prose of a Python or Markdown file."""
    text = path.read_text(encoding="utf-8")
    parts = list(_page(text) if path.suffix == ".md" else _code(text))
    words = sum(len(_WORD.findall(part)) for _, part in parts)
    return Prose(words, tuple(sorted(chain.from_iterable(_hits(*part) for part in parts))))


def _hits(line: int, part: str) -> Iterator[tuple[int, str]]:
    for found in FREE.finditer(part):
        yield line + part.count("\n", 0, found.start()), found[0]


def _code(text: str) -> Iterator[tuple[int, str]]:
    """Yield the docstrings and comments of a module with the lines where they begin."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            if docstring is not None:
                yield node.body[0].lineno, docstring
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _page(text: str) -> Iterator[tuple[int, str]]:
    """Yield a page without its code. Line breaks stay, so line numbers do."""
    yield 1, _CODE.sub(lambda found: "\n" * found[0].count("\n") or " ", text)


def project(root: Path) -> list[str]:
    """Return the paths, relative to the root, of all files that the bar is for."""
    below = (path for folder in FOLDERS for path in (root / folder).rglob("*"))
    paths = (path.relative_to(root) for path in chain(root.glob("*.md"), below))
    return sorted(path.as_posix() for path in paths if _counts(path))


def _counts(path: Path) -> bool:
    return path.suffix in {".py", ".md"} and LEFT_OUT.isdisjoint(path.parts)


def worse(found: Mapping[str, Prose], record: Mapping[str, int]) -> list[str]:
    """Return the files with more hits than the bar and the record allow."""
    return [
        name
        for name, prose in found.items()
        if len(prose.hits) > max(prose.allowed, record.get(name, 0))
    ]


def lowered(found: Mapping[str, Prose], record: Mapping[str, int] | None) -> dict[str, int]:
    """Return the new record. Without an old one, every file above the bar is listed as it is."""
    above = {
        name: len(prose.hits) for name, prose in found.items() if len(prose.hits) > prose.allowed
    }
    if record is None:
        return above
    return {name: min(hits, record[name]) for name, hits in above.items() if name in record}


def check(root: Path, *, update: bool) -> int:
    """Compare the files with the record, print the failures, and return the exit status."""
    place = root / RECORD
    record = json.loads(place.read_text(encoding="utf-8")) if place.exists() else None
    found = {name: measure(root / name) for name in project(root)}
    new = lowered(found, record)
    if update and new != record:
        place.write_text(json.dumps(new, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    failures = worse(found, new if record is None and update else record or {})
    for name in failures:
        _explain(name, found[name], (record or {}).get(name))
    return 1 if failures else 0


def _explain(name: str, prose: Prose, recorded: int | None) -> None:
    limit = f"{prose.allowed} allowed" if recorded is None else f"{recorded} recorded"
    print(f"{name}: {len(prose.hits)} free relatives or indefinites, {limit}. Name the subject:")
    _show(name, prose)


def _show(name: str, prose: Prose) -> None:
    for line, phrase in prose.hits:
        print(f"  {name}:{line}: {phrase}")


def figure(path: Path, *, listed: bool) -> None:
    """Print the number of words and the hits per 1,000 of a file or a folder."""
    below = sorted(path.rglob("*")) if path.is_dir() else [path]
    found = {str(file): measure(file) for file in below if _counts(file)}
    words = sum(prose.words for prose in found.values())
    hits = sum(len(prose.hits) for prose in found.values())
    for name, prose in found.items() if listed else ():
        _show(name, prose)
    print(f"{path!s:40}{words:8} words{1000 * hits / max(words, 1):6.1f}")


def main(arguments: list[str]) -> int:
    """Run the command, and return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--record", action="store_true", help="lower the record")
    parser.add_argument("--list", action="store_true", help="print each place")
    options = parser.parse_args(arguments)
    if not options.paths:
        return check(ROOT, update=options.record)
    for path in options.paths:
        figure(path, listed=options.list)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
