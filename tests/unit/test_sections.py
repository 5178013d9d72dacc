"""The sections of langgraph.json about the web side, encryption and types."""

import json

import pytest

from loomline.server.settings import (
    CorsSettings,
    HeaderRules,
    HttpSettings,
    SerdeSettings,
    SettingsError,
    load_settings,
)

GRAPHS = {"graphs": {"agent": "./agent.py:graph"}}


@pytest.fixture
def load(tmp_path):
    def load(environment=None, **sections):
        path = tmp_path / "langgraph.json"
        path.write_text(json.dumps(GRAPHS | sections))
        return load_settings({"config": str(path)}, environment or {}, dev=False)

    return load


def test_empty_sections_give_the_default_settings(load):
    found = load()
    assert (found.http, found.serde, found.encryption) == (HttpSettings(), SerdeSettings(), None)
    assert load(http=None, encryption=None, checkpointer={"serde": None}).http == HttpSettings()
    assert found.http.cors.allow_origins is None


def test_http_section_is_read_completely(load, tmp_path):
    found = load(
        http={
            "app": "./web.py:app",
            "disable_store": True,
            "disable_mcp": True,
            "disable_a2a": False,
            "mount_prefix": "/a/b/",
            "middleware_order": "auth_first",
            "enable_custom_route_auth": True,
            "configurable_headers": {"includes": ["x-*"], "excludes": ["x-b"]},
            "logging_headers": {"include": ["y"]},
            "cors": {"allow_origin_regex": "https://.*", "max_age": 5, "allow_methods": ["GET"]},
            "unknown": 1,
        }
    ).http
    assert found.app.path == tmp_path / "web.py"
    assert (found.app.attribute, found.app.module) == ("app", None)
    assert found.disabled == {"store", "mcp"}
    assert found.mount_prefix == "/a/b"
    assert found.middleware_order == "auth_first"
    assert found.enable_custom_route_auth
    assert found.configurable_headers == HeaderRules(("x-*",), ("x-b",))
    assert found.logging_headers == HeaderRules(("y",))
    assert found.cors == CorsSettings(
        allow_origins=(),
        allow_origin_regex="https://.*",
        allow_methods=("GET",),
        max_age_seconds=5,
    )


def test_encryption_is_loaded_from_a_module_path(load):
    found = load(encryption={"path": "my.secrets:encryption"}).encryption
    assert (found.module, found.attribute, found.path) == ("my.secrets", "encryption", None)


@pytest.mark.parametrize(
    ("given", "environment", "prefix"),
    [
        (None, {}, ""),
        (None, {"MOUNT_PREFIX": "/env"}, "/env"),
        ("/file", {"MOUNT_PREFIX": "/env"}, "/file"),
        ("/", {}, ""),
        ("", {"MOUNT_PREFIX": "/env"}, ""),
    ],
)
def test_mount_prefix_comes_from_file_or_environment(load, given, environment, prefix):
    http = {} if given is None else {"mount_prefix": given}
    assert load(environment, http=http).http.mount_prefix == prefix


def test_serde_section_lists_the_allowed_types(load):
    serde = {
        "allowed_msgpack_modules": ["a.b:C", "a.b", ["d", "E"], ["f"]],
        "allowed_json_modules": ["a:B"],
        "pickle_fallback": True,
    }
    found = load(checkpointer={"serde": serde}).serde
    assert found == SerdeSettings((("a.b", "C"), ("a.b",), ("d", "E"), ("f",)), (("a", "B"),), True)


@pytest.mark.parametrize(
    ("sections", "text"),
    [
        ({"http": []}, '"http" in'),
        ({"http": {"app": 5}}, '"http.app" in'),
        ({"http": {"app": "app.py"}}, 'must be given as "file.py:variable"'),
        ({"http": {"disable_store": "yes"}}, '"http.disable_store" in'),
        ({"http": {"middleware_order": "random"}}, '"http.middleware_order" in'),
        ({"http": {"mount_prefix": "agents"}}, '"http.mount_prefix" in'),
        ({"http": {"mount_prefix": "/a b"}}, '"http.mount_prefix" in'),
        ({"http": {"mount_prefix": "/noauth"}}, '"http.mount_prefix" in'),
        ({"http": {"cors": "*"}}, '"http.cors" in'),
        ({"http": {"cors": {"allow_origins": "*"}}}, '"http.cors.allow_origins" in'),
        ({"http": {"cors": {"allow_origin_regex": "("}}}, "is no regular expression"),
        ({"http": {"cors": {"allow_origin_regex": 5}}}, "must be a text"),
        ({"http": {"cors": {"max_age": True}}}, '"http.cors.max_age" in'),
        ({"http": {"configurable_headers": ["x"]}}, '"http.configurable_headers" in'),
        ({"http": {"configurable_headers": {"includes": [1]}}}, "must be a list of texts"),
        ({"encryption": "x.py:y"}, '"encryption" in'),
        ({"encryption": {"path": "x"}}, '"encryption.path" in'),
        ({"checkpointer": {"serde": []}}, '"checkpointer.serde" in'),
        (
            {"checkpointer": {"serde": {"allowed_msgpack_modules": "x"}}},
            '"checkpointer.serde.allowed_msgpack_modules" in',
        ),
        ({"checkpointer": {"serde": {"allowed_json_modules": [5]}}}, "must list texts like"),
        ({"checkpointer": {"serde": {"allowed_json_modules": ["a:b:c"]}}}, "must list texts like"),
        ({"checkpointer": {"serde": {"pickle_fallback": 1}}}, "must be true or false"),
    ],
)
def test_invalid_section_is_refused_with_its_reason(load, sections, text):
    with pytest.raises(SettingsError) as caught:
        load(**sections)
    assert text in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("variable", ["LOOMLINE_ENCRYPTION_KEYS", "LANGGRAPH_AES_KEY"])
