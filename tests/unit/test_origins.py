"""Which requests of web pages are refused, as a table of what browsers send."""

import json
import re
import socket

import pytest

from loomline.server.domain.origins import (
    BrowserPolicy,
    Hosts,
    Origins,
    Visit,
    plain_origin,
    refusal,
    split_authority,
)
from loomline.server.settings import SettingsError, browser_policy, browser_warnings, load_settings

NEAR = BrowserPolicy(Hosts(frozenset({"127.0.0.1"})))
FAR = BrowserPolicy(Hosts(frozenset({"box"}), addresses=True), open_probes=True)
NAMED = BrowserPolicy(
    Hosts(frozenset({"agents.example.com", "*.inner.example"})),
    Origins(frozenset({"https://chat.example.com"}), re.compile(r"https://pr-\d+\.example\.com")),
)
KNOWN = BrowserPolicy(None, Origins(), known_callers=True)
KNOWN_NAMED = BrowserPolicy(None, NAMED.origins, known_callers=True)
HOST = "127.0.0.1:2024"
POST = {"host": HOST, "reads": False}


@pytest.mark.parametrize(
    ("policy", "allowed", "refused"),
    [
        (
            NEAR,
            ["localhost", "localhost:2024", "LocalHost:1", "127.0.0.1:2024", "127.9.9.9", "[::1]:80",
             "my.localhost:2024", "localhost."],
            ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "192.168.1.5:2024",
             "8.8.8.8", "0.0.0.0:2024", "evil@localhost", "localhost:99999999", "", "[::1", "a b",
             "localhost/x", "localhost,evil.example"],
        ),
        (
            FAR,
            ["box:2024", "192.168.1.5:2024", "8.8.8.8", "[2001:db8::1]:2024", "localhost"],
            ["evil.example:2024", "box.evil.example", "1.2.3.4.nip.io"],
        ),
        (
            NAMED,
            ["agents.example.com", "AGENTS.example.com:443", "a.inner.example", "a.b.inner.example"],
            ["example.com", "xagents.example.com", "inner.example", "ainner.example"],
        ),
        (KNOWN, ["anything.example", "", "evil.example"], []),
    ],
)  # fmt: skip
def test_host_is_accepted_only_where_it_is_a_name_of_the_server(policy, allowed, refused):
    for host in allowed:
        assert refusal(Visit(host=host), policy) is None, host
    for host in refused:
        reason = refusal(Visit(host=host), policy)
        assert reason is not None, host
        assert f"'{host}'" in reason
        assert "--allowed-hosts" in reason


def test_request_without_host_passes_as_no_browser_sends_it():
    assert refusal(Visit(host=None), NEAR) is None


def test_probe_under_a_foreign_name_passes_beyond_this_machine_only():
    assert refusal(Visit(host="loomline:2024", probe=True), FAR) is None
    assert refusal(Visit(host="loomline:2024", probe=True), NEAR) is not None


@pytest.mark.parametrize("websocket", [False, True])
@pytest.mark.parametrize(
    ("policy", "host", "allowed", "refused"),
    [
        (
            NEAR,
            HOST,
            ["http://localhost:3000", "https://localhost", "http://127.0.0.1:5173", "http://[::1]:1",
             "http://app.localhost", f"http://{HOST}"],
            ["https://evil.example", "null", "", "http://192.168.1.5", "http://localhost.evil.example",
             "file://", "chrome-extension://abc", "http://localhost@evil.example", "localhost",
             "https://smith.langchain.com", "http://localhost:3000/", "ws://localhost"],
        ),
        (
            FAR,
            "192.168.1.5:2024",
            ["http://192.168.1.5:2024", "http://localhost:3000"],
            ["http://192.168.1.5", "http://192.168.1.5:2025", "http://192.168.1.6:2024"],
        ),
        (
            NAMED,
            "agents.example.com",
            ["https://chat.example.com", "https://pr-12.example.com", "https://agents.example.com",
             "http://agents.example.com"],
            ["http://chat.example.com", "https://chat.example.com:8443", "https://pr-x.example.com",
             "https://pr-1.example.com.evil.example", "https://agents.example.com:444"],
        ),
    ],
)  # fmt: skip
def test_origin_is_accepted_where_it_is_local_the_same_or_named(
    policy, host, allowed, refused, websocket
):
    for origin in allowed:
        visit = Visit(host=host, origin=origin, reads=websocket, websocket=websocket)
        assert refusal(visit, policy) is None, origin
    for origin in refused:
        visit = Visit(host=host, origin=origin, reads=websocket, websocket=websocket)
        reason = refusal(visit, policy)
        assert reason is not None, origin
        assert origin in reason
        assert "--allowed-origins" in reason


