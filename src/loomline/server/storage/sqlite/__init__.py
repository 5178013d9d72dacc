"""The embedded database."""

from loomline.server.storage.sqlite.storage import SqliteStorage

__all__ = ["SqliteStorage"]
