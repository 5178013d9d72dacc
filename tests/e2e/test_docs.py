"""The pages for users do what they say: their files are written out and served."""

import base64
import json
import re
from pathlib import Path

import httpx
import pytest
from cryptography.fernet import Fernet
from tests.serving import PROJECT, Process

import weft

DOCS = Path(__file__).parents[2] / "docs"
AGENT = f"{PROJECT.parent}/graphs.py:joke"

pytestmark = pytest.mark.slow


def blocks(page, kind):
    text = (DOCS / page).read_text()
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def python_files(page, folder):
    """Write the blocks that begin with the name of a file."""
    for block in blocks(page, "python"):
        named = re.match(r"# (\w+\.py)\n", block)
        if named:
            (folder / named[1]).write_text(block)


def configuration(page, number, folder):
    """Write one of the blocks of JSON, with a graph of the tests."""
    document = json.loads(blocks(page, "json")[number])
    config = folder / "langgraph.json"
    config.write_text(json.dumps(document | {"graphs": {"agent": AGENT}}))
    return config


@pytest.mark.parametrize("page", ["custom-app.md", "encryption.md", "serving.md"])
def test_json_is_json(page):
    assert [json.loads(block) for block in blocks(page, "json")]


def test_own_routes(tmp_path):
    python_files("custom-app.md", tmp_path)
    config = configuration("custom-app.md", 0, tmp_path)
    with Process(tmp_path / "data", config=config) as server:
        assert httpx.get(f"{server.url}/hello").json() == {"text": "hello"}
        assert httpx.get(f"{server.url}/busy").json() == 0
        paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
        assert {"/hello", "/busy", "/threads"} <= paths.keys()


def test_settings_of_http(tmp_path):
    whole = {"http": {}}
    for block in blocks("custom-app.md", "json"):
        http = json.loads(block)["http"]
        http.pop("app", None)
        whole["http"] |= http
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps(whole | {"graphs": {"agent": AGENT}}))
    with Process(tmp_path / "data", config=config) as server:
        origin = {"origin": "https://chat.example.com"}
        answer = httpx.get(f"{server.url}/agents/info", headers=origin)
        assert answer.headers["access-control-allow-origin"] == "https://chat.example.com"
        assert httpx.get(f"{server.url}/info").status_code == 404


def test_keys_in_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("WEFT_ENCRYPTION_KEYS", base64.b64encode(b"k" * 32).decode())
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"agent": AGENT}}))
    check(tmp_path, config)


def test_handlers(tmp_path, monkeypatch):
    monkeypatch.setenv("KEY_OF_COMMON", Fernet.generate_key().decode())
    python_files("encryption.md", tmp_path)
    check(tmp_path, configuration("encryption.md", 0, tmp_path))


def check(folder, config):
    with Process(folder / "data", config=config) as server:
        with weft.get_sync_client(url=server.url, api_key=None) as client:
            thread = client.threads.create()["thread_id"]
            values = client.runs.wait(thread, "agent", input={"topic": "xyzzy"})
            assert "xyzzy" in values["joke"]
        server.stop()
    assert b"xyzzy" not in (folder / "data" / "weft.db").read_bytes()
    with (
        Process(folder / "data", config=config) as server,
        weft.get_sync_client(url=server.url, api_key=None) as client,
    ):
        assert "xyzzy" in client.threads.get_state(thread)["values"]["joke"]
