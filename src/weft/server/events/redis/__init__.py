"""Event log and signals on Redis 6.2 or later, or Valkey: for any number of processes."""

from weft.server.events.redis.options import RedisOptions
from weft.server.events.redis.system import RedisEvents

__all__ = ["RedisEvents", "RedisOptions"]
