"""The supervisor of ``loomline dev``: starts the server anew when files change.

It imports nothing of the server, holds the socket so that no request is refused in between, and
takes the server with it when it goes, however it goes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess  # nosec B404
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from watchfiles import Change, watch

from loomline.server.cli.descriptors import raise_descriptor_limit
from loomline.server.cli.sockets import bind
from loomline.server.cli.standin import StandIn
from loomline.server.settings import Settings, SettingsError

_WATCHED = frozenset({".py", ".json", ".env", ".toml", ".yaml", ".yml"})
_IGNORED = frozenset({".git", ".venv", "venv", "node_modules", "__pycache__", "site-packages"})

_LOOK_MILLISECONDS = 300
_STOP_SECONDS = 5.0


def supervise(settings: Settings, arguments: Sequence[str]) -> int:
    """Keep a server running over changes of its files; return the exit code.

    A server that does not start the first time ends this. Later ones may fail: the next change
    gets its chance.
    """
    raise_descriptor_limit()
    try:
        bound = bind(settings.host, settings.port)
    except SettingsError as error:
        print(f"loomline: {error}", file=sys.stderr)
        return 1
    reading, writing = os.pipe()
    reasons, reason = os.pipe()
    os.set_blocking(reasons, False)
    command = [
        sys.executable, "-P", "-m", "loomline.server.cli", *arguments, "--no-reload",
        "--fd", str(bound.fileno()), "--parent", str(reading), "--report", str(reason),
    ]  # fmt: skip
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    stand_in = StandIn(bound, reasons)
    child = _Child(command, (bound.fileno(), reading, reason))
    try:
        return _watch(settings, child, stop, stand_in)
    finally:
        stand_in.stop()
        child.stop()
        os.close(writing)
        bound.close()


class _Child:
    """The server process, the one that runs now."""

    def __init__(self, command: Sequence[str], descriptors: Sequence[int]) -> None:
        self._command = command
        self._descriptors = descriptors
        self._process = self._start()

    def ended(self) -> int | None:
        """Return the exit code of a process that has ended."""
        return self._process.poll()

    def restart(self) -> None:
        self.stop()
        self._process = self._start()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        # Ctrl-C reaches both. The child leaves it to its supervisor, until its server handles it.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return subprocess.Popen(  # noqa: S603 - this program itself  # nosec B603
                self._command, pass_fds=self._descriptors
            )
        finally:
            signal.signal(signal.SIGINT, before)


def _watch(settings: Settings, child: _Child, stop: threading.Event, stand_in: StandIn) -> int:
    first, told = True, False
    changes = watch(
        *_folders(settings),
        watch_filter=_Filter(settings.data_dir),
        stop_event=stop,
        rust_timeout=_LOOK_MILLISECONDS,
        yield_on_timeout=True,
        raise_interrupt=False,
    )
    for changed in changes:
        code = child.ended()
        if changed:
            names = sorted({Path(path).name for _, path in changed})
            print(f"loomline: {', '.join(names[:5])} changed, starting again", file=sys.stderr)
            stand_in.stop()
            child.restart()
            first = told = False
        elif code is not None and first:
            return code
        elif code is not None and not told:
            told = True
            print("loomline: the server has ended; waiting for a change", file=sys.stderr)
            stand_in.start()
    return 0


def _folders(settings: Settings) -> list[Path]:
    found = [path for path in settings.python_path if path.is_dir()]
    return [path for path in found if not any(other in path.parents for other in found)]


class _Filter:
    """Which changes matter."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def __call__(self, _change: Change, path: str) -> bool:
        changed = Path(path)
        with contextlib.suppress(ValueError):
            changed.relative_to(self._data_dir)
            return False
        if _IGNORED.intersection(changed.parts):
            return False
        return changed.suffix in _WATCHED or changed.name.startswith(".env")
