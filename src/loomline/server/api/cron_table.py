"""The routes of crons."""

from __future__ import annotations

from loomline.server.api.crons import CronRoutes
from loomline.server.api.entries import Entry
from loomline.server.services.cron_requests import (
    CronCountRequest,
    CronCreateRequest,
    CronPatchRequest,
    CronSearchRequest,
    ThreadCronCreateRequest,
)

_PATH = "/runs/crons/{cron_id}"


def cron_table(crons: CronRoutes) -> list[Entry]:
    """Return the routes. They come before those of runs, some of whose paths fit them too."""
    return [
        Entry(
            "POST", "/threads/{thread_id}/runs/crons", crons.create_for_thread, "crons",
            "Create a cron that starts runs on a thread", "cron", body=ThreadCronCreateRequest,
            errors=(400, 404, 413, 422, 503),
        ),
        Entry(
            "POST", "/runs/crons", crons.create, "crons",
            "Create a cron that starts runs on threads of their own", "cron",
            body=CronCreateRequest, errors=(400, 404, 413, 422, 503),
        ),
        Entry(
            "POST", "/runs/crons/search", crons.search, "crons", "Search crons", "crons",
            body=CronSearchRequest, errors=(400, 413, 422, 503),
        ),
        Entry(
            "POST", "/runs/crons/count", crons.count, "crons", "Count crons", "count",
            body=CronCountRequest, errors=(400, 413, 422, 503),
        ),
        Entry("GET", _PATH, crons.get, "crons", "Get a cron", "cron", errors=(404, 422, 503)),
        Entry(
            "PATCH", _PATH, crons.update, "crons", "Change a cron", "cron", body=CronPatchRequest,
            errors=(400, 404, 413, 422, 503),
        ),
        Entry(
            "DELETE", _PATH, crons.delete, "crons", "Delete a cron", "empty",
            errors=(404, 422, 503), status=204,
        ),
    ]  # fmt: skip
