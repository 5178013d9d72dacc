"""Comparing vectors: the fast way and the plain one give the same."""

import math
import struct

import pytest
from hypothesis import given, strategies as st

from loomline.server.storage.similarity import packed, plain_scorer, scorer

NUMBERS = st.floats(-100, 100, width=32)
VECTORS = st.lists(NUMBERS, min_size=3, max_size=3)


def cosine(one, other):
    lengths = math.hypot(*one) * math.hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths if lengths else 0.0


@given(VECTORS, st.lists(VECTORS, min_size=1, max_size=5))
def test_both_ways_are_the_cosine(query, vectors):
    stored = [packed(vector, 3) for vector in vectors]
    expected = pytest.approx([cosine(query, vector) for vector in vectors], abs=1e-5)
    assert plain_scorer(packed(query, 3))(stored) == expected
    assert scorer(packed(query, 3))(stored) == expected


def test_vectors_are_stored_normalised_as_floats():
    assert packed([3, 4], 2) == struct.pack("<2f", 0.6, 0.8)


@pytest.mark.parametrize("vector", [[1.0], [1.0, 2.0, 3.0], [math.nan, 1.0], [math.inf, 1.0]])
def test_vectors_that_cannot_be(vector):
    with pytest.raises(ValueError, match="embedding"):
        packed(vector, 2)