def test_plain_page_of_a_secure_server_is_foreign():
    visit = Visit(host="agents.example.com", origin="http://agents.example.com", secure=True)
    assert refusal(visit, NAMED) is not None


def test_every_origin_is_accepted_where_that_was_decided():
    policy = BrowserPolicy(Hosts(), Origins(every=True))
    for origin in ("https://evil.example", "null"):
        assert refusal(Visit(host=HOST, origin=origin, reads=False), policy) is None
    assert refusal(Visit(host=HOST, site="cross-site"), policy) is None
    assert refusal(Visit(host="evil.example"), policy) is not None


@pytest.mark.parametrize("site", [None, "same-origin", "same-site", "none"])
def test_request_without_origin_passes_unless_it_is_cross_site(site):
    assert refusal(Visit(host=HOST, site=site, mode="cors"), NEAR) is None


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({"mode": "navigate", "page": True}, True),
        ({"mode": "navigate", "page": False}, False),
        ({"mode": "navigate", "page": True, "reads": False}, False),
        ({"mode": "no-cors", "page": True}, False),
        ({"mode": None, "page": True}, False),
        ({"mode": "websocket", "page": True, "websocket": True}, False),
    ],
)
def test_cross_site_request_passes_only_as_a_link_to_a_page(changes, passes):
    visit = Visit(host=HOST, site="cross-site", **changes)
    assert (refusal(visit, NEAR) is None) == passes


@pytest.mark.parametrize(
    ("visit", "passes"),
    [
        # Credentials in headers: CORS decides what a page may read.
        (Visit(host="a.example", origin="https://b.example", reads=False), True),
        (Visit(host="a.example", origin="https://b.example", cookie=True), True),
        # Cookies come along with whatever a page sends.
        (Visit(host="a.example", origin="https://b.example", reads=False, cookie=True), False),
        (Visit(host="a.example", origin="https://b.example", websocket=True, cookie=True), False),
        (Visit(host="a.example", origin="https://a.example", reads=False, cookie=True), True),
        (Visit(host="up", origin="https://a.example", site="same-origin", reads=False, cookie=True),
         True),
        (Visit(host="a.example", site="cross-site", reads=False, cookie=True), False),
        (Visit(host="a.example", origin="http://localhost:1", reads=False, cookie=True), False),
        (Visit(host="localhost", origin="http://localhost:1", reads=False, cookie=True), True),
        (Visit(host="a.example", reads=False, cookie=True), True),
    ],
)  # fmt: skip
def test_cookie_of_a_known_caller_is_not_accepted_from_a_foreign_page(visit, passes):
    assert (refusal(visit, KNOWN) is None) == passes


def test_configured_origins_hold_for_websockets_of_known_callers():
    def socket(origin):
        return refusal(Visit(host="a.example", origin=origin, websocket=True), KNOWN_NAMED)

    assert socket("https://chat.example.com") is None
    assert socket("https://a.example") is None
    assert socket(None) is None
    assert socket("https://evil.example") is not None
    assert socket("null") is not None


def test_refusal_shows_control_characters_as_question_marks():
    reason = refusal(Visit(host=HOST, origin="https://e\x1b[31m.example" + "x" * 500), NEAR)
    assert reason is not None
    assert "e?[31m" in reason
    assert len(reason) < 500


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A.example", ("a.example", None)),
        ("a.example.:80", ("a.example", 80)),
        ("[::1]:2024", ("[::1]", 2024)),
        ("::1", None),
        ("a:b", None),
        ("", None),
    ],
)
def test_authority_is_split_into_host_and_port(text, expected):
    assert split_authority(text) == expected


