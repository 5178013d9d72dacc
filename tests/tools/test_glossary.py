"""The glossary names classes that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENTRY = re.compile(r"^\| ([a-z][a-z ]+?) \| .+ \| `(\w+)` \|$", re.MULTILINE)
ENTRIES = [match.groups() for match in ENTRY.finditer((ROOT / "docs/glossary.md").read_text())]


@pytest.fixture(scope="module")
def defined():
    modules = (ROOT / "src/loomline/server").rglob("*.py")
    definition = re.compile(r"^(?:class (\w+)|(\w+): TypeAlias)", re.MULTILINE)
    return {
        first or second
        for path in modules
        for first, second in definition.findall(path.read_text())
    }


def test_the_glossary_has_at_least_twenty_words():
    words = [word for word, _ in ENTRIES if word != "word"]
    assert len(set(words)) == len(words) >= 20


@pytest.mark.parametrize(("word", "name"), ENTRIES)
def test_the_class_of_a_word_is_defined_in_the_server(defined, word, name):
    assert name in defined
