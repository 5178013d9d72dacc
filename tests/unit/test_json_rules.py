"""Bounds on the JSON of requests."""

import json
import re

import orjson
import pytest
from hypothesis import example, given, strategies as st

from loomline.server.api.jsonrules import JsonRules, TooManyValues, ValueCount, count_values
from loomline.server.domain.errors import InvalidInput

STRINGS = st.text(st.sampled_from('[{,"\\]}a\u00e9\n'), max_size=12)
VALUES = st.recursive(
    st.none() | st.integers() | STRINGS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(STRINGS, inner, max_size=5),
    max_leaves=30,
)


def structure(value):
    """The objects, the arrays, and one less than the members of each."""
    if isinstance(value, dict | list):
        inside = value.values() if isinstance(value, dict) else value
        return 1 + max(0, len(value) - 1) + sum(map(structure, inside))
    return 0


def refused(pieces, most):
    count = ValueCount(most)
    try:
        for piece in pieces:
            count.add(piece)
    except TooManyValues:
        return True
    return False


@given(VALUES, st.lists(st.integers(0, 400), max_size=6), st.booleans())
@example(["\\", "\\\\", '\\"', "[,{"], [3, 4, 5, 6, 7, 8, 9, 10, 11, 12], True)
def test_values_are_counted_exactly_however_json_is_cut(value, cuts, ascii_only):
    raw = json.dumps(value, ensure_ascii=ascii_only).encode()
    at = sorted({cut for cut in cuts if cut < len(raw)})
    pieces = [raw[a:b] for a, b in zip([0, *at], [*at, len(raw)], strict=True)]
    found = structure(value)
    assert not refused(pieces, found)
    if found:
        assert refused(pieces, found - 1)


def test_a_large_string_is_one_value_whatever_it_holds():
    count_values(orjson.dumps({"document": '[{,"\\' * 1_000_000}), 10)


def test_json_of_too_many_values_is_refused_before_it_has_arrived():
    count, taken = ValueCount(500_000), 0
    with pytest.raises(TooManyValues, match="more than 500000 objects, arrays and members"):
        for _ in range(1000):
            count.add(b"[],[]," * 20_000)
            taken += 1
    assert taken < 8


RULES = JsonRules(500_000, {"metadata": 2000, "config": 1000})


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"metadata": {"a": "x" * 2000}}, "metadata"),
        ({"metadata": {"a": [[]] * 50}}, "metadata"),
        ({"config": {"tags": ["x" * 1000]}}, "config"),
        ([{}, {"metadata": {"a": "x" * 2000}}], "metadata"),
        ({"id": 1, "params": {"metadata": {"a": "x" * 2000}}}, "metadata"),
    ],
    ids=["long", "many", "config", "batch", "command"],
)
def test_a_field_beyond_its_limit_is_refused_by_name(body, name):
    with pytest.raises(InvalidInput, match=re.escape(f"'{name}' is larger than the limit of ")):
        RULES.check(orjson.dumps(body), body)


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"a": "x" * 1800}, "config": {"a": "x" * 900}, "input": "x" * 100_000},
        {"input": {"metadata": "x" * 100_000}, "values": [[]] * 10_000},
        {"metadata": None, "config": 5},
        ["text", 5, None],
        "x" * 100_000,
    ],
)
def test_fields_within_their_limits_and_input_of_any_size_are_accepted(body):
    RULES.check(orjson.dumps(body), body)