def test_origin_is_written_the_way_browsers_write_it():
    assert plain_origin("https://Chat.Example.com/") == "https://chat.example.com"
    assert plain_origin(" http://[::1]:80 ") == "http://[::1]"
    assert plain_origin("https://a.example:8443") == "https://a.example:8443"
    for text in ("a.example", "https://a.example/path", "https://", "https://a:b", "null"):
        with pytest.raises(ValueError, match="must be origins"):
            plain_origin(text)


@pytest.fixture
def load(tmp_path):
    def load(*, dev=False, document="{}", **flags):
        config = tmp_path / "langgraph.json"
        graphs = {"graphs": {"agent": "./agent.py:graph"}}
        config.write_text(json.dumps(graphs | json.loads(document)))
        return load_settings({"config": str(config), **flags}, {}, dev=dev)

    return load


def test_policy_of_a_server_on_loopback(load):
    policy = browser_policy(load())
    assert policy.hosts == Hosts(frozenset({"127.0.0.1"}))
    assert (policy.origins.configured, policy.known_callers, policy.open_probes) == (False,) * 3
    assert browser_warnings(load()) == ()


@pytest.mark.parametrize("bound", ["0.0.0.0", "::"])
def test_policy_of_a_server_on_all_interfaces_accepts_addresses_and_its_host_name(load, bound):
    policy = browser_policy(load(host=bound))

    assert policy.hosts is not None
    assert policy.hosts.addresses
    assert policy.hosts.include(socket.gethostname().lower())
    assert not policy.hosts.include("evil.example")
    assert policy.open_probes


def test_options_and_the_section_http_add_names(load):
    document = (
        '{"http": {"allowed_hosts": ["a.example"], "cors": {"allow_origins": ["https://c.example"],'
        ' "allow_origin_regex": "https://d.*"}}}'
    )
    settings = load(
        document=document,
        allowed_hosts="b.example, *.e.example",
        allowed_origins="https://B.example/",
    )
    policy = browser_policy(settings)
    assert policy.hosts is not None
    assert policy.hosts.names >= {"a.example", "b.example", "*.e.example"}
    assert policy.origins.names == {"https://c.example", "https://b.example"}
    assert policy.origins.name("https://dd")


def test_studio_is_named_in_dev_only(load):
    hosted = "https://smith.langchain.com"
    assert browser_policy(load(dev=True, studio_origin="langsmith")).origins.name(hosted)
    other = load(dev=True, studio_origin="https://studio.example.com")
    assert browser_policy(other).origins.name("https://studio.example.com")
    serving = load(studio_origin="langsmith")
    assert not browser_policy(serving).origins.name(hosted)
    assert any("studio_origin" in each for each in browser_warnings(serving))


@pytest.mark.parametrize(
    ("document", "flags", "word"),
    [
        ('{"http": {"cors": {"allow_origins": ["*"]}}}', {}, "EVERY WEB PAGE"),
        ("{}", {"allowed_origins": "*"}, "EVERY WEB PAGE"),
        ("{}", {"allowed_hosts": "*"}, "allowed hosts"),
        ('{"http": {"allowed_hosts": ["*"]}}', {}, "allowed hosts"),
    ],
)
def test_wildcard_without_auth_is_warned_of(load, document, flags, word):
    (warning,) = browser_warnings(load(document=document, **flags))
    assert word in warning


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allowed_hosts", "https://a.example"),
        ("allowed_hosts", "a.example:80"),
        ("allowed_hosts", "a.*.example"),
        ("allowed_origins", "a.example"),
        ("allowed_origins", "https://a.example/path"),
        ("studio_origin", "nowhere"),
    ],
)
def test_malformed_name_is_refused_at_the_start(load, name, value):
    with pytest.raises(SettingsError, match=name.replace("_", "-")):
        load(**{name: value})


def test_malformed_host_in_the_file_is_refused_at_the_start(load):
    with pytest.raises(SettingsError, match=r'"http\.allowed_hosts"'):
        load(document='{"http": {"allowed_hosts": ["https://a.example"]}}')
