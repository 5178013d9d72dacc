"""``/threads/{thread_id}/state`` and ``/threads/{thread_id}/history``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from starlette.requests import Request
from starlette.responses import Response

from loomline.server.api.authentication import caller_of
from loomline.server.api.body import Body, path_uuid
from loomline.server.api.entries import Entry, Resource
from loomline.server.api.queries import FlagQuery, IntegerQuery, ListQuery, UuidQuery
from loomline.server.api.schemas import (
    ANY,
    INTERRUPT,
    MAYBE_OBJECT,
    MAYBE_STRING,
    MAYBE_TIME,
    OBJECT,
    STRING,
    Named,
    array,
    fields,
    maybe,
    ref,
)
from loomline.server.api.wire import encoded_response
from loomline.server.domain.errors import InvalidInput
from loomline.server.domain.json import Json
from loomline.server.graphs.states import Selection
from loomline.server.services.run_request import parse_uuid
from loomline.server.services.states import HistoryQuery, StateService
from loomline.server.services.thread_requests import (
    CheckpointRequest,
    HistoryRequest,
    StateAtRequest,
    StatePatchRequest,
    StateUpdateRequest,
)

_STATE_PATH: Final = "/threads/{thread_id}/state"
_HISTORY_PATH: Final = "/threads/{thread_id}/history"

SUBGRAPHS: Final = FlagQuery("subgraphs", help="Whether to show the states of subgraphs as well.")
SELECT: Final = ListQuery(
    "select", help="Only these fields; 'values.<key>' for a single key of the values."
)
LIMIT: Final = IntegerQuery("limit", default=10, most=10_000, help="Number of states to return.")
BEFORE: Final = UuidQuery(
    "before", kind="checkpoint", blank=True, help="Only states older than this checkpoint."
)

CHECKPOINT: Final[Named] = Named(
    "Checkpoint",
    fields(
        {"thread_id": STRING, "checkpoint_ns": STRING},
        checkpoint_id=MAYBE_STRING,
        checkpoint_map=MAYBE_OBJECT,
    ),
)
_TASK: Final = Named(
    "ThreadTask",
    fields(
        {
            "id": STRING,
            "name": STRING,
            "path": array(ANY),
            "error": MAYBE_STRING,
            "interrupts": array(INTERRUPT),
            "checkpoint": maybe(CHECKPOINT),
            "state": maybe(ref("ThreadState")),
            "result": ANY,
        }
    ),
)
STATE: Final[Named] = Named(
    "ThreadState",
    fields(
        {},
        values=ANY,
        next=array(STRING),
        tasks=array(_TASK),
        metadata=MAYBE_OBJECT,
        created_at=MAYBE_TIME,
        checkpoint=maybe(CHECKPOINT),
        parent_checkpoint=maybe(CHECKPOINT),
        interrupts=array(INTERRUPT),
        checkpoint_id=MAYBE_STRING,
        parent_checkpoint_id=MAYBE_STRING,
    ),
)
STATE_UPDATED: Final[Named] = Named(
    "StateUpdated",
    fields({"checkpoint": CHECKPOINT, "configurable": OBJECT, "checkpoint_id": STRING}),
)


class StateRoutes(Resource):
    """The states of threads, and their histories."""

    tag = "threads"
    group: ClassVar[str | None] = "threads"

    def __init__(self, states: StateService, body_limit: int) -> None:
        self._states = states
        self._at = Body(StateAtRequest, body_limit)
        self._update = Body(StateUpdateRequest, body_limit)
        self._patch = Body(StatePatchRequest, body_limit)
        self._history = Body(HistoryRequest, body_limit)

    async def get(self, request: Request) -> Response:
        place: CheckpointRequest = {}
        if "checkpoint_id" in request.path_params:
            place = {"checkpoint_id": request.path_params["checkpoint_id"]}
        state = await self._states.get(
            caller_of(request),
            path_uuid(request, "thread"),
            place,
            Selection.of(SELECT.read(request)),
            subgraphs=SUBGRAPHS.read(request),
        )
        return encoded_response(state)

    async def get_at(self, request: Request) -> Response:
        thread_id = path_uuid(request, "thread")
        body = await self._at.read(request)
        state = await self._states.get(
            caller_of(request),
            thread_id,
            body["checkpoint"],
            Selection.of(body.get("select", [])),
            subgraphs=body.get("subgraphs", False),
        )
        return encoded_response(state)

    async def update(self, request: Request) -> Response:
        thread_id = path_uuid(request, "thread")
        body = await self._update.read(request)
        return encoded_response(await self._states.update(caller_of(request), thread_id, body))

    async def patch(self, request: Request) -> Response:
        thread_id = path_uuid(request, "thread")
        body = await self._patch.read(request)
        await self._states.patch(caller_of(request), thread_id, body.get("metadata", {}))
        return Response(status_code=204)

    async def history(self, request: Request) -> Response:
        thread_id = path_uuid(request, "thread")
        limit, before = LIMIT.read(request), BEFORE.read(request)
        query = HistoryQuery(
            limit=limit, before=None if before is None else str(before), metadata={}, place={}
        )
        selection = Selection.of(SELECT.read(request))
        return encoded_response(
            await self._states.history(caller_of(request), thread_id, query, selection)
        )

    async def search_history(self, request: Request) -> Response:
        thread_id = path_uuid(request, "thread")
        body = await self._history.read(request)
        query = HistoryQuery(
            limit=body.get("limit", 1),
            before=_before(body.get("before")),
            metadata=body.get("metadata") or {},
            place=body.get("checkpoint") or {},
        )
        selection = Selection.of(body.get("select", []))
        return encoded_response(
            await self._states.history(caller_of(request), thread_id, query, selection)
        )

    def table(self) -> Sequence[Entry]:
        return [*self._states_table(), *self._history_table()]

    def _states_table(self) -> Sequence[Entry]:
        return [
            Entry(
                "GET", _STATE_PATH, self.get, "Get the state of a thread", STATE,
                query=(SUBGRAPHS, SELECT), errors=(404, 422, 503),
            ),
            Entry(
                "POST", _STATE_PATH, self.update, "Change the state of a thread", STATE_UPDATED,
                body=StateUpdateRequest, errors=(400, 404, 409, 413, 422, 503),
            ),
            Entry(
                "PATCH", _STATE_PATH, self.patch, "Change the metadata of a thread", None,
                body=StatePatchRequest, errors=(400, 404, 413, 422, 503), status=204,
            ),
            Entry(
                "POST", f"{_STATE_PATH}/checkpoint", self.get_at,
                "Get the state of a thread at a checkpoint", STATE,
                body=StateAtRequest, errors=(400, 404, 413, 422, 503),
            ),
            Entry(
                "GET", f"{_STATE_PATH}/{{checkpoint_id}}", self.get,
                "Get the state of a thread at a checkpoint of its own", STATE,
                query=(SUBGRAPHS, SELECT), errors=(404, 422, 503),
            ),
        ]  # fmt: skip

    def _history_table(self) -> Sequence[Entry]:
        return [
            Entry(
                "GET", _HISTORY_PATH, self.history, "List the states of a thread", array(STATE),
                query=(LIMIT, BEFORE, SELECT), errors=(404, 422, 503),
            ),
            Entry(
                "POST", _HISTORY_PATH, self.search_history, "Search the states of a thread",
                array(STATE), body=HistoryRequest, errors=(400, 404, 413, 422, 503),
            ),
        ]  # fmt: skip


def _before(given: Json) -> str | None:
    """Return the checkpoint that a history ends before, in whichever form a client names it.

    Raises:
        InvalidInput: it is in none of them.
    """
    if isinstance(given, dict):
        inner = given.get("configurable", given)
        if not isinstance(inner, dict):
            raise InvalidInput(f"'before.configurable' must be an object, got {inner!r:.200}")
        given = inner.get("checkpoint_id")
    return None if given is None or given == "" else str(parse_uuid(given, "checkpoint"))
