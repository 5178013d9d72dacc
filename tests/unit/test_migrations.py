"""The migrations of both databases."""

from importlib.resources import files

import pytest

pytestmark = pytest.mark.one_interpreter


@pytest.mark.parametrize("driver", ["sqlite", "postgres"])
def test_migrations_have_the_numbers_from_one_without_gap_or_double(driver):
    folder = files(f"loomline.server.storage.{driver}").joinpath("migrations")
    names = [script.name for script in folder.iterdir() if script.name.endswith(".sql")]
    assert sorted(int(name.partition("_")[0]) for name in names) == [*range(1, len(names) + 1)]
