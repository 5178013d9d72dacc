import os

import pytest
from tests.js.node import NEWEST, PROJECT, Node, missing
from tests.postgres import new_schema
from tests.redis_server import shared_redis
from tests.serving import serving_here
from tests.serving_apart import serving_apart


@pytest.fixture(scope="session")
def installed():
    if os.environ.get("LOOMLINE_TEST_JS") == "0":
        pytest.skip("LOOMLINE_TEST_JS=0")
    if reason := missing():
        pytest.fail(reason, pytrace=False)


@pytest.fixture(scope="session")
def node(installed):
    """A Node.js that runs scenarios, one after the other."""
    with Node() as made:
        yield made


@pytest.fixture(scope="session")
def newest(installed):
    """The same with the newest packages."""
    with Node(NEWEST) as made:
        yield made


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory):
    with serving_here(
        tmp_path_factory.mktemp("js"), config=PROJECT, heartbeat_seconds="0.2"
    ) as url:
        yield url


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    folder = tmp_path_factory.mktemp("js")
    flags = {"database_url": new_schema(), "heartbeat_seconds": "0.2"}
    with serving_here(folder, config=PROJECT, **flags) as url:
        yield url


@pytest.fixture(scope="session")
def apart(tmp_path_factory):
    folder = tmp_path_factory.mktemp("js")
    with (
        shared_redis(folder) as redis_url,
        serving_apart(folder, redis_url, config=PROJECT, heartbeat_seconds="0.2") as url,
    ):
        yield url
