"""Integers of request bodies: kept as they are, or refused."""

import pytest

from loomline.server.api.body import decode_json
from loomline.server.domain.errors import InvalidInput


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 10**18, 0])
def test_an_integer_of_64_bits_is_kept(number):
    assert decode_json(b'{"n": [%d]}' % number) == {"n": [number]}


@pytest.mark.parametrize(
    "digits",
    [str(2**64), str(-(2**63) - 1), str(2**70), str(10**200)],
)
def test_an_integer_beyond_64_bits_is_refused_with_the_remedy(digits):
    with pytest.raises(InvalidInput, match="is beyond 64 bits: send it as a string"):
        decode_json(f'{{"a": "x\\"", "n": [1, {digits}]}}'.encode())


@pytest.mark.parametrize(
    "raw",
    [
        b'{"n": "118059162071741130342400000"}',
        b'{"n": "\\"118059162071741130342400000"}',
        b'{"118059162071741130342400000": 1}',
        b"1.18059162071741130342400000",
        b"118059162071741130342400000.5",
        b"118059162071741130342400000e2",
    ],
)
def test_digits_of_strings_and_floats_are_no_integers(raw):
    decode_json(raw)
