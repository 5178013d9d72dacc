"""The bar on prose: the counts, and the record that only falls."""

import json

import pytest
from tools import prose

MODULE = '''"""Return what is left.

Somebody reads the second paragraph.
"""

text = "what is in a string is not prose"  # nobody reads this


async def load():
    """Raise KeyError: it is none."""
    # plain words
'''

PAGE = """# Title

Whoever reads `what` in code is not counted.

```python
value = what  # nobody
```

No event is lost.
"""

FOUR_HUNDRED_WORDS = "A sentence has four words.\n" * 100


@pytest.fixture
def root(tmp_path):
    for folder in (*prose.FOLDERS, "src/_sync"):
        (tmp_path / folder).mkdir()
    return tmp_path


def write(root, name, hits):
    text = FOUR_HUNDRED_WORDS + "somebody\n" * hits
    (root / name).write_text(text)


def test_docstrings_and_comments_of_a_module_are_counted_with_their_lines(tmp_path):
    (tmp_path / "module.py").write_text(MODULE)
    found = prose.measure(tmp_path / "module.py")
    assert found.hits == (
        (1, "what"), (3, "Somebody"), (6, "nobody"), (10, "it is none"),
    )  # fmt: skip
    assert found.words == 19


def test_code_in_a_page_is_not_counted(tmp_path):
    (tmp_path / "page.md").write_text(PAGE)
    found = prose.measure(tmp_path / "page.md")
    assert found.hits == ((3, "Whoever"), (9, "No event"))
    assert found.words == 12


def test_generated_and_installed_files_are_left_out(root):
    for name in ("README.md", "docs/a.md", "src/a.py", "src/_sync/b.py", "tests/data.json"):
        (root / name).write_text("")
    assert prose.project(root) == ["README.md", "docs/a.md", "src/a.py"]


@pytest.mark.parametrize(("words", "allowed"), [(499, 0), (500, 1), (1000, 2), (1999, 3)])
def test_the_bar_is_two_in_a_thousand_words(words, allowed):
    assert prose.Prose(words, ()).allowed == allowed


def test_a_new_file_above_the_bar_fails_and_is_not_recorded(root, capsys):
    write(root, "docs/old.md", 3)
    assert prose.check(root, update=True) == 0
    write(root, "docs/new.md", 2)
    assert prose.check(root, update=True) == 1
    assert json.loads((root / prose.RECORD).read_text()) == {"docs/old.md": 3}
    assert "docs/new.md:101: somebody" in capsys.readouterr().out


def test_a_recorded_file_that_gets_worse_fails_and_keeps_its_record(root):
    write(root, "docs/old.md", 3)
    prose.check(root, update=True)
    write(root, "docs/old.md", 4)
    assert prose.check(root, update=True) == 1
    assert json.loads((root / prose.RECORD).read_text()) == {"docs/old.md": 3}


def test_a_file_that_improves_lowers_the_record_for_good(root):
    write(root, "docs/old.md", 3)
    prose.check(root, update=True)
    write(root, "docs/old.md", 2)
    assert prose.check(root, update=True) == 0
    write(root, "docs/old.md", 3)
    assert prose.check(root, update=False) == 1


def test_a_file_that_reaches_the_bar_or_is_deleted_leaves_the_record(root):
    for name in ("docs/improved.md", "docs/deleted.md"):
        write(root, name, 3)
    prose.check(root, update=True)
    write(root, "docs/improved.md", 0)
    (root / "docs/deleted.md").unlink()
    assert prose.check(root, update=True) == 0
    assert json.loads((root / prose.RECORD).read_text()) == {}


def test_checking_without_the_flag_changes_no_file(root):
    write(root, "docs/old.md", 3)
    prose.check(root, update=True)
    write(root, "docs/old.md", 2)
    assert prose.check(root, update=False) == 0
    assert json.loads((root / prose.RECORD).read_text()) == {"docs/old.md": 3}


def test_without_a_record_every_file_must_meet_the_bar(root):
    write(root, "docs/old.md", 3)
    assert prose.check(root, update=False) == 1


def test_the_figure_of_a_folder_covers_the_files_below_it(root, capsys):
    write(root, "docs/a.md", 1)
    write(root, "docs/b.md", 3)
    assert prose.main(["--list", str(root / "docs")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[-1].split()[1:] == ["1004", "words", "4.0"]
