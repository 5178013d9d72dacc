"""Flags, environment and ``langgraph.json`` become one frozen object."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a server process needs to know. Seconds and bytes are named as such.

    The defaults of options are in ``OPTIONS`` alone, so fields of options have none here.

    ``warnings`` are sentences about what was left out, to be logged by who starts a server.
    """

    config_path: Path
    graphs: tuple[GraphSpec, ...]
    python_path: tuple[Path, ...]
    env: Mapping[str, str]
    dev: bool
    auth: AuthOptions | None
    store: StoreSettings
    thread_ttl: ThreadTtlSettings
    webhooks: WebhookSettings
    http: HttpSettings
    encryption: GraphSpec | None
    serde: SerdeSettings
    checkpointer: GraphSpec | None
    priority: GraphSpec | None
    warnings: tuple[str, ...]

    host: str
    port: int
    allowed_hosts: tuple[str, ...]
    allowed_origins: tuple[str, ...]
    studio_origin: tuple[str, ...]
    ssl_certfile: str
    ssl_keyfile: str
    data_dir: Path
    database_url: str = field(repr=False)  # holds a password
    database_connections: int
    redis_url: str = field(repr=False)  # the same
    redis_prefix: str
    worker: bool
    health_port: int | None
    concurrency: int
    run_timeout_seconds: float
    max_queued_runs_per_thread: int
    max_pending_runs: int
    max_recursion_limit: int
    lease_seconds: float
    max_attempts: int
    resumable_keep_seconds: float
    shutdown_grace_seconds: float
    heartbeat_seconds: float
    body_limit_bytes: int
    webhook_secret: tuple[bytes, ...] = field(repr=False)
    webhook_networks: tuple[Network, ...]
    webhook_attempts: int
    webhook_timeout_seconds: float
    webhook_retry_seconds: float
    json_depth: int
    json_values: int
    metadata_limit_bytes: int
    context_limit_bytes: int
    config_limit_bytes: int
    header_limit_bytes: int
    head_timeout_seconds: float
    body_timeout_seconds: float
    max_connections: int
    websocket_limit_bytes: int
    streams_per_user: int
    requests_per_second: float
    request_burst: int
    encryption_keys: str = field(repr=False)
    encryption_metadata_keys: str
    log_level: str
    log_json: bool


def load_settings(
    flags: Mapping[str, str | None], environment: Mapping[str, str], *, dev: bool
) -> Settings:
    """Return the settings: flags win over the environment, that over the file, that over defaults.

    Variables that the file sets by ``env`` count as well, where the process does not have them.
    Variables that hold a whole section count where the file does not have it.

    Raises:
        SettingsError: something cannot be read or does not fit.
    """
    _refuse_retired(flags, environment)
    config, *options = OPTIONS
    for option in options:  # an error in the command line is reported before the file is read
        _value(option, flags, environment, {}, dev=dev)
    path = Path(str(_value(config, flags, environment, {}, dev=dev))).resolve()
    file = read_document(path)
    env, warnings = env_variables(file)
    variables = {**env, **environment}
    _refuse_retired({}, variables)
    document = file.complemented(variables)
    section = _section_options(document)
    values: dict[str, Any] = {
        option.name: _value(option, flags, variables, section, dev=dev) for option in options
    }
    _check_shape(values)
    checkpointer = document.section("checkpointer")
    return Settings(
        config_path=path,
        graphs=graph_specs(document),
        auth=auth_options(document.section("auth")),
        store=store_settings(document.section("store")),
        thread_ttl=thread_ttl_settings(checkpointer),
        webhooks=webhook_settings(document, variables, values["webhook_networks"]),
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
        **(values | {"data_dir": Path(str(values["data_dir"])).resolve()}),
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


def _section_options(document: Document) -> dict[str, object]:
    """Return the options that the section ``loomline`` of the file gives."""
    section = document.section("loomline")
    known = {option.name: option for option in OPTIONS if option.name != "config"}
    values: dict[str, object] = {}
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
        values[name] = _read(known[name], where, as_text(value))
    return values


def _value(
    option: Option[Any],
    flags: Mapping[str, str | None],
    environment: Mapping[str, str],
    section: Mapping[str, object],
    *,
    dev: bool,
) -> Any:  # noqa: ANN401 - the type of the option
    """Return the value of an option: of a flag, a variable, the section, or the default.

    Raises:
        SettingsError: The string of the flag or the variable does not fit.
    """
    source = _source(option, flags, environment)
    if source is not None:
        return _read(option, *source)
    return section.get(option.name, option.default_of(dev=dev))


def _source(
    option: Option[Any], flags: Mapping[str, str | None], environment: Mapping[str, str]
) -> tuple[str, str] | None:
    """Return the name and the string of the flag or the variable that counts, if there is one."""
    flag = flags.get(option.name)
    if flag is not None:
        return option.flag, flag
    variable = next((name for name in option.names if environment.get(name)), None)
    return None if variable is None else (variable, environment[variable])


def _read(option: Option[Any], where: str, text: str) -> object:
    try:
        return option.read(text)
    except ValueError as error:
        is_what = "does not fit" if option.secret else f"is '{text}'"
        raise SettingsError(f"{where} {is_what}: it {error}.") from None
