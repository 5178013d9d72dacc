"""Graphs that tell for whom they run."""

from operator import add
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import StateGraph
from langgraph_sdk.runtime import ServerRuntime

import loomline


class State(TypedDict, total=False):
    seen: dict[str, Any]
    log: Annotated[list[str], add]


def _look(state: State, config: RunnableConfig) -> State:
    found = config["configurable"]
    user = found["langgraph_auth_user"]
    return {
        "seen": {
            "identity": user.identity,
            "item": user["identity"],
            "org": user.get("org"),
            "name": user.display_name,
            "permissions": list(user.permissions),
            "id": found["langgraph_auth_user_id"],
            "all": found["langgraph_auth_permissions"],
            "user_id": found.get("user_id"),
        }
    }


async def _ask(state: State) -> State:
    client = loomline.get_client()
    made = await client.threads.create(metadata={"from": "inside"})
    return {"log": [str(made["metadata"].get("owner")), str(await client.threads.count())]}


who = (
    StateGraph(State)
    .add_node("look", _look)
    .add_node("ask", _ask)
    .add_edge("__start__", "look")
    .add_edge("look", "ask")
    .compile()
)


async def whose(config: RunnableConfig, runtime: ServerRuntime[Any]):
    """Make a graph that says for whom it was made."""
    user = runtime.user
    told = f"{runtime.access_context} for {user.identity if user else None}"
    spoofed = str(config["configurable"].get("langgraph_auth_user_id"))
    runs = runtime.execution_runtime is not None

    def tell(state: State) -> State:
        return {"log": [told, spoofed, str(runs)]}

    name = f"{told}, {spoofed}".replace(" ", "_").replace(".", "_").replace(",", "_")
    return StateGraph(State).add_node(name, tell).add_edge("__start__", name).compile()
