"""Decisions about webhooks, and the section of the file that governs them."""

import base64
import ipaddress
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from loomline.server.domain.json import Encoded
from loomline.server.domain.webhooks import (
    Delivery,
    WebhookBlocked,
    WebhookPolicy,
    WebhookUnresolved,
    body,
    check_addresses,
    gets_headers,
    parse_target,
    retry_delay,
    secret_key,
    signature,
    signed_headers,
)
from loomline.server.settings import SettingsError, load_settings

DELIVERY = Delivery(
    webhook_id=UUID(int=1),
    run_id=UUID(int=2),
    url="https://example.com/",
    payload=Encoded(b'{"a":1}'),
    values=None,
    attempt=1,
    token="t",
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.8.9.10", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("2002:7f00:0001::", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("169.254.169.254", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "private"),
        ("0.0.0.0", "private"),
        ("::", "private"),
        ("fc00::1", "private"),
        ("224.0.0.1", "private"),
        ("ff02::1", "private"),
        ("64:ff9b::a00:1", "private"),
        ("255.255.255.255", "private"),
        ("2001:0:a00:1::", "private"),
    ],
)
def test_addresses_that_are_not_public(address, reason):
    for addresses in ([address], ["93.184.215.14", address]):
        with pytest.raises(WebhookBlocked, match=f"Webhook host blocked: {reason} IP range"):
            check_addresses(addresses, WebhookPolicy())


def test_addresses_that_are_allowed():
    check_addresses(["93.184.215.14", "2606:2800:21f:cb07::1", "64:ff9b::808:808"], WebhookPolicy())
    check_addresses(["127.0.0.1", "::1", "::ffff:127.0.0.1"], WebhookPolicy(allow_loopback=True))
    some = WebhookPolicy(allowed_networks=(ipaddress.ip_network("10.0.0.0/8"),))
    check_addresses(["10.1.2.3", "::ffff:10.1.2.3"], some)
    with pytest.raises(WebhookBlocked):
        check_addresses(["10.1.2.3", "192.168.0.1"], some)
    with pytest.raises(WebhookUnresolved):
        check_addresses([], some)


def test_lists_of_domains_and_ports():
    policy = WebhookPolicy(allowed_domains=("example.com", "*.example.org"), allowed_ports=(443,))
    for host in ("example.com", "EXAMPLE.com.", "a.example.org", "a.b.example.org"):
        assert parse_target(f"https://{host}/", policy).port == 443
    for host in ("a.example.com", "example.org", "evilexample.org", "example.com.evil.org"):
        with pytest.raises(WebhookBlocked, match="not in an allowed domain"):
            parse_target(f"https://{host}/", policy)
    with pytest.raises(WebhookBlocked, match="8443 is not an allowed port"):
        parse_target("https://example.com:8443/", policy)


def test_the_parts_of_a_url():
    target = parse_target("https://ann:secret@Bücher.example:8443/a/b?c=d#e", WebhookPolicy())
    assert (target.host, target.port, target.path) == ("xn--bcher-kva.example", 8443, "/a/b?c=d")
    assert target.authority == "xn--bcher-kva.example:8443"
    assert parse_target("http://[2001:db8::1]", WebhookPolicy()).authority == "[2001:db8::1]"


def test_forms_that_are_refused():
    with pytest.raises(WebhookBlocked, match="Webhook must use https"):
        parse_target("http://example.com", WebhookPolicy(require_https=True))
    with pytest.raises(WebhookBlocked, match="at most 10 characters"):
        parse_target("https://example.com", WebhookPolicy(max_url_length=10))


def test_the_body_is_json():
    assert json.loads(body(DELIVERY, NOW)) == {
        "a": 1,
        "webhook_sent_at": "2026-01-01T00:00:00+00:00",
        "values": None,
    }


def test_a_signature_as_standard_webhooks_computes_it():
    key = secret_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    # The vector that its libraries are tested with.
    message = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert signature(key, *message) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    headers = signed_headers(DELIVERY, b"{}", NOW, [key])
    assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert headers["webhook-signature"] == signature(
        key, headers["webhook-id"], headers["webhook-timestamp"], b"{}"
    )
    assert "webhook-signature" not in signed_headers(DELIVERY, b"{}", NOW, [])


def test_waits_grow_and_are_bounded():
    waits = [retry_delay(attempt, 1.0, 0.5) for attempt in range(1, 9)]
    assert waits == [1, 4, 16, 64, 256, 1024, 3600, 3600]
    assert retry_delay(10_000, 1.0, 1.0) == 4500
    assert retry_delay(2, 1.0, 0.0) == 3.0


