"""From a validated request to a run that can be stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from loomline.schema import Durability, StreamMode
from loomline.server.domain.access import Condition
from loomline.server.domain.assistants import Assistant
from loomline.server.domain.crons import Firing
from loomline.server.domain.errors import ContradictoryInput, InvalidInput
from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import Encoded, Json, JsonObject, copied
from loomline.server.domain.reserved import IDS, REQUEST, unforged
from loomline.server.domain.run_spec import RunSpec, StoredSpec
from loomline.server.domain.runs import NewRun
from loomline.server.domain.secrets import is_secret
from loomline.server.graphs.states import command
from loomline.server.services.requests import RunCreateRequest

_CHECKPOINT_KEYS = ("checkpoint_id", "checkpoint_ns", "checkpoint_map")

# A century: enough for any plan, and it cannot overflow a date.
_LONGEST_DELAY_SECONDS = 100 * 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A request for a run.

    Attributes:
        body: The request as the client has sent it.
        thread_id: The thread of the run; None: the run gets a thread of its own.
        request_id: The id that the client or its proxy has given the request.
        headers: The headers that the graph may read in ``configurable``. They win over the values
            of the body by the same name: a proxy that sets them knows better.
        key: The idempotency key, as the client has sent it.
        reading: Whether the answer to the request shows the result of the run.
        thread_events: Whether the run reports itself in the events of the thread protocol.
        firing: The due time of the cron that starts the run.
        answers: The ids of the questions that no other run may answer.
    """

    body: RunCreateRequest
    thread_id: UUID | None = None
    request_id: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    reading: bool = False
    thread_events: bool = False
    firing: Firing | None = None
    answers: tuple[str, ...] = ()


def new_run(request: RunRequest, assistant: Assistant, now: datetime) -> NewRun:
    """Return the run that a request asks for.

    Raises:
        ContradictoryInput: the request has fields that exclude each other.
        InvalidInput: a field does not fit.
    """
    body = request.body
    _refuse_contradictions(request)
    _check_command(body)
    config = _config(body, assistant)
    delay = _delay(body)
    return NewRun(
        run_id=uuid7(),
        thread_id=request.thread_id or uuid7(),
        assistant_id=assistant.assistant_id,
        graph_id=assistant.graph_id,
        assistant_metadata=assistant.metadata,
        metadata=body.get("metadata", {}),
        request=StoredSpec(spec=_spec(request, config, now)),
        multitask_strategy=body.get("multitask_strategy", "enqueue"),
        create_thread=request.thread_id is None or body.get("if_not_exists") == "create",
        thread_config=_thread_config(config),
        own_thread=request.thread_id is None,
        created_at=now + timedelta(seconds=delay),
        now=now,
        firing=request.firing,
        answers=request.answers,
    )


def _spec(request: RunRequest, config: JsonObject, now: datetime) -> RunSpec:
    body = request.body
    user_keys = cast("JsonObject", config["configurable"])
    configurable: JsonObject = {
        **user_keys,
        **request.headers,
        **_checkpoint(body),
        REQUEST: request.request_id,
        "__after_seconds__": _delay(body),
        "__request_start_time_ms__": int(now.timestamp() * 1000),
    }
    stateless = request.thread_id is None
    return RunSpec(
        input=body.get("input"),
        command=cast("JsonObject | None", body.get("command")),
        config={**config, "configurable": configurable},
        context=user_keys,
        modes=tuple(stream_modes(body)),
        subgraphs=body.get("stream_subgraphs", False),
        durability=_durability(body),
        interrupt_before=body.get("interrupt_before"),
        interrupt_after=body.get("interrupt_after"),
        temporary=stateless and body.get("on_completion", "delete") == "delete",
        resumable=body.get("stream_resumable", False),
        webhook=body.get("webhook"),
        feedback_keys=cast("Json", body.get("feedback_keys")),
        timeout_seconds=body.get("timeout_seconds"),
        strict_resume=body.get("strict_resume"),
        tracer=cast("JsonObject | None", body.get("langsmith_tracer")),
        secrets=tuple(name for name in request.headers if is_secret(name)),
    )


def run_value(request: RunRequest, new: NewRun) -> dict[str, Any]:
    """Return a run as a handler of authorization sees and may change it."""
    body = request.body
    return {
        "thread_id": request.thread_id,
        "assistant_id": new.assistant_id,
        "run_id": new.run_id,
        "status": "pending",
        "metadata": dict(new.metadata),
        "prevent_insert_if_inflight": new.multitask_strategy == "reject",
        "multitask_strategy": new.multitask_strategy,
        "if_not_exists": body.get("if_not_exists", "reject"),
        "after_seconds": body.get("after_seconds", 0),
        "kwargs": copied(new.spec.document()),
    }


def allowed(new: NewRun, value: dict[str, Any], access: Condition, user: Encoded | None) -> NewRun:
    """Return a run as a handler of authorization has left it.

    Args:
        new: The run.
        value: The value that the handler got and may have changed, with all members of ``kwargs``.
        access: The condition on the thread.
        user: The user who asks for the run, encoded.
    """
    metadata = value.get("metadata") or {}
    return replace(
        new,
        metadata=metadata,
        thread_metadata=metadata,
        request=StoredSpec(spec=new.spec.changed(value["kwargs"])),
        access=access,
        user=user,
    )


def stream_modes(body: RunCreateRequest) -> list[StreamMode]:
    """Return the stream modes of a request, each once, as a list."""
    asked = body.get("stream_mode", [])
    return list(dict.fromkeys([asked] if isinstance(asked, str) else asked)) or ["values"]


def _refuse_contradictions(request: RunRequest) -> None:
    body = request.body
    if body.get("config", {}).get("configurable") and body.get("context"):
        raise ContradictoryInput(
            "Cannot specify both configurable and context. Prefer setting context alone. Context"
            " was introduced in LangGraph 0.6.0 and is the long term planned replacement for"
            " configurable."
        )
    _check_config(body.get("config", {}))
    given = body.get("command") or {}
    if request.thread_id is None and given.get("resume") is not None:
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


def _delay(body: RunCreateRequest) -> float:
    return min(max(body.get("after_seconds", 0.0), 0.0), _LONGEST_DELAY_SECONDS)


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
