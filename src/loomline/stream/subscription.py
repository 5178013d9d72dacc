"""Which events a subscription takes, and which stream serves several subscriptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from loomline.stream.types import CHANNELS, Channel, Event, Namespace, SubscribeParams

__all__ = [
    "compute_union_filter",
    "filter_covers",
    "infer_channel",
    "is_prefix_match",
    "matches_subscription",
    "namespace_matches",
    "normalize_segment",
]

_INPUT: Final = ("input.requested", "input.answered")

# Every other method is the name of its channel.
_CHANNEL_OF: Final[Mapping[str, Channel]] = {
    **{channel: channel for channel in CHANNELS if channel not in {"input", "custom"}},
    **dict.fromkeys(_INPUT, "input"),
}


def infer_channel(event: Event) -> Channel | None:
    """Return the channel of an event; None where its method belongs to none."""
    method = event.get("method")
    if method == "custom":
        data = event.get("params", {}).get("data")
        name = data.get("name") if isinstance(data, dict) else None
        return f"custom:{name}" if isinstance(name, str) and name else "custom"
    return _CHANNEL_OF.get(method or "")


def normalize_segment(segment: str) -> str:
    """Return a segment of a namespace without the id of its task."""
    return segment.partition(":")[0]


def is_prefix_match(event_namespace: Namespace, prefix: Namespace) -> bool:
    """Return whether a namespace begins with a prefix; one without ids fits any."""
    if len(prefix) > len(event_namespace):
        return False
    return all(
        wanted == found or (":" not in wanted and wanted == normalize_segment(found))
        for wanted, found in zip(prefix, event_namespace, strict=False)
    )


def namespace_matches(
    event_namespace: Namespace, prefixes: list[Namespace] | None, depth: int | None
) -> bool:
    """Return whether a namespace is below one of the prefixes, and not too deep."""
    if not prefixes:
        return True
    return any(
        is_prefix_match(event_namespace, prefix)
        and (depth is None or len(event_namespace) - len(prefix) <= depth)
        for prefix in prefixes
    )


def matches_subscription(event: Event, definition: SubscribeParams) -> bool:
    """Return whether a subscription takes an event."""
    channel = infer_channel(event)
    if channel is None or not _has(definition["channels"], channel):
        return False
    namespace = event.get("params", {}).get("namespace", [])
    return namespace_matches(namespace, definition.get("namespaces"), definition.get("depth"))


def compute_union_filter(subscriptions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the narrowest filter that takes whatever one of the subscriptions takes."""
    found: dict[str, Any] = {"channels": sorted({c for s in subscriptions for c in s["channels"]})}
    if subscriptions and all(s.get("namespaces") for s in subscriptions):
        found["namespaces"] = _distinct([n for s in subscriptions for n in s["namespaces"]])
        if all(s.get("depth") is not None for s in subscriptions):
            found["depth"] = max(s["depth"] for s in subscriptions)
    return found


def filter_covers(coverer: Mapping[str, Any], target: Mapping[str, Any]) -> bool:
    """Return whether one filter takes whatever another one takes."""
    if not all(_has(coverer["channels"], channel) for channel in target["channels"]):
        return False
    if not coverer.get("namespaces"):
        return True
    wanted = target.get("namespaces")
    if not wanted:
        return False
    return all(_covered(namespace, target, coverer) for namespace in wanted)


def _covered(namespace: Namespace, target: Mapping[str, Any], coverer: Mapping[str, Any]) -> bool:
    depth, inner = coverer.get("depth"), target.get("depth")
    for prefix in coverer["namespaces"]:
        if not is_prefix_match(namespace, prefix):
            continue
        if depth is None:
            return True
        if inner is not None and len(namespace) - len(prefix) + inner <= depth:
            return True
    return False


def _has(channels: Sequence[str], channel: str) -> bool:
    return channel in channels or (channel.startswith("custom:") and "custom" in channels)


def _distinct(namespaces: list[Namespace]) -> list[Namespace]:
    return [list(each) for each in dict.fromkeys(map(tuple, namespaces))]
