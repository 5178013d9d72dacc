"""A server of one thread that speaks the protocol of thread streaming, and does what a test says.

It runs on a thread of its own, on real sockets. What a test emits is kept and numbered; every
connection replays it from the start or after `since`, and goes on live.
"""

import asyncio
import contextlib
import json
import threading
import uuid

import uvicorn

CHANNELS = {"input.requested": "input"}


class ThreadServer:
    """The thread, and what was asked of it."""

    def __init__(self):
        self.url = ""
        self.requests = []  # (method, path, headers, body)
        self.frames = []
        self.commands = {}  # method: function of the params, returns the result
        self.state = {"values": {}, "next": [], "tasks": []}
        self.runs = []
        self.cut_after = []  # how many events the next connections deliver before they break
        self.refuse = []  # statuses of the next event streams
        self.clean = False  # whether connections end cleanly when all is sent
        self.mute = False  # whether nothing is said of the runs
        self.applied = 0  # what the answers to commands say of events
        self.forgetful = False  # whether `since` is ignored
        self.closed = []
        self._events = []
        self._loop = None
        self._news = None
        self._open = 0

    # ------------------------------------------------------------------------- said by the test

    def emit(self, method, data, namespace=(), *, run="r", **params):
        """Add an event, and let it go out."""
        seq = len(self._events) + 1
        self.emit_raw({
            "type": "event", "event_id": f"{run}-{seq}", "seq": seq, "method": method,
            "params": {"namespace": list(namespace), "timestamp": seq, "data": data, **params},
        })  # fmt: skip

    def emit_raw(self, event):
        self._events.append(event)
        self.poke()

    def poke(self):
        self._loop.call_soon_threadsafe(self._stir)

    def lifecycle(self, event, run=None, namespace=(), **more):
        """Add an event of a run's life, marked with the run as real servers do."""
        seq = len(self._events) + 1
        at = "|".join(namespace)
        known = f"synth:{run}:lc|{at}|{event}" if run else f"lc-{seq}"
        self.emit_raw({
            "type": "event", "event_id": known, "seq": seq, "method": "lifecycle",
            "params": {"namespace": list(namespace), "data": {"event": event, **more}},
        })  # fmt: skip

    def ask(self, interrupt_id, value, key="payload", run=None):
        self.emit("input.requested", {"interrupt_id": interrupt_id, key: value})
        self.lifecycle("interrupted", run)

    def message(self, text, message_id="m1", *, pieces=None, finish=True, namespace=(), **named):
        """Add a message in pieces."""
        start = {"event": "message-start", "role": "ai", "id": message_id}
        self.emit("messages", start, namespace)
        block = {
            "event": "content-block-start",
            "index": 0,
            "content": {"type": "text", "text": ""},
            **named,
        }
        self.emit("messages", block, namespace)
        for piece in pieces or [text]:
            self.piece(piece, namespace=namespace, **named)
        if finish:
            self.finish_message(text, namespace=namespace, **named)

    def piece(self, text, namespace=(), **named):
        delta = {"type": "text-delta", "text": text}
        data = {"event": "content-block-delta", "index": 0, "delta": delta, **named}
        self.emit("messages", data, namespace)

    def finish_message(self, text, namespace=(), **named):
        content = {"type": "text", "text": text}
        data = {"event": "content-block-finish", "index": 0, "content": content, **named}
        self.emit("messages", data, namespace)
        self.emit("messages", {"event": "message-finish", **named}, namespace)

    def on_start(self, script, run_id=None):
        """Say what happens when a run is started."""

        def start(params):
            found = run_id or str(uuid.uuid4())
            script(found)
            return {"run_id": found}

        self.commands["run.start"] = start

    def bodies(self, ending="/stream/events"):
        return [body for _, path, _, body in self.requests if path.endswith(ending)]

    # --------------------------------------------------------------------------------- the server

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        path = scope["raw_path"].decode()
        if scope["type"] == "websocket":
            self.requests.append(("WS", path, headers, None))
            await self._socket(receive, send)
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return  # the client went away while it sent
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.requests.append((scope["method"], path, headers, json.loads(body) if body else None))
        await self._answer(scope["method"], path, self.requests[-1][3], receive, send)

    async def _answer(self, method, path, body, receive, send):
        if path.endswith("/stream/events"):
            await self._stream(body, receive, send)
        elif path.endswith("/commands"):
            await respond(send, *self._command(body))
        elif path.endswith("/state"):
            await respond(send, 200, self.state)
        elif path.endswith("/runs") and not self.mute:
            await respond(send, 200, self.runs)
        elif "/runs/" in path and not self.mute:
            await respond(send, 200, next(r for r in self.runs if path.endswith(r["run_id"])))
        elif path.endswith("/graph"):
            await respond(send, 200, {"nodes": [], "edges": []})
        else:
            await respond(send, 404, {"detail": "nothing here"})

    def _command(self, command):
        handler = self.commands.get(command["method"])
        result = handler(command["params"]) if handler else {}
        if isinstance(result, tuple):
            return result
        if "error" in result:
            return 200, {"type": "error", "id": command["id"], **result}
        meta = {"applied_through_seq": self.applied}
        return 200, {"type": "success", "id": command["id"], "result": result, "meta": meta}

    async def _stream(self, body, receive, send):
        if self.refuse:
            await respond(send, self.refuse.pop(0), {"detail": "not now"})
            return
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b": hello\r\n\r\n", "more_body": True})

        async def deliver(event):
            name, data, seq = event.get("method", "error"), json.dumps(event), event.get("seq", "")
            text = f"event: {name}\r\ndata: {data}\r\nid: {seq}\r\n\r\n".encode()
            await send({"type": "http.response.body", "body": text, "more_body": True})

        await self._follow(body, deliver, lambda: gone(receive, "http.disconnect"))
        if self.clean:
            await send({"type": "http.response.body", "body": b""})

    async def _socket(self, receive, send):
        await receive()
        if self.refuse:
            status = self.refuse.pop(0)
            if status < 4000:
                await send(
                    {"type": "websocket.http.response.start", "status": status, "headers": []}
                )
                await send({"type": "websocket.http.response.body", "body": b"{}"})
                return
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": status, "reason": "refused"})
            return
        await send({"type": "websocket.accept"})
        command = json.loads((await receive())["text"])
        self.frames.append(command)
        answer = {"type": "success", "id": command["id"], "result": {"subscription_id": "s"}}
        await send({"type": "websocket.send", "text": json.dumps(answer)})

        async def deliver(event):
            await send({"type": "websocket.send", "text": json.dumps(event)})

        self.closed.append(None)
        place = len(self.closed) - 1

        async def leave():
            message = await gone(receive, "websocket.disconnect")
            self.closed[place] = (message["code"], message.get("reason"))

        try:
            await self._follow(command["params"], deliver, leave)
        except CutError:
            await send({"type": "websocket.close", "code": 1011, "reason": "cut"})
            return
        if self.clean:
            await send({"type": "websocket.close", "code": 1000})

    async def _follow(self, params, deliver, leave):
        cut = self.cut_after.pop(0) if self.cut_after else None
        place, sent = 0 if self.forgetful else params.get("since") or 0, 0
        left = asyncio.ensure_future(leave())
        self._open += 1
        try:
            while not left.done():
                while place < len(self._events):
                    if sent == cut:
                        raise CutError
                    event = self._events[place]
                    place += 1
                    if wanted(event, params):
                        await deliver(event)
                        sent += 1
                if self.clean:
                    return
                news = self._news
                await asyncio.wait([left, news], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open -= 1
            left.cancel()
            self._stir()

    def _stir(self):
        before, self._news = self._news, self._loop.create_future()
        if not before.done():
            before.set_result(None)

    @property
    def connections(self):
        return self._open


class CutError(Exception):
    """Breaks a connection in the middle."""


async def gone(receive, kind):
    while True:
        message = await receive()
        if message["type"] == kind:
            return message


async def respond(send, status, value):
    body = b"" if value is None else json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def wanted(event, params):
    method = event.get("method")
    if method is None:
        return True
    if method == "custom" and f"custom:{event['params']['data'].get('name')}" in params["channels"]:
        return True
    return CHANNELS.get(method, method) in params["channels"]


@contextlib.contextmanager
def thread_server():
    """Run a server; yield it."""
    server, ready = ThreadServer(), threading.Event()
    config = uvicorn.Config(
        server, port=0, lifespan="off", log_config=None, ws="websockets-sansio",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=600,  # a busy machine may leave a connection idle for longer than 5 s
    )  # fmt: skip
    web = uvicorn.Server(config)

    async def main():
        server._loop = asyncio.get_running_loop()
        server._news = server._loop.create_future()
        task = asyncio.create_task(web.serve())
        while not web.started:
            await asyncio.sleep(0.005)
        port = web.servers[0].sockets[0].getsockname()[1]
        server.url = f"http://127.0.0.1:{port}"
        ready.set()
        await task

    web.capture_signals = contextlib.nullcontext
    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert ready.wait(150)
    try:
        yield server
    finally:
        web.should_exit = True
        thread.join(20)
