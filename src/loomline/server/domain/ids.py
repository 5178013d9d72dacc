"""Identifiers: time-ordered UUIDs and the fixed ids of default assistants."""

from __future__ import annotations

import os
import time
from uuid import UUID, uuid5

# The namespace of default assistants is a fact of the protocol; it is none of the RFC's.
_ASSISTANT_NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")


def uuid7() -> UUID:
    """Return a new UUIDv7: sorts by creation time, to the millisecond."""
    stamp = time.time_ns() // 1_000_000
    value = (stamp << 80) | int.from_bytes(os.urandom(10), "big")
    value = (value & ~(0xF000 << 64)) | (0x7000 << 64)
    return UUID(int=(value & ~(0xC000 << 48)) | (0x8000 << 48))


def default_assistant_id(graph_id: str) -> UUID:
    """Return the id of the assistant that every graph has from the start."""
    return uuid5(_ASSISTANT_NAMESPACE, graph_id)
