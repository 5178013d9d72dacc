"""Items of the store as rows: the ids that stored rows have, and conditions on their values."""

from uuid import UUID

from loomline.server.storage.item_filters import FilterForm, Part, filtered
from loomline.server.storage.item_tables import hashed_id

FORM = FilterForm(
    part=lambda path: Part("(value #> ?)", (list(path),)) if path else Part("value"),
    is_object="object({0})",
    equal="{0} {1} ?",
    string="string({0}) AND {0} {1} ?",
    number="number({0}) AND {0} {1} ?",
    json=repr,
    text=str,
)


def test_hashed_id_of_a_stored_item_does_not_change():
    assert hashed_id("a.b.", "k") == UUID("9bf8d7ff-0702-1be3-beaf-b3a809f3f9df")
    assert hashed_id("a.", "b.k") != hashed_id("a.b.", "k")


def test_filter_with_several_operators_has_a_condition_for_each_with_its_values():
    where = filtered({"n": {"$gte": 1, "$lt": "z", "in": None}}, FORM)
    assert where.parts == (
        "object(value)",
        "number((value #> ?)) AND (value #> ?) >= ?",
        "string((value #> ?)) AND (value #> ?) < ?",
        "object((value #> ?))",
        "(value #> ?) = ?",
    )
    assert where.values == (
        ["n"], ["n"], "1", ["n"], ["n"], "z", ["n"], ["n", "in"], "None",
    )  # fmt: skip


def test_values_of_a_deep_filter_grow_with_its_depth_only():
    pattern = 1
    for _ in range(200):
        pattern = {"a": pattern}
    assert len(filtered(pattern, FORM).values) == 201


def test_filter_with_an_order_of_other_types_selects_no_item():
    assert filtered({"n": {"$gt": True}}, FORM).parts == ("object(value)", "FALSE")
