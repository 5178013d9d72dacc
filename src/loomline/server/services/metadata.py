"""The bound on metadata that grows by changes: each request alone is bounded by the API."""

from __future__ import annotations

from dataclasses import dataclass

from loomline.server.domain.errors import InvalidInput
from loomline.server.domain.json import VALUE_BYTES, JsonObject, weight


@dataclass(frozen=True, slots=True)
class MetadataLimit:
    """``most`` is the number of bytes, where each value counts a few bytes more than its JSON."""

    most: int

    def check(self, stored: JsonObject, changes: JsonObject) -> None:
        """Refuse changes after which the metadata would be too large.

        Changes that arrive at the same moment are held against the same stored metadata, so the
        bound may be passed by the size of these.

        Raises:
            InvalidInput: the merged metadata is larger than the limit and than the stored one.
        """
        size = weight({**stored, **changes})
        if size > self.most and size > weight(stored):
            raise InvalidInput(
                f"'metadata' would be larger than the limit of {self.most} bytes, where each value"
                f" counts {VALUE_BYTES} bytes more than its JSON. Remove keys that are not needed,"
                " or keep large data in the state."
            )
