"""The routes of ``/threads``, and of the states of threads."""

from __future__ import annotations

from loomline.server.api.entries import Entry, Query
from loomline.server.api.states import HISTORY_MOST, StateRoutes
from loomline.server.api.threads import ThreadRoutes
from loomline.server.services.thread_requests import (
    HistoryRequest,
    StateAtRequest,
    StatePatchRequest,
    StateUpdateRequest,
    ThreadCountRequest,
    ThreadCreateRequest,
    ThreadPatchRequest,
    ThreadPruneRequest,
    ThreadSearchRequest,
)

_PATH = "/threads/{thread_id}"
_SUBGRAPHS = Query("subgraphs", "boolean", "Whether to show the states of subgraphs as well.")
_SELECT = Query(
    "select", "strings", "Only these fields; 'values.<key>' for a single key of the values."
)


def thread_table(threads: ThreadRoutes, states: StateRoutes) -> list[Entry]:
    return [*_collection(threads), *_single(threads), *_states(states), *_histories(states)]


def _collection(threads: ThreadRoutes) -> list[Entry]:
    return [
        Entry(
            "POST", "/threads", threads.create, "threads", "Create a thread", "thread",
            body=ThreadCreateRequest, errors=(400, 404, 409, 413, 422, 503),
        ),
        Entry(
            "POST", "/threads/search", threads.search, "threads", "Search threads", "threads",
            body=ThreadSearchRequest, errors=(400, 413, 422, 503),
        ),
        Entry(
            "POST", "/threads/count", threads.count, "threads", "Count threads", "count",
            body=ThreadCountRequest, errors=(400, 413, 422, 503),
        ),
        Entry(
            "POST", "/threads/prune", threads.prune, "threads",
            "Delete threads, or cut them down to their latest state", "pruned",
            body=ThreadPruneRequest, errors=(400, 413, 422, 503),
        ),
    ]  # fmt: skip


def _single(threads: ThreadRoutes) -> list[Entry]:
    errors = (404, 422, 503)
    return [
        Entry(
            "GET", _PATH, threads.get, "threads", "Get a thread", "thread", errors=errors,
            query=(Query("include", "strings", "'ttl' shows when the thread expires."),),
        ),
        Entry(
            "PATCH", _PATH, threads.update, "threads", "Change a thread", "thread",
            body=ThreadPatchRequest, errors=(400, 404, 413, 422, 503), minimal=True,
        ),
        Entry(
            "DELETE", _PATH, threads.delete, "threads", "Delete a thread and all that is on it",
            "empty", errors=errors, status=204,
        ),
        Entry(
            "POST", f"{_PATH}/copy", threads.copy, "threads", "Copy a thread", "thread",
            errors=errors,
        ),
        Entry(
            "GET", f"{_PATH}/storage", threads.storage, "threads",
            "Tell how much the checkpoints of a thread take", "thread_size", errors=errors,
        ),
    ]  # fmt: skip


def _states(states: StateRoutes) -> list[Entry]:
    path = f"{_PATH}/state"
    return [
        Entry(
            "GET", path, states.get, "threads", "Get the state of a thread", "state",
            query=(_SUBGRAPHS, _SELECT), errors=(404, 422, 503),
        ),
        Entry(
            "POST", path, states.update, "threads", "Change the state of a thread",
            "state_updated",
            body=StateUpdateRequest, errors=(400, 404, 409, 413, 422, 503),
        ),
        Entry(
            "PATCH", path, states.patch, "threads", "Change the metadata of a thread", "empty",
            body=StatePatchRequest, errors=(400, 404, 413, 422, 503), status=204,
        ),
        Entry(
            "POST", f"{path}/checkpoint", states.get_at, "threads",
            "Get the state of a thread at a checkpoint", "state",
            body=StateAtRequest, errors=(400, 404, 413, 422, 503),
        ),
        Entry(
            "GET", f"{path}/{{checkpoint_id}}", states.get, "threads",
            "Get the state of a thread at a checkpoint of its own", "state",
            query=(_SUBGRAPHS, _SELECT), errors=(404, 422, 503),
        ),
    ]  # fmt: skip


def _histories(states: StateRoutes) -> list[Entry]:
    path = f"{_PATH}/history"
    return [
        Entry(
            "GET", path, states.history, "threads", "List the states of a thread", "states",
            query=(
                Query("limit", "integer", "How many at most; 10 unless told.", most=HISTORY_MOST),
                Query("before", "uuid", "Only states older than this checkpoint."),
                _SELECT,
            ),
            errors=(404, 422, 503),
        ),
        Entry(
            "POST", path, states.search_history, "threads", "Search the states of a thread",
            "states", body=HistoryRequest, errors=(400, 404, 413, 422, 503),
        ),
    ]  # fmt: skip
