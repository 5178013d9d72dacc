"""Storage, events and signals: what the settings ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loomline.server.authn.setup import AuthSetUp
from loomline.server.authz.authorizer import Authorizer
from loomline.server.clock import SystemClock
from loomline.server.domain.retention import Retention
from loomline.server.encryption import make_sealer
from loomline.server.events.memory import MemoryEventLog
from loomline.server.events.signals import MemorySignals
from loomline.server.graphs.embeddings import WaitFor, load_embeddings
from loomline.server.ports.clock import Clock
from loomline.server.ports.events import EventLog
from loomline.server.ports.measures import NO_MEASURES, Measures
from loomline.server.ports.signals import Signals
from loomline.server.ports.storage import Storage
from loomline.server.ports.store import IndexOptions, StoreOptions
from loomline.server.services.run_watch import WatchedEvents
from loomline.server.settings import Settings, SettingsError, StoreSettings
from loomline.server.storage.encrypted import EncryptedStorage, RewritableStorage
from loomline.server.storage.own_saver import OwnSaver
from loomline.server.storage.own_storage import OwnSaverStorage
from loomline.server.storage.saver import SaverOptions
from loomline.server.storage.serde import safe_serde
from loomline.server.storage.sqlite import SqliteStorage

if TYPE_CHECKING:
    from loomline.server.events.redis import RedisEvents


@dataclass(frozen=True, slots=True)
class Core:
    """What everything else is made with."""

    clock: SystemClock
    storage: Storage
    redis: RedisEvents | None
    watch: WatchedEvents
    signals: Signals
    authz: Authorizer
    retention: Retention
    measures: Measures


def make_core(
    settings: Settings,
    store: StoreOptions,
    auth: AuthSetUp,
    measures: Measures,
    own: OwnSaver | None = None,
) -> Core:
    clock = SystemClock()
    storage = make_storage(settings, clock, store, own=own, measures=measures)
    redis = make_redis(settings)
    log: EventLog = MemoryEventLog(clock) if redis is None else redis.log
    return Core(
        clock=clock,
        storage=storage,
        redis=redis,
        watch=WatchedEvents(log, storage, clock),
        signals=MemorySignals() if redis is None else redis.signals,
        authz=Authorizer(auth.handlers),
        retention=Retention(settings.resumable_keep_seconds),
        measures=measures,
    )


def store_options(settings: StoreSettings, wait_for: WaitFor) -> StoreOptions:
    spec = settings.index
    index = (
        None
        if spec is None
        else IndexOptions(spec.dims, load_embeddings(spec, wait_for), spec.fields)
    )
    return StoreOptions(settings.default_ttl_minutes, settings.refresh_on_read, index)


def make_storage(
    settings: Settings,
    clock: Clock,
    store: StoreOptions | None = None,
    *,
    serving: bool = True,
    beside: bool = False,
    own: OwnSaver | None = None,
    measures: Measures = NO_MEASURES,
) -> Storage:
    """Return the storage that the settings ask for, not opened yet.

    Args:
        settings: What has been asked for.
        clock: Time.
        store: How the store works.
        serving: Whether runs will be created or executed, which not every other process allows.
        beside: Whether a server may be using the database at the same time.
        own: The user's saver, which keeps the checkpoints instead of the database.
        measures: The receiver of spans of the transactions.

    Raises:
        SettingsError: a package that it needs is not installed, or the user's encryption cannot
            be used.
        UnknownType: a type that checkpoints may be made of does not exist.
    """
    sealer = make_sealer(settings)
    allowed = settings.serde
    serde = safe_serde(allowed.msgpack_types, allowed.json_types, pickle=allowed.pickle)
    plain = _make_plain_storage(
        settings, clock, store, SaverOptions(sealer, serde), measures,
        serving=serving, beside=beside,
    )  # fmt: skip
    if own is not None:
        plain = OwnSaverStorage(plain, own)
    return plain if sealer is None else EncryptedStorage(plain, sealer)


def _make_plain_storage(
    settings: Settings,
    clock: Clock,
    store: StoreOptions | None,
    saver: SaverOptions,
    measures: Measures,
    *,
    serving: bool,
    beside: bool,
) -> RewritableStorage:
    if not settings.database_url:
        path = settings.data_dir / "loomline.db"
        return SqliteStorage(
            path, clock=clock, store=store, beside=beside, saver=saver, measures=measures
        )
    try:
        from loomline.server.storage.postgres import PostgresStorage, Use  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise SettingsError(
            "A database in PostgreSQL needs psycopg, which is not installed. Install it with:"
            ' pip install "loomline[server,postgres]"'
        ) from error
    return PostgresStorage(
        settings.database_url,
        clock=clock,
        store=store,
        connections=settings.database_connections,
        use=Use(shared=bool(settings.redis_url)) if serving else None,
        saver=saver,
        measures=measures,
    )


def make_redis(settings: Settings) -> RedisEvents | None:
    """Return the connections to Redis, not opened yet; None: the settings do not ask for it.

    Raises:
        SettingsError: the driver is not installed, or the address cannot be read.
    """
    if not settings.redis_url:
        return None
    try:
        from loomline.server.events.redis import RedisEvents, RedisOptions  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise SettingsError(
            "--redis-url needs redis, which is not installed. Install it with:"
            ' pip install "loomline[server,postgres]"'
        ) from error
    options = RedisOptions(prefix=settings.redis_prefix)
    try:
        return RedisEvents(settings.redis_url, options, loop_factory=loop_factory())
    except ValueError:
        # The driver's text may quote the address, and with it the password.
        raise SettingsError(
            "The address of Redis (--redis-url) cannot be read. It looks like"
            " redis://user:password@host:6379/0."
        ) from None


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop  # noqa: PLC0415 - not there on Windows
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
