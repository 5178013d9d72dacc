"""langgraph's store in the server's database, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Generic, TypeAlias, cast

from langgraph.store.base import (
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchOp,
    TTLConfig,
)

from loomline.server.domain.items import (
    ANY_LABEL,
    TTL_MOST_MINUTES,
    Namespace,
    begins,
    check_filter,
    ends,
)
from loomline.server.domain.json import load_object
from loomline.server.ports.clock import Clock
from loomline.server.ports.store import Store, StoreOptions
from loomline.server.storage.checkpoints import Access, Connection, reading, writing
from loomline.server.storage.indexing import Texts, Vectors, aembed, embed, texts_of
from loomline.server.storage.items import (
    FoundItem,
    Id,
    ItemPut,
    ItemSearch,
    ItemStatements,
    Vector,
    decoded_namespace,
    encoded_namespace,
    encoded_value,
)
from loomline.server.storage.sealed_items import opened_results, sealed_ops
from loomline.server.storage.sealing import Sealer
from loomline.server.storage.steps import Steps, awaited, blocked, step

_Act: TypeAlias = Callable[[Connection], None]


@dataclass(slots=True)
class _Batch(Generic[Connection, Id]):
    """The operations of one call, sorted by what they do to the database.

    Of several writes to one item the last counts. All are in one order, so that two batches do not
    wait for each other.
    """

    now: datetime
    size: int
    reads: list[Callable[[Connection, _Results[Id]], None]] = field(default_factory=list)
    writes: dict[tuple[str, str], Callable[[Connection], None]] = field(default_factory=dict)

    def execute(self, connection: Connection) -> None:
        for place in sorted(self.writes):
            self.writes[place](connection)


@dataclass(slots=True)
class _Results(Generic[Id]):
    """What has been read. ``refreshed``: ids of items whose minutes begin anew."""

    values: list[Result]
    refreshed: list[Id] = field(default_factory=list)


class DatabaseStore(Store, Generic[Connection, Id, Vector]):
    """``Store`` on the server's database."""

    supports_ttl = True

    def __init__(
        self,
        access: Access[Connection],
        statements: ItemStatements[Connection, Id, Vector],
        clock: Clock,
        options: StoreOptions,
        sealer: Sealer | None = None,
    ) -> None:
        self._access = access
        self._statements = statements
        self._clock = clock
        self._options = options
        self._sealer = sealer
        self.ttl_config: TTLConfig = TTLConfig(
            refresh_on_read=options.refresh_on_read, default_ttl=options.default_ttl_minutes
        )

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        return blocked(self._executed(list(ops)))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        return await awaited(self._executed(list(ops)))

    def _executed(self, asked: list[Op]) -> Steps[list[Result]]:
        vectors = yield from self._embedded(asked)
        if self._sealer is not None:
            asked = yield from self._sealer.steps(partial(sealed_ops, ops=asked))
        batch = self._batch(asked, vectors)
        results = _Results[Id]([None] * batch.size)
        if batch.reads:
            results = yield from reading(self._access, partial(_read, batch=batch))
        if batch.writes or results.refreshed:
            yield from writing(self._access, self._writing(batch, results))
        if self._sealer is None:
            return results.values
        opened: list[Result] = yield from self._sealer.steps(
            partial(opened_results, results=results.values)
        )
        return opened

    def _embedded(self, asked: Sequence[Op]) -> Steps[Vectors | None]:
        index, texts = self._options.index, self._texts(asked)
        if not index or not texts:
            return None
        vectors: Vectors = yield from step(
            partial(aembed, index, texts), partial(embed, index, texts)
        )
        return vectors

    async def expire(self, now: datetime, limit: int) -> int:
        return await self._access.write(
            lambda connection: self._statements.expire(connection, now, limit)
        )

    def _texts(self, ops: Sequence[Op]) -> Texts | None:
        if self._options.index is None:
            return None
        puts = [(place, op) for place, op in enumerate(ops) if isinstance(op, PutOp)]
        searches = [(place, op) for place, op in enumerate(ops) if isinstance(op, SearchOp)]
        return texts_of(self._options.index, puts, searches)

    def _batch(self, ops: Sequence[Op], vectors: Vectors | None) -> _Batch[Connection, Id]:
        batch = _Batch[Connection, Id](self._clock.now(), len(ops))
        for place, op in enumerate(ops):
            if isinstance(op, PutOp):
                target = (encoded_namespace(op.namespace), op.key)
                batch.writes[target] = self._put(op, target, vectors, place, batch.now)
            else:
                batch.reads.append(self._reading(place, op, vectors, batch.now))
        return batch

    def _reading(
        self, place: int, op: Op, vectors: Vectors | None, now: datetime
    ) -> Callable[[Connection, _Results[Id]], None]:
        if isinstance(op, GetOp):
            return self._get(place, op, now)
        if isinstance(op, SearchOp):
            return self._search(place, op, self._query(vectors, place), now)
        if isinstance(op, ListNamespacesOp):
            return self._list(place, op, now)
        raise TypeError(f"A store has no operation {type(op).__name__}.")

    def _query(self, vectors: Vectors | None, place: int) -> Vector | None:
        if vectors is None or place not in vectors.queries:
            return None
        return self._statements.vector(vectors.queries[place])

    def _put(
        self,
        op: PutOp,
        target: tuple[str, str],
        vectors: Vectors | None,
        place: int,
        now: datetime,
    ) -> _Act[Connection]:
        namespace, key = target
        if op.value is None:
            return lambda connection: self._statements.delete(connection, namespace, key)
        ttl = None if op.ttl is None or op.ttl > TTL_MOST_MINUTES else op.ttl
        numbers = () if vectors is None else vectors.documents.get(place, ())
        put = ItemPut(
            namespace,
            key,
            encoded_value(key, op.value),
            now,
            ttl,
            None if ttl is None else now + timedelta(minutes=ttl),
            [self._statements.vector(each) for each in numbers],
        )
        return lambda connection: self._statements.put(connection, put)

    def _get(
        self, place: int, op: GetOp, now: datetime
    ) -> Callable[[Connection, _Results[Id]], None]:
        namespace = encoded_namespace(op.namespace)

        def read(connection: Connection, results: _Results[Id]) -> None:
            found = self._statements.get(connection, namespace, op.key, now)
            if found is None:
                return
            results.values[place] = _without_score(found)
            if op.refresh_ttl and found.expires:
                results.refreshed.append(found.item_id)

        return read

    def _search(
        self, place: int, op: SearchOp, query: Vector | None, now: datetime
    ) -> Callable[[Connection, _Results[Id]], None]:
        check_filter(op.filter)
        search = ItemSearch(
            encoded_namespace(op.namespace_prefix),
            load_object(encoded_value("filter", op.filter or {})),
            now,
            max(op.limit, 0),
            max(op.offset, 0),
            query,
        )

        def read(connection: Connection, results: _Results[Id]) -> None:
            found = self._statements.search(connection, search)
            results.values[place] = cast("list[Item]", [each.item for each in found])
            if op.refresh_ttl:
                results.refreshed.extend(each.item_id for each in found if each.expires)

        return read

    def _list(
        self, place: int, op: ListNamespacesOp, now: datetime
    ) -> Callable[[Connection, _Results[Id]], None]:
        prefix = _literal_prefix(op.match_conditions or ())

        def read(connection: Connection, results: _Results[Id]) -> None:
            found = self._statements.namespaces(connection, prefix, now)
            results.values[place] = _namespaces(op, found)

        return read

    def _writing(
        self, batch: _Batch[Connection, Id], results: _Results[Id]
    ) -> Callable[[Connection], None]:
        def write(connection: Connection) -> None:
            if results.refreshed:
                self._statements.refresh(connection, results.refreshed, batch.now)
            batch.execute(connection)

        return write


