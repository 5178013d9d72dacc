"""Items of the store in PostgreSQL."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from loomline.server.domain.json import dump
from loomline.server.storage.item_filters import FilterForm, Part, filtered
from loomline.server.storage.item_tables import ItemForm, hashed_id
from loomline.server.storage.postgres.rows import plain, searchable

_FILTER: Final = FilterForm(
    part=lambda path: (
        Part("(i.value #> ?::text[])", (list(map(plain, path)),)) if path else Part("i.value")
    ),
    is_object="jsonb_typeof({0}) = 'object'",
    equal="coalesce({0}, 'null') {1} ?::jsonb",
    string=("(jsonb_typeof({0}) = 'string' AND ({0} #>> '{{}}') COLLATE \"C\" {1} ?::text)"),
    number="(jsonb_typeof({0}) = 'number' AND {0} {1} ?::jsonb)",
    json=lambda value: searchable(dump(value)).decode(),
    text=plain,
)

ITEMS: Final[ItemForm[UUID]] = ItemForm(
    stored=lambda value: searchable(value).decode(),
    filtered=lambda pattern: filtered(pattern, _FILTER),
    # The index has the beginnings of namespaces, since its entries have a maximum length.
    below=(
        "left(i.namespace, 500) BETWEEN left(?, 500) AND left(?, 500)"
        " AND i.namespace >= ? AND i.namespace < ?"
    ),
    among="i.item_id = ANY(?)",
    ids=list,
    renewed="? + i.ttl_minutes * interval '1 minute'",
    cascades=True,
    unlocked=" FOR UPDATE SKIP LOCKED",
    item_id=hashed_id,
)
