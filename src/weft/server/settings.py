"""What a server is told: flags, environment and ``langgraph.json``, as one frozen object."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from weft.encryption.keys import parse_keys as parse_aes_keys
from weft.server.auth_settings import auth_options
from weft.server.authn.options import AuthOptions
from weft.server.domain.threads import Ttl
from weft.server.domain.webhooks import Network
from weft.server.graphs.spec import GraphSpec, IndexSpec
from weft.server.sections import (
    HttpSettings,
    SerdeSettings,
    SettingsError,
    encryption_spec,
    http_settings,
    serde_settings,
)
from weft.server.webhook_settings import (
    WebhookSettings,
    parse_keys,
    parse_networks,
    webhook_settings,
)

__all__ = [
    "JSON_DEPTH_MOST",
    "OPTIONS",
    "Option",
    "Settings",
    "SettingsError",
    "StoreSettings",
    "ThreadTtlSettings",
    "apply_env",
    "load_settings",
    "parse_env",
]

# Deeper than that, the encoder of JSON refuses.
JSON_DEPTH_MOST: Final = 250

LOG_LEVELS: Final = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The section ``store``. Without ``sweep_interval_minutes`` nothing is swept."""

    index: IndexSpec | None = None
    default_ttl_minutes: float | None = None
    refresh_on_read: bool = True
    sweep_interval_minutes: float | None = None


@dataclass(frozen=True, slots=True)
class ThreadTtlSettings:
    """The section ``checkpointer.ttl``. ``default``: what threads get that are created without."""

    default: Ttl | None = None
    sweep_interval_minutes: float = 5.0
    sweep_limit: int = 1000


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a server process needs to know. Seconds and bytes are named as such.

    ``warnings`` are sentences about what was left out, to be logged by who starts a server.
    """

    config_path: Path
    graphs: tuple[GraphSpec, ...]
    python_path: tuple[Path, ...]
    env: Mapping[str, str]
    dev: bool
    host: str
    port: int
    data_dir: Path
    log_level: str
    log_json: bool
    concurrency: int
    runners: int
    lease_seconds: float
    max_attempts: int
    run_timeout_seconds: float
    resumable_keep_seconds: float
    shutdown_grace_seconds: float
    heartbeat_seconds: float
    body_limit_bytes: int
    auth: AuthOptions | None = None
    store: StoreSettings = StoreSettings()
    thread_ttl: ThreadTtlSettings = ThreadTtlSettings()
    database_url: str = field(default="", repr=False)  # holds a password
    database_connections: int = 4
    redis_url: str = field(default="", repr=False)  # the same
    redis_prefix: str = "weft:"
    worker: bool = True
    health_port: int | None = None
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    webhook_secret: tuple[bytes, ...] = field(default=(), repr=False)
    webhook_networks: tuple[Network, ...] = ()
    webhook_attempts: int = 8
    max_queued_runs_per_thread: int = 100
    max_pending_runs: int = 0
    max_recursion_limit: int = 1_000_000
    webhook_timeout_seconds: float = 10.0
    webhook_retry_seconds: float = 1.0
    http: HttpSettings = field(default_factory=HttpSettings)
    encryption: GraphSpec | None = None
    encryption_keys: str = field(default="", repr=False)
    encryption_metadata_keys: str = ""
    serde: SerdeSettings = field(default_factory=SerdeSettings)
    json_depth: int = 250
    header_limit_bytes: int = 64 * 1024
    streams_per_user: int = 0
    requests_per_second: float = 0.0
    request_burst: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: its flag, its variables (the first is ours), and how its text is read.

    A ``secret`` is not repeated when it does not fit.
    """

    name: str
    default: str
    read: Callable[[str], object]
    help: str
    variables: tuple[str, ...] = ()
    secret: bool = False

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"

    @property
    def names(self) -> tuple[str, ...]:
        return (f"WEFT_{self.name.upper()}", *self.variables)


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


