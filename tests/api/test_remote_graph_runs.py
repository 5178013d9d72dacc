"""``RemoteGraph`` of langgraph, whose runs are ours: alone, and as a node of another graph."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.pregel.remote import RemoteException, RemoteGraph
from langgraph.types import Command
from langgraph_sdk import get_client, get_sync_client
from typing_extensions import TypedDict

JOKE = "This is a joke about tea and cats"


@pytest.fixture
async def remote(server):
    """Make a graph that is elsewhere, with a client for either colour."""
    async with get_client(url=server, api_key=None) as client:
        with get_sync_client(url=server, api_key=None) as sync_client:
            yield lambda name: RemoteGraph(name, client=client, sync_client=sync_client)


@pytest.fixture
async def config(remote):
    thread = await remote("joke").client.threads.create()
    return {"configurable": {"thread_id": thread["thread_id"]}}


class State(TypedDict, total=False):
    topic: str
    joke: str
    answer: str
    log: list[str]


def around(graph, schema=State, **options):
    """Make a graph here whose only node is that graph."""
    builder = StateGraph(schema)
    builder.add_node("remote", graph)
    builder.add_edge(START, "remote")
    builder.add_edge("remote", END)
    return builder.compile(**options)


async def test_remote_graph_is_called_and_streamed_in_both_ways(remote):
    graph = remote("joke")
    assert (await graph.ainvoke({"topic": "tea"}))["joke"] == JOKE
    assert graph.invoke({"topic": "tea"})["joke"] == JOKE
    assert [part async for part in graph.astream({"topic": "tea"})] == [
        {"refine_topic": {"topic": "tea and cats"}},
        {"generate_joke": {"joke": JOKE}},
    ]
    parts = list(graph.stream({"topic": "tea"}, stream_mode=["values", "updates"]))
    assert [part.event for part in parts] == ["values", "updates", "values", "updates", "values"]


async def test_remote_stream_includes_events_of_subgraphs(remote):
    parts = [
        (tuple(each.split(":")[0] for each in namespace), *update)
        async for namespace, update in remote("parent").astream({"topic": "tea"}, subgraphs=True)
    ]
    assert parts == [
        ((), "prepare"),
        (("child",), "refine_topic"),
        (("child",), "generate_joke"),
        ((), "child"),
    ]


async def test_remote_graph_streams_messages_token_by_token(remote):
    graph = remote("chat")
    given = {"messages": [HumanMessage("hi")]}
    result = await graph.ainvoke(given)
    assert [each["content"] for each in result["messages"]] == ["hi", "Hello you"]
    parts = [part async for part in graph.astream(given, stream_mode="messages")]
    assert "".join(chunk["content"] for chunk, _ in parts) == "Hello you"


async def test_remote_call_raises_the_error_of_its_run(remote):
    with pytest.raises(RemoteException, match="boom: tea"):
        await remote("boom").ainvoke({"topic": "tea"})


async def test_a_question_and_its_answer(remote, config):
    graph = remote("ask")
    asked = await graph.ainvoke({"topic": "tea"}, config)
    assert asked["__interrupt__"][0]["value"] == {"question": "Really?"}
    state = await graph.aget_state(config)
    assert state.next == ("question",)
    assert state.tasks[0].interrupts[0].value == {"question": "Really?"}
    result = await graph.ainvoke(Command(resume="yes"), config)
    assert (result["answer"], result["log"]) == ("yes", ["before", "after"])


async def test_changing_a_state_and_going_on(remote, config):
    graph = remote("joke")
    await graph.ainvoke({"topic": "tea"}, config)
    history = [state async for state in graph.aget_state_history(config)]
    assert [state.metadata["step"] for state in history] == [2, 1, 0, -1]
    saved = await graph.aupdate_state(history[1].config, {"topic": "snow"}, "refine_topic")
    assert (await graph.aget_state(saved)).next == ("generate_joke",)
    assert (await graph.ainvoke(None, config))["joke"] == "This is a joke about snow"


async def test_remote_run_continues_after_an_interrupt_before_a_node(remote, config):
    graph = remote("joke")
    await graph.ainvoke({"topic": "tea"}, config, interrupt_before=["generate_joke"])
    assert (await graph.aget_state(config)).next == ("generate_joke",)
    assert (await graph.ainvoke(None, config))["joke"] == JOKE


async def test_remote_graph_draws_its_subgraphs(remote):
    drawn = await remote("parent").aget_graph(xray=True)
    assert "child:generate_joke" in drawn.nodes
    assert "generate_joke" in drawn.draw_mermaid()


async def test_config_and_context_reach_the_remote_run(remote):
    config = {"configurable": {"color": "green"}, "metadata": {"tag": "a"}}
    seen = (await remote("context").ainvoke({"topic": "x"}, config))["seen"]
    assert (seen["color"], seen["metadata"]["tag"]) == ("green", "a")
    with_context = await remote("context").ainvoke({"topic": "x"}, context={"color": "blue"})
    assert with_context["seen"]["color"] == "blue"


async def test_a_node_of_another_graph(remote):
    graph = around(remote("joke"))
    assert (await graph.ainvoke({"topic": "tea"}))["joke"] == JOKE
    parts = [
        (len(namespace), *update)
        async for namespace, update in graph.astream(
            {"topic": "tea"}, stream_mode="updates", subgraphs=True
        )
    ]
    assert parts == [(1, "refine_topic"), (1, "generate_joke"), (0, "remote")]


async def test_tokens_from_a_node_of_another_graph(remote):
    graph = around(remote("chat"), MessagesState)
    parts = [
        part
        async for part in graph.astream(
            {"messages": [HumanMessage("hi")]}, stream_mode="messages", subgraphs=True
        )
    ]
    assert parts[0][0][0].startswith("remote:")
    result = await graph.ainvoke({"messages": [HumanMessage("hi")]})
    assert isinstance(result["messages"][-1], AIMessage)
    assert result["messages"][-1].content == "Hello you"


async def test_a_question_through_another_graph(remote, config):
    """The remote graph keeps its own thread; the one around it stops, and goes on."""
    graph = around(remote("ask"), checkpointer=InMemorySaver())
    asked = await graph.ainvoke({"topic": "tea"}, config)
    assert asked["__interrupt__"][0].value == {"question": "Really?"}
    state = await graph.aget_state(config)
    assert state.tasks[0].interrupts[0].value == {"question": "Really?"}
