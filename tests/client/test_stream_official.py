"""Our thread streaming against that of the official client: same server, same calls."""

import langgraph_sdk
import pytest
from tests.client.thread_server import thread_server

import loomline

RUN = "11111111-1111-4111-8111-111111111111"
CLIENTS = (loomline, langgraph_sdk)


def script(server):
    """Return a server that asks one question in its run."""

    def start(run_id):
        server.lifecycle("running", run_id)
        server.emit("values", {"n": 1})
        server.emit("values", {"inner": 1}, ["child:1"])
        server.emit("custom", {"name": "ticks", "payload": 1})
        server.emit("custom", {"name": "ticks", "payload": 2})
        server.lifecycle("completed", run_id)

    server.on_start(start, RUN)
    server.state["values"] = {"n": 1}


async def one(client, read, **options):
    """Run something with one client on a server of its own; return what it found and asked."""
    with thread_server() as server:
        script(server)
        made = client.get_client(url=server.url, api_key=None)
        # Not a thread that was named: leaving its context early, the official client may hang.
        async with made, made.threads.stream(assistant_id="agent", **options) as thread:
            found = await read(thread, server)
        asked = [
            (method, path.replace(thread.thread_id, "t"), body)
            for method, path, _, body in server.requests
        ]
        commands = [each for each in asked if each[1].endswith(("/commands", "/state", "/graph"))]
        return found, commands


async def both(read, **options):
    ours, official = [await one(client, read, **options) for client in CLIENTS]
    assert ours == official
    return ours[0]


def scripted(server, write):
    """Give the server a run that writes events between its beginning and its end."""

    def start(run_id):
        server.lifecycle("running", run_id)
        write()
        server.lifecycle("completed", run_id)

    server.on_start(start, RUN)


def tell(server, kind, **more):
    server.emit("messages", {"event": kind, **more})


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_values_equal_those_of_the_official_client(transport):
    async def read(thread, server):
        await thread.run.start(input={"a": 1}, config={"tags": ["x"]}, metadata={"m": 1})
        return [value async for value in thread.values]

    assert await both(read, transport=transport) == [{"n": 1}, {"n": 1}, {"inner": 1}]


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_events_equal_those_of_the_official_client(transport):
    async def read(thread, server):
        await thread.run.start()
        wanted = ["values", "custom", "lifecycle"]
        return [event async for event in thread.subscribe(wanted)]

    assert len(await both(read, transport=transport)) == 6


async def test_events_of_a_namespace():
    async def read(thread, server):
        await thread.run.start()
        events = thread.subscribe(["values"], namespaces=[["child"]], depth=0)
        return [event["seq"] async for event in events]

    assert await both(read) == [3]


async def test_extensions_equal_those_of_the_official_client():
    async def read(thread, server):
        await thread.run.start()
        return [data async for data in thread.extensions["ticks"]]

    assert len(await both(read)) == 2


async def test_interleaved_parts_equal_those_of_the_official_client():
    async def read(thread, server):
        await thread.run.start()
        return [part async for part in thread.interleave_projections(["values", "ticks"])]

    assert len(await both(read)) == 4


async def test_output_and_graph_equal_those_of_the_official_client():
    async def read(thread, server):
        await thread.run.start(langsmith_tracing={"project_name": "p"})
        tree = await thread.agent.get_tree(xray=2)
        return await thread.output, tree, thread.interrupted, thread.interrupts

    await both(read)


async def test_failure_equals_that_of_the_official_client():
    async def read(thread, server):
        server.on_start(lambda run_id: server.lifecycle("failed", run_id, error="boom"), RUN)
        await thread.run.start()
        found = [event["method"] async for event in thread.subscribe(["lifecycle"])]
        with pytest.raises(RuntimeError) as caught:
            await thread.output
        return found, str(caught.value)

    assert await both(read) == (["lifecycle"], "Run errored: boom")


async def test_refusal_equals_that_of_the_official_client():
    async def read(thread, server):
        refused = {"error": "invalid_argument", "message": "no"}
        server.commands["run.start"] = lambda params: refused
        with pytest.raises(RuntimeError) as caught:
            await thread.run.start()
        return str(caught.value)

    assert await both(read) == "Protocol error [invalid_argument]: no"


