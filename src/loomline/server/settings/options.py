"""The options: flags, variables and entries of the section ``loomline``, with their defaults."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from loomline.encryption.keys import parse_keys as parse_aes_keys
from loomline.server.settings.origins import host_list, origin_list, studio_origins
from loomline.server.settings.webhooks import parse_keys, parse_networks

# Deeper than that, the encoder of JSON refuses.
JSON_DEPTH_MOST: Final = 250

LOG_LEVELS: Final = ("debug", "info", "warning", "error")


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Option(Generic[T]):
    """One setting, and the only place of its default.

    Attributes:
        name: The field of ``Settings``; the flag and the entry of the section have its name.
        default: The value where nothing else gives one.
        read: Reads the string of a flag, a variable or the section.
        help: A phrase for ``--help``.
        variables: Further variables that give the value.
        secret: Whether errors must not repeat the value.
        dev_default: The default of ``loomline dev``, where it differs.
    """

    name: str
    default: T
    read: Callable[[str], T]
    help: str
    variables: tuple[str, ...] = ()
    secret: bool = False
    dev_default: T | None = None

    def default_of(self, *, dev: bool) -> T:
        """Return the default of a command."""
        return self.default if self.dev_default is None or not dev else self.dev_default

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"

    @property
    def names(self) -> tuple[str, ...]:
        return (f"LOOMLINE_{self.name.upper()}", *self.variables)


def as_string(value: object) -> str:
    """Return a default as a flag would give it; empty where it stands for no value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.15g}"
    return "" if value is None or value == () else str(value)


RETIRED: Final = {
    "runners": "All graphs of a process run on one event loop, because the locks and clients of a"
    " graph module belong to one. Remove the option; for more runs at once use --concurrency, for"
    " more processors several workers ('loomline worker').",
}
"""Former options, each with the remedy."""


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers within bounds."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,15}", text) or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return read


def seconds(least: float, most: float) -> Callable[[str], float]:
    """Return a reader of durations within bounds."""

    def read(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,6})?", text):
            raise ValueError("must be a number of seconds")
        if not least <= float(text) <= most:
            raise ValueError(f"must be from {least:g} to {most:g} seconds")
        return float(text)

    return read


def number(least: float, most: float) -> Callable[[str], float]:
    """Return a reader of numbers within bounds."""

    def read(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,6})?", text) or not (
            least <= float(text) <= most
        ):
            raise ValueError(f"must be a number from {least:g} to {most:g}")
        return float(text)

    return read


