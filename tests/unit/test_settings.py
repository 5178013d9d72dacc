import dataclasses
import json
from pathlib import Path
from typing import get_type_hints

import pytest
from pydantic import TypeAdapter

from loomline.server.graphs.spec import GraphSpec
from loomline.server.settings import (
    OPTIONS,
    HttpSettings,
    SerdeSettings,
    Settings,
    SettingsError,
    StoreSettings,
    ThreadTtlSettings,
    as_string,
    load_settings,
    parse_env,
)
from loomline.server.settings.webhooks import WebhookSettings

PATHS = {"config", "data_dir"}
"""Options whose fields are paths, made from the strings."""

GRAPHS = {"graphs": {"agent": "./agent.py:graph"}}


@pytest.fixture
def load(tmp_path):
    def load(document=GRAPHS, environment=None, *, dev=False, **flags):
        path = tmp_path / "langgraph.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return load_settings({"config": str(path), **flags}, environment or {}, dev=dev)

    return load


@pytest.fixture
def refused(load):
    def refused(*arguments, **keywords):
        with pytest.raises(SettingsError) as caught:
            load(*arguments, **keywords)
        text = str(caught.value)
        assert text.endswith(".")
        assert "\n" not in text
        return text

    return refused


def test_empty_environment_gives_the_default_settings(load, tmp_path):
    assert load() == Settings(
        config_path=tmp_path / "langgraph.json",
        graphs=(
            GraphSpec("agent", "./agent.py:graph", "graph", (tmp_path / "agent.py").resolve()),
        ),
        python_path=(tmp_path,),
        env={},
        dev=False,
        auth=None,
        store=StoreSettings(),
        thread_ttl=ThreadTtlSettings(),
        webhooks=WebhookSettings(),
        http=HttpSettings(),
        encryption=None,
        serde=SerdeSettings(),
        checkpointer=None,
        priority=None,
        warnings=(),
        **{option.name: option.default for option in OPTIONS if option.name not in PATHS},
        data_dir=Path.cwd() / ".loomline",
    )


def test_the_default_of_an_option_has_the_type_of_its_field():
    types = get_type_hints(Settings)
    for option in OPTIONS:
        if option.name not in PATHS:
            TypeAdapter(types[option.name]).validate_python(option.default, strict=True)


def test_the_default_of_an_option_is_a_value_that_its_flag_may_give():
    for option in OPTIONS:
        for default in (option.default_of(dev=False), option.default_of(dev=True)):
            text = as_string(default)
            assert as_string(option.read(text)) == text, option.name


def test_fields_of_options_have_no_default_of_their_own():
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    for option in OPTIONS:
        if option.name != "config":
            assert fields[option.name].default is dataclasses.MISSING


def test_the_dev_command_has_defaults_of_its_own(load):
    found = {
        option.name: (option.default, getattr(load(dev=True), option.name))
        for option in OPTIONS
        if option.dev_default is not None
    }
    assert found == {"shutdown_grace_seconds": (10.0, 1.0)}


def test_dev_mode_is_part_of_the_settings(load):
    assert load(dev=True).dev


def test_every_option_is_a_field_and_has_a_variable_of_ours():
    fields = {field.name for field in dataclasses.fields(Settings)}
    assert {option.name for option in OPTIONS} - {"config"} <= fields
    assert all(option.names[0] == f"LOOMLINE_{option.name.upper()}" for option in OPTIONS)


def test_flags_win_over_variables_and_those_over_defaults(load):
    environment = {"LOOMLINE_PORT": "1111", "N_JOBS_PER_WORKER": "7"}
    assert load(environment=environment, port="2222").port == 2222
    assert load(environment=environment).port == 1111
    assert load(environment=environment).concurrency == 7
    assert load(environment=environment | {"LOOMLINE_CONCURRENCY": "8"}).concurrency == 8
    assert load(environment={"LOOMLINE_PORT": ""}).port == 2024


def test_the_file_may_be_named_by_a_variable(load, tmp_path):
    load()
    environment = {"LOOMLINE_CONFIG": str(tmp_path / "langgraph.json")}
    assert load_settings({}, environment, dev=False).config_path == tmp_path / "langgraph.json"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("runners", "4", "--runners is no option any more. All graphs of a process run on one"),
        ("port", "65536", "--port is '65536': it must be a whole number from 0 to 65535."),
        ("port", "-1", "whole number"),
        ("port", "1e3", "whole number"),
        ("port", "\u0663", "whole number"),
        ("port", "9" * 5000, "whole number"),
        ("concurrency", "0", "--concurrency is '0'"),
        ("heartbeat_seconds", "0", "--heartbeat-seconds is '0': it must be from 0.05"),
        ("lease_seconds", "nan", "number of seconds"),
        ("run_timeout_seconds", "inf", "number of seconds"),
        ("log_level", "loud", "one of: debug, info, warning, error"),
        ("log_json", "perhaps", "true or false"),
        ("host", " ", "--host is ' ': it must not be empty."),
    ],
)
def test_values_that_do_not_fit(refused, name, text, said):
    assert said in refused(**{name: text})


