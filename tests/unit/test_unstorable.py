"""Errors about values that cannot be stored name their place and the remedy."""

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from loomline.server.storage.unstorable import unstorable

SERDE = JsonPlusSerializer()


class Odd:
    pass


def refused(value, path=""):
    with pytest.raises(TypeError) as caught:
        SERDE.dumps_typed(value)
    return str(unstorable(SERDE, caught.value, "answer", value, path))


def test_a_value_of_an_unknown_type_is_named_with_key_node_and_remedy():
    said = refused({"rows": [1, Odd()]}, "~__pregel_pull, ask")
    assert said == (
        "The value that node 'ask' returned for 'answer' cannot be stored: Type is not msgpack"
        " serializable: Odd, at 'answer['rows'][1]'. Return values that JSON has, messages,"
        " dataclasses or pydantic models; or set 'checkpointer.serde.pickle_fallback' in"
        " langgraph.json."
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (2**70, "Integer exceeds 64-bit range, at 'answer'."),
        ({frozenset({1}): 2}, "OPT_NON_STR_KEYS, at 'answer'."),
        ([[Odd()]], "serializable: Odd, at 'answer[0][0]'."),
    ],
)
def test_a_value_without_a_node_is_named_by_its_key(value, said):
    assert said in refused(value)
