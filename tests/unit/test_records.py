"""Records as rows, on each database."""

import dataclasses
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import pytest
from tests.postgres import new_schema

from loomline.server.domain.access import EVERYTHING, Equal
from loomline.server.storage.postgres.connection import connect as connect_postgres, parameters
from loomline.server.storage.postgres.dialect import DIALECT as POSTGRES
from loomline.server.storage.postgres.migrate import migrate
from loomline.server.storage.records import (
    CONTENT,
    DOCUMENT,
    ENCODED,
    FLAG,
    ID,
    MOMENT,
    NOT_STORED,
    NUMBER,
    OBJECT,
    OPTIONAL_ENCODED,
    OPTIONAL_ID,
    OPTIONAL_MOMENT,
    OPTIONAL_STRING,
    STRING,
    Codec,
    Codecs,
    Record,
)
from loomline.server.storage.sqlite.connection import connect as connect_sqlite
from loomline.server.storage.sqlite.dialect import DIALECT as SQLITE
from loomline.server.storage.tables import Table, Where


@dataclass(frozen=True, slots=True)
class Note:
    """A record with a field of each kind."""

    note_id: UUID
    title: str
    number: int
    done: bool
    metadata: dict[str, object]
    body: dict[str, object]
    source: bytes
    content: bytes
    made_at: datetime
    parent_id: UUID | None = None
    subtitle: str | None = None
    seen_at: datetime | None = None
    caller: bytes | None = None
    cached: dict[str, object] = field(default_factory=dict)

    @property
    def folded(self):
        return self.title.casefold()


NOTE = Record(
    Note,
    note_id=ID,
    title=STRING,
    number=NUMBER,
    done=FLAG,
    metadata=OBJECT,
    body=DOCUMENT,
    source=ENCODED,
    content=CONTENT,
    made_at=MOMENT,
    parent_id=OPTIONAL_ID,
    subtitle=OPTIONAL_STRING,
    seen_at=OPTIONAL_MOMENT,
    caller=OPTIONAL_ENCODED.named("caller_json"),
    cached=NOT_STORED,
    folded=STRING,
)

AT = datetime(2026, 5, 6, 7, 8, 9, 123457, UTC)

SPARSE = Note(
    note_id=UUID(int=1),
    title="Straße",
    number=-(2**31),
    done=False,
    metadata={"large": 1e23, "nested": {"list": [1, None, "ü"]}},
    body={},
    source=b'{"kept":  "as it is"}',
    content=b"[1,  2]",
    made_at=AT,
)
FULL = dataclasses.replace(
    SPARSE,
    note_id=UUID(int=2),
    done=True,
    metadata={"owner": "ada"},
    parent_id=UUID(int=1),
    subtitle="",
    seen_at=datetime(1969, 12, 31, tzinfo=UTC),
    caller=b"null",
)

POSTGRES_TABLE = """
    CREATE TABLE loomline_notes (
        note_id uuid PRIMARY KEY, title text, number bigint, done boolean, metadata jsonb,
        body json, source json, content json, made_at timestamptz, parent_id uuid, subtitle text,
        seen_at timestamptz, caller_json json, folded text)
"""
SQLITE_TABLE = """
    CREATE TABLE notes (
        note_id TEXT PRIMARY KEY, title TEXT, number INTEGER, done INTEGER, metadata TEXT,
        body TEXT, source TEXT, content BLOB, made_at INTEGER, parent_id TEXT, subtitle TEXT, seen_at INTEGER,
        caller_json TEXT, folded TEXT)
"""


@pytest.fixture(params=["sqlite", "postgres"])
def opened(request, tmp_path):
    """Return a table of notes and a connection."""
    if request.param == "sqlite":
        dialect, statement = SQLITE, SQLITE_TABLE
        connection = connect_sqlite(tmp_path / "notes.db")
    else:
        dialect, statement = POSTGRES, POSTGRES_TABLE
        connection = connect_postgres(parameters(new_schema()))
        migrate(connection)
    with closing(connection):
        connection.execute(statement)
        yield Table(dialect, "notes", NOTE), connection


def of(table, note):
    return table.equal(note_id=note.note_id)


@pytest.mark.parametrize("note", [SPARSE, FULL], ids=["sparse", "full"])
def test_record_read_from_its_row_equals_the_record_written(opened, note):
    table, connection = opened
    table.insert(connection, note)
    assert table.get(connection, of(table, note)) == note


def test_sample_record_has_a_column_of_each_kind():
    kinds = {field.name: Codec(field.name, field.name) for field in dataclasses.fields(Codecs)}
    used = [column.kind(Codecs(**kinds)) for column in NOTE.columns.values()]
    assert all(kind in used for kind in kinds.values())