async def test_wrong_use_raises_as_in_the_official_client():
    async def read(thread, server):
        found = []
        for wrong in (
            lambda: thread.extensions[""],
            lambda: anext(aiter(thread.interleave_projections(["lifecycle"]))),
        ):
            with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words differ
                await wrong()
            found.append(type(caught.value))
        with pytest.raises(RuntimeError):
            await thread.run.respond("x")
        return found

    await both(read)


CALL = {"type": "tool_call", "id": "c1", "name": "add", "args": {"a": 2}}


async def test_the_content_of_a_streamed_message_is_the_same_for_both_clients():
    def write(server):
        tell(server, "message-start", role="ai", id="m")
        tell(server, "content-block-start", index=0, content={"type": "text", "text": ""})
        delta = {"type": "text-delta", "text": "hi"}
        tell(server, "content-block-delta", index=0, delta=delta)
        tell(server, "content-block-finish", index=0, content={"type": "text", "text": "hi"})
        image = {"type": "image", "url": "http://127.0.0.1/i.png"}
        tell(server, "content-block-finish", index=1, content=image)
        thought = {"type": "reasoning", "reasoning": "hm", "index": "lc_rs_0"}
        tell(server, "content-block-finish", index=2, content=thought)
        tell(server, "content-block-finish", index=3, content={**CALL, "index": 3})
        broken = {"type": "invalid_tool_call", "id": "c2", "name": "add", "args": "{", "error": "x"}
        tell(server, "content-block-finish", index=4, content=broken)
        tell(server, "message-finish")

    async def read(thread, server):
        scripted(server, lambda: write(server))
        await thread.run.start()
        (message,) = [each async for each in thread.messages]
        whole = await message.output
        return whole.id, whole.content, whole.tool_calls, whole.invalid_tool_calls

    _, content, calls, _ = await both(read)
    assert [block.get("index") for block in content] == [0, 1, "lc_rs_0", None, None]
    assert calls == [CALL]


async def test_the_pieces_of_tool_calls_are_the_same_for_both_clients():
    def begin(server, index, args, kind="tool_call_chunk"):
        content = {"type": kind, "id": f"c{index}", "name": "add", "args": args, "index": index}
        tell(server, "content-block-start", index=index, content=content)

    def piece(server, index, args):
        delta = {"type": "tool-call-delta", "args": args}
        tell(server, "content-block-delta", index=index, delta=delta)

    def write(server):
        tell(server, "message-start", role="ai", id="m")
        begin(server, 0, "")
        piece(server, 0, '{"a": 2,')
        piece(server, 0, ' "b": 3}')
        begin(server, 1, '{"c": 1}')
        begin(server, 2, "{}", "server_tool_call_chunk")
        tell(server, "message-finish")

    async def read(thread, server):
        scripted(server, lambda: write(server))
        await thread.run.start()
        (message,) = [each async for each in thread.messages]
        return [
            tuple(piece[key] for key in ("id", "name", "index", "args"))
            async for piece in message.tool_calls
        ]

    assert await both(read) == [
        ("c0", "add", 0, '{"a": 2,'),
        ("c0", "add", 0, ' "b": 3}'),
        ("c1", "add", 1, '{"c": 1}'),
    ]


async def test_the_deltas_of_a_failed_tool_end_for_both_clients():
    def write(server):
        started = {"event": "tool-started", "tool_call_id": "c", "tool_name": "t"}
        server.emit("tools", started)
        server.emit("tools", {"event": "tool-output-delta", "tool_call_id": "c", "delta": "a"})
        server.emit("tools", {"event": "tool-error", "tool_call_id": "c", "message": "no"})

    async def read(thread, server):
        scripted(server, lambda: write(server))
        await thread.run.start()
        (call,) = [each async for each in thread.tool_calls]
        deltas = [delta async for delta in call.deltas]
        with pytest.raises(RuntimeError) as caught:
            await call.output
        return deltas, str(caught.value), str(call.error)

    assert await both(read) == (["a"], "no", "no")


async def test_subgraphs_are_found_once_and_named_the_same_by_both_clients():
    def write(server):
        child = ["child:1"]
        server.lifecycle("started", RUN, child, graph_name="researcher", trigger_call_id="1")
        server.emit("tasks", {"id": "a", "name": "inner"}, child)
        server.lifecycle("completed", RUN, child)
        server.lifecycle("started", RUN, ["other:2"], graph_name="other", trigger_call_id="2")
        server.lifecycle("completed", RUN, ["other:2"])

    async def read(thread, server):
        scripted(server, lambda: write(server))
        await thread.run.start()
        return [
            (child.path, child.graph_name, child.trigger_call_id)
            async for child in thread.subgraphs
        ]

    assert await both(read) == [(("child:1",), "child", "1"), (("other:2",), "other", "2")]


