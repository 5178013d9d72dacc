"""A server that gives each route the answer that the documentation shows."""

import json
import re

T = "550e8400-e29b-41d4-a716-446655440000"
THREAD = {"thread_id": T, "status": "idle", "metadata": {"user": "ada"}, "values": None}
VALUES = {"question": "tea?", "answer": "Yes."}
STATE = {"values": VALUES, "next": []}
ASSISTANT = {"assistant_id": T, "graph_id": "agent", "name": "agent", "version": 1}
RUN = {"run_id": T, "thread_id": T, "status": "success"}
PENDING = {**RUN, "status": "pending"}
CRON = {"cron_id": T, "schedule": "0 8 * * *", "enabled": True}
ITEM = {"namespace": ["users", "ada"], "key": "tea", "value": {"likes": "green"}}
GRAPH = {"nodes": [], "edges": [{"source": "__start__", "target": "answer"}]}
CHECKPOINT = {"thread_id": T, "checkpoint_ns": "", "checkpoint_id": T}


def events(*names):
    data = {
        "metadata": {"run_id": "...", "attempt": 1},
        "updates": {"answer": {"answer": "Yes."}},
    }
    text = "".join(f"event: {n}\ndata: {json.dumps(data.get(n))}\n\n" for n in names)
    return text.encode() + b": end\n\n"


def thread_events():
    frames = [
        ("lifecycle", {"event": "running"}), ("values", VALUES), ("lifecycle", {"event": "completed"}),
    ]  # fmt: skip
    text = ""
    for seq, (method, data) in enumerate(frames, 1):
        params = {"namespace": [], "data": data}
        event = {"type": "event", "event_id": f"e{seq}", "seq": seq, "method": method}
        text += f"event: {method}\ndata: {json.dumps({**event, 'params': params})}\n\n"
    return text.encode()


def echo(base, *names):
    """Answer with an object that has taken over fields of the request."""
    return lambda body: {**base, **{name: body[name] for name in names if name in body}}


ROUTES = [
    ("GET /assistants/[^/]+", ASSISTANT),
    ("GET /assistants/[^/]+/graph", GRAPH),
    ("GET /assistants/[^/]+/schemas", {"input_schema": {"type": "object"}}),
    ("GET /assistants/[^/]+/subgraphs", {}),
    ("POST /assistants", echo(ASSISTANT, "name", "context")),
    ("POST /assistants/search", [ASSISTANT]),
    ("POST /assistants/count", 1),
    ("PATCH /assistants/[^/]+", echo(ASSISTANT, "name")),
    ("POST /assistants/[^/]+/versions", [ASSISTANT]),
    ("POST /assistants/[^/]+/latest", echo(ASSISTANT, "version")),
    ("GET /threads/[^/]+", THREAD),
    ("POST /threads", echo(THREAD, "metadata")),
    ("PATCH /threads/[^/]+", echo(THREAD, "metadata")),
    ("POST /threads/search", [THREAD]),
    ("POST /threads/count", 1),
    ("POST /threads/[^/]+/copy", {**THREAD, "thread_id": "another"}),
    ("POST /threads/prune", {"pruned_count": 1}),
    ("GET /threads/[^/]+/state", STATE),
    ("POST /threads/[^/]+/state", {"checkpoint": CHECKPOINT}),
    ("POST /threads/[^/]+/history", [STATE]),
    ("GET /threads/[^/]+/stream", events("metadata", "values", "end")),
    ("POST /threads/[^/]+/commands", {"type": "success", "id": 1, "result": {"run_id": T}}),
    ("POST /threads/[^/]+/stream/events", thread_events()),
    ("POST /threads/[^/]+/runs/stream", events("metadata", "updates")),
    ("POST /threads/[^/]+/runs", PENDING),
    ("POST /runs/batch", [PENDING, PENDING]),
    ("POST /runs/wait", VALUES),
    ("GET /threads/[^/]+/runs", [RUN]),
    ("GET /threads/[^/]+/runs/[^/]+", RUN),
    ("GET /threads/[^/]+/runs/[^/]+/join", VALUES),
    ("GET /threads/[^/]+/runs/[^/]+/stream", events()),
    ("POST /threads/[^/]+/runs/[^/]+/cancel", None),
    ("POST /runs/cancel", None),
    ("POST /threads/[^/]+/runs/crons", echo(CRON, "schedule")),
    ("POST /runs/crons", echo(CRON, "schedule")),
    ("PATCH /runs/crons/[^/]+", echo(CRON, "enabled")),
    ("POST /runs/crons/search", [CRON]),
    ("POST /runs/crons/count", 1),
    ("PUT /store/items", None),
    ("GET /store/items", ITEM),
    ("POST /store/items/search", {"items": [ITEM]}),
    ("POST /store/namespaces", {"namespaces": [["users", "ada"]]}),
    ("DELETE .*", None),
    ("GET /info", {"flags": {"assistants": True}}),
    ("GET /ok", {"ok": True}),
    ("GET /openapi.json", {"openapi": "3.1.0"}),
]


def answer(method, path, body):
    """Return the type and the text of an answer."""
    for pattern, result in ROUTES:
        if re.fullmatch(pattern, f"{method} {path}"):
            found = result(json.loads(body)) if callable(result) else result
            if isinstance(found, bytes):
                return "text/event-stream", found
            return "application/json", b"" if found is None else json.dumps(found).encode()
    raise AssertionError(f"no answer for {method} {path}")
