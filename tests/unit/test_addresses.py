"""Which addresses are public: ranges of the registries, both ends of each, and their neighbours."""

from ipaddress import IPv6Address, ip_address

import pytest

from loomline.server.domain.addresses import is_loopback, reach
from loomline.server.domain.webhooks import WebhookBlocked, WebhookPolicy, check_addresses

# The registries' ranges as first and last address, then the nearest public neighbours.
RANGES = {
    "loopback": ["127.0.0.0", "127.0.0.1", "127.1.2.3", "127.255.255.255", "::1"],
    "link-local": [
        "169.254.0.0", "169.254.169.254", "169.254.170.2", "169.254.255.255",
        "fe80::", "fe80::1", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ],
    "private": [
        "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255",
        "100.64.0.0", "100.100.100.200", "100.127.255.255", "168.63.129.16",
        "172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.8", "192.0.0.9", "192.0.0.170",
        "192.0.0.192", "192.0.0.255", "192.0.2.0", "192.0.2.255", "192.31.196.1", "192.52.193.1",
        "192.88.99.0", "192.88.99.1", "192.88.99.255", "192.168.0.0", "192.168.255.255",
        "192.175.48.1", "198.18.0.0", "198.19.255.255", "198.51.100.0", "198.51.100.255",
        "203.0.113.0", "203.0.113.255", "224.0.0.0", "224.0.0.1", "239.255.255.255",
        "240.0.0.0", "255.255.255.254", "255.255.255.255",
        "::", "::2", "::7f00:1", "::808:808", "::ffff:0:808:808", "64:ff9b:1::", "64:ff9b:1::808:808",
        "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "100::", "100::ffff", "100:0:0:1::1", "1fff::1",
        "2001::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:1::1", "2001:2::1", "2001:3::1",
        "2001:4:112::1", "2001:10::1", "2001:20::1", "2001:30::1",
        "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::", "2001:db8:ffff:ffff::1",
        "2620:4f:8000::", "2620:4f:8000:ffff::1", "3fff::", "3fff::1", "3fff:fff:ffff::1",
        "4000::1", "5f00::", "5f00::1", "fc00::", "fd00:ec2::254",
        "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fec0::", "fec0::1", "feff::1",
        "ff00::", "ff02::1", "ff0e::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ],
    "public": [
        "1.0.0.0", "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "93.184.215.14",
        "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "168.63.129.15",
        "168.63.129.17", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0",
        "191.255.255.255", "192.0.1.0", "192.0.1.255", "192.0.3.0", "192.88.98.255", "192.88.100.0",
        "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255",
        "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255",
        "2000::1", "2001:200::1", "2001:4860:4860::8888", "2001:db7::1", "2001:db9::1", "2003::1",
        "2606:2800:21f:cb07::1", "2606:4700:4700::1111", "2620:4f:7fff::1", "2620:4f:8001::1",
        "2a00:1450:4001::1", "3ffe::1", "3fff:1000::1",
    ],
}  # fmt: skip
TABLE = [(text, kind) for kind, texts in RANGES.items() for text in texts]
V4 = [(text, kind) for text, kind in TABLE if ":" not in text]


@pytest.mark.parametrize(("text", "expected"), TABLE)
def test_reach_of_an_address_is_that_of_its_registry_entry(text, expected):
    assert reach(ip_address(text)) == expected


@pytest.mark.parametrize(("text", "expected"), V4)
@pytest.mark.parametrize("form", ["mapped", "translated", "6to4"])
def test_reach_of_an_embedded_address_is_that_of_the_inner_one(text, expected, form):
    inner = int(ip_address(text))
    outer = {
        "mapped": 0xFFFF << 32 | inner,
        "translated": 0x64_FF9B << 96 | inner,
        "6to4": 0x2002 << 112 | inner << 80 | 1,
    }[form]
    assert reach(IPv6Address(outer)) == expected


@pytest.mark.parametrize(("text", "kind"), TABLE)
def test_webhook_to_an_address_is_blocked_unless_it_is_public(text, kind):
    if kind == "public":
        check_addresses([text], WebhookPolicy())
        return
    with pytest.raises(WebhookBlocked, match=f"{kind} IP range"):
        check_addresses(["8.8.8.8", text], WebhookPolicy())


def test_address_with_a_zone_is_judged_without_it():
    with pytest.raises(WebhookBlocked, match="link-local"):
        check_addresses(["fe80::1%eth0"], WebhookPolicy())


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost.", "app.localhost", "127.0.0.1", "127.8.9.1", "::1",
     "[::1]", "::ffff:127.0.0.1"],
)  # fmt: skip
def test_loopback_host_is_recognised(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["localhost.example.com", "notlocalhost", "127.0.0.1.example.com", "10.0.0.1", "0.0.0.0", "::",
     "", "127.1", "2130706433", "0x7f000001"],
)  # fmt: skip
def test_other_host_is_not_loopback(host):
    assert not is_loopback(host)
