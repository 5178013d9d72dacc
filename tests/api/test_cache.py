"""What graphs cache is kept by the server they run in, whichever package they call."""

import json
import os
import subprocess
import sys

import langgraph_sdk.cache
import pytest
from tests.postgres import new_schema
from tests.serving import PROJECT, Process, serving_here

import loomline
import loomline.cache

GRAPH = PROJECT.parent / "cached" / "graphs.py"
KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


@pytest.mark.parametrize("flags", [{}, {"encryption_keys": KEY}], ids=["plain", "encrypted"])
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_graphs_share_a_cache(tmp_path, database, flags):
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"cached": f"{GRAPH}:graph"}}))
    if database == "postgres":
        flags = {**flags, "database_url": new_schema()}
    prefix = str(tmp_path)

    async def run(client, package, key, **fields):
        given = {"package": package, "key": f"{prefix} {key}", **fields}
        return await client.runs.wait(None, "cached", input=given)

    with serving_here(tmp_path / "data", config=config, **flags) as address:
        async with loomline.get_client(url=address, api_key=None) as client:
            first = await run(client, "loomline", "a", value={"v": 1})
            assert (first["found"], first["status"]) == (None, ["miss", "fresh"])
            second = await run(client, "official", "a")
            assert (second["found"], second["status"]) == ({"v": 1}, ["fresh", "fresh"])
            third = await run(client, "official", "b", value=[2])
            assert (third["found"], third["status"]) == (None, ["miss", "fresh"])
            assert (await run(client, "loomline", "b"))["found"] == [2]
    with pytest.raises(RuntimeError):
        await loomline.cache.cache_get("a")
    with pytest.raises(RuntimeError):
        await langgraph_sdk.cache.cache_get("a")


async def test_cache_beside_the_official_server_is_ours(tmp_path, monkeypatch):
    """The real package fails where it is imported without its variables."""
    package = tmp_path / "installed" / "langgraph_api"
    package.mkdir(parents=True)
    for name in ("__init__", "cache", "server", "asgi_transport"):
        (package / f"{name}.py").write_text("raise KeyError('REDIS_URI')")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"cached": f"{GRAPH}:graph"}}))
    with Process(tmp_path / "data", config=config) as server:
        async with loomline.get_client(url=server.url, api_key=None) as client:
            given = {"package": "official", "key": "a", "value": 1}
            await client.runs.wait(None, "cached", input=given)
            seen = await client.runs.wait(None, "cached", input={**given, "package": "loomline"})
    assert (seen["found"], seen["status"]) == (1, ["fresh", "fresh"])


def test_official_server_is_never_imported_by_ours(tmp_path):
    """No module of the real package can be found, and programs may look for the package."""
    package = tmp_path / "langgraph_api"
    package.mkdir()
    (package / "__init__.py").write_text("raise KeyError('REDIS_URI')")
    (package / "auth.py").write_text("raise KeyError('REDIS_URI')")
    program = (
        "from importlib.util import find_spec\n"
        "from loomline.server.api.inside import Door, show_official_clients\n"
        "show_official_clients(Door())\n"
        "import langgraph_api.cache, langgraph_sdk.cache\n"
        "assert langgraph_sdk.cache._cache_get is langgraph_api.cache.cache_get\n"
        "assert find_spec('langgraph_api') is not None\n"
        "assert find_spec('langgraph_api.cache') is not None\n"
        "try:\n    import langgraph_api.auth\n"
        "except ModuleNotFoundError as error:\n    print(error.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("langgraph_api.auth\n", 0), done.stderr
