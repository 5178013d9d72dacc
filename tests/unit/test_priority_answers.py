"""The valid answers of the user's function of priorities."""

import pytest

from loomline.server.services.priorities import checked


@pytest.mark.parametrize(
    ("answer", "priority"),
    [
        (None, 0),
        ({}, 0),
        ({"priority": None, "fairness_group": None}, 0),
        ({"priority": -5}, -5),
        ({"priority": 5, "fairness_group": "g" * 256}, 5),
        ({"priority": 1, "fairness_weight": 3}, 1),
    ],
)
def test_a_valid_answer_gives_the_priority(answer, priority):
    assert checked(answer) == priority


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        ([-5], TypeError, "a dict or None, got list"),
        ({"priority": -6}, ValueError, "from -5 to 5, got -6"),
        ({"priority": 1.5}, TypeError, "an integer, got float"),
        ({"priority": True}, TypeError, "an integer, got bool"),
        ({"fairness_group": 1}, TypeError, "a string, got int"),
        ({"fairness_group": "g" * 257}, ValueError, "1 to 256 characters"),
        ({"fairness_group": ""}, ValueError, "1 to 256 characters"),
    ],
)
def test_an_invalid_answer_is_an_error_with_the_reason(answer, error, reason):
    with pytest.raises(error, match=reason):
        checked(answer)
