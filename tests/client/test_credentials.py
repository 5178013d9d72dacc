"""Keys and headers that are asked for, in both colours."""

import httpx
import pytest
from tests.client.scripted import Script, answer

from loomline._client._async.client import make_client
from loomline._client._sync.client import make_client as make_sync_client


async def key():
    return "later"


async def headers():
    return {"x-session": "s"}


async def test_asynchronous_providers_give_keys_and_headers():
    script = Script(answer({}))
    transport = httpx.MockTransport(script)
    client = make_client(url="http://h", api_key=key, headers=headers, transport=transport)
    await client.threads.get("t")
    assert (script.last.headers["x-api-key"], script.last.headers["x-session"]) == ("later", "s")


@pytest.mark.parametrize("given", [{"api_key": key}, {"headers": headers}])
def test_a_synchronous_client_cannot_await(given):
    client = make_sync_client(url="http://h", transport=httpx.MockTransport(Script()), **given)
    with pytest.raises(TypeError, match="cannot await"):
        client.threads.get("t")
