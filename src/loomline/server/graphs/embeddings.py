"""What makes vectors of texts for the store: a model of a provider, or a function of the user."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias, cast

from langchain_core.embeddings import Embeddings
from langgraph.store.base.embed import ensure_embeddings

from loomline.server.domain.errors import EmbeddingsLoadError, GraphLoadError
from loomline.server.graphs.loader import load_attribute
from loomline.server.graphs.spec import GraphSpec, IndexSpec

_Vectors: TypeAlias = list[list[float]]


def load_embeddings(spec: IndexSpec) -> Embeddings:
    """Return what ``store.index.embed`` names.

    Raises:
        EmbeddingsLoadError: it cannot be imported or built.
    """
    if isinstance(spec.embed, str):
        return _of_provider(spec.embed)
    return _of_user(spec.embed)


def _of_provider(name: str) -> Embeddings:
    try:
        return ensure_embeddings(name)
    except Exception as error:  # providers raise what they like: a missing package, key or model
        raise EmbeddingsLoadError(f"'{name}'", f"{type(error).__name__}: {error}") from error


def _of_user(spec: GraphSpec) -> Embeddings:
    try:
        found = load_attribute(spec)
    except GraphLoadError as error:
        raise EmbeddingsLoadError(spec.source, error.reason) from error
    if isinstance(found, Embeddings):
        return found
    if inspect.iscoroutinefunction(found):
        return _AsyncFunction(found)
    if callable(found):
        return ensure_embeddings(cast("Callable[[Sequence[str]], _Vectors]", found))
    raise EmbeddingsLoadError(
        spec.source,
        f"'{spec.attribute}' is of type '{type(found).__name__}'. It must be a function that takes"
        " a list of texts and returns a vector for each, or an Embeddings object of LangChain.",
    )


class _AsyncFunction(Embeddings):
    """An async function of the user, which sync nodes need as well."""

    def __init__(self, function: Callable[[list[str]], Awaitable[_Vectors]]) -> None:
        self._function = function

    def embed_documents(self, texts: list[str]) -> _Vectors:
        # This thread may have a running event loop, on which no other one can be run.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, self.aembed_documents(texts)).result()

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: list[str]) -> _Vectors:
        return await self._function(texts)

    async def aembed_query(self, text: str) -> list[float]:
        return (await self.aembed_documents([text]))[0]
