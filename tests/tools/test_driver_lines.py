"""The table of the drivers' code lines."""

from tools import driver_lines

MODULE = '''"""A docstring
of two lines."""

import os  # a comment with code counts as code

# a comment alone


def load(
    path,
):
    """One line."""
    return """a string
of two lines"""


LIMIT = 3
"""The docstring of a name."""
'''


def test_comments_docstrings_and_empty_lines_are_no_code():
    assert driver_lines.code_lines(MODULE) == 7


def test_comments_and_empty_lines_are_no_sql():
    assert driver_lines.sql_lines("-- why\n\nCREATE TABLE t (\n    a TEXT -- what\n);\n") == 3


def test_the_table_has_every_module_of_both_drivers_and_their_sums():
    lines = driver_lines.report()
    modules = {
        path.name
        for name in driver_lines.DRIVERS
        for path in (driver_lines.STORAGE / name).glob("*.py")
    }
    assert {line.split()[0] for line in lines} >= modules
    rows = [line.split() for line in lines if ".py" in line]
    for column, driver in ((1, "postgres"), (2, "sqlite")):
        total = sum(int(row[column]) for row in rows if row[column] != "-")
        assert total == sum(driver_lines.measure(driver_lines.STORAGE / driver).values())
