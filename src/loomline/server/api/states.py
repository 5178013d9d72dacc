"""``/threads/{thread_id}/state`` and ``/threads/{thread_id}/history``."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from loomline.server.api.authentication import caller_of
from loomline.server.api.body import Body, path_uuid, query_flag, query_int, query_list
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

HISTORY_MOST: Final = 10_000


class StateRoutes:
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
            Selection.of(query_list(request, "select")),
            subgraphs=query_flag(request, "subgraphs"),
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
        query = HistoryQuery(
            limit=query_int(request, "limit", 10, HISTORY_MOST),
            before=_before(request.query_params.get("before")),
            metadata={},
            place={},
        )
        selection = Selection.of(query_list(request, "select"))
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
