"""Generate the synchronous client and its tests from their asynchronous sources.

    python tools/unasync.py            write them
    python tools/unasync.py --check    exit 1 if they are not what would be written

It works on tokens, so comments, layout and line numbers survive, and the check is exact.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tempfile
import tokenize
from pathlib import Path

PAIRS = (
    ("src/loomline/_client/_async", "src/loomline/_client/_sync"),
    ("tests/client/_async", "tests/client/_sync"),
)

HEADER = "# Generated from {name} by tools/unasync.py. Do not edit.\n"

CLASSES = (
    "AssistantGraphs",
    "AssistantsClient",
    "CronClient",
    "HttpClient",
    "LangGraphClient",
    "RunStarts",
    "RunsClient",
    "StoreClient",
    "ThreadStates",
    "ThreadsClient",
)

RENAMED = {
    "ASYNC_GATE_SECONDS": "SYNC_GATE_SECONDS",
    "AgentModule": "SyncAgentModule",
    "AsyncChatModelStream": "ChatModelStream",
    "AsyncGuard": "SyncGuard",
    "AsyncLater": "SyncLater",
    "AsyncLock": "SyncLock",
    "AsyncResult": "SyncResult",
    "AsyncSignal": "SyncSignal",
    "AsyncTask": "SyncTask",
    "AsyncThreadStream": "SyncThreadStream",
    "RunModule": "SyncRunModule",
    "ScopedStreamHandle": "SyncScopedStreamHandle",
    "ToolCallHandle": "SyncToolCallHandle",
    "ASYNC_TYPED": "SYNC_TYPED",
    "AsyncEventStream": "SyncEventStream",
    "AsyncLink": "SyncLink",
    "AsyncProtocolTransport": "SyncProtocolTransport",
    "AsyncSocket": "SyncSocket",
    "EventStreamHandle": "SyncEventStreamHandle",
    "ProtocolSseTransport": "SyncProtocolSseTransport",
    "ProtocolWebSocketTransport": "SyncProtocolWebSocketTransport",
    "aiter": "iter",
    "async_closed": "sync_closed",
    "async_connect": "sync_connect",
    "async_interrupt": "sync_interrupt",
    "async_interrupt_socket": "sync_interrupt_socket",
    "async_later": "sync_later",
    "AsyncBaseTransport": "BaseTransport",
    "AsyncByteStream": "SyncByteStream",
    "AsyncClient": "Client",
    "AsyncGenerator": "Generator",
    "AsyncHTTPTransport": "HTTPTransport",
    "AsyncIterator": "Iterator",
    "AsyncSleep": "SyncSleep",
    "AwaitableStream": "PlainStream",
    "StopAsyncIteration": "StopIteration",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "_async": "_sync",
    "aclose": "close",
    "aclosing": "closing",
    "aiter_bytes": "iter_bytes",
    "anext": "next",
    "aread": "read",
    "async_aside": "sync_aside",
    "async_mounts": "sync_mounts",
    "async_transport": "sync_transport",
    "async_credentials": "sync_credentials",
    "async_sleep": "sync_sleep",
    "async_stream": "sync_stream",
    "asynccontextmanager": "contextmanager",
    "get_client": "get_sync_client",
    **{name: f"Sync{name}" for name in CLASSES},
}

NAME = re.compile(r"\b(" + "|".join(map(re.escape, RENAMED)) + r")\b")
KEYWORD = re.compile(r"\basync (?=def|for|with\b)|\bawait ")
ADVERB = re.compile(r"\b([Aa])synchronous(ly)?\b")


def convert(source: str) -> str:
    """Return the synchronous twin of a module."""
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    lines = source.splitlines(keepends=True)
    for index in reversed(range(len(tokens))):
        token = tokens[index]
        text, end = token.string, token.end
        if token.type == tokenize.NAME and text in {"async", "await"}:
            text, end = "", tokens[index + 1].start
        elif token.type == tokenize.NAME:
            text = RENAMED.get(text, text)
        elif token.type == tokenize.STRING:
            text = convert_text(text)
        if text != token.string:
            (row, column), (last, after) = token.start, end
            replaced = lines[row - 1][:column] + text + lines[last - 1][after:]
            lines[row - 1 : last] = [replaced]
    return "".join(lines)


def convert_text(text: str) -> str:
    """Return a string with the docstrings, examples and quoted names of the other colour."""
    text = ADVERB.sub(
        lambda found: f"{'S' if found[1] == 'A' else 's'}ynchronous{found[2] or ''}", text
    )
    return NAME.sub(lambda found: RENAMED[found[1]], KEYWORD.sub("", text))


def _adverb(found: re.Match[str]) -> str:
    return f"{'S' if found[1] == 'A' else 's'}ynchronous{found[2] or ''}"


def generate(source: Path, target: Path) -> dict[Path, str]:
    """Return the formatted text of every generated file, by its path below the target."""
    wanted = {path.relative_to(source): path for path in source.rglob("*.py")}
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        for relative, path in wanted.items():
            out = Path(folder, relative)
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(HEADER.format(name=path.name) + convert(path.read_text()))
        for command in (["check", "--select", "I", "--fix"], ["format"]):
            # The files are excluded where they end up, but not where they are made.
            ruff = [sys.executable, "-m", "ruff", *command, "--quiet", "--no-cache", folder]
            subprocess.run(ruff, check=True)
        return {relative: Path(folder, relative).read_text() for relative in wanted}


def update(source: Path, target: Path, *, check: bool) -> list[Path]:
    """Write a pair's generated files, or only compare them; return those that differed."""
    wanted = generate(source, target)
    found = {path.relative_to(target): path.read_text() for path in target.rglob("*.py")}
    stale = sorted(
        path for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path)
    )
    for path in [] if check else stale:
        if path not in wanted:
            (target / path).unlink()
            continue
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(wanted[path])
    return [target / path for path in stale]


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Generate the synchronous client.")
    parser.add_argument("--check", action="store_true", help="only tell what is out of date")
    check: bool = parser.parse_args().check
    stale: list[Path] = []
    for source, target in PAIRS:
        Path(target).mkdir(parents=True, exist_ok=True)
        stale += update(Path(source), Path(target), check=check)
    for path in stale:
        print(f"{'out of date' if check else 'written'}: {path}", file=sys.stderr)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
