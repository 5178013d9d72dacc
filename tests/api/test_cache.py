"""What graphs cache is kept by the server they run in, whichever package they call."""

import json

import langgraph_sdk.cache
import pytest
from tests.postgres import new_schema
from tests.serving import PROJECT, serving_here

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