@pytest.fixture
def load(tmp_path):
    def load(environment=None, http=None, **section):
        path = tmp_path / "langgraph.json"
        document = {"graphs": {"a": "./a.py:a"}, "env": {"LG_WEBHOOK_FROM_FILE": "file"}}
        document |= {"webhooks": section} if section else {}
        path.write_text(json.dumps(document | ({"http": http} if http else {})))
        return load_settings({"config": str(path)}, environment or {}, dev=False)

    return load


def test_empty_webhook_section_gives_the_default_policy(load):
    assert load().webhooks.policy == WebhookPolicy()
    assert load(url={}).webhooks.policy == WebhookPolicy(require_https=True)
    assert load().webhooks.enabled
    assert not load(http={"disable_webhooks": True}).webhooks.enabled


def test_webhook_headers_are_resolved_from_the_environment(load):
    headers = {"A": "x ${{ env.LG_WEBHOOK_A }}-${{env.LG_WEBHOOK_FROM_FILE}}", "B": "$"}
    url = {"allowed_domains": ["hooks.example.com"]}
    found = load({"LG_WEBHOOK_A": "1"}, headers=headers, url=url).webhooks
    assert found.headers == {"A": "x 1-file", "B": "$"}
    assert "file" not in repr(found)
    own = {"env_prefix": "MY_", "headers": {"A": "${{ env.MY_A }}"}, "url": url}
    assert load({"MY_A": "1"}, **own).webhooks.headers


@pytest.mark.parametrize("url", [None, {}, {"allowed_domains": []}, {"disable_loopback": False}])
@pytest.mark.parametrize("value", ["plain", "Bearer ${{ env.LG_WEBHOOK_FROM_FILE }}"])
def test_headers_without_allowed_domains_are_refused_with_the_remedy(load, url, value):
    section = {"headers": {"authorization": value}} | ({} if url is None else {"url": url})
    with pytest.raises(SettingsError) as caught:
        load(**section)
    assert '"allowed_domains": ["hooks.example.com"]' in str(caught.value)
    assert "Bearer" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "domains", "sent"),
    [
        ("https://hooks.example.com/", ("hooks.example.com",), True),
        ("https://HOOKS.example.com./", ("hooks.example.com",), True),
        ("https://a.example.org/", ("*.example.org",), True),
        ("https://example.org/", (), False),
        ("https://127.0.0.1/", (), False),
        ("/threads", ("*.example.org",), False),
        ("/threads", (), False),
    ],
)
def test_configured_headers_go_to_listed_hosts_only(url, domains, sent):
    policy = WebhookPolicy(allowed_domains=domains, allow_loopback=True)
    assert gets_headers(parse_target(url, policy), policy) is sent


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ({"url": []}, '"webhooks.url" in'),
        ({"url": {"allowed_domains": [1]}}, "allowed_domains"),
        ({"url": {"allowed_ports": ["443"]}}, "allowed_ports"),
        ({"url": {"allowed_ports": [True]}}, "allowed_ports"),
        ({"url": {"require_https": "yes"}}, "require_https"),
        ({"url": {"max_url_length": 0}}, "max_url_length"),
        ({"env_prefix": 1}, "env_prefix"),
        ({"headers": {"A": 1}}, "cannot be sent"),
        ({"headers": {"Host": "x"}}, "cannot be sent"),
        ({"headers": {"a b": "x"}}, "cannot be sent"),
        ({"headers": {"A": "a\nb"}}, "plain ASCII"),
        ({"headers": {"A": "${{ env.SECRET }}"}}, "begin with LG_WEBHOOK_, not SECRET"),
        ({"headers": {"A": "${{ env.LG_WEBHOOK_B }}"}}, "LG_WEBHOOK_B, which is not set"),
    ],
)
def test_invalid_webhook_section_is_refused_with_its_reason(load, section, text):
    with pytest.raises(SettingsError) as caught:
        load({"SECRET": "s"}, **section)
    assert text in str(caught.value)
    assert str(caught.value).endswith(".")


def test_secrets_and_networks_are_read_from_the_environment(load):
    key = base64.b64encode(b"x" * 24).decode()
    found = load({"LOOMLINE_WEBHOOK_SECRET": f"whsec_{key} {key}"})
    assert found.webhook_secret == (b"x" * 24,) * 2
    assert "xxx" not in repr(found)
    found = load({"LOOMLINE_WEBHOOK_NETWORKS": "10.0.0.0/8, ::1"})
    assert [str(each) for each in found.webhooks.policy.allowed_networks] == [
        "10.0.0.0/8", "::1/128",
    ]  # fmt: skip
    for wrong in ("whsec_", "whsec_abc", "short", "whsec_!!!!"):
        with pytest.raises(SettingsError) as caught:
            load({"LOOMLINE_WEBHOOK_SECRET": wrong})
        assert wrong not in str(caught.value).replace("'whsec_'", "")
    with pytest.raises(SettingsError, match=r"10\.0\.0\.0/8"):
        load({"LOOMLINE_WEBHOOK_NETWORKS": "here"})
