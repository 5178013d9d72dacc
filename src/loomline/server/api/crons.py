"""``/runs/crons`` and ``/threads/{thread_id}/runs/crons``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from starlette.requests import Request
from starlette.responses import Response

from loomline.schema import OnCompletionBehavior
from loomline.server.api.authentication import caller_of
from loomline.server.api.body import Body, path_uuid
from loomline.server.api.entries import Entry, Resource
from loomline.server.api.schemas import (
    COUNT,
    FLAG,
    ID,
    MAYBE_ID,
    MAYBE_STRING,
    MAYBE_TIME,
    OBJECT,
    STRING,
    TIME,
    Named,
    array,
    fields,
    one_of,
)
from loomline.server.api.wire import Wire, json_response, page_headers, selected
from loomline.server.domain.crons import Cron
from loomline.server.services.cron_requests import (
    CronCountRequest,
    CronCreateRequest,
    CronPatchRequest,
    CronSearchRequest,
    ThreadCronCreateRequest,
)
from loomline.server.services.crons import CronService

_PATH: Final = "/runs/crons/{cron_id}"

CRON: Final[Named] = Named(
    "Cron",
    fields(
        {
            "cron_id": ID,
            "assistant_id": ID,
            "thread_id": MAYBE_ID,
            "user_id": STRING,
            "end_time": MAYBE_STRING,
            "schedule": STRING,
            "timezone": MAYBE_STRING,
            "payload": OBJECT,
            "next_run_date": MAYBE_TIME,
            "metadata": OBJECT,
            "on_run_completed": one_of(OnCompletionBehavior, None),
            "enabled": FLAG,
            "created_at": TIME,
            "updated_at": TIME,
        }
    ),
)
CRONS: Final = array(CRON.row("CronRow"))


class CronRoutes(Resource):
    """Crons: rows that start runs at the times of a schedule."""

    tag = "crons"
    group: ClassVar[str | None] = "runs"

    def __init__(self, crons: CronService, body_limit: int) -> None:
        self._crons = crons
        self._create = Body(CronCreateRequest, body_limit)
        self._create_for_thread = Body(ThreadCronCreateRequest, body_limit)
        self._patch = Body(CronPatchRequest, body_limit)
        self._search = Body(CronSearchRequest, body_limit)
        self._count = Body(CronCountRequest, body_limit)

    async def create(self, request: Request) -> Response:
        body = await self._create.read(request)
        return json_response(_cron_wire(await self._crons.create(caller_of(request), None, body)))

    async def create_for_thread(self, request: Request) -> Response:
        body = await self._create_for_thread.read(request)
        return json_response(
            _cron_wire(
                await self._crons.create(caller_of(request), path_uuid(request, "thread"), body)
            )
        )

    async def get(self, request: Request) -> Response:
        return json_response(
            _cron_wire(await self._crons.get(caller_of(request), path_uuid(request, "cron")))
        )

    async def update(self, request: Request) -> Response:
        body = await self._patch.read(request)
        return json_response(
            _cron_wire(
                await self._crons.update(caller_of(request), path_uuid(request, "cron"), body)
            )
        )

    async def delete(self, request: Request) -> Response:
        await self._crons.delete(caller_of(request), path_uuid(request, "cron"))
        return Response(status_code=204)

    async def search(self, request: Request) -> Response:
        body = await self._search.read(request)
        page = await self._crons.search(caller_of(request), body)
        rows = [selected(_cron_wire(cron), body.get("select", ())) for cron in page.rows]
        headers = page_headers(page, body.get("offset", 0), body.get("limit", 10))
        return json_response(rows, headers=headers)

    async def count(self, request: Request) -> Response:
        return json_response(
            await self._crons.count(caller_of(request), await self._count.read(request))
        )

    def table(self) -> Sequence[Entry]:
        errors = (400, 404, 413, 422, 503)
        return [
            Entry(
                "POST", "/threads/{thread_id}/runs/crons", self.create_for_thread,
                "Create a cron that starts runs on a thread", CRON,
                body=ThreadCronCreateRequest, errors=errors,
            ),
            Entry(
                "POST", "/runs/crons", self.create,
                "Create a cron that starts runs on threads of their own", CRON,
                body=CronCreateRequest, errors=errors,
            ),
            Entry(
                "POST", "/runs/crons/search", self.search, "Search crons", CRONS,
                body=CronSearchRequest, errors=(400, 413, 422, 503),
            ),
            Entry(
                "POST", "/runs/crons/count", self.count, "Count crons", COUNT,
                body=CronCountRequest, errors=(400, 413, 422, 503),
            ),
            Entry("GET", _PATH, self.get, "Get a cron", CRON, errors=(404, 422, 503)),
            Entry(
                "PATCH", _PATH, self.update, "Change a cron", CRON,
                body=CronPatchRequest, errors=errors,
            ),
            Entry(
                "DELETE", _PATH, self.delete, "Delete a cron", None,
                errors=(404, 422, 503), status=204,
            ),
        ]  # fmt: skip


def _cron_wire(cron: Cron) -> Wire:
    return {
        "cron_id": cron.cron_id,
        "assistant_id": cron.assistant_id,
        "thread_id": cron.thread_id,
        "user_id": cron.user_id,
        "end_time": cron.end_time,
        "schedule": cron.schedule,
        "timezone": cron.timezone,
        "payload": cron.payload,
        "next_run_date": cron.next_run_date,
        "metadata": cron.metadata,
        "on_run_completed": cron.on_run_completed,
        "enabled": cron.enabled,
        "created_at": cron.created_at,
        "updated_at": cron.updated_at,
    }
