"""From the values of items to the texts that stand for them, and on to vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from langgraph.store.base import PutOp, SearchOp
from langgraph.store.base.embed import get_text_at_path

from loomline.server.ports.store import IndexOptions


@dataclass(frozen=True, slots=True)
class Texts:
    """What is to be embedded: texts of items by their place in a batch, then queries."""

    documents: list[tuple[int, str]]
    queries: list[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Vectors:
    """What came of it, by the same places."""

    documents: dict[int, list[Sequence[float]]]
    queries: dict[int, Sequence[float]]


def texts_of(
    index: IndexOptions,
    puts: Sequence[tuple[int, PutOp]],
    searches: Sequence[tuple[int, SearchOp]],
) -> Texts:
    return Texts(
        [(place, text) for place, put in puts for text in _item_texts(index, put)],
        [(place, search.query) for place, search in searches if search.query],
    )


def embed(index: IndexOptions, texts: Texts) -> Vectors:
    documents = [text for _, text in texts.documents]
    made = index.embeddings.embed_documents(documents) if documents else []
    queries = [index.embeddings.embed_query(text) for _, text in texts.queries]
    return _placed(texts, made, queries)


async def aembed(index: IndexOptions, texts: Texts) -> Vectors:
    documents = [text for _, text in texts.documents]
    made = await index.embeddings.aembed_documents(documents) if documents else []
    queries = [await index.embeddings.aembed_query(text) for _, text in texts.queries]
    return _placed(texts, made, queries)


def unit(vector: Sequence[float], dims: int) -> list[float]:
    """Return a vector with the length of one, or of zero.

    Raises:
        ValueError: it has not ``dims`` numbers, or what it has are no numbers.
    """
    if len(vector) != dims:
        raise ValueError(
            f"The embeddings of the store must have {dims} numbers, as 'dims' says in its"
            f" configuration; this one has {len(vector)}."
        )
    length = math.hypot(*vector)
    if not math.isfinite(length):
        raise ValueError("An embedding has numbers that are not finite.")
    scale = 1 / length if length else 0.0
    return [float(number) * scale for number in vector]


def _item_texts(index: IndexOptions, put: PutOp) -> list[str]:
    if put.value is None or put.index is False:
        return []
    paths = index.fields if put.index is None else put.index
    value = dict(put.value)
    return [text for path in paths for text in get_text_at_path(value, path)]


def _placed(
    texts: Texts, documents: Sequence[Sequence[float]], queries: Sequence[Sequence[float]]
) -> Vectors:
    if len(documents) != len(texts.documents):
        raise ValueError(
            f"The embeddings of the store returned {len(documents)} vectors for"
            f" {len(texts.documents)} texts."
        )
    by_place: dict[int, list[Sequence[float]]] = {}
    for (place, _), vector in zip(texts.documents, documents, strict=True):
        by_place.setdefault(place, []).append(vector)
    found = zip(texts.queries, queries, strict=True)
    return Vectors(by_place, {place: vector for (place, _), vector in found})
