from contextlib import contextmanager

import langgraph_sdk
import pytest
from tests.postgres import new_schema
from tests.redis_server import new_prefix, shared_redis
from tests.serving import serving_here

import weft


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    with shared_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@contextmanager
def serving_apart(folder, redis_url, **flags):
    """Serve from one server, and execute what it gets in another."""
    flags |= {"database_url": new_schema(), "redis_url": redis_url, "redis_prefix": new_prefix()}
    with serving_here(folder, **flags), serving_here(folder, worker="false", **flags) as address:
        yield address


@pytest.fixture(scope="session", params=["sqlite", "postgres", "apart"])
def serving(request, tmp_path_factory):
    """What serves from an empty database of one kind: everything is tested on either."""

    def serve(**flags):
        folder = tmp_path_factory.mktemp("data")
        if request.param == "apart":
            return serving_apart(folder, request.getfixturevalue("redis_url"), **flags)
        if request.param == "postgres":
            flags["database_url"] = new_schema()
        return serving_here(folder, **flags)

    return serve


@pytest.fixture(scope="session")
def server(serving):
    """The address of one server that all tests of this worker share."""
    with serving(heartbeat_seconds="0.2") as address:
        yield address


@pytest.fixture(params=["weft", "official"])
async def client(request, server):
    """Our client and the official one: whatever is tested works with either."""
    make = {"weft": weft.get_client, "official": langgraph_sdk.get_client}[request.param]
    async with make(url=server, api_key=None) as made:
        yield made


@pytest.fixture(params=["weft", "official"])
def sync_client(request, server):
    make = {"weft": weft.get_sync_client, "official": langgraph_sdk.get_sync_client}[request.param]
    with make(url=server, api_key=None) as made:
        yield made
