"""Every key of langgraph.json works, or a sentence at the start names the remedy."""

import json
import sys
from pathlib import Path

import pytest

from loomline.server.settings import SettingsError, load_settings
from loomline.server.settings.keys import WITHOUT_EFFECT, WORKING

# The keys of the public schema in langgraph-cli 0.4.40, one a line. To take over a newer schema:
# walk the annotations of langgraph_cli.schemas.Config. "*" is any key.
SCHEMA = (Path(__file__).parent / "data" / "langgraph_json_keys.txt").read_text().split()
FREE = ("auth.openapi.", "env.")
GRAPHS = {"graphs": {"agent": "./agent.py:graph"}}


@pytest.fixture
def warnings(tmp_path):
    def warnings(environment=None, **sections):
        path = tmp_path / "langgraph.json"
        path.write_text(json.dumps(GRAPHS | sections))
        return load_settings({"config": str(path)}, environment or {}, dev=False).warnings

    return warnings


def test_every_key_of_the_public_schema_is_in_one_table():
    working = {f"{parent}.{key}".lstrip(".") for parent, keys in WORKING.items() for key in keys}
    covered = working | set(WITHOUT_EFFECT)
    assert len(SCHEMA) > 70
    assert working.isdisjoint(WITHOUT_EFFECT)
    missing = [
        name
        for name in SCHEMA
        if name not in covered
        and not name.startswith(FREE)
        and not any(name.startswith(f"{other}.") for other in WITHOUT_EFFECT)
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("sections", "key", "nearest"),
    [
        ({"stroe": {}}, "'stroe'", "'store'"),
        ({"http": {"cros": {}}}, "'cros' in \"http\"", "'cors'"),
        ({"http": {"cors": {"allow_origin": []}}}, "'allow_origin' in \"http.cors\"", "'allow_origins'"),
        ({"checkpointer": {"tll": {}}}, "'tll' in \"checkpointer\"", "'ttl'"),
        ({"graphs": {"a.b": {"path": "./a.py:g", "descripton": ""}}}, "'descripton'", "'description'"),
        ({"graph": {}}, "'graph'", "'graphs'"),
    ],
)  # fmt: skip
def test_unknown_key_is_a_warning_with_the_nearest_known_name(warnings, sections, key, nearest):
    (found,) = warnings(**sections)
    assert found.startswith("Unknown key ")
    assert key in found
    assert found.endswith(f"has no effect. Did you mean {nearest}?")


def test_unknown_key_without_a_similar_name_is_a_warning_with_all_names(warnings):
    (found,) = warnings(encryption={"qqqq": 1})
    assert found.endswith("Known: path.")


def test_unknown_key_of_a_section_in_the_environment_names_the_variable(warnings):
    (found,) = warnings({"LANGGRAPH_HTTP": '{"cros": {}}'})
    assert '"http" in LANGGRAPH_HTTP' in found


@pytest.mark.parametrize("key", [key for key in WITHOUT_EFFECT if "." not in key])
def test_key_without_effect_is_a_warning_with_the_remedy(warnings, key):
    (found,) = warnings(**{key: {"path": "x"}})
    assert f'"{key}"' in found
    assert WITHOUT_EFFECT[key] in found


def test_keys_for_images_share_one_warning(warnings):
    (found,) = warnings(base_image="x", dockerfile_lines=[], pip_installer="uv")
    assert '"base_image", "dockerfile_lines", "pip_installer" in ' in found
    assert "builds no images" in found


def test_free_keys_and_working_keys_give_no_warning(warnings):
    running = "{}.{}".format(*sys.version_info)
    found = warnings(
        **{"$schema": "x"},
        env={"ANY": "1"},
        python_version=running,
        auth={"path": "./a.py:a", "openapi": {"securitySchemes": {"any": {}}}},
        webhooks={"url": {"allowed_domains": ["a.example"]}, "headers": {"x-any": "1"}},
        http={"cors": {"max_age": 5}, "logging_headers": {"includes": ["x"]}},
    )
    assert found == ()


