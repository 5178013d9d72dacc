"""The command line: ``weft dev``, ``weft serve``, ``weft migrate``, ``weft reencrypt``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from weft._version import __version__
from weft.server.settings import OPTIONS, SettingsError, load_settings

_DESCRIPTION = """\
Weft serves LangGraph graphs over the LangGraph API: threads, runs and streams, kept in one SQLite
file or in PostgreSQL. Every client of that API works with it unchanged."""

_EXAMPLES = """\
examples:
  weft dev                                serve ./langgraph.json, reload when files change
  weft dev --config examples/quickstart/langgraph.json --port 8123
  weft serve --host 0.0.0.0 --data-dir /var/lib/weft
  WEFT_PORT=8123 WEFT_LOG_JSON=true weft serve
  WEFT_DATABASE_URL=postgresql://user:password@host/name weft serve

Each option can also be given as a variable; an option wins over its variable."""

_COMMANDS = {
    "dev": "serve while you develop: reload on changes, all error texts shown to clients",
    "serve": "serve: errors of graphs are shown to clients only where they are safe to show",
    "migrate": "bring the tables of the database up to date, which a server does at its start, too",
    "reencrypt": "encrypt everything with the first of the keys, so that the others can be dropped",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    0: ended as asked. 1: the server could not start. 2: the command or a setting is wrong.
    """
    try:
        return _main(_parser().parse_args(arguments), list(arguments or sys.argv[1:]))
    except KeyboardInterrupt:
        # Before the server or its supervisor takes care of signals: nothing has begun yet.
        return 0


def _main(given: argparse.Namespace, arguments: Sequence[str]) -> int:
    dev = given.command == "dev"
    try:
        settings = load_settings(vars(given), os.environ, dev=dev)
    except SettingsError as error:
        print(f"weft: {error}", file=sys.stderr)
        return 2
    # Imported here, because the supervisor of `dev` stays small, and `--help` quick.
    try:
        if dev and not given.no_reload:
            from weft.server.cli.dev import supervise  # noqa: PLC0415

            return supervise(settings, arguments)
        if given.command == "migrate":
            from weft.server.cli.migrate import migrate  # noqa: PLC0415

            return migrate(settings)
        if given.command == "reencrypt":
            from weft.server.cli.reencrypt import reencrypt  # noqa: PLC0415

            return reencrypt(settings)
        from weft.server.cli.serve import serve  # noqa: PLC0415
    except ModuleNotFoundError as error:
        print(
            f"weft: the server needs the module '{error.name}', which is not installed. Install"
            ' the server with: pip install "weft[server]"',
            file=sys.stderr,
        )
        return 1
    return serve(settings, descriptor=given.fd, watch=given.parent)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "weft",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"weft {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, text in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=_EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _add_options(command)
        if name == "dev":
            command.add_argument("--no-reload", action="store_true", help="do not watch files")
        else:
            command.set_defaults(no_reload=True)
    return parser


def _add_options(command: argparse.ArgumentParser) -> None:
    for option in OPTIONS:
        variables = ", ".join(option.names)
        command.add_argument(
            option.flag,
            dest=option.name,
            metavar="X",
            help=f"{option.help} (default {option.default or 'none'}; {variables})",
        )
    # For the supervisor of `dev`: the socket it has bound, and a pipe that ends when it does.
    command.add_argument("--fd", type=int, help=argparse.SUPPRESS)
    command.add_argument("--parent", type=int, help=argparse.SUPPRESS)