async def test_interleaved_projections_of_a_subgraph_are_left_out_by_both_clients():
    def write(server):
        for namespace in ([], ["child:1"]):
            for method in ("updates", "tasks", "checkpoints"):
                server.emit(method, {"at": namespace}, namespace)

    async def read(thread, server):
        scripted(server, lambda: write(server))
        await thread.run.start()
        names = ["updates", "tasks", "checkpoints"]
        parts = [part async for part in thread.interleave_projections(names)]
        return [(name, item["at"]) for name, item in parts]

    assert await both(read) == [("updates", []), ("tasks", []), ("checkpoints", [])]


async def after_leaving(client, read):
    """Return the values that a client reads of a finished run after its context has been left."""
    with thread_server() as server:
        scripted(server, lambda: server.emit("values", {"n": 1}))
        server.state["values"] = {"n": 1}
        async with client.get_client(url=server.url, api_key=None) as made:
            async with made.threads.stream(assistant_id="agent") as thread:
                await thread.run.start()
                assert [value async for value in thread.values]
                events = thread.events
            return await read(thread, events)


async def test_reading_after_the_context_gives_both_clients_the_same():
    async def read(thread, events):
        return {
            "output": await thread.output,
            "extensions": [part async for part in thread.extensions["x"]],
            "subscribed": [event async for event in thread.subscribe(["values"])],
            "interleaved": [part async for part in thread.interleave_projections(["updates"])],
            "events": [event async for event in events],
        }

    ours, official = [await after_leaving(client, read) for client in CLIENTS]
    assert ours == official
    assert ours["output"] == {"n": 1}


async def test_raw_events_outside_the_context_are_refused_by_both_clients():
    for client in CLIENTS:
        async with client.get_client(url="http://127.0.0.1:9", api_key=None) as made:
            thread = made.threads.stream(assistant_id="agent")
            with pytest.raises(RuntimeError, match="not entered"):
                thread.events  # noqa: B018
            with pytest.raises(RuntimeError, match="not entered"):
                thread.subscribe(["values"])


async def output_without_a_run(thread):
    async with thread:
        await thread.output


async def enter_again(thread):
    async with thread:
        pass
    async with thread:
        pass


async def command_after_closing(thread):
    async with thread:
        pass
    await thread.run.start()


async def command_outside(thread):
    await thread.run.start()


def answering(*names, **answer):
    """Return a function that answers a thread with these questions."""

    async def respond(thread):
        async with thread:
            thread.interrupts = [
                {"interrupt_id": name, "value": 1, "payload": 1, "namespace": []} for name in names
            ]
            thread.interrupted = bool(names)
            await thread.run.respond("x", **answer)

    return respond


def interleaving(name):
    async def read(thread):
        async with thread:
            await anext(aiter(thread.interleave_projections([name])))

    return read


async def extension_without_a_name(thread):
    async with thread:
        thread.extensions[""]


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [
        (output_without_a_run, RuntimeError, ["no run has been started"]),
        (enter_again, RuntimeError, ["closed and cannot be re-entered"]),
        (command_after_closing, RuntimeError, ["transport is closed"]),
        (command_outside, RuntimeError, ["not entered", "async with"]),
        (answering(), RuntimeError, ["no outstanding interrupt"]),
        (answering("a", "b"), RuntimeError, ["ambiguous", "interrupt_id"]),
        (answering("a", interrupt_id="z"), RuntimeError, ["does not match"]),
        (extension_without_a_name, ValueError, ["non-empty"]),
        (interleaving(""), ValueError, ["non-empty"]),
        (interleaving("lifecycle"), ValueError, ["lifecycle", "not a valid"]),
    ],
)
@pytest.mark.parametrize("client", CLIENTS)
async def test_the_error_has_the_words_that_programs_match_on(client, wrong, kind, words):
    with thread_server() as server:
        async with client.get_client(url=server.url, api_key=None) as made:
            with pytest.raises(kind) as caught:
                await wrong(made.threads.stream(assistant_id="agent"))
    assert [word for word in words if word not in str(caught.value)] == []
