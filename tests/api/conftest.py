import langgraph_sdk
import pytest
from tests.serving import serving_here

import weft


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The address of one server that all tests of this worker share."""
    with serving_here(tmp_path_factory.mktemp("data"), heartbeat_seconds="0.2") as address:
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
