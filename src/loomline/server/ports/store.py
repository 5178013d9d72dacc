"""The store: items under namespaces, shared by all threads."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from datetime import datetime

from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """How items are found by meaning. ``fields`` are paths into values; ``$`` is the whole."""

    dims: int
    embeddings: Embeddings
    fields: tuple[str, ...] = ("$",)


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """What a store does where a call does not say. No index: queries are ignored."""

    default_ttl_minutes: float | None = None
    refresh_on_read: bool = True
    index: IndexOptions | None = None


class Store(BaseStore):
    """langgraph's store, as the server needs it.

    Its methods may be called from any thread and any event loop. Besides what the base class says:

    * ``ttl`` is supported; an expired item is as good as deleted. A read with ``refresh_ttl``
      begins its minutes anew; nothing else of it changes. Expired items come back as new ones.
    * Writing over an item keeps ``created_at``, replaces the value whole, and indexes it again.
    * ``search`` without query, or without an index: last updated first, then by namespace and key.
      With one: by cosine similarity, that of the best field of each item, then by namespace and
      key; items without vectors come last in the order of a search without query, score None.
    * Filters mean what ``domain.items.matches`` says. An unknown operator is an
      ``UnsupportedOperator``, which is a ``ValueError``.
    * ``list_namespaces`` is sorted label by label, ``max_depth`` having cut and merged before.
    * In a batch all reads come before all writes; of several writes to one item the last counts.
      The writes of a batch are one transaction.
    """

    @abstractmethod
    async def expire(self, now: datetime, limit: int) -> int:
        """Delete items that have expired, those first that did so first; return how many."""
