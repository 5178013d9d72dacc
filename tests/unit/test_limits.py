"""Buckets, callers, headers: the arithmetic of limits."""

import pytest
from hypothesis import given, strategies as st

from loomline.server.api.jsonrules import check_depth
from loomline.server.api.limits import Rate, TokenBuckets, caller
from loomline.server.domain.errors import TooDeep
from loomline.server.domain.json import Encoded
from loomline.server.domain.run_spec import StoredSpec
from loomline.server.domain.secrets import is_secret, masked
from loomline.server.services.headers import HeaderPicker


class Time:
    now = 0.0

    def __call__(self):
        return self.now


def test_bucket_gives_its_tokens_and_refills_over_time():
    time = Time()
    buckets = TokenBuckets(Rate(2.0, 3), time)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b") == 0
    time.now = 0.5
    assert [buckets.take("a") for _ in range(2)] == [0, 0.5]
    time.now = 1000.0
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_there_are_only_so_many_buckets():
    buckets = TokenBuckets(Rate(1.0, 1), Time(), tracked=10)
    for number in range(100):
        buckets.take(str(number))
    assert len(buckets) == 10
    assert buckets.take("99") > 0
    assert buckets.take("0") == 0  # forgotten


@given(st.lists(st.floats(0, 10), max_size=60), st.integers(1, 5))
def test_no_more_than_the_rate(gaps, burst):
    time = Time()
    buckets = TokenBuckets(Rate(1.0, burst), time)
    taken = 0
    for gap in gaps:
        time.now += gap
        taken += buckets.take("a") == 0
        assert taken <= burst + time.now + 1e-6


class User:
    identity = "ada"


@pytest.mark.parametrize(
    ("scope", "who"),
    [
        ({"user": User(), "client": ("1.2.3.4", 5)}, "user ada"),
        ({"client": ("1.2.3.4", 5)}, "address 1.2.3.4"),
        ({"client": ("2001:db8:1:2:3::4", 5)}, "address 20010db800010002"),
        ({"client": ("2001:db8:1:2:ffff::", 5)}, "address 20010db800010002"),
        ({"client": ("::ffff:1.2.3.4", 5)}, "address 1.2.3.4"),
        ({"client": ("testclient", 5)}, "address testclient"),
        ({}, "address unknown"),
    ],
)
def test_caller_is_identified_by_user_or_address(scope, who):
    assert caller(scope) == who


@pytest.mark.parametrize("levels", [1, 7, 8])
def test_json_within_the_depth_limit_is_accepted(levels):
    value = "leaf"
    for number in range(levels):
        value = [value] if number % 2 else {"inner": value, "other": 1}
    check_depth(value, 8)
    if levels == 8:
        with pytest.raises(TooDeep):
            check_depth([value], 8)


@pytest.mark.parametrize(
    ("value", "levels"),
    [("leaf", 0), ([], 1), ({}, 1), ([[]], 2), ([1, {}], 2), ({"a": [1, {"b": {}}]}, 4)],
)
def test_levels_are_counted_with_empty_ones(value, levels):
    check_depth(value, levels)
    if levels:
        with pytest.raises(TooDeep):
            check_depth(value, levels - 1)


GIVEN = [
    ("X-Tenant", "acme"),
    ("x-internal", "no"),
    ("X-NUL", "a\0b"),
    ("checkpoint_id", "5"),
    ("__pregel_send", "5"),
    ("Langgraph_auth_user", "root"),
]


@pytest.mark.parametrize(
    ("includes", "excludes", "picked"),
    [
        ([], [], {}),
        ([], ["x-*"], {}),
        (["x-tenant"], [], {"x-tenant": "acme"}),
        (["X-T*T"], [], {"x-tenant": "acme"}),
        (["tenant"], [], {}),
        (["*"], ["*-internal", "x-nul"], {"x-tenant": "acme"}),
        (["*"], [], {"x-tenant": "acme", "x-internal": "no", "x-nul": "a\ufffdb"}),
        (["x.tenant"], [], {}),
    ],
)
def test_header_picker_follows_includes_and_excludes(includes, excludes, picked):
    assert HeaderPicker(includes, excludes).pick(GIVEN) == picked


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("Authorization", True),
        ("x-api-key", True),
        ("apikey", True),
        ("x-auth-token", True),
        ("cookie", True),
        ("x-hub-signature", True),
        ("x-monkey", False),
        ("x-tenant", False),
        ("x-user-id", False),
    ],
)
def test_values_of_secret_headers_are_masked(name, secret):
    assert is_secret(name) is secret
    assert masked([(name, "v")]) == {name: "***" if secret else "v"}


def test_requests_without_secrets_are_shown_as_they_are():
    plain = Encoded(b'{"input":{"secret":1},"config":{"configurable":{}}}')
    assert StoredSpec(plain).shown() is plain
    same = Encoded(b'{"input":{"secret_headers":1},"config":{"configurable":{"a":1}}}')
    assert StoredSpec(same).shown() == same
