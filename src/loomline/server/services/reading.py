"""The config with which factories make graphs that no run uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from langchain_core.runnables import RunnableConfig

from loomline.server.authz.users import Caller
from loomline.server.domain.json import Json, JsonObject
from loomline.server.domain.reserved import EXECUTION, unforged


def reading_config(config: JsonObject, caller: Caller, named: Mapping[str, Json]) -> RunnableConfig:
    """Return a stored config for a factory.

    Args:
        config: The config of an assistant, or of the last run of a thread.
        caller: The user who reads.
        named: Further keys of ``configurable``, which the stored ones do not replace.
    """
    own = cast("JsonObject", config.get("configurable", {}))
    configurable = {**unforged(own), **named, **caller.configurable(), EXECUTION: False}
    return cast("RunnableConfig", {**config, "configurable": configurable})
