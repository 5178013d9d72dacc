"""From a run's stored request to the arguments of one langgraph call."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, cast
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langchain_core.tracers.langchain import LangChainTracer
from langgraph.types import Command
from langsmith.utils import tracing_is_enabled

from loomline.schema import Durability, StreamMode
from loomline.server.authz.users import Caller
from loomline.server.domain.json import Json, JsonObject
from loomline.server.domain.reserved import AUTH_PREFIX, EXECUTION, REQUEST, USER, unreserved
from loomline.server.domain.run_spec import Nodes, RunSpec
from loomline.server.domain.runs import Claim
from loomline.server.domain.secrets import MASK
from loomline.server.graphs.states import command

# langgraph has no other way to be told, and its servers and clients agree on this name.
_STRICT_RESUME = "__pregel_strict_resume"


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Facts about the server, for the metadata of its runs. ``api_url``: where clients reach it."""

    version: str
    api_url: str = ""
    langgraph_version: str = dataclasses.field(default_factory=lambda: version("langgraph"))


@dataclass(frozen=True, slots=True)
class Plan:
    """One call of a graph. ``modes`` are those of the request, in the server's words.

    ``protocol``: its events are those of the thread protocol.
    """

    input: object
    config: RunnableConfig
    context: JsonObject
    modes: frozenset[StreamMode]
    subgraphs: bool
    interrupt_before: Nodes
    interrupt_after: Nodes
    durability: Durability
    timeout_seconds: float | None = None
    protocol: bool = False


def make_plan(claim: Claim, facts: ServerFacts) -> Plan:
    """Return the plan of a claimed run."""
    spec = claim.run.spec
    return Plan(
        input=_input(spec),
        config=_config(claim, spec, facts),
        context=spec.context,
        modes=frozenset(spec.modes),
        subgraphs=spec.subgraphs,
        interrupt_before=spec.interrupt_before,
        interrupt_after=spec.interrupt_after,
        durability=spec.durability,
        timeout_seconds=spec.timeout_seconds,
        protocol=spec.events == "thread",
    )


def continued(plan: Plan) -> Plan:
    """Return the plan that goes on from the thread's last checkpoint instead of beginning."""
    configurable = dict(plan.config["configurable"])
    for key in ("checkpoint_id", "checkpoint_map"):
        configurable.pop(key, None)
    config = cast("RunnableConfig", {**plan.config, "configurable": configurable})
    return dataclasses.replace(plan, input=None, config=config)


def thread_config(claim: Claim) -> RunnableConfig:
    """Return the config that names the newest state of the run's thread."""
    return {"configurable": {"thread_id": str(claim.run.thread_id), "checkpoint_ns": ""}}


def _input(spec: RunSpec) -> object:
    """Return the input of the graph; None for a command that says nothing."""
    if spec.command is None:
        return spec.input
    made = command(spec.command)
    return None if made == Command() else made


def _tracing(tracer: JsonObject | None) -> dict[str, Any]:
    """Return what makes a run be traced to where its client wants; nothing where none is traced."""
    if not tracer or not tracing_is_enabled():
        return {}
    example: UUID | None = None
    with suppress(ValueError):  # what is no example is no reason to fail the run
        example = UUID(cast("str | None", tracer.get("example_id")) or "")
    project = cast("str | None", tracer.get("project_name"))
    made = LangChainTracer(project_name=project, example_id=example)
    return {"callbacks": [made]}


def _config(claim: Claim, spec: RunSpec, facts: ServerFacts) -> RunnableConfig:
    run = claim.run
    caller = Caller.load(run.user)
    config, asked = spec.config, spec.configurable
    strict: JsonObject = {_STRICT_RESUME: True} if spec.strict_resume else {}
    given = cast("JsonObject", config.get("metadata") or {})
    ids = _ids(claim, asked)
    return cast(
        "RunnableConfig",
        {
            "run_name": run.graph_id,
            **config,
            **_tracing(spec.tracer),
            "run_id": run.run_id,
            "configurable": {
                USER: "",
                **asked,
                **ids,
                **caller.configurable(),
                **strict,
                EXECUTION: True,
            },
            "metadata": {
                USER: _named_user(asked),
                # The client's, so that graphs and tracers can rely on all that follows.
                **unreserved(given),
                **unreserved(run.metadata),
                **ids,
                f"{AUTH_PREFIX}user_id": caller.identity,
                "run_attempt": run.attempt,
                "langgraph_version": facts.langgraph_version,
                "langgraph_api_version": facts.version,
                "langgraph_api_url": facts.api_url,
                "langgraph_host": "loomline",
                "langgraph_plan": "loomline",
                # langgraph adds what is configurable to the metadata of events and checkpoints,
                # but for what is there already.
                **dict.fromkeys(spec.secrets, MASK),
            },
        },
    )


def _named_user(configurable: JsonObject) -> Json:
    """Return the user that a client without authentication names, or an empty string.

    Nodes look ``user_id`` up without a default, because other servers always set it.
    """
    named = configurable.get(USER)
    return named if isinstance(named, str | int | float) else ""


def _ids(claim: Claim, configurable: JsonObject) -> JsonObject:
    """Return the names of a run and of its user, if any, for its config and its metadata."""
    run = claim.run
    ids: JsonObject = {
        "run_id": str(run.run_id),
        "thread_id": str(run.thread_id),
        "assistant_id": str(run.assistant_id),
        "graph_id": run.graph_id,
    }
    if REQUEST in configurable:
        ids[REQUEST] = configurable[REQUEST]
    if run.user is not None:
        ids[USER] = Caller.load(run.user).identity
    return ids
