"""Event log and signals on Redis 6.2 or later, or Valkey: for any number of processes."""

from loomline.server.events.redis.options import RedisOptions
from loomline.server.events.redis.system import RedisEvents

__all__ = ["RedisEvents", "RedisOptions"]
