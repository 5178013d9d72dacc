"""The part of a state that the output schema of its graph shows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

import orjson

from loomline.server.domain.json import Encoded, dump

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Output:
    """The channels that a graph's output schema names.

    Args:
        channels: The names of the channels; a string: the value of that channel alone, without its
            name; None: the schema names the whole state.
    """

    channels: tuple[str, ...] | str | None = None

    @classmethod
    def among(cls, named: str | Collection[str], whole: str | Collection[str]) -> Output:
        """Return the output of a graph with these output channels and these channels in all."""
        if isinstance(named, str):
            return cls(None if named == whole else named)
        every = {whole} if isinstance(whole, str) else set(whole)
        return cls(None if set(named) == every else tuple(named))

    @classmethod
    def load(cls, stored: str | None) -> Output:
        """Return an output from its stored form."""
        found = None if stored is None else orjson.loads(stored)
        return cls(tuple(found) if isinstance(found, list) else found)

    def dump(self) -> str | None:
        """Return the form that is stored; None: the whole state."""
        return None if self.channels is None else dump(self.channels).decode()

    @property
    def whole(self) -> bool:
        """Whether the output is the whole state."""
        return self.channels is None

    def of(self, values: Mapping[str, T]) -> Mapping[str, T] | T | None:
        """Return the output, given the values of the whole state."""
        if self.channels is None:
            return values
        if isinstance(self.channels, str):
            return values.get(self.channels)
        return {name: values[name] for name in self.channels if name in values}

    def of_encoded(self, values: Encoded) -> Encoded:
        """Return the same for encoded values."""
        if self.channels is None:
            return values
        found = orjson.loads(values)
        return dump(self.of(found)) if isinstance(found, dict) else values
