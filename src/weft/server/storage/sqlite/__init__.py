"""The embedded database."""

from weft.server.storage.sqlite.storage import SqliteStorage

__all__ = ["SqliteStorage"]
