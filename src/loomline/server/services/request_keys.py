"""The idempotency keys of requests: each counts for one user and one place."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from loomline.server.authz.users import Caller
from loomline.server.domain.idempotency import IdempotencyKey, make_key
from loomline.server.services.requests import RunCreateRequest

_BATCH = "batch"


def run_key(
    caller: Caller, name: str | None, thread_id: UUID | None, body: RunCreateRequest
) -> IdempotencyKey | None:
    """Return the key of a request for a run, or None if the request has none.

    Args:
        caller: The user who sends the request.
        name: The key's name, as the client sent it.
        thread_id: The thread of the run, or None for a run on a thread of its own.
        body: The request.

    Raises:
        InvalidInput: the name is not 1 to 255 visible ASCII characters.
    """
    place = "" if thread_id is None else str(thread_id)
    return _key(caller, name, place, body)


def batch_keys(
    caller: Caller, name: str | None, bodies: Sequence[RunCreateRequest]
) -> Sequence[IdempotencyKey | None]:
    """Return the keys of the runs of a batch, each made from the key of the whole request.

    Args:
        caller: The user who sends the request.
        name: The key's name, as the client sent it.
        bodies: The requests of the batch.

    Raises:
        InvalidInput: the name is not 1 to 255 visible ASCII characters.
    """
    whole = _key(caller, name, _BATCH, bodies)
    return [None if whole is None else whole.part(number) for number in range(len(bodies))]


def _key(caller: Caller, name: str | None, place: str, body: object) -> IdempotencyKey | None:
    if name is None:
        return None
    return make_key(name, identity=caller.identity, place=place, body=body)
