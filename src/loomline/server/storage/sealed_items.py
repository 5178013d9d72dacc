"""Items of the store, with their values encrypted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import orjson
from langgraph.store.base import Item, Op, PutOp, Result

from loomline.server.domain.json import JsonObject
from loomline.server.storage.items import encoded_value
from loomline.server.storage.sealing import Seals


async def sealed_ops(seals: Seals, ops: Sequence[Op]) -> list[Op]:
    """Return operations that write encrypted values."""

    async def one(op: Op) -> Op:
        if not isinstance(op, PutOp) or op.value is None:
            return op
        # As JSON: that is what comes back, and what handlers may expect.
        value = cast("JsonObject", orjson.loads(encoded_value(op.key, op.value)))
        return op._replace(value=await seals.seal("store", "value", value))

    return await seals.each(one, ops)


async def opened_results(seals: Seals, results: Sequence[Result]) -> list[Result]:
    """Return results with the values of items decrypted, in place."""
    items = [item for result in results for item in _items(result)]

    async def one(item: Item) -> None:
        item.value = await seals.open(item.value)

    await seals.each(one, items)
    return list(results)


def _items(result: Result) -> list[Item]:
    found = result if isinstance(result, list) else [result]
    return [each for each in found if isinstance(each, Item)]