def _read(connection: Connection, batch: _Batch[Connection, Id]) -> _Results[Id]:
    results = _Results[Id]([None] * batch.size)
    for read in batch.reads:
        read(connection, results)
    return results


def _without_score(found: FoundItem[Id]) -> Item:
    item = found.item
    return Item(
        value=item.value,
        key=item.key,
        namespace=item.namespace,
        created_at=item.created_at,
        updated_at=item.updated_at,
    )


def _literal_prefix(conditions: Sequence[MatchCondition]) -> str:
    """Return a namespace that everything to be found is at or below."""
    for condition in conditions:
        if condition.match_type == "prefix":
            path = [str(label) for label in condition.path]
            length = path.index(ANY_LABEL) if ANY_LABEL in path else len(path)
            return "".join(f"{label}." for label in path[:length])
    return ""


def _namespaces(asked: ListNamespacesOp, texts: Iterable[str]) -> list[Namespace]:
    """Return namespaces, cut and merged, in the order of their labels."""
    conditions = asked.match_conditions or ()
    found = {
        namespace[: asked.max_depth]
        for text in texts
        if _fits(namespace := decoded_namespace(text), conditions)
    }
    return sorted(found)[asked.offset : asked.offset + asked.limit]


def _fits(namespace: Namespace, conditions: Sequence[MatchCondition]) -> bool:
    return all(
        (begins if each.match_type == "prefix" else ends)(namespace, each.path)
        for each in conditions
    )
