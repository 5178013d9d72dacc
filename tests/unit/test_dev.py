"""`loomline dev`: flags that people type, its lines at the start, its answer to broken code."""

import json
import os
import socket

import httpx
import pytest

from loomline.server import cli
from loomline.server.cli.serve import banner
from loomline.server.cli.standin import StandIn
from loomline.server.settings import load_settings

GRAPHS = {"graphs": {"agent": "./agent.py:graph", "helper": "./agent.py:graph"}}


@pytest.mark.parametrize(
    ("flags", "instead"),
    [
        (["--tunnel"], "cloudflared"),
        (["--debug-port", "5678"], "python -m debugpy"),
        (["--wait-for-client"], "--no-reload"),
    ],
)
def test_unsupported_flag_is_refused_with_its_alternative(capsys, flags, instead):
    assert cli.main(["dev", *flags]) == 2
    said = capsys.readouterr().err
    assert f"{flags[0]} is not supported." in said
    assert instead in said


def test_flags_of_the_official_command_are_taken(capsys, tmp_path):
    flags = ["--no-browser", "--allow-blocking", "--n-jobs-per-worker", "3"]
    levels = ["--server-log-level", "WARNING", "--studio-url", "https://studio.example"]
    assert cli.main(["dev", *flags, *levels, "--config", str(tmp_path / "none.json")]) == 2
    assert "There is no file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--n-jobs-per-worker", "0"], "--concurrency is '0'"),
        (["--server-log-level", "loud"], "--log-level is 'loud'"),
        (["--studio-url", "studio"], "--studio-origin is 'studio'"),
        (["--ssl-certfile", "cert.pem"], "--ssl-keyfile belong together"),
    ],
)
def test_flags_of_the_official_command_set_the_options(capsys, tmp_path, flags, said):
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps(GRAPHS))
    assert cli.main(["dev", "--config", str(config), *flags]) == 2
    assert said in capsys.readouterr().err


def test_banner_names_address_docs_data_and_graphs(tmp_path):
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps(GRAPHS | {"http": {"mount_prefix": "/api"}}))
    data = tmp_path / "data"
    settings = load_settings({"config": str(config), "data_dir": str(data)}, {}, dev=True)
    assert banner(settings, "http://127.0.0.1:2024").splitlines() == [
        "Loomline serves 2 graphs at http://127.0.0.1:2024/api",
        "  API docs  http://127.0.0.1:2024/api/docs",
        f"  data      {data}",
        "  graphs    agent, helper",
    ]


def test_banner_never_shows_the_address_of_the_database(tmp_path):
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {f"g{n}": "./a.py:g" for n in range(12)}}))
    given = {"config": str(config), "database_url": "postgresql://me:secret@h/d"}
    shown = banner(load_settings(given, {}, dev=True), "http://127.0.0.1:2024")
    assert "secret" not in shown
    assert "PostgreSQL" in shown
    assert shown.endswith("g9 and 2 more")


@pytest.fixture
def bound():
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        yield made


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def test_requests_during_broken_code_are_answered_with_the_reason(bound, pipe):
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    stand_in = StandIn(bound, pipe[0])
    os.write(pipe[1], b"Failed to load graph 'agent'.")
    stand_in.start()
    try:
        for answer in (httpx.get(f"{url}/ok"), httpx.post(f"{url}/threads", json={})):
            assert answer.status_code == 503
            assert "Failed to load graph 'agent'." in answer.json()["detail"]
            assert answer.headers["retry-after"] == "1"
    finally:
        stand_in.stop()


def test_reason_of_an_earlier_start_is_forgotten(bound, pipe):
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    stand_in = StandIn(bound, pipe[0])
    os.write(pipe[1], b"Old.")
    stand_in.stop()
    stand_in.start()
    try:
        assert "Old." not in httpx.get(url).json()["detail"]
    finally:
        stand_in.stop()
    assert bound.fileno() >= 0
