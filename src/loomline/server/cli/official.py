"""Flags of ``langgraph dev`` for people who are used to them: each works or names the way here."""

from __future__ import annotations

import argparse
from typing import Final

_SAME: Final = {
    "--n-jobs-per-worker": ("concurrency", "the same as --concurrency"),
    "--server-log-level": ("log_level", "the same as --log-level"),
    "--studio-url": ("studio_origin", "the same as --studio-origin"),
}

_NEEDLESS: Final = {
    "--no-browser": "accepted, and needless: no browser is opened",
    "--allow-blocking": "accepted, and needless: nodes may block, and the log names the line",
}

_DEBUGGER: Final = (
    "Start the server under the debugger instead: pip install debugpy, then python -m debugpy"
    " --listen 5678 [--wait-for-client] -m loomline.server.cli dev --no-reload."
)
INSTEAD: Final[dict[str, str]] = {
    "--debug-port": _DEBUGGER,
    "--wait-for-client": _DEBUGGER,
    "--tunnel": (
        "Start a tunnel of your choice to the port, such as cloudflared tunnel --url"
        ' http://127.0.0.1:2024, and give its host to --allowed-hosts. Configure "auth" first:'
        " everybody on the internet may then use the server."
    ),
}


def add_official_flags(command: argparse.ArgumentParser) -> None:
    """Let a command take the flags."""
    for flag, (name, text) in _SAME.items():
        command.add_argument(flag, dest=name, metavar="X", help=text)
    for flag, text in _NEEDLESS.items():
        command.add_argument(flag, action="store_true", help=text)
    for flag in INSTEAD:
        if flag == "--debug-port":
            command.add_argument(flag, nargs="?", const="5678", help=argparse.SUPPRESS)
        else:
            command.add_argument(flag, action="store_true", help=argparse.SUPPRESS)


def unsupported(given: argparse.Namespace) -> str | None:
    """Return the remedy for the first flag that is given and not supported."""
    for flag, instead in INSTEAD.items():
        if getattr(given, flag.removeprefix("--").replace("-", "_")):
            return f"{flag} is not supported. {instead}"
    return None
