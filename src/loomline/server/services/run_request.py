"""From a validated request to a run that can be stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from loomline.schema import Durability, StreamMode
from loomline.server.domain.assistants import Assistant
from loomline.server.domain.errors import ContradictoryInput, InvalidInput
from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import Json, JsonObject, dump, load_object
from loomline.server.domain.protocol import MARKER, PROTOCOL_MODES
from loomline.server.domain.reserved import IDS, unforged
from loomline.server.domain.runs import NewRun
from loomline.server.domain.secrets import SECRETS, is_secret
from loomline.server.graphs.states import command
from loomline.server.services.requests import RunCreateRequest

_CHECKPOINT_KEYS = ("checkpoint_id", "checkpoint_ns", "checkpoint_map")
_OWN_FIELDS = ("strict_resume", "langsmith_tracer", "timeout_seconds")

# A century: enough for any plan, and it cannot overflow a date.
_LONGEST_DELAY_SECONDS = 100 * 365 * 86_400.0


def new_run(
    thread_id: UUID | None,
    body: RunCreateRequest,
    assistant: Assistant,
    *,
    request_id: str,
    now: datetime,
    headers: Mapping[str, str] | None = None,
) -> NewRun:
    """Return the run a request asks for.

    ``headers`` are those that the graph may read in ``configurable``. They win over what the
    request says by the same name: who sets them may be a proxy that knows better.

    Raises:
        ContradictoryInput: fields that exclude each other are given.
        InvalidInput: a field does not fit.
    """
    _refuse_contradictions(thread_id, body)
    _check_command(body)
    stateless = thread_id is None
    temporary = stateless and body.get("on_completion", "delete") == "delete"
    config = _config(body, assistant)
    user_keys = cast("JsonObject", config["configurable"])
    delay = min(max(body.get("after_seconds", 0.0), 0.0), _LONGEST_DELAY_SECONDS)
    kwargs = _kwargs(body, temporary=temporary) | {
        "config": {
            **config,
            "configurable": {
                **user_keys,
                **(headers or {}),
                **_checkpoint(body),
                "langgraph_request_id": request_id,
                "__after_seconds__": delay,
                "__request_start_time_ms__": int(now.timestamp() * 1000),
            },
        },
        "context": user_keys,
        **_secrets(headers or {}),
    }
    return NewRun(
        run_id=uuid7(),
        thread_id=thread_id or uuid7(),
        assistant_id=assistant.assistant_id,
        graph_id=assistant.graph_id,
        assistant_metadata=assistant.metadata,
        metadata=body.get("metadata", {}),
        kwargs=dump(kwargs),
        multitask_strategy=body.get("multitask_strategy", "enqueue"),
        create_thread=stateless or body.get("if_not_exists") == "create",
        temporary=temporary,
        resumable=body.get("stream_resumable", False),
        thread_config=_thread_config(config),
        own_thread=stateless,
        created_at=now + timedelta(seconds=delay),
        now=now,
    )


def run_value(
    thread_id: UUID | None, body: RunCreateRequest, new: NewRun, kwargs: JsonObject
) -> dict[str, Any]:
    """Return a run as a handler of authorization sees and may change it."""
    return {
        "thread_id": thread_id,
        "assistant_id": new.assistant_id,
        "run_id": new.run_id,
        "status": "pending",
        "metadata": dict(new.metadata),
        "prevent_insert_if_inflight": new.multitask_strategy == "reject",
        "multitask_strategy": new.multitask_strategy,
        "if_not_exists": body.get("if_not_exists", "reject"),
        "after_seconds": body.get("after_seconds", 0),
        "kwargs": kwargs,
    }


def with_protocol(new: NewRun) -> NewRun:
    """Return a run that reports itself in the events of the thread protocol."""
    kwargs = load_object(new.kwargs)
    config = _object(kwargs["config"])
    marked: JsonObject = {**_object(config["configurable"]), MARKER: True}
    kwargs |= {
        "config": {**config, "configurable": marked},
        "stream_mode": list(PROTOCOL_MODES),
        "subgraphs": True,
        "resumable": True,
    }
    return replace(new, kwargs=dump(kwargs), resumable=True)


def stream_modes(body: RunCreateRequest) -> list[StreamMode]:
    """Return the stream modes of a request, each once, as a list."""
    asked = body.get("stream_mode", [])
    return list(dict.fromkeys([asked] if isinstance(asked, str) else asked)) or ["values"]


def _refuse_contradictions(thread_id: UUID | None, body: RunCreateRequest) -> None:
    if body.get("config", {}).get("configurable") and body.get("context"):
        raise ContradictoryInput(
            "Cannot specify both configurable and context. Prefer setting context alone. Context"
            " was introduced in LangGraph 0.6.0 and is the long term planned replacement for"
            " configurable."
        )
    _check_config(body.get("config", {}))
    given = body.get("command") or {}
    if thread_id is None and given.get("resume") is not None:
        raise ContradictoryInput("You must provide a thread_id when resuming.")


def _check_command(body: RunCreateRequest) -> None:
    """Refuse a command that the worker could not build.

    Raises:
        InvalidInput: it has a part of a wrong form.
    """
    command(cast("JsonObject", body.get("command") or {}))


def _check_config(config: JsonObject) -> None:
    """Check the fields of a config that have a type; all others are passed on as they are."""
    limit = config.get("recursion_limit", 1)
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise InvalidInput(f"'config.recursion_limit' must be an integer, got {limit!r:.200}")
    tags = config.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise InvalidInput(f"'config.tags' must be a list of strings, got {tags!r:.200}")
    configurable = config.get("configurable", {})
    if not isinstance(configurable, dict):
        raise InvalidInput(f"'config.configurable' must be an object, got {configurable!r:.200}")


def _kwargs(body: RunCreateRequest, *, temporary: bool) -> dict[str, object]:
    durability = _durability(body)
    # What the reference does not know is there only where it was asked for.
    own = {name: value for name, value in body.items() if name in _OWN_FIELDS}
    return own | {
        "input": body.get("input"),
        "command": body.get("command"),
        "stream_mode": stream_modes(body),
        "interrupt_before": body.get("interrupt_before"),
        "interrupt_after": body.get("interrupt_after"),
        "webhook": body.get("webhook"),
        "feedback_keys": body.get("feedback_keys"),
        "temporary": temporary,
        "subgraphs": body.get("stream_subgraphs", False),
        "resumable": body.get("stream_resumable", False),
        "checkpoint_during": durability != "exit",
        "durability": durability,
    }


def _secrets(headers: Mapping[str, str]) -> dict[str, object]:
    names = [name for name in headers if is_secret(name)]
    return {SECRETS: names} if names else {}


def _durability(body: RunCreateRequest) -> Durability:
    if "durability" in body:
        return body["durability"]
    return "async" if body.get("checkpoint_during", True) else "exit"


def _config(body: RunCreateRequest, assistant: Assistant) -> JsonObject:
    """Merge the assistant's config and context with the run's, the run's winning key by key."""
    given = {key: value for key, value in body.get("config", {}).items() if key != "callbacks"}
    configurable: dict[str, Json] = {
        **assistant.context,
        **_object(assistant.config.get("configurable")),
        **_object(given.get("configurable")),
        **body.get("context", {}),
    }
    # The metadata of an assistant reaches a run as metadata of the run, and no other way.
    own = {key: value for key, value in assistant.config.items() if key != "metadata"}
    return {**own, **given, "configurable": unforged(configurable)}


def _thread_config(config: JsonObject) -> JsonObject:
    """Return the config of a run as its thread keeps it: without names of one run or state."""
    kept = _object(config["configurable"])
    places = (*IDS, *_CHECKPOINT_KEYS)
    return {**config, "configurable": {key: kept[key] for key in kept if key not in places}}


def _object(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _checkpoint(body: RunCreateRequest) -> JsonObject:
    """Return the keys that name the checkpoint to start from."""
    given = body.get("checkpoint", {})
    named = {key: given[key] for key in _CHECKPOINT_KEYS if given.get(key) is not None}
    short = body.get("checkpoint_id")
    if short is not None:
        named["checkpoint_id"] = short
    if "checkpoint_id" in named:
        named["checkpoint_id"] = str(parse_uuid(named["checkpoint_id"], "checkpoint"))
    return named


def parse_uuid(value: object, what: str) -> UUID:
    """Return the UUID that a text names.

    Raises:
        InvalidInput: it names none.
    """
    try:
        return UUID(str(value))
    except ValueError:
        suffix = "" if what == "checkpoint" else ": must be a UUID"
        raise InvalidInput(f"Invalid {what} ID{suffix}") from None