def test_a_wrong_variable_is_called_by_its_name(refused):
    said = refused(environment={"BG_JOB_TIMEOUT_SECS": "long"})
    assert said.startswith("BG_JOB_TIMEOUT_SECS is 'long'")


def test_a_former_option_is_refused_with_the_remedy(refused):
    remedy = "use --concurrency"
    assert remedy in refused(environment={"LOOMLINE_RUNNERS": "4"})
    assert remedy in refused(GRAPHS | {"env": {"LOOMLINE_RUNNERS": "4"}})
    said = refused(GRAPHS | {"loomline": {"runners": 4}})
    assert said.startswith('"loomline.runners" in')
    assert remedy in said


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("log_level", "DEBUG", "debug"),
        ("log_json", "1", True),
        ("log_json", "No", False),
        ("heartbeat_seconds", "0.5", 0.5),
        ("port", "0", 0),
    ],
)
def test_valid_option_value_is_parsed(load, name, text, value):
    assert getattr(load(**{name: text}), name) == value


@pytest.mark.parametrize(
    ("document", "parts"),
    [
        ("{", ["langgraph.json' is not valid JSON", "line 1, column 2"]),
        ('{\n "graphs": {,}}', ["line 2, column"]),
        ("[]", ["must contain a JSON object"]),
        ({}, ['an entry "graphs" like']),
        ({"graphs": {}}, ['an entry "graphs" like']),
        ({"graphs": ["x.py:graph"]}, ['an entry "graphs" like']),
        ({"graphs": {"agent": "agent.py"}}, ["'agent'", "file.py:variable", '"agent.py"']),
        ({"graphs": {"agent": ":graph"}}, ["file.py:variable"]),
        ({"graphs": {"agent": "./x.py:"}}, ["file.py:variable"]),
        ({"graphs": {"agent": 5}}, ["'agent'", "not as 5"]),
        ({"graphs": {"agent": {"description": "x"}}}, ["not as null"]),
        ({"graphs": {"a": {"path": "x.py:g", "description": 5}}}, ["description of the graph 'a'"]),
        ({**GRAPHS, "env": 5}, ['"env"', "an object or the path of a file"]),
        ({**GRAPHS, "dependencies": "."}, ['"dependencies"', "a list"]),
    ],
)
def test_files_that_cannot_be_used(refused, document, parts):
    said = refused(document)
    for part in parts:
        assert part in said


def test_a_file_that_is_not_there(tmp_path):
    path = tmp_path / "nope.json"
    with pytest.raises(SettingsError, match=r"There is no file '.*nope.json'.*--config"):
        load_settings({"config": str(path)}, {}, dev=False)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load_settings({"config": str(tmp_path)}, {}, dev=False)
    (tmp_path / "x.json").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="cannot be read: it is not UTF-8 text"):
        load_settings({"config": str(tmp_path / "x.json")}, {}, dev=False)


@pytest.mark.parametrize(
    ("source", "path", "module"),
    [
        ("./agent.py:graph", "agent.py", None),
        ("agent.py:graph", "agent.py", None),
        ("src/agent.py:graph", "src/agent.py", None),
        ("package.agent:graph", None, "package.agent"),
        ("agent:graph", None, "agent"),
    ],
)
def test_where_graphs_come_from(load, tmp_path, source, path, module):
    (spec,) = load({"graphs": {"my agent": {"path": source, "description": "It acts."}}}).graphs
    assert (spec.graph_id, spec.source, spec.attribute) == ("my agent", source, "graph")
    assert (spec.path, spec.module) == (path and (tmp_path / path).resolve(), module)
    assert spec.description == "It acts."


def test_an_absolute_path_is_kept(load, tmp_path):
    (spec,) = load({"graphs": {"agent": f"{tmp_path}/elsewhere/agent.py:graph"}}).graphs
    assert spec.path == tmp_path / "elsewhere" / "agent.py"


def test_local_dependencies_are_on_the_path(load, tmp_path):
    (tmp_path / "src").mkdir()
    given = [".", "./src", f"../{tmp_path.name}-shared", "langchain", "numpy>=2", "."]
    assert load({**GRAPHS, "dependencies": given}).python_path == (
        tmp_path,
        tmp_path / "src",
        tmp_path.parent / f"{tmp_path.name}-shared",
    )


