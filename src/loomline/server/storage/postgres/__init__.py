"""The distributed database."""

from loomline.server.storage.postgres.occupancy import Use
from loomline.server.storage.postgres.storage import PostgresStorage

__all__ = ["PostgresStorage", "Use"]
