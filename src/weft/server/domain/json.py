"""JSON as the domain sees it: decoded where it decides, encoded where it only passes through."""

from __future__ import annotations

from typing import NewType, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = dict[str, Json]

Encoded = NewType("Encoded", bytes)
"""UTF-8 JSON text that is stored and sent as it is."""

EMPTY_OBJECT = Encoded(b"{}")
