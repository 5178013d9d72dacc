"""The sections of langgraph.json about the web side, encryption and types."""

import json

import pytest

from weft.server.settings import (
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


def test_nothing_is_needed(load):
    found = load()
    assert (found.http, found.serde, found.encryption) == (HttpSettings(), SerdeSettings(), None)
    assert load(http=None, encryption=None, checkpointer={"serde": None}).http == HttpSettings()
    assert found.http.cors.allow_origins == ("*",)


def test_http(load, tmp_path):
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


def test_a_module(load):
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
def test_mount_prefix(load, given, environment, prefix):
    http = {} if given is None else {"mount_prefix": given}
    assert load(environment, http=http).http.mount_prefix == prefix


def test_types(load):
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
            {"checkpointer": {"serde": {"allowed_msgpack_modules": True}}},
            '"checkpointer.serde.allowed_msgpack_modules" in',
        ),
        ({"checkpointer": {"serde": {"allowed_json_modules": [5]}}}, "must list texts like"),
        ({"checkpointer": {"serde": {"allowed_json_modules": ["a:b:c"]}}}, "must list texts like"),
        ({"checkpointer": {"serde": {"pickle_fallback": 1}}}, "must be true or false"),
    ],
)
def test_what_does_not_fit(load, sections, text):
    with pytest.raises(SettingsError) as caught:
        load(**sections)
    assert text in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("variable", ["WEFT_ENCRYPTION_KEYS", "LANGGRAPH_AES_KEY"])
def test_keys_are_not_repeated(load, variable):
    with pytest.raises(SettingsError) as caught:
        load({variable: "my wrong key"})
    assert variable in str(caught.value)
    assert "wrong" not in str(caught.value)
    found = load({variable: "0123456789abcdef"})
    assert "0123456789abcdef" not in repr(found)


@pytest.mark.parametrize("value", ["-1", "x", "1e3"])
def test_rates_are_numbers(load, value):
    with pytest.raises(SettingsError, match="WEFT_REQUESTS_PER_SECOND"):
        load({"WEFT_REQUESTS_PER_SECOND": value})
    assert load({"WEFT_REQUESTS_PER_SECOND": "0.5"}).requests_per_second == 0.5
