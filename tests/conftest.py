"""What every test shares."""

import pytest
from tests import postgres

import weft.server  # noqa: F401 - before langgraph, as in a server


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


def pytest_unconfigure():
    postgres.end()
