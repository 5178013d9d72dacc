"""The section ``store``: how long items live, and how they are searched by meaning."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from loomline.server.graphs.spec import IndexSpec
from loomline.server.settings.document import Section, is_file, spec_of

_DIMS_MOST: Final = 65_536


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The section ``store``. Without ``sweep_interval_minutes`` nothing is swept."""

    index: IndexSpec | None = None
    default_ttl_minutes: float | None = None
    refresh_on_read: bool = True
    sweep_interval_minutes: float | None = None


def store_settings(section: Section) -> StoreSettings:
    """Return what the section says.

    Raises:
        SettingsError: something does not fit.
    """
    ttl = section.inner("ttl")
    return StoreSettings(
        index=_index(section.inner("index")),
        default_ttl_minutes=ttl.minutes("default_ttl"),
        refresh_on_read=ttl.flag("refresh_on_read", default=True),
        sweep_interval_minutes=ttl.minutes("sweep_interval_minutes"),
    )


def _index(section: Section) -> IndexSpec | None:
    if not section.values:
        return None
    dims = section.whole("dims", 0, least=1, most=_DIMS_MOST)
    source, fields = section.value("embed"), section.texts("fields", ("$",))
    if not isinstance(source, str) or not re.fullmatch(r".+:[^/\\]+", source):
        must = 'must be given as "provider:model" or "file.py:function", not as'
        raise section.error("embed", f"{must} {json.dumps(source)}")
    if not is_file(source.rpartition(":")[0]):
        return IndexSpec(dims, source, fields)
    return IndexSpec(dims, spec_of(f"{section.name}.embed", source, section.folder), fields)
