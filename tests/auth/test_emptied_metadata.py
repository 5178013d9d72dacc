"""A handler may remove all the metadata that a client sends."""

import httpx

CODE = """
from loomline import Auth

auth = Auth()

@auth.authenticate
async def authenticate(headers):
    return "ada"

@auth.on.crons.update
async def remove(ctx, value):
    value["metadata"].clear()
"""


def test_metadata_that_a_handler_removes_is_not_stored(serve):
    with serve({}, code=CODE) as url, httpx.Client(base_url=url, timeout=150) as http:
        body = {"assistant_id": "joke", "schedule": "0 0 1 1 *", "metadata": {"mine": 1}}
        cron = http.post("/runs/crons", json=body).json()["cron_id"]
        answer = http.patch(f"/runs/crons/{cron}", json={"metadata": {"removed": 2}})
        assert answer.json()["metadata"] == {"mine": 1}
