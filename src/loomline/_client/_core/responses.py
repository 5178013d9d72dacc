"""What answers say besides their bodies."""

from __future__ import annotations

import re
from typing import Any, Final, cast

import httpx

from loomline.errors import RunError
from loomline.schema import RunCreateMetadata, StreamPart, StreamPartV2

_RUN_PLACE: Final = re.compile(r"(?:/threads/(?P<thread_id>.+))?/runs/(?P<run_id>.+)")

_PORTS: Final = {"http": 80, "https": 443}


def run_created(response: httpx.Response) -> RunCreateMetadata | None:
    """Return the ids of a run that this answer belongs to."""
    place = response.headers.get("Content-Location")
    match = _RUN_PLACE.search(place) if place else None
    if match is None:
        return None
    return {"run_id": match["run_id"], "thread_id": match["thread_id"] or None}


def same_origin(request: httpx.Request, location: str) -> str:
    """Return a location to go on at.

    Raises:
        ValueError: it leads to another server, which must not get this client's credentials.
    """
    target = request.url.join(location)
    if _origin(target) != _origin(request.url):
        raise ValueError(f"Refusing to follow the location '{location}' to another origin")
    return location


def values_of(result: Any) -> Any:
    """Return the values that a finished run has left.

    Raises:
        RunError: it has failed.
    """
    failure = result.get("__error__") if isinstance(result, dict) else None
    if isinstance(failure, dict):
        raise RunError(str(failure.get("error")), str(failure.get("message")))
    return result


def second_form(part: StreamPart) -> StreamPartV2 | None:
    """Return an event in its second form; None for the one that only ends a stream."""
    kind, *namespace = part.event.split("|")
    if kind == "end":
        return None
    interrupts = []
    data = part.data
    if kind == "values" and isinstance(data, dict):
        interrupts = data.pop("__interrupt__", [])
    made = {"type": kind, "ns": namespace, "data": data, "interrupts": interrupts}
    return cast("StreamPartV2", made)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or _PORTS.get(url.scheme)