OPTIONS: Final = (
    Option("config", "langgraph.json", filled, "the file that names the graphs"),
    Option("host", "127.0.0.1", filled, "the address to listen on"),
    Option("port", "2024", whole(0, 65535), "the port to listen on; 0: any free one"),
    Option("data_dir", ".weft", filled, "the folder for the SQLite database"),
    Option(
        "database_url", "", database_url,
        "a PostgreSQL database to use instead, postgresql://...; the variable keeps it out of the"
        " list of processes", secret=True,
    ),
    Option("database_connections", "4", whole(1, 100), "connections to PostgreSQL"),
    Option(
        "redis_url", "", redis_url,
        "a Redis or Valkey server, redis://... or rediss://..., through which several servers and"
        " workers on one PostgreSQL database work together", secret=True,
    ),
    Option("redis_prefix", "weft:", filled, "what the names of all keys in Redis begin with"),
    Option("worker", "true", flag, "execute runs in this server: true or false"),
    Option(
        "health_port", "", optional_port, "the port on which a worker answers /ok and /metrics",
    ),
    Option(
        "concurrency", "64", whole(1, 10_000), "runs executed at the same time",
        ("N_JOBS_PER_WORKER",),
    ),
    Option("runners", "2", whole(1, 64), "threads with event loops that runs are spread over"),
    Option(
        "run_timeout_seconds", "3600", seconds(1, 30 * 86_400), "how long a run may take",
        ("BG_JOB_TIMEOUT_SECS",),
    ),
    Option(
        "max_queued_runs_per_thread", "100", whole(1, 1_000_000),
        "runs that may wait on one thread; more are refused with 429",
    ),
    Option(
        "max_pending_runs", "0", whole(0, 100_000_000),
        "runs that may wait in all; more are refused with 429; 0: any number",
    ),
    Option(
        "max_recursion_limit", "1000000", whole(1, 2**31),
        "the highest recursion_limit that a run may ask for",
    ),
    Option(
        "lease_seconds", "15", seconds(1, 3600),
        "how long a run belongs to a worker that gives no sign of life",
    ),
    Option("max_attempts", "3", whole(1, 100), "executions of a run whose worker dies"),
    Option(
        "resumable_keep_seconds", "120", seconds(0, 86_400),
        "how long the events of a resumable run are kept after its end",
        ("RESUMABLE_STREAM_TTL_SECONDS",),
    ),
    Option(
        "shutdown_grace_seconds", "10", seconds(0, 3600),
        "how long running runs may take to end when the server stops",
        ("BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS",),
    ),
    Option("heartbeat_seconds", "5", seconds(0.05, 3600), "silence that a heartbeat breaks"),
    Option(
        "body_limit_bytes", str(100 * 1024 * 1024), whole(1024, 2**40), "largest request body"
    ),
    Option(
        "webhook_secret", "", parse_keys,
        "what webhooks are signed with: whsec_ and base64; several with spaces between them",
        secret=True,
    ),
    Option(
        "webhook_networks", "", parse_networks,
        "private addresses that webhooks may go to, like 10.0.0.0/8, with commas between them",
    ),
    Option("webhook_attempts", "8", whole(1, 100), "attempts to deliver a webhook"),
    Option(
        "webhook_timeout_seconds", "10", seconds(0.1, 300), "how long an attempt may take",
    ),
    Option(
        "webhook_retry_seconds", "1", seconds(0.01, 3600),
        "the wait before the second attempt; it is four times longer before each further one",
    ),
    Option(
        "json_depth", str(JSON_DEPTH_MOST), whole(8, JSON_DEPTH_MOST),
        "levels that the JSON of a request may be nested",
    ),
    Option(
        "header_limit_bytes", str(64 * 1024), whole(1024, 2**24),
        "largest request line and headers together",
    ),
    Option(
        "streams_per_user", "0", whole(0, 1_000_000),
        "event streams open at the same time, per user or else per address; 0: any number",
    ),
    Option(
        "requests_per_second", "0", number(0, 1_000_000),
        "requests that one user, or else one address, may make on average; 0: any number",
    ),
    Option(
        "request_burst", "0", whole(0, 1_000_000),
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
    Option("log_json", "false", flag, "log JSON lines: true or false", ("LOG_JSON",)),
)  # fmt: skip

# Whoever develops wants to see the change now; the run goes on afterwards anyway.
_DEV_DEFAULTS: Final = {"shutdown_grace_seconds": "1"}

_DIMS_MOST: Final = 65_536
_MINUTES_MOST: Final = 100 * 365 * 1440
_SWEEP_MOST: Final = 1_000_000

# The parsed file holds whatever its author wrote.
_Json: TypeAlias = Any


def load_settings(
    flags: Mapping[str, str | None], environment: Mapping[str, str], *, dev: bool
) -> Settings:
    """Return the settings: flags win over the environment, that over the file, that over defaults.

    Variables that the file sets by ``env`` count as well, where the process does not have them.

    Raises:
        SettingsError: something cannot be read or does not fit.
    """
    defaults = {option.name: option.default for option in OPTIONS} | (_DEV_DEFAULTS if dev else {})
    config, *options = OPTIONS
    for option in options:  # what is wrong on the command line is told before there is any file
        _value(option, flags, environment, option.default)
    config_path = Path(str(_value(config, flags, environment, config.default))).resolve()
    document = _document(config_path)
    folder = config_path.parent
    env, warnings = _env(document, folder, config_path)
    variables = {**env, **environment}
    defaults |= _section_options(document, config_path)
    values = {
        option.name: _value(option, flags, variables, defaults[option.name]) for option in options
    }
    _check_shape(values)
    http = http_settings(document, variables, folder, config_path)
    try:
        hooks = webhook_settings(document, variables, values["webhook_networks"])  # type: ignore[arg-type]
    except ValueError as error:
        raise SettingsError(f"In '{config_path}': {error}.") from None
    return Settings(
        config_path=config_path,
        graphs=_graphs(document, folder, config_path),
        auth=_auth(document, folder, config_path),
        store=_store(document, folder, config_path),
        thread_ttl=_thread_ttl(document, config_path),
        webhooks=hooks,
        http=http,
        encryption=encryption_spec(document, folder, config_path),
        serde=serde_settings(document, config_path),
        python_path=_python_path(document, folder, config_path),
        env=env,
        warnings=warnings,
        dev=dev,
        **(values | {"data_dir": Path(str(values["data_dir"])).resolve()}),  # type: ignore[arg-type]
    )


def _check_shape(values: Mapping[str, object]) -> None:
    """Refuse what cannot work together.

    Raises:
        SettingsError: it cannot.
    """
    if values["redis_url"] and not values["database_url"]:
        raise SettingsError(
            "--redis-url needs --database-url: servers that work together share a PostgreSQL"
            " database. A single server on SQLite needs no Redis."
        )
    if not values["worker"] and not values["redis_url"]:
        raise SettingsError(
            "A server without a worker needs --database-url and --redis-url, through which workers"
            " get its runs."
        )


def apply_env(settings: Settings) -> None:
    """Set the variables of ``env``; those that the process has already stay as they are."""
    for name, value in settings.env.items():
        os.environ.setdefault(name, value)


def _section_options(document: dict[str, _Json], path: Path) -> dict[str, str]:
    """Return the options that the section ``weft`` of the file gives."""
    section = _section(document, "weft", path)
    known = {option.name: option for option in OPTIONS if option.name != "config"}
    for name, value in section.items():
        if name not in known:
            raise SettingsError(
                f"\"weft\" in '{path}' has an entry '{name:.200}' that is no option. There are:"
                f" {', '.join(sorted(known))}."
            )
        if not isinstance(value, (str, int, float)):
            raise SettingsError(
                f"\"weft.{name}\" in '{path}' must be a text, a number, true or false."
            )
        _read(known[name], f"\"weft.{name}\" in '{path}'", _env_text(value))
    return {name: _env_text(value) for name, value in section.items()}


def _value(
    option: Option,
    flags: Mapping[str, str | None],
    environment: Mapping[str, str],
    default: str,
) -> object:
    given = flags.get(option.name)
    where, text = option.flag, given
    if text is None:
        where = next((name for name in option.names if environment.get(name)), "")
        text = environment[where] if where else default
    return _read(option, where, text)


def _read(option: Option, where: str, text: str) -> object:
    try:
        return option.read(text)
    except ValueError as error:
        is_what = "does not fit" if option.secret else f"is '{text}'"
        raise SettingsError(f"{where} {is_what}: it {error}.") from None


def _document(path: Path) -> dict[str, _Json]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(
            f"There is no file '{path}'. Start in the folder of your langgraph.json, or name it"
            " with --config."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SettingsError(f"'{path}' cannot be read: {reason}.") from None
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise SettingsError(f"'{path}' is not valid JSON: {error.msg} at {place}.") from None
    if not isinstance(document, dict):
        raise SettingsError(f"'{path}' must contain a JSON object.")
    return document


def _graphs(document: dict[str, _Json], folder: Path, path: Path) -> tuple[GraphSpec, ...]:
    graphs = document.get("graphs")
    if not isinstance(graphs, dict) or not graphs:
        raise SettingsError(
            f"'{path}' must have an entry \"graphs\" like"
            ' {"graphs": {"agent": "./agent.py:graph"}}.'
        )
    return tuple(_graph(name, entry, folder, path) for name, entry in graphs.items())


def _graph(name: str, entry: _Json, folder: Path, path: Path) -> GraphSpec:
    description = entry.get("description") if isinstance(entry, dict) else None
    source = entry.get("path") if isinstance(entry, dict) else entry
    if not isinstance(source, str) or not re.fullmatch(r".+:[^:/\\]+", source):
        raise SettingsError(
            f"The graph '{name}' in '{path}' must be given as \"file.py:variable\" or"
            f' "package.module:variable", not as {json.dumps(source)}.'
        )
    if description is not None and not isinstance(description, str):
        raise SettingsError(f"The description of the graph '{name}' in '{path}' must be a text.")
    place, _, attribute = source.rpartition(":")
    if _is_file(place):
        return GraphSpec(name, source, attribute, (folder / place).resolve(), None, description)
    return GraphSpec(name, source, attribute, None, place, description)


def _is_file(place: str) -> bool:
    return "/" in place or "\\" in place or place.endswith(".py")


def _store(document: dict[str, _Json], folder: Path, path: Path) -> StoreSettings:
    section = _section(document, "store", path)
    ttl = _section(section, "ttl", path, "store.ttl")
    refresh = ttl.get("refresh_on_read", True)
    if not isinstance(refresh, bool):
        raise SettingsError(f"\"store.ttl.refresh_on_read\" in '{path}' must be true or false.")
    return StoreSettings(
        index=_index(section, folder, path),
        default_ttl_minutes=_minutes(ttl, "default_ttl", path),
        refresh_on_read=refresh,
        sweep_interval_minutes=_minutes(ttl, "sweep_interval_minutes", path),
    )


def _auth(document: dict[str, _Json], folder: Path, path: Path) -> AuthOptions | None:
    section = _section(document, "auth", path)
    try:
        return auth_options(section, folder) if section else None
    except ValueError as error:
        raise SettingsError(f"\"auth\" in '{path}': {error}") from None


def _thread_ttl(document: dict[str, _Json], path: Path) -> ThreadTtlSettings:
    section = _section(document, "checkpointer", path)
    ttl = _section(section, "ttl", path, "checkpointer.ttl")
    strategy, limit = ttl.get("strategy", "delete"), ttl.get("sweep_limit", 1000)
    if strategy not in {"delete", "keep_latest"}:
        raise SettingsError(
            f'"checkpointer.ttl.strategy" in \'{path}\' must be "delete" or "keep_latest".'
        )
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= _SWEEP_MOST:
        raise SettingsError(
            f"\"checkpointer.ttl.sweep_limit\" in '{path}' must be a whole number from 1 to"
            f" {_SWEEP_MOST}."
        )
    minutes = _minutes(ttl, "default_ttl", path)
    return ThreadTtlSettings(
        default=None if minutes is None else Ttl(minutes, strategy),
        sweep_interval_minutes=_minutes(ttl, "sweep_interval_minutes", path) or 5.0,
        sweep_limit=limit,
    )


def _index(section: dict[str, _Json], folder: Path, path: Path) -> IndexSpec | None:
    index = _section(section, "index", path, "store.index")
    if not index:
        return None
    dims, source, fields = index.get("dims"), index.get("embed"), index.get("fields", ["$"])
    if isinstance(dims, bool) or not isinstance(dims, int) or not 1 <= dims <= _DIMS_MOST:
        raise SettingsError(
            f"\"store.index.dims\" in '{path}' must be a whole number from 1 to {_DIMS_MOST}."
        )
    if not isinstance(source, str) or not re.fullmatch(r".+:[^/\\]+", source):
        raise SettingsError(
            f'"store.index.embed" in \'{path}\' must be given as "provider:model" or'
            f' "file.py:function", not as {json.dumps(source)}.'
        )
    if not isinstance(fields, list) or not all(isinstance(each, str) for each in fields):
        raise SettingsError(f"\"store.index.fields\" in '{path}' must be a list of texts.")
    place, _, attribute = source.rpartition(":")
    if not _is_file(place):
        return IndexSpec(dims, source, tuple(fields))
    spec = GraphSpec("store.index.embed", source, attribute, (folder / place).resolve())
    return IndexSpec(dims, spec, tuple(fields))


def _section(
    document: dict[str, _Json], name: str, path: Path, shown: str = ""
) -> dict[str, _Json]:
    section = document.get(name)
    if section is not None and not isinstance(section, dict):
        raise SettingsError(f"\"{shown or name}\" in '{path}' must be an object.")
    return section or {}


def _minutes(section: dict[str, _Json], name: str, path: Path) -> float | None:
    value = section.get(name)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (number and 0 < value <= _MINUTES_MOST):
        raise SettingsError(f"\"{name}\" in '{path}' must be a number of minutes above 0.")
    return None if value is None else float(value)


def _python_path(document: dict[str, _Json], folder: Path, path: Path) -> tuple[Path, ...]:
    """Return the folder of the file, and the local ones among the dependencies."""
    given = document.get("dependencies", [])
    if not isinstance(given, list):
        raise SettingsError(f"\"dependencies\" in '{path}' must be a list of texts.")
    local = [each for each in given if isinstance(each, str) and each.startswith((".", "/"))]
    return tuple(dict.fromkeys([folder, *((folder / each).resolve() for each in local)]))


def _env(
    document: dict[str, _Json], folder: Path, path: Path
) -> tuple[Mapping[str, str], tuple[str, ...]]:
    env = document.get("env", {})
    if isinstance(env, dict):
        return {str(name): _env_text(value) for name, value in env.items()}, ()
    if not isinstance(env, str):
        raise SettingsError(f"\"env\" in '{path}' must be an object or the path of a file.")
    try:
        return parse_env((folder / env).read_text(encoding="utf-8-sig")), ()
    except (OSError, UnicodeDecodeError):
        return {}, (f"The file '{folder / env}' (\"env\") cannot be read and is left out.",)


def _env_text(value: _Json) -> str:
    return json.dumps(value) if isinstance(value, (bool, dict, list)) else str(value)


_ENV_LINE: Final = re.compile(
    r"""\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*
    (?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>[^']*)'|(?P<bare>.*?))\s*(?:(?<=[\s"'])\#.*)?""",
    re.VERBOSE,
)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}


def parse_env(text: str) -> dict[str, str]:
    """Return the variables of a ``KEY=VALUE`` file with quotes and comments."""
    matches = (_ENV_LINE.fullmatch(line) for line in text.splitlines())
    return {match["name"]: _unquoted(match) for match in matches if match is not None}


def _unquoted(match: re.Match[str]) -> str:
    if match["double"] is not None:
        return re.sub(r"\\(.)", lambda each: _ESCAPES.get(each[1], each[1]), match["double"])
    return match["single"] if match["single"] is not None else match["bare"]
