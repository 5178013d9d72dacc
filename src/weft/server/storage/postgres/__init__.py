"""The distributed database."""

from weft.server.storage.postgres.occupancy import Use
from weft.server.storage.postgres.storage import PostgresStorage

__all__ = ["PostgresStorage", "Use"]
