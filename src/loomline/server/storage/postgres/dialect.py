"""The SQL of PostgreSQL where it differs from that of other databases."""

from __future__ import annotations

from typing import Final

from loomline.server.domain.access import encode
from loomline.server.domain.json import dump
from loomline.server.storage.postgres.connection import Connection
from loomline.server.storage.postgres.rows import jsonb, obj, plain, searchable
from loomline.server.storage.records import Codec, Codecs, same
from loomline.server.storage.tables import Dialect

CODECS: Final = Codecs(
    id=Codec(same, same),
    string=Codec(plain, same),
    number=Codec(same, same),
    flag=Codec(same, same),
    moment=Codec(same, same),
    object=Codec(jsonb, obj),
    document=Codec(lambda value: dump(value).decode(), obj),
    encoded=Codec(lambda value: value.decode(), same),
    content=Codec(lambda value: value.decode(), same),
)

DIALECT: Final[Dialect[Connection]] = Dialect(
    execute=lambda connection, statement, values: connection.execute(
        statement.replace("?", "%s"), values
    ),
    codecs=CODECS,
    condition=lambda access: searchable(encode(access).encode()).decode(),
    prefix="loomline_",
    lock=" FOR UPDATE",
    hold=" FOR KEY SHARE",
    skip=" FOR UPDATE SKIP LOCKED",
    json_contains="{} @> ?::jsonb",
    json_meets="loomline_meets({}, ?::jsonb)",
    json_has_string="{} @> jsonb_build_object('{}', ?::text)",
    json_merge="{} || ?::jsonb",
    text_has="strpos({}, ?) > 0",
    one_of="{} = ANY(?)",
    many=list,
    arrival="seq",
)
