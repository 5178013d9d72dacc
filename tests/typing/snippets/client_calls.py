"""Ordinary programs, which must pass the type checkers as they stand."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Literal, TypedDict, assert_type

import httpx
from pydantic import BaseModel

from loomline import get_client, get_sync_client
from loomline.client import LangGraphClient
from loomline.schema import (
    Assistant,
    AssistantsSearchResponse,
    Cron,
    Run,
    StreamPart,
    StreamPartV2,
    Thread,
)


class Model(BaseModel):
    question: str


@dataclass
class Data:
    question: str


class Dictionary(TypedDict):
    question: str


async def inputs(client: LangGraphClient, thread_id: str | None) -> None:
    await client.runs.wait("t", "agent", input={"messages": [{"role": "user", "content": "hi"}]})
    messages = [{"role": "user", "content": "hi"}]
    client.runs.stream("t", "agent", input={"messages": messages})
    client.runs.stream(None, "agent", input=Model(question="?"))
    client.runs.stream(None, "agent", input=Data("?"), context=Data("?"))
    client.runs.stream(None, "agent", input=Dictionary(question="?"), context=Model(question="?"))
    client.runs.stream(None, "functional", input=5)
    client.runs.stream(None, "functional", input=["a", 1])
    strategy: Literal["reject", "enqueue"] = "reject"
    await client.runs.create(thread_id, "agent", multitask_strategy=strategy)
    await client.runs.wait(thread_id, "agent", on_completion="keep", checkpoint_id=None)
    await client.runs.create_batch([{"thread_id": None, "assistant_id": "agent"}])


async def results(client: LangGraphClient) -> None:
    thread = await client.threads.get("t")
    assert_type(thread, Thread)
    created: str = thread["created_at"]
    first: str = thread["metadata"].get("user", created)
    run = await client.runs.get(first, "r")
    assert_type(run, Run)
    given: object = run.get("kwargs", {}).get("input")
    cron = await client.crons.create("agent", schedule="* * * * *")
    assert_type(cron, Cron)
    copy = await client.threads.copy(cron["cron_id"])
    assert_type(copy["thread_id"], str)
    assert_type(await client.assistants.search(), list[Assistant])
    page = await client.assistants.search(response_format="object")
    assert_type(page, AssistantsSearchResponse)
    async for assistant in client.assistants.search_all(graph_id=str(given)):
        assert_type(assistant, Assistant)
    values = await client.runs.wait("t", "agent")
    print(values["messages"][-1]["content"])
    await client.runs.join("t", "r")
    assert_type(await client.ok(), bool)
    assert_type(await client.raw("GET", "/x"), httpx.Response)


async def streams(client: LangGraphClient, version: Literal["v1", "v2"]) -> None:
    parts = client.runs.stream("t", "agent")
    assert_type(parts, AsyncIterator[StreamPart])
    async for part in parts:
        if part.data is None or part.id is None:
            continue
        text: str = part.data["messages"][-1]["content"]
        print(text)
    second = client.runs.stream("t", "agent", version="v2")
    assert_type(second, AsyncIterator[StreamPartV2])
    async for one in second:
        print(one["interrupts"], one["ns"])
        if one["type"] == "error":
            print(one["data"]["message"])
        elif one["type"] == "values":
            print(one["data"]["messages"])
        elif one["type"] == "metadata":
            print(one["data"]["run_id"])
    client.runs.stream("t", "agent", version=version)
    joined = await client.threads.join_stream("t")
    async for event in joined:
        assert_type(event, StreamPart)


def synchronous() -> None:
    with get_sync_client(url="http://h", headers={"a": "b"}, timeout=(1, 2)) as client:
        parts = client.runs.stream(None, "agent", stream_mode=["values", "updates"])
        assert_type(parts, Iterator[StreamPart])
        for thread in client.threads.search_all(metadata={"a": 1}, page_size=5):
            assert_type(thread, Thread)
        client.threads.update_state("t", {"a": 1}, as_node="n")
        client.store.put_item(("a", "b"), "k", {"v": 1}, index=False)


async def token() -> str:
    return "secret"


async def options() -> None:
    get_client(timeout=httpx.Timeout(5))
    get_client(timeout=5, api_key=None)
    get_client(api_key=token)
    get_client(api_key=lambda: "secret", headers=lambda: {"x": "y"})
    async with get_client(url="http://h") as client:
        await client.threads.get("t", timeout=httpx.Timeout(5, read=None), params={"a": [1, 2]})
        await client.threads.get("t", timeout=0.5, params=[("a", 1), ("a", None)])
        await client.threads.get("t", params="a=1")