def test_record_with_a_field_without_column_is_refused():
    with pytest.raises(TypeError, match=r"record Note has no column for number, cached"):
        Record(Note, **{name: NOTE.columns[name] for name in NOTE.columns if name != "number"})


def test_column_without_attribute_is_refused():
    with pytest.raises(TypeError, match=r"record Note has no attribute for the column colour"):
        NOTE.also(colour=STRING)


def test_record_read_from_a_row_of_another_length_is_refused(opened):
    table, _ = opened
    with pytest.raises(ValueError, match="shorter"):
        table.rows.record(())


def test_field_that_is_not_stored_has_its_default_when_read(opened):
    table, connection = opened
    table.insert(connection, dataclasses.replace(FULL, cached={"lost": 1}))
    assert table.get(connection, of(table, FULL)) == FULL


def test_property_with_a_column_is_stored_and_searched(opened):
    table, connection = opened
    table.insert(connection, FULL)
    assert table.count(connection, table.equal(folded="strasse")) == 1
    assert table.count(connection, table.dialect.has("folded", "TRASS")) == 0
    assert table.count(connection, table.dialect.has("folded", "trass")) == 1


def test_replacing_a_record_writes_all_columns_of_one_row(opened):
    table, connection = opened
    for note in (SPARSE, FULL):
        table.insert(connection, note)
    changed = dataclasses.replace(SPARSE, note_id=FULL.note_id, title="New")
    table.replace(connection, changed, of(table, FULL))
    assert table.get(connection, of(table, FULL)) == changed
    assert table.get(connection, of(table, SPARSE)) == SPARSE
    assert table.count(connection, table.equal(folded="new")) == 1


def test_new_record_with_a_stored_key_is_not_inserted(opened):
    table, connection = opened
    assert table.insert_new(connection, FULL)
    assert not table.insert_new(connection, dataclasses.replace(FULL, title="Other"))
    assert table.get(connection, of(table, FULL)) == FULL


def test_key_that_is_null_finds_and_deletes_no_row(opened):
    table, connection = opened
    table.insert(connection, SPARSE)
    where = table.equal(parent_id=None)
    assert table.get(connection, where) is None
    table.delete(connection, where)
    assert table.count(connection, Where()) == 1


def test_delete_removes_only_the_rows_that_meet_the_condition(opened):
    table, connection = opened
    for note in (SPARSE, FULL):
        table.insert(connection, note)
    table.delete(connection, of(table, FULL))
    assert table.select(connection, Where(), "note_id", limit=9) == [SPARSE]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (lambda table: Where(), [1, 2]),
        (lambda table: table.matching(parent_id=None, done=None), [1, 2]),
        (lambda table: table.matching(parent_id=UUID(int=1), done=None), [2]),
        (lambda table: table.matching(done=False), [1]),
        (lambda table: table.dialect.contains("metadata", {}), [1, 2]),
        (lambda table: table.dialect.contains("metadata", {"large": 1e23}), [1]),
        (lambda table: table.dialect.meets("metadata", EVERYTHING), [1, 2]),
        (lambda table: table.dialect.meets("metadata", Equal("owner", "ada")), [2]),
        (lambda table: table.dialect.among("note_id", [UUID(int=2), UUID(int=3)]), [2]),
        (lambda table: table.dialect.has_string("metadata", "owner", "ada"), [2]),
        (lambda table: table.dialect.has_string("metadata", "owner", "ad"), []),
        (lambda table: table.equal(number=SPARSE.number) & table.equal(done=True), [2]),
        (lambda table: table.equal(done=True).within("NOT ({})"), [1]),
        (lambda table: Where().within("NOT ({})"), [1, 2]),
    ],
)
def test_condition_finds_the_rows_that_meet_it(opened, condition, found):
    table, connection = opened
    for note in (SPARSE, FULL):
        table.insert(connection, note)
    rows = table.select(connection, condition(table), "note_id", limit=9)
    assert [row.note_id.int for row in rows] == found
    assert table.count(connection, condition(table)) == len(found)


def test_page_says_whether_there_are_more_rows(opened):
    table, connection = opened
    for note in (SPARSE, FULL):
        table.insert(connection, note)

    def page(limit, offset):
        found = table.page(connection, Where(), "note_id DESC", limit, offset)
        return [row.note_id.int for row in found.rows], found.more, found.total

    assert page(1, 0) == ([2], True, 2)
    assert page(1, 1) == ([1], False, 2)
    assert page(5, 2) == ([], False, 2)
    assert page(0, 0) == ([], False, 2)
