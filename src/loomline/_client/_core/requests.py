"""The requests of the API, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, quote

import httpx

from loomline.schema import QueryParamTypes

Query: TypeAlias = Sequence[tuple[str, Any]]


def path(template: str, **values: object) -> str:
    """Return a path with its parameters encoded, each as one segment.

    Raises:
        TypeError: a parameter is None or bytes.
    """
    return template.format(**{name: segment(value, name) for name, value in values.items()})


def segment(value: object, name: str = "value") -> str:
    """Return a value as one path segment, whatever characters it has."""
    if value is None or isinstance(value, (bytes, bytearray)):
        raise TypeError(f"{name} must be a string or a UUID, not {type(value).__name__}")
    text = str(value)
    if text and not text.strip("."):
        return "%2E" * len(text)  # a dot segment would be resolved before it is sent
    return quote(text, safe="")


def present(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def filled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that hold something."""
    return {name: value for name, value in fields.items() if value}


def query(own: Mapping[str, Any], extra: QueryParamTypes | None) -> httpx.QueryParams | None:
    """Return a method's own query with the caller's merged over it."""
    if not own and not extra:
        return None
    if isinstance(extra, (str, bytes)):
        text = extra if isinstance(extra, str) else extra.decode()
        extra = parse_qsl(text, keep_blank_values=True)
    return httpx.QueryParams(dict(own)).merge(httpx.QueryParams(extra or {}))  # type: ignore[arg-type]


def run_payload(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body that creates a run: what was given, under its names on the wire."""
    command = fields.get("command")
    body = present({**fields, "command": None})
    return {**body, "command": present(command)} if command else body


def thread_ttl(ttl: float | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return a time to live as the server takes it; a number is minutes until deletion."""
    if ttl is None or isinstance(ttl, Mapping):
        return ttl
    return {"ttl": ttl, "strategy": "delete"}


def supersteps(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the steps that build a thread's state, in the form of the wire."""
    return [{"updates": [_update(each) for each in step["updates"]]} for step in steps]


def _update(update: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "values": update["values"],
        "command": update.get("command"),
        "as_node": update["as_node"],
    }


def labels(namespace: Sequence[str]) -> list[str]:
    """Return a namespace as a list.

    Raises:
        ValueError: a label has a period, which would make two of it in a query.
    """
    for label in namespace:
        if "." in label:
            raise ValueError(f"Invalid namespace label '{label}': it must not have a period")
    return list(namespace)


def moment(time: datetime | None) -> str | None:
    """Return a time as the wire has it."""
    return None if time is None else time.isoformat()


def zone(timezone: str | tzinfo | None) -> str | None:
    """Return the name of a time zone.

    Raises:
        TypeError: it is neither a name nor a time zone.
        ValueError: the time zone has no name.
    """
    if timezone is None or isinstance(timezone, str):
        return timezone
    if not isinstance(timezone, tzinfo):
        raise TypeError(f"timezone must be a string or a tzinfo, not {type(timezone).__name__}")
    key: object = getattr(timezone, "key", None)
    name = key if isinstance(key, str) else timezone.tzname(None)
    if not name:
        raise ValueError(f"The time zone {timezone!r} has no name; give one as a string")
    return name
