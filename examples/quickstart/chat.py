"""A chat whose tokens are streamed, with a model that says back what it hears.

Put a real model in its place: ``init_chat_model("provider:model")`` of langchain.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.outputs.chat_generation import merge_chat_generation_chunks
from langgraph.graph import END, START, MessagesState, StateGraph


class EchoModel(BaseChatModel):
    """Answers with the last message, word by word; the same every time."""

    @property
    def _llm_type(self) -> str:
        return "echo"

    def _stream(
        self, messages: list[BaseMessage], *_args: object, **_options: object
    ) -> Iterator[ChatGenerationChunk]:
        yield from _chunks(messages)

    async def _astream(
        self, messages: list[BaseMessage], *_args: object, **_options: object
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in _chunks(messages):
            yield chunk

    def _generate(
        self, messages: list[BaseMessage], *_args: object, **_options: object
    ) -> ChatResult:
        whole = merge_chat_generation_chunks(list(_chunks(messages)))
        assert whole is not None
        return ChatResult(generations=[whole])


def _chunks(messages: list[BaseMessage]) -> Iterator[ChatGenerationChunk]:
    words = f"You said: {messages[-1].text}".split(" ")
    for number, word in enumerate(words):
        text = word if number == 0 else f" {word}"
        yield ChatGenerationChunk(message=AIMessageChunk(content=text))


model = EchoModel()


async def answer(state: MessagesState) -> dict[str, list[BaseMessage]]:
    """Say what the model says."""
    return {"messages": [await model.ainvoke(state["messages"])]}


graph = (
    StateGraph(MessagesState)
    .add_node(answer)
    .add_edge(START, "answer")
    .add_edge("answer", END)
    .compile()
)
