"""What every test shares."""

import functools
import os
import sys

import httpx
import hypothesis
import hypothesis.internal.conjecture.optimiser  # noqa: F401 - or hypothesis does it within a test, where pytest rewrites it
import pytest
from tests import deadlines, postgres

import loomline.server  # noqa: F401 - before langgraph, as in a server


def pytest_configure(config):
    config.pluginmanager.register(deadlines)
    # By itself hypothesis fails an example that takes 200 ms, as one does on a busy machine.
    hypothesis.settings.register_profile("loomline", deadline=None)
    hypothesis.settings.load_profile("loomline")
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Coverage measures the test processes, and no server processes: each of those would import
        # everything once more under measurement.
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def certificates_read_once():
    """Let all clients of httpx share one TLS context: making one takes longer than most tests."""
    transports = httpx._transports.default
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            transports, "create_ssl_context", functools.cache(transports.create_ssl_context)
        )
        yield


@pytest.fixture(scope="session", autouse=True)
def patient_http():
    """Let httpx wait for a busy machine longer than its 5 seconds, where a test does not say."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "read", "write", "pool"):
            patch.setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, name, 150.0)
        yield


def pytest_sessionfinish():
    """Store the measured coverage while the controller still waits for its worker.

    Later, the controller kills a worker that needs more than ten seconds to exit, as on a busy
    machine, and the figures would be lost.
    """
    if "coverage" in sys.modules:
        measuring = sys.modules["coverage"].Coverage.current()
        if measuring is not None:
            measuring.stop()
            measuring.save()


def pytest_unconfigure():
    postgres.end()
