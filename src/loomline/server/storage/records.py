"""Records as rows: the columns of a record are listed once, a database supplies a codec per kind.

::

    NOTE = Record(Note, note_id=ID, text=STRING, seen_at=OPTIONAL_MOMENT, cached=NOT_STORED)
    rows = Rows(NOTE, codecs)
    rows.row(note)  # the values to store
    rows.record(row)  # the note again
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from uuid import UUID

from loomline.server.domain.json import Encoded, JsonObject

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
R = TypeVar("R", bound="DataclassInstance")


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """The two directions between a value and the form that a database stores."""

    write: Callable[[T], object]
    read: Callable[[Any], T]


def same(value: T) -> T:
    """Return a value that a database driver takes and returns as it is."""
    return value


def nullable(codec: Codec[T]) -> Codec[T | None]:
    """Return the codec of a column that may be null."""
    write, read = codec.write, codec.read
    return Codec(
        same if write is same else lambda value: None if value is None else write(value),
        same if read is same else lambda value: None if value is None else read(value),
    )


@dataclass(frozen=True, slots=True)
class Codecs:
    """The codecs of a database, one for each kind of column.

    ``object`` is JSON that statements search, ``document`` is JSON that is stored and read only,
    ``encoded`` is the same without decoding. ``content`` is JSON of any size, without decoding.
    """

    id: Codec[UUID]
    string: Codec[str]
    number: Codec[int]
    flag: Codec[bool]
    moment: Codec[datetime]
    object: Codec[JsonObject]
    document: Codec[JsonObject]
    encoded: Codec[Encoded]
    content: Codec[Encoded]


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column of a record: its kind, and its name where it is not the name of the field."""

    kind: Callable[[Codecs], Codec[T]]
    name: str | None = None

    def named(self, name: str) -> Column[T]:
        return dataclasses.replace(self, name=name)


ID: Final[Column[UUID]] = Column(lambda codecs: codecs.id)
STRING: Final[Column[str]] = Column(lambda codecs: codecs.string)
NUMBER: Final[Column[int]] = Column(lambda codecs: codecs.number)
FLAG: Final[Column[bool]] = Column(lambda codecs: codecs.flag)
MOMENT: Final[Column[datetime]] = Column(lambda codecs: codecs.moment)
OBJECT: Final[Column[JsonObject]] = Column(lambda codecs: codecs.object)
DOCUMENT: Final[Column[JsonObject]] = Column(lambda codecs: codecs.document)
ENCODED: Final[Column[Encoded]] = Column(lambda codecs: codecs.encoded)
CONTENT: Final[Column[Encoded]] = Column(lambda codecs: codecs.content)
OPTIONAL_ID: Final[Column[UUID | None]] = Column(lambda codecs: nullable(codecs.id))
OPTIONAL_STRING: Final[Column[str | None]] = Column(lambda codecs: nullable(codecs.string))
OPTIONAL_NUMBER: Final[Column[int | None]] = Column(lambda codecs: nullable(codecs.number))
OPTIONAL_MOMENT: Final[Column[datetime | None]] = Column(lambda codecs: nullable(codecs.moment))
OPTIONAL_ENCODED: Final[Column[Encoded | None]] = Column(lambda codecs: nullable(codecs.encoded))
OPTIONAL_CONTENT: Final[Column[Encoded | None]] = Column(lambda codecs: nullable(codecs.content))
NOT_STORED: Final = None
"""A field without a column: a record that is read has its default value, or a given one."""


class Record(Generic[R]):
    """The columns of a record.

    Every field of the dataclass has a column or is ``NOT_STORED``. A column for another attribute,
    such as a property, is written with the record and never read: statements search or sort by it.

    Raises:
        TypeError: A field has no column, or a column has no attribute.
    """

    def __init__(self, make: type[R], /, **columns: Column[Any] | None) -> None:
        fields = [field.name for field in dataclasses.fields(make)]
        missing = [name for name in fields if name not in columns]
        unknown = [name for name in columns if name not in fields and not hasattr(make, name)]
        if missing or unknown:
            names = ", ".join(missing or unknown)
            problem = "has no column for" if missing else "has no attribute for the column"
            raise TypeError(f"The record {make.__name__} {problem} {names}.")
        self.make: type[R] = make
        self.columns: dict[str, Column[Any]] = {
            name: column for name, column in columns.items() if column is not None
        }
        self.fields: list[str] = [name for name in self.columns if name in fields]
        self._given = columns

    def also(self, **columns: Column[Any]) -> Record[R]:
        """Return the record with columns that only some databases have."""
        return Record(self.make, **self._given, **columns)


class Rows(Generic[R]):
    """Rows of records in one database.

    ``columns`` are the names of the columns that a record is read from. ``names`` are the names of
    all columns, which are written, by field.
    """

    def __init__(self, record: Record[R], codecs: Codecs) -> None:
        self._make = record.make
        self._fields = record.fields
        self._codecs = {name: column.kind(codecs) for name, column in record.columns.items()}
        # Most values of a row are those of the record, and many rows are read.
        self._read = [
            (name, self._codecs[name].read)
            for name in record.fields
            if self._codecs[name].read is not same
        ]
        self.names: dict[str, str] = {
            name: column.name or name for name, column in record.columns.items()
        }
        self.columns: list[str] = [self.names[name] for name in record.fields]

    def row(self, record: R) -> tuple[object, ...]:
        """Return the values of all columns."""
        return tuple(codec.write(getattr(record, name)) for name, codec in self._codecs.items())

    def record(self, row: Sequence[object], **given: object) -> R:
        """Return the record of a row that has ``columns``.

        Args:
            row: The values of the columns.
            given: The values of fields without a column.
        """
        values = dict(zip(self._fields, row, strict=True))
        for name, read in self._read:
            values[name] = read(values[name])
        return self._make(**values, **given)

    def value(self, name: str, value: object) -> object:
        """Return the value of one field as its column stores it."""
        return self._codecs[name].write(value)