def choice(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be one of: {', '.join(words)}")
        return text.lower()

    return read


def flag(text: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in words:
        raise ValueError("must be true or false")
    return words[text.lower()]


def filled(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def database_url(text: str) -> str:
    if text and not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("must look like postgresql://user:password@host:5432/name")
    return text


def aes_keys(text: str) -> str:
    """Check keys without keeping what they say."""
    parse_aes_keys(text)
    return text


def redis_url(text: str) -> str:
    if text and not text.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must look like redis://user:password@host:6379/0, or rediss:// for TLS")
    return text


def optional_port(text: str) -> int | None:
    return whole(0, 65535)(text) if text else None


OPTIONS: Final[tuple[Option[Any], ...]] = (
    Option("config", "langgraph.json", filled, "the file that names the graphs"),
    Option("host", "127.0.0.1", filled, "the address to listen on"),
    Option("port", 2024, whole(0, 65535), "the port to listen on; 0: any free one"),
    Option(
        "allowed_hosts", (), host_list,
        "names of this server besides localhost and --host, by comma, like agents.example.com or"
        " *.example.com; *: any. Requests for other names are refused where no auth is configured",
    ),
    Option(
        "allowed_origins", (), origin_list,
        "web pages that may use the server besides those of localhost and its own, by comma, like"
        " https://chat.example.com; *: any",
    ),
    Option(
        "studio_origin", (), studio_origins,
        "(dev) a hosted studio that may use the server: langsmith, or an origin",
    ),
    Option(
        "ssl_certfile", "", str,
        "a certificate in PEM, with its chain: the server speaks HTTPS with it; --ssl-keyfile goes"
        " with it",
    ),
    Option("ssl_keyfile", "", str, "the private key of --ssl-certfile, in PEM"),
    Option("data_dir", ".loomline", filled, "the folder for the SQLite database"),
    Option(
        "database_url", "", database_url,
        "a PostgreSQL database to use instead, postgresql://...; the variable keeps it out of the"
        " list of processes", secret=True,
    ),
    Option("database_connections", 4, whole(1, 100), "connections to PostgreSQL"),
    Option(
        "redis_url", "", redis_url,
        "a Redis or Valkey server, redis://... or rediss://..., through which several servers and"
        " workers on one PostgreSQL database work together", secret=True,
    ),
    Option("redis_prefix", "loomline:", filled, "what the names of all keys in Redis begin with"),
    Option("worker", True, flag, "execute runs in this server: true or false"),
    Option(
        "health_port", None, optional_port, "the port on which a worker answers /ok and /metrics",
    ),
    Option(
        "concurrency", 64, whole(1, 10_000), "runs executed at the same time",
        ("N_JOBS_PER_WORKER",),
    ),
    Option(
        "run_timeout_seconds", 3600.0, seconds(1, 30 * 86_400), "how long a run may take",
        ("BG_JOB_TIMEOUT_SECS",),
    ),
    Option(
        "max_queued_runs_per_thread", 100, whole(1, 1_000_000),
        "runs that may wait on one thread; more are refused with 429",
    ),
    Option(
        "max_pending_runs", 0, whole(0, 100_000_000),
        "runs that may wait in all; more are refused with 429; 0: any number",
    ),
    Option(
        "max_recursion_limit", 1_000_000, whole(1, 2**31),
        "the highest recursion_limit that a run may ask for",
    ),
    Option(
        "lease_seconds", 15.0, seconds(1, 3600),
        "how long a run belongs to a worker that gives no sign of life",
    ),
    Option("max_attempts", 3, whole(1, 100), "executions of a run whose worker dies"),
    Option(
        "resumable_keep_seconds", 120.0, seconds(0, 86_400),
        "how long the events of a resumable run are kept after its end",
        ("RESUMABLE_STREAM_TTL_SECONDS",),
    ),
    Option(
        "shutdown_grace_seconds", 10.0, seconds(0, 3600),
        "how long running runs may take to end when the server stops",
        ("BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS",),
        dev_default=1.0,  # a developer wants to see the change now; the run goes on afterwards
    ),
    Option("heartbeat_seconds", 5.0, seconds(0.05, 3600), "silence that a heartbeat breaks"),
    Option(
        "body_limit_bytes", 100 * 1024 * 1024, whole(1024, 2**40), "largest request body"
    ),
    Option(
        "webhook_secret", (), parse_keys,
        "what webhooks are signed with: whsec_ and base64; several with spaces between them",
        secret=True,
    ),
    Option(
        "webhook_networks", (), parse_networks,
        "private addresses that webhooks may go to, like 10.0.0.0/8, with commas between them",
    ),
    Option("webhook_attempts", 8, whole(1, 100), "attempts to deliver a webhook"),
    Option(
        "webhook_timeout_seconds", 10.0, seconds(0.1, 300), "how long an attempt may take",
    ),
    Option(
        "webhook_retry_seconds", 1.0, seconds(0.01, 3600),
        "the wait before the second attempt; it is four times longer before each further one",
    ),
    Option(
        "json_depth", JSON_DEPTH_MOST, whole(8, JSON_DEPTH_MOST),
        "levels that the JSON of a request may be nested",
    ),
    Option(
        "json_values", 500_000, whole(1000, 10**9),
        "objects, arrays and members that the JSON of a request may have in all",
    ),
    Option(
        "metadata_limit_bytes", 256 * 1024, whole(1024, 2**40),
        "largest metadata of a request; a value counts 24 bytes more than its JSON",
    ),
    Option(
        "context_limit_bytes", 1024 * 1024, whole(1024, 2**40),
        "largest context of a request, counted likewise",
    ),
    Option(
        "config_limit_bytes", 1024 * 1024, whole(1024, 2**40),
        "largest config of a request, counted likewise",
    ),
    Option(
        "header_limit_bytes", 64 * 1024, whole(1024, 2**24),
        "largest request line and headers together",
    ),
    Option(
        "head_timeout_seconds", 30.0, seconds(0.05, 3600),
        "how long a client may take from connecting, or from the first byte of a further request,"
        " to the end of the headers",
    ),
    Option(
        "body_timeout_seconds", 30.0, seconds(0.05, 3600),
        "how long a client may take between two pieces of a request body",
    ),
    Option(
        "max_connections", 0, whole(0, 1_000_000),
        "connections open at the same time; 0: as many as the limit of open files allows,"
        " with a reserve for the database and the graphs",
    ),
    Option(
        "websocket_limit_bytes", 4 * 1024 * 1024, whole(1024, 2**31),
        "largest message that a client may send over a WebSocket",
    ),
    Option(
        "streams_per_user", 0, whole(0, 1_000_000),
        "event streams open at the same time, per user or else per address; 0: any number",
    ),
    Option(
        "requests_per_second", 0.0, number(0, 1_000_000),
        "requests that one user, or else one address, may make on average; 0: any number",
    ),
    Option(
        "request_burst", 0, whole(0, 1_000_000),
        "requests at once before that counts; 0: those of ten seconds",
    ),
    Option(
        "encryption_keys", "", aes_keys,
        "keys of AES-256 in base64, the newest first, by comma: what is stored is encrypted;"
        " the variable keeps them out of the list of processes",
        ("LANGGRAPH_AES_KEY",), secret=True,
    ),
    Option(
        "encryption_metadata_keys", "", str,
        "names in metadata, by comma, that these keys encrypt as well; *: all. They can no longer"
        " be searched for", ("LANGGRAPH_AES_JSON_KEYS",),
    ),
    Option("log_level", "info", choice(*LOG_LEVELS), "how much is logged", ("LOG_LEVEL",)),
    Option("log_json", False, flag, "log JSON lines: true or false", ("LOG_JSON",)),
)  # fmt: skip
