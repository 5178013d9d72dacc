"""The section ``checkpointer``: how long threads live, and what checkpoints may be made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from loomline.server.domain.threads import Ttl
from loomline.server.settings.document import Json, Section

AllowedTypes: TypeAlias = tuple[tuple[str, ...], ...] | Literal[True]

_SWEEP_MOST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class ThreadTtlSettings:
    """The section ``checkpointer.ttl``. ``default``: what threads get that are created without."""

    default: Ttl | None = None
    sweep_interval_minutes: float = 5.0
    sweep_limit: int = 1000


@dataclass(frozen=True, slots=True)
class SerdeSettings:
    """The section ``checkpointer.serde``: types that checkpoints may be made of besides the safe.

    A module alone allows all its types; with a name it allows one. True allows every type.
    """

    msgpack_types: AllowedTypes = ()
    json_types: AllowedTypes = ()
    pickle: bool = False


def thread_ttl_settings(section: Section) -> ThreadTtlSettings:
    """Return what ``ttl`` says.

    Raises:
        SettingsError: something does not fit.
    """
    ttl, plain = section.inner("ttl"), ThreadTtlSettings()
    strategy, default = ttl.value("strategy", "delete"), ttl.minutes("default_ttl")
    if strategy not in {"delete", "keep_latest"}:
        raise ttl.error("strategy", 'must be "delete" or "keep_latest"')
    return ThreadTtlSettings(
        default=None if default is None else Ttl(default, strategy),
        sweep_interval_minutes=(
            ttl.minutes("sweep_interval_minutes") or plain.sweep_interval_minutes
        ),
        sweep_limit=ttl.whole("sweep_limit", plain.sweep_limit, least=1, most=_SWEEP_MOST),
    )


def saver_warnings(section: Section, *, encrypted: bool) -> tuple[str, ...]:
    """Return a sentence for each setting that has no effect on the user's own saver."""
    if section.value("path") is None:
        return ()
    own = f'because checkpoints are kept by the saver of "checkpointer.path" in {section.place}'
    serde = (
        f'"checkpointer.serde" has no effect, {own}: give the saver a serializer of its own.'
        if section.value("serde")
        else None
    )
    sealing = (
        f"Checkpoints are not encrypted by this server, {own}: give the saver an encrypting"
        " serializer, such as langgraph's EncryptedSerializer. The rows of threads and runs are"
        " encrypted as configured."
        if encrypted
        else None
    )
    return tuple(each for each in (serde, sealing) if each is not None)


def serde_settings(section: Section) -> SerdeSettings:
    """Return what ``serde`` says.

    Raises:
        SettingsError: something does not fit.
    """
    serde = section.inner("serde")
    return SerdeSettings(
        msgpack_types=_types(serde, "allowed_msgpack_modules"),
        json_types=_types(serde, "allowed_json_modules"),
        pickle=serde.flag("pickle_fallback"),
    )


def _types(section: Section, key: str) -> AllowedTypes:
    found = section.value(key, [])
    if found is True:
        return True
    if not isinstance(found, list):
        raise section.error(key, "must be true or a list")
    return tuple(_type(section, key, each) for each in found)


def _type(section: Section, key: str, given: Json) -> tuple[str, ...]:
    """Return a module, or a module and a name: from a list, or from ``package.module:Name``."""
    parts = given.split(":") if isinstance(given, str) else given
    texts = isinstance(parts, list) and all(isinstance(each, str) and each for each in parts)
    if not texts or not 1 <= len(parts) <= 2:
        raise section.error(key, 'must list texts like "package.module:Name" or "package.module"')
    return tuple(parts)
