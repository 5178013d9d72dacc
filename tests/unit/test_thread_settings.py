"""``checkpointer.ttl`` in ``langgraph.json``."""

import json

import pytest

from loomline.server.domain.threads import Ttl
from loomline.server.settings import SettingsError, ThreadTtlSettings, load_settings


@pytest.fixture
def load(tmp_path):
    def load(checkpointer):
        path = tmp_path / "langgraph.json"
        document = {"graphs": {"g": "./g.py:g"}, "checkpointer": checkpointer}
        path.write_text(json.dumps(document))
        return load_settings({"config": str(path)}, {}, dev=False).thread_ttl

    return load


def test_ttl_section_of_threads_is_read_with_defaults(load):
    assert load({}) == load({"ttl": {}}) == load(None) == ThreadTtlSettings(None, 5.0, 1000)
    ttl = {
        "strategy": "keep_latest",
        "default_ttl": 60,
        "sweep_interval_minutes": 1.5,
        "sweep_limit": 10,
    }
    assert load({"ttl": ttl}) == ThreadTtlSettings(Ttl(60, "keep_latest"), 1.5, 10)


@pytest.mark.parametrize(
    ("checkpointer", "text"),
    [
        (5, '"checkpointer" in .* must be an object'),
        ({"ttl": 5}, '"checkpointer.ttl" in .* must be an object'),
        ({"ttl": {"strategy": "odd"}}, 'must be "delete" or "keep_latest"'),
        (
            {"ttl": {"default_ttl": 0}},
            '"checkpointer.ttl.default_ttl" in .* must be a number of minutes',
        ),
        ({"ttl": {"sweep_interval_minutes": "5"}}, "must be a number of minutes"),
        ({"ttl": {"sweep_limit": 0}}, "must be a whole number from 1"),
        ({"ttl": {"sweep_limit": True}}, "must be a whole number from 1"),
    ],
)
def test_invalid_ttl_section_is_refused_with_its_reason(load, checkpointer, text):
    with pytest.raises(SettingsError, match=text):
        load(checkpointer)
