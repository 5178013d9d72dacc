"""Names of tests: a failing test tells a stranger which expectation is broken."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

# Words that stand where the subject of a sentence belongs.
BANNED = {"nobody", "somebody", "what", "whoever"}

WORDS_LEAST = 4

pytestmark = pytest.mark.one_interpreter


def faults(name):
    words = name.removeprefix("test_").split("_")
    found = [f"has the word '{word}'" for word in words if word in BANNED]
    return [*found, "has too few words"] if len(words) < WORDS_LEAST else found


def names_in(source):
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    ]


def test_every_test_name_states_an_expectation():
    files = [path for path in TESTS.rglob("test_*.py") if "node_modules" not in path.parts]
    assert len(files) > 150
    wrong = [
        f"{path.relative_to(TESTS)}: {name} {fault}"
        for path in files
        for name in names_in(path.read_text())
        for fault in faults(name)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("test_deleted_run_is_not_found", []),
        ("test_the_flags", ["has too few words"]),
        ("test_what_is_over_goes", ["has the word 'what'"]),
        ("test_a_socket_of_nobody", ["has the word 'nobody'"]),
        ("test_nobody", ["has the word 'nobody'", "has too few words"]),
    ],
)
def test_names_without_an_expectation_are_found(name, expected):
    assert names_in(f"class A:\n    async def {name}(self): ...\n") == [name]
    assert faults(name) == expected