def test_other_python_version_is_a_warning(warnings):
    (found,) = warnings(python_version="3.7")
    assert "this server runs on Python" in found


def test_dependency_folder_that_does_not_exist_is_named(warnings, tmp_path):
    (tmp_path / "there").mkdir()
    (found,) = warnings(dependencies=["./there", "./absent", "langchain"])
    assert "'./absent'" in found
    assert f"'{tmp_path / 'absent'}'" in found


def test_paths_count_from_the_folder_of_the_file_and_then_from_the_working_directory(
    tmp_path, monkeypatch
):
    folder = tmp_path / "conf"
    (folder / "code").mkdir(parents=True)
    (tmp_path / "code").mkdir()
    for path in (folder / "both.py", tmp_path / "both.py", tmp_path / "here.py"):
        path.write_text("")
    (tmp_path / "here.env").write_text("A=1")
    config = folder / "langgraph.json"
    graphs = {"a": "./both.py:g", "b": "./here.py:g", "c": "./none.py:g"}
    config.write_text(
        json.dumps({"graphs": graphs, "env": "here.env", "dependencies": ["./code", "."]})
    )
    monkeypatch.chdir(tmp_path)
    found = load_settings({"config": str(config)}, {}, dev=False)
    assert [spec.path for spec in found.graphs] == [
        folder / "both.py",
        tmp_path / "here.py",
        folder / "none.py",
    ]
    assert found.graphs[2].searched == f"'{folder / 'none.py'}' and '{tmp_path / 'none.py'}'"
    assert found.env == {"A": "1"}
    assert found.python_path[:2] == (folder, folder / "code")


def test_objects_of_sections_are_not_called_graphs(tmp_path):
    path = tmp_path / "langgraph.json"
    path.write_text(json.dumps(GRAPHS | {"http": {"app": "./web.py:app"}}))
    found = load_settings({"config": str(path)}, {}, dev=False)
    assert (found.http.app.kind, found.graphs[0].kind) == ("application", "graph")


def test_missing_env_file_is_a_warning_unless_it_has_the_usual_name(warnings):
    assert warnings(env=".env") == ()
    (found,) = warnings(env="prod.env")
    assert "prod.env" in found


def test_settings_without_effect_on_an_own_saver_are_warnings(warnings):
    own = {"path": "./savers.py:make"}
    assert warnings(checkpointer=own) == ()
    (found,) = warnings(checkpointer=own | {"serde": {"pickle_fallback": True}})
    assert found.startswith('"checkpointer.serde" has no effect')
    key = {"LOOMLINE_ENCRYPTION_KEYS": "a" * 43 + "="}
    for environment, sections in ((key, {}), ({}, {"encryption": {"path": "./e.py:e"}})):
        (found,) = warnings(environment, checkpointer=own, **sections)
        assert found.startswith("Checkpoints are not encrypted by this server")
        assert warnings(environment, **sections) == ()


def test_the_saver_of_an_image_is_found_in_the_environment(tmp_path):
    path = tmp_path / "langgraph.json"
    path.write_text(json.dumps(GRAPHS))
    section = '{"path": "./savers.py:make"}'
    found = load_settings({"config": str(path)}, {"LANGGRAPH_CHECKPOINTER": section}, dev=False)
    assert found.checkpointer.path == tmp_path / "savers.py"


def test_allowed_types_may_be_true(tmp_path):
    path = tmp_path / "langgraph.json"
    serde = {"allowed_msgpack_modules": True, "allowed_json_modules": True}
    path.write_text(json.dumps(GRAPHS | {"checkpointer": {"serde": serde}}))
    found = load_settings({"config": str(path)}, {}, dev=False).serde
    assert (found.msgpack_types, found.json_types) == (True, True)
    path.write_text(json.dumps(GRAPHS | {"checkpointer": {"serde": {"allowed_json_modules": 1}}}))
    with pytest.raises(SettingsError, match="must be true or a list"):
        load_settings({"config": str(path)}, {}, dev=False)