def test_keys_are_not_repeated(load, variable):
    with pytest.raises(SettingsError) as caught:
        load({variable: "my wrong key"})
    assert variable in str(caught.value)
    assert "wrong" not in str(caught.value)
    found = load({variable: "0123456789abcdef"})
    assert "0123456789abcdef" not in repr(found)


@pytest.mark.parametrize("value", ["-1", "x", "1e3"])
def test_request_rate_must_be_a_number(load, value):
    with pytest.raises(SettingsError, match="LOOMLINE_REQUESTS_PER_SECOND"):
        load({"LOOMLINE_REQUESTS_PER_SECOND": value})
    assert load({"LOOMLINE_REQUESTS_PER_SECOND": "0.5"}).requests_per_second == 0.5


WHOLE = {
    "LANGGRAPH_AUTH": {"path": "/app/auth.py:auth", "cache": {"ttl_seconds": 5}},
    "LANGGRAPH_HTTP": {"app": "./web.py:app", "disable_store": True, "disable_webhooks": True},
    "LANGGRAPH_STORE": {"ttl": {"default_ttl": 7}},
    "LANGGRAPH_CHECKPOINTER": {"ttl": {"sweep_limit": 9}, "serde": {"pickle_fallback": True}},
    "LANGGRAPH_ENCRYPTION": {"path": "./sealed.py:sealed"},
    "LANGGRAPH_WEBHOOKS": {"url": {"allowed_ports": [443]}},
}


def test_sections_in_the_environment(load, tmp_path):
    found = load({name: json.dumps(section) for name, section in WHOLE.items()})
    assert (str(found.auth.path.path), found.auth.cache.ttl_seconds) == ("/app/auth.py", 5)
    assert (found.http.app.path, found.http.disabled) == (
        tmp_path / "web.py", {"store", "webhooks"},
    )  # fmt: skip
    assert found.store.default_ttl_minutes == 7
    assert (found.thread_ttl.sweep_limit, found.serde.pickle) == (9, True)
    assert found.encryption.path == tmp_path / "sealed.py"
    assert found.webhooks.policy.allowed_ports == (443,)
    assert found.webhooks.policy.require_https
    assert not found.webhooks.enabled
    assert found.warnings == ()


def test_graphs_in_the_environment(tmp_path):
    path = tmp_path / "langgraph.json"
    path.write_text('{"env": {"LANGSERVE_GRAPHS": {"agent": {"path": "/app/agent.py:graph"}}}}')
    (graph,) = load_settings({"config": str(path)}, {}, dev=False).graphs
    assert (graph.graph_id, str(graph.path)) == ("agent", "/app/agent.py")


def test_a_section_of_the_file_counts_as_a_whole(load):
    theirs = {"LANGGRAPH_STORE": '{"ttl": {"default_ttl": 7}}', "LANGGRAPH_HTTP": "{no"}
    found = load(theirs, store={"ttl": {"refresh_on_read": False}}, http={})
    assert found.store.default_ttl_minutes is None
    assert not found.store.refresh_on_read
    assert found.http == HttpSettings()
    http, store = found.warnings
    assert "LANGGRAPH_HTTP is left out" in http
    assert "LANGGRAPH_STORE is left out" in store


@pytest.mark.parametrize("nothing", ["", "null"])
def test_a_variable_without_a_section(load, nothing):
    assert load({"LANGGRAPH_AUTH": nothing, "LANGGRAPH_HTTP": nothing}).auth is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{no", "LANGGRAPH_HTTP is not valid JSON"),
        ("[]", "LANGGRAPH_HTTP must contain a JSON object"),
        ('"http"', "LANGGRAPH_HTTP must contain a JSON object"),
        ("[" * 100_000, "LANGGRAPH_HTTP is nested too deeply"),
        ('{"app": 5}', '"http.app" in LANGGRAPH_HTTP must be a text.'),
        ('{"cors": {"max_age": -1}}', '"http.cors.max_age" in LANGGRAPH_HTTP must be'),
    ],
)
def test_variables_that_do_not_fit(load, text, said):
    with pytest.raises(SettingsError) as caught:
        load({"LANGGRAPH_HTTP": text})
    assert said in str(caught.value)
