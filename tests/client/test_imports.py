"""What importing the package costs: which modules it loads."""

import subprocess
import sys

import pytest

HTTP = {"httpx", "httpcore", "aiohttp", "orjson", "asyncio", "urllib.request"}


def loaded(program):
    """Return the modules that a program has loaded at its end."""
    command = [sys.executable, "-c", f"{program}\nimport sys; print(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    "program",
    [
        "import loomline",
        "from loomline import Auth",
        "from loomline import Auth, Encryption, Priority",
    ],
)
def test_without_a_client_there_is_no_http_library(program):
    assert not loaded(program) & HTTP


def test_a_client_needs_nothing_that_takes_long_before_its_first_request():
    heavy = {
        "aiohttp",
        "asyncio",
        "pydantic",
        "langgraph",
        "langchain_core",
        "loomline.server",
        "starlette",
    }
    assert not loaded("import loomline; loomline.get_client(url='http://h')") & heavy
    assert not loaded("import loomline; loomline.get_sync_client(url='http://h')") & heavy


def test_unknown_names_are_no_names():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        __import__("loomline").nothing  # noqa: B018


def test_server_loads_no_optional_package_before_it_needs_one():
    optional = {"aiohttp", "cryptography", "jwt", "numpy", "psycopg", "redis"}
    program = "import loomline.server.cli.serve, loomline.server.app.process"
    assert not loaded(program) & optional