def test_unknown_keys_are_ignored(load):
    assert load({**GRAPHS, "python_version": "3.12", "ui": {"x": "y"}, "nonsense": []}).graphs


def test_variables_of_the_file(load):
    env = {"A": "text", "B": 5, "C": True, "D": {"x": 1}}
    assert load({**GRAPHS, "env": env}).env == {"A": "text", "B": "5", "C": "true", "D": '{"x": 1}'}


def test_variables_from_another_file(load, tmp_path):
    (tmp_path / ".env").write_text("KEY=value\n", encoding="utf-8")
    assert load({**GRAPHS, "env": ".env"}).env == {"KEY": "value"}


def test_a_missing_file_of_variables_is_a_warning_that_names_it(load):
    settings = load({**GRAPHS, "env": "./none.env"})
    assert settings.env == {}
    (warning,) = settings.warnings
    assert "none.env" in warning


def test_a_mark_before_the_variables_is_not_part_of_them(load, tmp_path):
    (tmp_path / ".env").write_text("KEY=value", encoding="utf-8-sig")
    assert load({**GRAPHS, "env": ".env"}).env == {"KEY": "value"}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=plain", "plain"),
        ("  export A = spaced  ", "spaced"),
        ("A=", ""),
        ("A=x # comment", "x"),
        ("A=x#y", "x#y"),
        ("A=a=b", "a=b"),
        ('A="quoted # not a comment" # comment', "quoted # not a comment"),
        ('A="two\\nlines \\"q\\" \\\\"', 'two\nlines "q" \\'),
        ('A="over\nseveral\nlines"', "over\nseveral\nlines"),
        ("A='single \\n $x'", "single \\n $x"),
        ('A=""', ""),
        ("A=it's", "it's"),
        ('A="quoted"# comment', "quoted"),
        ("A= # comment", ""),
    ],
)
def test_line_of_an_env_file_is_parsed(line, value):
    assert parse_env(line) == {"A": value}


def test_lines_that_are_no_variables_are_skipped():
    assert parse_env("# A=1\n\nnot a variable\n=x\r\nB=2\r\nB=3\n") == {"B": "3"}


def test_variables_may_refer_to_others_of_the_file_and_of_the_process(monkeypatch):
    monkeypatch.setenv("OURS_OF_TEST", "process")
    text = "A=1\nB=${A}2\nC=${OURS_OF_TEST}\nE=${NONE_OF_TEST:-default}\n"
    found = {"A": "1", "B": "12", "C": "process", "E": "default"}
    assert parse_env(text) == found


def test_worker_can_be_disabled_with_redis(load, refused):
    database, redis = "postgresql://h/d", "rediss://me:secret@h:6380/1"
    found = load(
        environment={"LOOMLINE_DATABASE_URL": database, "LOOMLINE_REDIS_URL": redis}, worker="false"
    )
    assert (found.redis_url, found.redis_prefix, found.worker) == (redis, "loomline:", False)
    assert (found.health_port, load(health_port="8080").health_port) == (None, 8080)
    assert "secret" not in repr(found)
    assert "needs --database-url" in refused(redis_url=redis)
    assert "needs --database-url and --redis-url" in refused(worker="false")
    assert "needs --database-url and --redis-url" in refused(worker="no", database_url=database)
    text = refused(redis_url="memcached://me:secret@h", database_url=database)
    assert "redis://user:password@host:6379/0" in text
    assert "secret" not in text
    assert "whole number" in refused(health_port="x")


def test_options_in_the_file(load, refused):
    section = {"run_timeout_seconds": 60, "log_json": True, "host": "0.0.0.0"}
    document = GRAPHS | {
        "loomline": section,
        "env": {"LOOMLINE_CONCURRENCY": "7", "LOOMLINE_MAX_ATTEMPTS": "1"},
    }
    found = load(document, {"LOOMLINE_MAX_ATTEMPTS": "3"})
    assert (found.run_timeout_seconds, found.log_json, found.host) == (60.0, True, "0.0.0.0")
    assert (found.concurrency, found.max_attempts) == (7, 3)
    assert load(document, {"BG_JOB_TIMEOUT_SECS": "50"}).run_timeout_seconds == 50
    assert load(document, run_timeout_seconds="40").run_timeout_seconds == 40
    assert load(document, dev=True).shutdown_grace_seconds == 1
    assert "'run_timeout' that is no option" in refused(GRAPHS | {"loomline": {"run_timeout": 1}})
    assert "'config' that is no option" in refused(GRAPHS | {"loomline": {"config": "x"}})
    assert "must be a text" in refused(GRAPHS | {"loomline": {"host": ["a"]}})
    assert '"loomline" in' in refused(GRAPHS | {"loomline": []})
    assert "is '0'" in refused(GRAPHS | {"loomline": {"concurrency": 0}})
