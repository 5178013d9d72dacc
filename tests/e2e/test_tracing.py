"""Runs that are traced, to a receiver that takes the place of LangSmith."""

import json

import pytest
from tests.receiver import receiving
from tests.serving import PROJECT, Process

from loomline import get_sync_client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_a_run_is_traced_to_its_project(tmp_path):
    with receiving() as receiver:
        variables = {
            "LANGSMITH_TRACING": "true",
            "LANGSMITH_ENDPOINT": receiver.url,
            "LANGSMITH_API_KEY": "none",
            "LANGSMITH_DISABLE_RUN_COMPRESSION": "true",
        }
        graphs = {"joke": f"{PROJECT.parent}/graphs.py:joke"}
        config = tmp_path / "langgraph.json"
        config.write_text(json.dumps({"graphs": graphs, "env": variables}))
        with (
            # The variables are read while packages are imported.
            Process(tmp_path / "data", config=config, fresh=True) as server,
            get_sync_client(url=server.url) as client,
        ):
            tracer = {"project_name": "the project of this run", "example_id": "none"}
            client.runs.wait(None, "joke", input={"topic": "x"}, langsmith_tracing=tracer)
            while b"the project of this run" not in receiver.next(30).content:
                continue
