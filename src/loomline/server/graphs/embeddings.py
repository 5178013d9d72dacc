"""Embeddings for the store: the model of a provider, or a function of the user."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeAlias, cast

from langchain_core.embeddings import Embeddings
from langgraph.store.base.embed import ensure_embeddings

from loomline.server.domain.errors import EmbeddingsLoadError, GraphLoadError
from loomline.server.graphs.loader import load_attribute
from loomline.server.graphs.spec import GraphSpec, IndexSpec

_Vectors: TypeAlias = list[list[float]]

WaitFor: TypeAlias = Callable[[Coroutine[Any, Any, _Vectors]], _Vectors]
"""Executes a coroutine on the event loop of the graphs, and waits for it."""


def load_embeddings(spec: IndexSpec, wait_for: WaitFor) -> Embeddings:
    """Return the embeddings that ``store.index.embed`` names.

    Raises:
        EmbeddingsLoadError: They cannot be imported or built.
    """
    if isinstance(spec.embed, str):
        return _of_provider(spec.embed)
    return _of_user(spec.embed, wait_for)


def _of_provider(name: str) -> Embeddings:
    try:
        return ensure_embeddings(name)
    except Exception as error:  # providers raise what they like: a missing package, key or model
        raise EmbeddingsLoadError(f"'{name}'", f"{type(error).__name__}: {error}") from error


def _of_user(spec: GraphSpec, wait_for: WaitFor) -> Embeddings:
    try:
        found = load_attribute(spec)
    except GraphLoadError as error:
        raise EmbeddingsLoadError(spec.source, error.reason) from error
    if isinstance(found, Embeddings):
        return found
    if inspect.iscoroutinefunction(found):
        return _AsyncFunction(found, wait_for)
    if callable(found):
        return ensure_embeddings(cast("Callable[[Sequence[str]], _Vectors]", found))
    raise EmbeddingsLoadError(
        spec.source,
        f"'{spec.attribute}' is of type '{type(found).__name__}'. It must be a function that takes"
        " a list of texts and returns a vector for each, or an Embeddings object of LangChain.",
    )


class _AsyncFunction(Embeddings):
    """An async function of the user, which sync nodes need as well.

    Its clients belong to the event loop of the graphs, so it is executed on no other loop.
    """

    def __init__(
        self, function: Callable[[list[str]], Coroutine[Any, Any, _Vectors]], wait_for: WaitFor
    ) -> None:
        self._function = function
        self._wait_for = wait_for

    def embed_documents(self, texts: list[str]) -> _Vectors:
        return self._wait_for(self.aembed_documents(texts))

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: list[str]) -> _Vectors:
        return await self._function(texts)

    async def aembed_query(self, text: str) -> list[float]:
        return (await self.aembed_documents([text]))[0]
