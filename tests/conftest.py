"""What every test shares."""

import pytest
from tests import postgres


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


def pytest_unconfigure():
    postgres.end()
