"""The pages for users do what they say: their files are written out and served."""

import base64
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from cryptography.fernet import Fernet
from tests.serving import PROJECT, Process

import loomline
from loomline.server.cli.official import INSTEAD
from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import Encoded
from loomline.server.domain.webhooks import Delivery, signed_headers
from loomline.server.settings import OPTIONS, as_string

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
QUICKSTART = ROOT / "examples" / "quickstart" / "langgraph.json"
PAGES = sorted([*DOCS.glob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("bench/*.md")])
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


@pytest.mark.parametrize(
    "page", ["auth.md", "custom-app.md", "encryption.md", "serving.md", "webhooks.md"]
)
def test_json_blocks_of_the_docs_are_valid(page):
    assert [json.loads(block) for block in blocks(page, "json")]


def test_documented_custom_routes_are_served(tmp_path):
    python_files("custom-app.md", tmp_path)
    config = configuration("custom-app.md", 0, tmp_path)
    with Process(tmp_path / "data", config=config) as server:
        assert httpx.get(f"{server.url}/hello").json() == {"text": "hello"}
        assert httpx.get(f"{server.url}/busy").json() == 0
        paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
        assert {"/hello", "/busy", "/threads"} <= paths.keys()


def test_documented_http_settings_are_accepted(tmp_path):
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
    monkeypatch.setenv("LOOMLINE_ENCRYPTION_KEYS", base64.b64encode(b"k" * 32).decode())
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"agent": AGENT}}))
    check_database_hides_the_topic(tmp_path, config)


def test_documented_encryption_handlers_encrypt_the_database(tmp_path, monkeypatch):
    monkeypatch.setenv("KEY_OF_COMMON", Fernet.generate_key().decode())
    python_files("encryption.md", tmp_path)
    check_database_hides_the_topic(tmp_path, configuration("encryption.md", 0, tmp_path))


def check_database_hides_the_topic(folder, config):
    with Process(folder / "data", config=config) as server:
        with loomline.get_sync_client(url=server.url, api_key=None) as client:
            thread = client.threads.create()["thread_id"]
            values = client.runs.wait(thread, "agent", input={"topic": "xyzzy"})
            assert "xyzzy" in values["joke"]
        server.stop()
    assert b"xyzzy" not in (folder / "data" / "loomline.db").read_bytes()
    with (
        Process(folder / "data", config=config) as server,
        loomline.get_sync_client(url=server.url, api_key=None) as client,
    ):
        assert "xyzzy" in client.threads.get_state(thread)["values"]["joke"]


def anchors(page):
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_the_docs_have_targets(page):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        place, _, anchor = target.partition("#")
        other = (page.parent / place) if place else page
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), target


def test_documented_options_exist_on_the_command_line():
    helps = [
        subprocess.run(
            [sys.executable, "-m", "loomline.server.cli", *command, "--help"],
            capture_output=True, text=True, check=True,
        ).stdout
        for command in (["serve"], ["dev"], ["worker"], ["webhooks", "retry"])
    ]  # fmt: skip
    # The docs name flags of langgraph dev, too, that are refused with the way to do the same here.
    known = {*re.findall(r"--[a-z-]+", "".join(helps)), *INSTEAD}
    told = [*DOCS.glob("*.md"), ROOT / "README.md"]
    named = {
        option
        for page in told
        for command in re.findall(r"`(--[^`]*)`|^(loomline .*)$", page.read_text(), re.MULTILINE)
        for option in re.findall(r"--[a-z-]+", "".join(command).partition("#")[0])
    }
    assert len(named) > 20
    assert named <= known


DEFAULT = re.compile(r"`--([a-z-]+)`(?:,| \() ?default `?([^`;),]+)")
"""How a sentence names the default of an option."""

LIMIT_ROW = re.compile(r"^\|[^|]*\| `--([a-z-]+)` \| ([^|]*?) \|", re.MULTILINE)
"""A row of the table of limits: subject, option, default, and the answer beyond it."""

NO_NUMBER = {"any number", "as many as the limit of open files allows", "those of ten seconds"}
"""What the table of limits says of a default of 0."""

UNITS = {"KiB": 1024, "MiB": 1024**2, "s": 1}


def number(text):
    """Return the number that a cell of the table of limits stands for."""
    digits, _, unit = text.partition(" ")
    return 0 if text in NO_NUMBER else float(digits.replace(",", "")) * UNITS.get(unit, 1)


def test_defaults_in_the_text_are_those_of_the_options():
    defaults = {option.flag: as_string(option.default) for option in OPTIONS}
    found = {
        (page.name, f"--{name}", text)
        for page in PAGES
        for name, text in DEFAULT.findall(page.read_text())
    }
    assert len(found) >= 9
    assert found == {(page, flag, defaults[flag]) for page, flag, _ in found}


def test_defaults_in_the_table_of_limits_are_those_of_the_options():
    defaults = {option.flag: option.default for option in OPTIONS}
    found = LIMIT_ROW.findall((DOCS / "serving.md").read_text())
    assert len(found) >= 13
    for name, text in found:
        assert number(text) == defaults[f"--{name}"], name


def test_documented_metrics_exist_on_a_server(tmp_path):
    named = {
        name
        for page in ("scaling.md", "webhooks.md")
        for name in re.findall(r"`((?:lg|loomline)_[a-z_]+)[`{]", (DOCS / page).read_text())
        if not name.startswith("loomline_redis_")  # they are there with Redis
    }
    with Process(tmp_path / "data", config=QUICKSTART) as server:
        with loomline.get_sync_client(url=server.url, api_key=None) as client:
            client.runs.wait(None, "joke", input={"topic": "tea"})
        told = httpx.get(f"{server.url}/metrics").text
    assert len(named) > 10
    assert [name for name in sorted(named) if name not in told] == []


@pytest.mark.parametrize("package", ["loomline", "langgraph_sdk"])
def test_documented_program_follows_a_thread(tmp_path, package):
    program, _ = blocks("streaming.md", "python")
    with Process(tmp_path / "data", config=QUICKSTART) as server:
        program = program.replace("http://127.0.0.1:2024", server.url)
        program = program.replace("from loomline ", f"from {package} ")
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("['You said: Hi']\n")


def test_a_transport_by_itself_follows_a_run_to_its_end(tmp_path):
    _, program = blocks("streaming.md", "python")
    with Process(tmp_path / "data", config=QUICKSTART) as server:
        program = program.replace("http://127.0.0.1:2024", server.url)
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
        )
    assert done.returncode == 0, done.stderr
    assert "'type': 'success'" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("lifecycle {'event': 'completed'")


def test_signatures_are_checked_by_hand():
    namespace = {}
    (program,) = [block for block in blocks("webhooks.md", "python") if "genuine" in block]
    exec(program, namespace)
    genuine, old, new = namespace["genuine"], b"o" * 24, b"n" * 24
    delivery = Delivery(uuid7(), uuid7(), "https://x", Encoded(b"{}"), None, 1, "token")
    headers = signed_headers(delivery, b"body", datetime.now(UTC), (new, old))
    for key in (old, new):
        assert genuine(f"whsec_{base64.b64encode(key).decode()}", headers, b"body")
        assert not genuine(f"whsec_{base64.b64encode(key).decode()}", headers, b"other")
    assert not genuine(f"whsec_{base64.b64encode(b'x' * 24).decode()}", headers, b"body")
