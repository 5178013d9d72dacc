"""Two servers for tests, of which one answers and the other one executes."""

from contextlib import contextmanager

from tests.postgres import new_schema
from tests.redis_server import new_prefix
from tests.serving import serving_here


@contextmanager
def serving_apart(folder, redis_url, **flags):
    """Serve from one server, and execute what it gets in another."""
    flags |= {"database_url": new_schema(), "redis_url": redis_url, "redis_prefix": new_prefix()}
    with serving_here(folder, **flags), serving_here(folder, worker="false", **flags) as address:
        yield address
