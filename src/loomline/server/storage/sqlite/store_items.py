"""Items of the store in SQLite."""

from __future__ import annotations

from typing import Final

import orjson

from loomline.server.storage.item_tables import ItemForm
from loomline.server.storage.sqlite.rows import text
from loomline.server.storage.tables import Where

ITEMS: Final[ItemForm[int]] = ItemForm(
    stored=bytes.decode,
    filtered=lambda pattern: Where(("item_matches(i.value, ?)",), (text(pattern),)),
    below="i.namespace >= ? AND i.namespace < ?",
    among="i.item_id IN (SELECT value FROM json_each(?))",
    ids=lambda item_ids: orjson.dumps(item_ids).decode(),
    renewed="? + CAST(i.ttl_minutes * 60000000 AS INTEGER)",
    cascades=False,
)
