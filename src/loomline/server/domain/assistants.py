"""Assistants: named, versioned configurations of a graph."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.errors import ContradictoryInput
from loomline.server.domain.ids import default_assistant_id
from loomline.server.domain.json import JsonObject

AssistantSort: TypeAlias = Literal["assistant_id", "created_at", "updated_at", "name", "graph_id"]


@dataclass(frozen=True, slots=True)
class Assistant:
    """An assistant as it is now. ``version`` is the one in use, not always the newest."""

    assistant_id: UUID
    graph_id: str
    name: str
    description: str | None
    config: JsonObject
    context: JsonObject
    metadata: JsonObject
    version: int
    created_at: datetime
    updated_at: datetime

    @property
    def folded_name(self) -> str:
        """The name without regard to case, for searches and orders."""
        return self.name.casefold()

    @property
    def folded_graph(self) -> str:
        """The graph without regard to case, for orders."""
        return self.graph_id.casefold()


@dataclass(frozen=True, slots=True)
class AssistantVersion:
    """What an assistant was from a moment on."""

    assistant_id: UUID
    version: int
    graph_id: str
    name: str
    description: str | None
    config: JsonObject
    context: JsonObject
    metadata: JsonObject
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AssistantPatch:
    """A change of an assistant. None: leave as it is.

    ``metadata`` is merged into the assistant's, key by key at the top; the others replace.
    """

    now: datetime
    graph_id: str | None = None
    name: str | None = None
    description: str | None = None
    config: JsonObject | None = None
    context: JsonObject | None = None
    metadata: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AssistantFilter:
    """Which assistants: those that meet all of it. Empty and None: no condition.

    ``name`` is a part of the assistant's, in upper or lower case. ``metadata`` is contained in the
    assistant's, as ``filters.contains`` has it.
    """

    graph_id: str | None = None
    name: str = ""
    metadata: JsonObject = field(default_factory=dict)
    access: Condition = EVERYTHING

    @property
    def folded_name(self) -> str:
        """The part of the name without regard to case."""
        return self.name.casefold()


@dataclass(frozen=True, slots=True)
class AssistantQuery:
    """A search. Names and graphs are sorted without regard to case, what is equal by its id."""

    where: AssistantFilter
    limit: int
    offset: int = 0
    sort_by: AssistantSort = "created_at"
    descending: bool = True


def default_assistant(
    graph_id: str, name: str, description: str | None, now: datetime
) -> Assistant:
    """Return the assistant that a graph has without anybody creating it."""
    return Assistant(
        assistant_id=default_assistant_id(graph_id),
        graph_id=graph_id,
        name=name,
        description=description,
        config={},
        context={},
        metadata={"created_by": "system"},
        version=1,
        created_at=now,
        updated_at=now,
    )


def mirrored(config: JsonObject, context: JsonObject) -> tuple[JsonObject, JsonObject]:
    """Return config and context with ``configurable`` and context the same, whichever is given.

    Raises:
        ContradictoryInput: both are given.
    """
    configurable = config.get("configurable")
    if configurable and context:
        raise ContradictoryInput(
            "Cannot specify both configurable and context. Prefer setting context alone. Context"
            " was introduced in LangGraph 0.6.0 and is the long term planned replacement for"
            " configurable."
        )
    if context:
        return {**config, "configurable": context}, context
    return config, configurable if isinstance(configurable, dict) else {}


def patched(assistant: Assistant, patch: AssistantPatch, version: int) -> Assistant:
    """Return an assistant after a change, which makes it a new version.

    Raises:
        ContradictoryInput: both config.configurable and context are given.
    """
    config, context = _patched_config(assistant, patch)
    given = {"graph_id": patch.graph_id, "name": patch.name, "description": patch.description}
    return dataclasses.replace(
        assistant,
        **{key: value for key, value in given.items() if value is not None},  # type: ignore[arg-type]
        config=config,
        context=context,
        metadata={**assistant.metadata, **patch.metadata},
        version=version,
        updated_at=patch.now,
    )


def _patched_config(assistant: Assistant, patch: AssistantPatch) -> tuple[JsonObject, JsonObject]:
    """Return the new config and context: who gives one fills, or empties, the other."""
    if patch.config is None and patch.context is None:
        return assistant.config, assistant.context
    if patch.config is None:
        rest = {key: each for key, each in assistant.config.items() if key != "configurable"}
        return mirrored(rest, patch.context or {})
    keeps = patch.context is None and patch.config and "configurable" not in patch.config
    # Tags or a limit alone say nothing about the context.
    return mirrored(patch.config, assistant.context if keeps else patch.context or {})


def restored(assistant: Assistant, version: AssistantVersion, now: datetime) -> Assistant:
    """Return an assistant that is again what it was in one of its versions."""
    return Assistant(
        assistant_id=assistant.assistant_id,
        graph_id=version.graph_id,
        name=version.name,
        description=version.description,
        config=version.config,
        context=version.context,
        metadata=version.metadata,
        version=version.version,
        created_at=assistant.created_at,
        updated_at=now,
    )


def version_of(assistant: Assistant) -> AssistantVersion:
    """Return the version that an assistant has just become."""
    return AssistantVersion(
        assistant_id=assistant.assistant_id,
        version=assistant.version,
        graph_id=assistant.graph_id,
        name=assistant.name,
        description=assistant.description,
        config=assistant.config,
        context=assistant.context,
        metadata=assistant.metadata,
        created_at=assistant.updated_at,
    )
