"""The command line: ``loomline dev``, ``serve``, ``worker``, ``migrate``, ``reencrypt``, ..."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial

from loomline._version import __version__
from loomline.server.cli.official import add_official_flags, unsupported
from loomline.server.settings import (
    OPTIONS,
    RETIRED,
    Settings,
    SettingsError,
    as_string,
    load_settings,
)

_DESCRIPTION = """\
Loomline serves LangGraph graphs over the LangGraph API: threads, runs and streams, kept in one
SQLite file or in PostgreSQL. Every client of that API works with it unchanged."""

_EXAMPLES = """\
examples:
  loomline dev                                serve ./langgraph.json, reload when files change
  loomline dev --config examples/quickstart/langgraph.json --port 8123
  loomline serve --host 0.0.0.0 --data-dir /var/lib/loomline
  LOOMLINE_PORT=8123 LOOMLINE_LOG_JSON=true loomline serve
  LOOMLINE_DATABASE_URL=postgresql://user:password@host/name loomline serve
  LOOMLINE_DATABASE_URL=... LOOMLINE_REDIS_URL=redis://host loomline worker --concurrency 100

Each option can also be given as a variable; an option wins over its variable."""

_COMMANDS = {
    "dev": "serve while you develop: reload on changes, all error texts shown to clients",
    "serve": "serve: errors of graphs are shown to clients only where they are safe to show",
    "worker": "execute runs of servers that share a PostgreSQL database and Redis; no HTTP API",
    "webhooks": "list webhooks that were given up, or have them sent again",
    "migrate": "bring the tables of the database up to date, which a server does at its start, too",
    "reencrypt": "encrypt everything with the first of the keys, so that the others can be dropped",
}

_REASON_BYTES = 4096
"""The bytes that a pipe takes without a reader."""

_KEY = "make an API key, and the entry by which a server knows it (docs/auth.md)"


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
    if given.command == "key":
        from loomline.server.cli.key import key  # noqa: PLC0415 - as below

        return key(given.identity)
    dev = given.command == "dev"
    report = partial(_report, given.report)
    if dev and (refused := unsupported(given)):
        print(f"loomline: {refused}", file=sys.stderr)
        return 2
    try:
        settings = load_settings(vars(given), os.environ, dev=dev)
    except SettingsError as error:
        print(f"loomline: {error}", file=sys.stderr)
        report(str(error))
        return 2
    try:
        command = _command(given, settings, arguments, report)
    except ModuleNotFoundError as error:
        print(
            f"loomline: the server needs the module '{error.name}', which is not installed. Install"
            ' the server with: pip install "loomline[server]"',
            file=sys.stderr,
        )
        return 1
    return command()


def _command(
    given: argparse.Namespace,
    settings: Settings,
    arguments: Sequence[str],
    report: Callable[[str], None],
) -> Callable[[], int]:
    """Return what was asked for. Its modules are imported here: `dev` stays small, `--help` quick.

    Raises:
        ModuleNotFoundError: they need something that is not installed.
    """
    if given.command == "dev" and not given.no_reload:
        from loomline.server.cli.dev import supervise  # noqa: PLC0415

        return partial(supervise, settings, arguments)
    if given.command == "migrate":
        from loomline.server.cli.migrate import migrate  # noqa: PLC0415

        return partial(migrate, settings)
    if given.command == "reencrypt":
        from loomline.server.cli.reencrypt import reencrypt  # noqa: PLC0415

        return partial(reencrypt, settings)
    if given.command == "worker":
        from loomline.server.cli.work import work  # noqa: PLC0415

        return partial(work, settings)
    if given.command == "webhooks":
        from loomline.server.cli.webhooks import webhooks  # noqa: PLC0415

        return partial(webhooks, settings, given.action, given.webhook_id, every=given.all)
    from loomline.server.cli.serve import serve  # noqa: PLC0415

    return partial(serve, settings, descriptor=given.fd, watch=given.parent, report=report)


def _report(descriptor: int | None, reason: str) -> None:
    """Tell the supervisor of `dev` why the server does not start."""
    if descriptor is not None:
        os.write(descriptor, reason.encode()[:_REASON_BYTES])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "loomline",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"loomline {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, text in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=_EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == "webhooks":
            command.add_argument("action", choices=("list", "retry"))
            command.add_argument("webhook_id", nargs="?", metavar="id", help="which to retry")
            command.add_argument("--all", action="store_true", help="retry all")
        _add_options(command, dev=name == "dev")
        if name == "dev":
            command.add_argument("--no-reload", action="store_true", help="do not watch files")
            add_official_flags(command)
        else:
            command.set_defaults(no_reload=True)
    made = commands.add_parser("key", help=_KEY, description=f"{_KEY[0].upper()}{_KEY[1:]}.")
    made.add_argument("identity", help="whose key it is")
    return parser


def _add_options(command: argparse.ArgumentParser, *, dev: bool) -> None:
    for option in OPTIONS:
        default = as_string(option.default_of(dev=dev)) or "none"
        variables = ", ".join(option.names)
        command.add_argument(
            option.flag,
            dest=option.name,
            metavar="X",
            help=f"{option.help} (default {default}; {variables})",
        )
    command.add_argument(
        "--no-worker", dest="worker", action="store_const", const="false",
        help="leave all runs to workers: the same as --worker false",
    )  # fmt: skip
    for name in RETIRED:  # read only to be refused with the remedy
        command.add_argument(f"--{name.replace('_', '-')}", dest=name, help=argparse.SUPPRESS)
    # For the supervisor of `dev`: the socket it has bound, a pipe that ends when it does, and a
    # pipe for the reason of a start that fails.
    command.add_argument("--fd", type=int, help=argparse.SUPPRESS)
    command.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    command.add_argument("--report", type=int, help=argparse.SUPPRESS)
