"""Flags, environment and ``langgraph.json`` become one frozen object."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from loomline.server.authn.options import AuthOptions
from loomline.server.domain.addresses import Network
from loomline.server.graphs.spec import GraphSpec
from loomline.server.settings.auth import auth_options
from loomline.server.settings.checkpointer import (
    SerdeSettings,
    ThreadTtlSettings,
    saver_warnings,
    serde_settings,
    thread_ttl_settings,
)
from loomline.server.settings.document import Document, SettingsError, read_document
from loomline.server.settings.env import as_text, env_variables
from loomline.server.settings.graphs import graph_specs, path_warnings, python_path
from loomline.server.settings.http import HttpSettings, http_settings
from loomline.server.settings.keys import key_warnings
from loomline.server.settings.options import OPTIONS, RETIRED, Option
from loomline.server.settings.store import StoreSettings, store_settings
from loomline.server.settings.webhooks import WebhookSettings, webhook_settings

# Whoever develops wants to see the change now; the run goes on afterwards anyway.
_DEV_DEFAULTS: Final = {"shutdown_grace_seconds": "1"}


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
    lease_seconds: float
    max_attempts: int
    run_timeout_seconds: float
    resumable_keep_seconds: float
    shutdown_grace_seconds: float
    heartbeat_seconds: float
    body_limit_bytes: int
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    studio_origin: tuple[str, ...] = ()
    auth: AuthOptions | None = None
    store: StoreSettings = field(default_factory=StoreSettings)
    thread_ttl: ThreadTtlSettings = field(default_factory=ThreadTtlSettings)
    database_url: str = field(default="", repr=False)  # holds a password
    database_connections: int = 4
    ssl_certfile: str = ""
    ssl_keyfile: str = ""
    redis_url: str = field(default="", repr=False)  # the same
    redis_prefix: str = "loomline:"
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
    checkpointer: GraphSpec | None = None
    priority: GraphSpec | None = None
    json_depth: int = 250
    json_values: int = 500_000
    metadata_limit_bytes: int = 256 * 1024
    context_limit_bytes: int = 1024 * 1024
    config_limit_bytes: int = 1024 * 1024
    header_limit_bytes: int = 64 * 1024
    head_timeout_seconds: float = 30.0
    body_timeout_seconds: float = 30.0
    max_connections: int = 0
    websocket_limit_bytes: int = 4 * 1024 * 1024
    streams_per_user: int = 0
    requests_per_second: float = 0.0
    request_burst: int = 0
    warnings: tuple[str, ...] = ()


def load_settings(
    flags: Mapping[str, str | None], environment: Mapping[str, str], *, dev: bool
) -> Settings:
    """Return the settings: flags win over the environment, that over the file, that over defaults.

    Variables that the file sets by ``env`` count as well, where the process does not have them.
    Variables that hold a whole section count where the file does not have it.

    Raises:
        SettingsError: something cannot be read or does not fit.
    """
    defaults = {option.name: option.default for option in OPTIONS} | (_DEV_DEFAULTS if dev else {})
    _refuse_retired(flags, environment)
    config, *options = OPTIONS
    for option in options:  # what is wrong on the command line is told before there is any file
        _value(option, flags, environment, option.default)
    path = Path(str(_value(config, flags, environment, config.default))).resolve()
    file = read_document(path)
    env, warnings = env_variables(file)
    variables = {**env, **environment}
    _refuse_retired({}, variables)
    document = file.complemented(variables)
    defaults |= _section_options(document)
    values = {
        option.name: _value(option, flags, variables, defaults[option.name]) for option in options
    }
    _check_shape(values)
    checkpointer = document.section("checkpointer")
    return Settings(
        config_path=path,
        graphs=graph_specs(document),
        auth=auth_options(document.section("auth")),
        store=store_settings(document.section("store")),
        thread_ttl=thread_ttl_settings(checkpointer),
        webhooks=webhook_settings(document, variables, values["webhook_networks"]),  # type: ignore[arg-type]
        http=http_settings(document.section("http"), variables),
        encryption=document.section("encryption").spec("path"),
        serde=serde_settings(checkpointer),
        checkpointer=checkpointer.spec("path"),
        priority=document.section("priority").spec("path"),
        python_path=python_path(document),
        env=env,
        warnings=(
            *warnings,
            *document.overruled(variables),
            *key_warnings(document),
            *path_warnings(document),
            *saver_warnings(checkpointer, encrypted=_encrypts(document, values)),
        ),
        dev=dev,
        **(values | {"data_dir": Path(str(values["data_dir"])).resolve()}),  # type: ignore[arg-type]
    )


def _encrypts(document: Document, values: Mapping[str, object]) -> bool:
    has_path = document.section("encryption").value("path") is not None
    return has_path or bool(values["encryption_keys"])


def apply_env(settings: Settings) -> None:
    """Set the variables of ``env``; those that the process has already stay as they are."""
    for name, value in settings.env.items():
        os.environ.setdefault(name, value)


def _refuse_retired(flags: Mapping[str, str | None], environment: Mapping[str, str]) -> None:
    """Refuse options that no longer exist, which a deployment would otherwise rely on in vain.

    Raises:
        SettingsError: A flag or a variable names a former option.
    """
    for name, remedy in RETIRED.items():
        variable = f"LOOMLINE_{name.upper()}"
        given = [f"--{name}"] * (flags.get(name) is not None) + [variable] * (
            variable in environment
        )
        if given:
            raise SettingsError(f"{given[0]} is no option any more. {remedy}")


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
    if bool(values["ssl_certfile"]) != bool(values["ssl_keyfile"]):
        raise SettingsError(
            "--ssl-certfile and --ssl-keyfile belong together: give both for HTTPS, or neither."
        )
    if not values["worker"] and not values["redis_url"]:
        raise SettingsError(
            "A server without a worker needs --database-url and --redis-url, through which workers"
            " get its runs."
        )


def _section_options(document: Document) -> dict[str, str]:
    """Return the options that the section ``loomline`` of the file gives."""
    section = document.section("loomline")
    known = {option.name: option for option in OPTIONS if option.name != "config"}
    for name, value in section.values.items():
        where = f'"loomline.{name}" in {document.place}'
        if name in RETIRED:
            raise SettingsError(f"{where} is no option any more. {RETIRED[name]}")
        if name not in known:
            raise SettingsError(
                f"\"loomline\" in {document.place} has an entry '{name:.200}' that is no option."
                f" There are: {', '.join(sorted(known))}."
            )
        if not isinstance(value, (str, int, float)):
            raise SettingsError(f"{where} must be a text, a number, true or false.")
        _read(known[name], where, as_text(value))
    return {name: as_text(value) for name, value in section.values.items()}


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
