"""What callers may hand over where the wire has an object."""

from collections.abc import Mapping, Sequence
from dataclasses import Field
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable


@runtime_checkable
class _TypedDictLikeV1(Protocol):
    __required_keys__: ClassVar[set[str]]
    __optional_keys__: ClassVar[set[str]]


@runtime_checkable
class _TypedDictLikeV2(Protocol):
    __required_keys__: ClassVar[frozenset[str]]
    __optional_keys__: ClassVar[frozenset[str]]


@runtime_checkable
class _DataclassLike(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


@runtime_checkable
class _BaseModelLike(Protocol):
    def model_dump(self, **kwargs: Any) -> dict[str, Any]: ...


PrimitiveData: TypeAlias = str | int | float | bool | None
"""A scalar of JSON."""

Json: TypeAlias = Mapping[str, Any] | None
"""A JSON object, or none."""

Input: TypeAlias = (
    Mapping[str, Any]
    | Sequence[Any]
    | _TypedDictLikeV1
    | _TypedDictLikeV2
    | _DataclassLike
    | _BaseModelLike
    | PrimitiveData
)
"""What a graph takes: an object (or a model or dataclass that encodes as one), for a functional
graph any JSON."""

Context: TypeAlias = (
    Mapping[str, Any] | _TypedDictLikeV1 | _TypedDictLikeV2 | _DataclassLike | _BaseModelLike
)
"""Static context of a run: an object, or a model or dataclass that encodes as one."""

QueryParamTypes: TypeAlias = (
    Mapping[str, PrimitiveData | Sequence[PrimitiveData]]
    | Sequence[tuple[str, PrimitiveData]]
    | str
    | bytes
)
"""Extra query parameters: by name, as pairs, or as the text of a query."""
