"""Which texts of exceptions clients may read."""

import orjson
import pytest
from langgraph.errors import (
    EmptyInputError,
    NodeCancelledError,
    NodeTimeoutError,
    ParentCommand,
    UnknownInterruptError,
)
from langgraph.types import Command

from loomline.server.worker.failures import HIDDEN, describe

OWN = [
    EmptyInputError("own text"),
    NodeCancelledError("ask", "own text"),
    ParentCommand(Command(graph=Command.PARENT, goto="own text")),
]


class OfUser(NodeCancelledError):
    pass


def shown(error):
    return orjson.loads(describe(error, show_all=False))["message"]


@pytest.mark.parametrize("error", [*OWN, OfUser("ask", "own text")], ids=lambda e: type(e).__name__)
def test_the_text_of_an_error_of_langgraph_is_shown(error):
    assert "own text" in shown(error)


@pytest.mark.parametrize("kind", [NodeTimeoutError, UnknownInterruptError])
def test_every_error_class_of_langgraph_is_known(kind):
    error = kind.__new__(kind)
    error.args = ("own text",)
    assert "own text" in shown(error)


def test_the_text_of_another_error_is_hidden():
    assert shown(OSError("/etc/shadow")) == HIDDEN
