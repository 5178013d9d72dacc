"""How near vectors are to another one: exactly, for as many as there are.

Every vector is compared. The alternative at hand, sqlite-vec, compares every one as well, and
cannot be loaded into the many builds of Python that lack loadable extensions.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from operator import mul
from types import ModuleType
from typing import Protocol

from loomline.server.storage.indexing import unit


class Scorer(Protocol):
    def __call__(self, vectors: Sequence[bytes]) -> Sequence[float]:
        """Return the cosine of each vector with the query of the scorer."""
        ...


def packed(vector: Sequence[float], dims: int) -> bytes:
    """Return a vector in its stored form: of length one, as 4-byte floats.

    Raises:
        ValueError: the vector does not have ``dims`` numbers, or a number is not finite.
    """
    return struct.pack(f"<{dims}f", *unit(vector, dims))


def scorer(query: bytes) -> Scorer:
    """Return the function that compares stored vectors with a query in the same form."""
    numpy = _numpy()
    return plain_scorer(query) if numpy is None else _matrix_scorer(numpy, query)


def _numpy() -> ModuleType | None:
    """Return numpy if it is installed: a vector of 1,500 numbers takes 1 us instead of 40.

    The first search loads it. Loading takes 0.15 s, and most servers never search by meaning.
    """
    try:
        import numpy  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return numpy


def plain_scorer(query: bytes) -> Scorer:
    unpack = struct.Struct(f"<{len(query) // 4}f").unpack
    wanted = unpack(query)
    return lambda vectors: [sum(map(mul, wanted, unpack(vector))) for vector in vectors]


def _matrix_scorer(numpy: ModuleType, query: bytes) -> Scorer:
    wanted = numpy.frombuffer(query, dtype="<f4")

    def score(vectors: Sequence[bytes]) -> Sequence[float]:
        matrix = numpy.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), -1)
        scores: list[float] = (matrix @ wanted).tolist()
        return scores

    return score
