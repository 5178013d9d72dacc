import langgraph_sdk
import pytest
from tests.postgres import new_schema
from tests.redis_server import shared_redis
from tests.serving import serving_here
from tests.serving_apart import serving_apart

import loomline


def pytest_collection_modifyitems(config, items):
    """Leave out the combinations of server and client that show nothing new."""
    left = [item for item in items if not wanted(item)]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if wanted(item)]


def wanted(item):
    """Return whether a test is run with its server and its client.

    Each test runs on every server with Loomline's client, and on SQLite also with the official
    client: no client can tell the servers apart, so further pairs would repeat both.
    """
    params = item.callspec.params if hasattr(item, "callspec") else {}
    serving = params.get("serving")
    official = "official" in {params.get("client"), params.get("sync_client")}
    if serving == "apart" and item.get_closest_marker("two_servers") is None:
        return False
    if serving != "sqlite" and item.get_closest_marker("one_server") is not None:
        return serving is None
    if official and item.get_closest_marker("one_client") is not None:
        return False
    return not official or serving in {"sqlite", None}


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    with shared_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


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


@pytest.fixture
def apart(request):
    """Whether the runs of a test are executed by another server than the answering one."""
    return request.node.callspec.params["serving"] == "apart"


@pytest.fixture(scope="session")
def server(serving):
    """The address of one server that all tests of this worker share."""
    with serving(heartbeat_seconds="0.2") as address:
        yield address


@pytest.fixture(params=["loomline", "official"])
async def client(request, server):
    """Loomline's client, and the official client on one of the servers (see ``wanted``)."""
    make = {"loomline": loomline.get_client, "official": langgraph_sdk.get_client}[request.param]
    async with make(url=server, api_key=None) as made:
        yield made


@pytest.fixture(params=["loomline", "official"])
def sync_client(request, server):
    make = {"loomline": loomline.get_sync_client, "official": langgraph_sdk.get_sync_client}[
        request.param
    ]
    with make(url=server, api_key=None) as made:
        yield made
