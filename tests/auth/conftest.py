import json
import shutil
from pathlib import Path

import pytest
from tests.postgres import new_schema
from tests.serving import PROJECT, serving_here

HANDLERS = Path(__file__).parent / "handlers"


def write_config(folder, auth, **more):
    """Write a langgraph.json with the graphs of the tests and a section about auth."""
    graphs = json.loads(PROJECT.read_text())["graphs"]
    graphs = {name: str(PROJECT.parent / path) for name, path in graphs.items()}
    graphs |= {"who": str(HANDLERS / "graphs.py:who"), "whose": str(HANDLERS / "graphs.py:whose")}
    config = folder / "langgraph.json"
    config.write_text(json.dumps({"graphs": graphs, "auth": auth} | more))
    return config


def handlers(name, **more):
    return {"path": f"{HANDLERS / name}.py:auth"} | more


@pytest.fixture
def serve(tmp_path):
    """What serves with a section about auth; the text of a file of handlers may be given."""

    def start(auth, *, code=None, **flags):
        if code is not None:
            (tmp_path / "given_auth.py").write_text(code)
            auth = {"path": "./given_auth.py:auth"} | auth
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        return serving_here(tmp_path / "data", config=write_config(tmp_path, auth), **flags)

    return start


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def owners_server(request, tmp_path_factory):
    """The address of a server where users see their own, on one of the databases."""
    folder = tmp_path_factory.mktemp("owners")
    # A test that shows that nothing comes waits for one heartbeat.
    flags = {"heartbeat_seconds": "1"}
    if request.param == "postgres":
        flags["database_url"] = new_schema()
    with serving_here(
        folder / "data", config=write_config(folder, handlers("owners")), **flags
    ) as url:
        yield url
