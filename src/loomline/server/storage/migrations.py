"""Numbered scripts that bring the schema of a database up to date, for every database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from loomline.server.domain.errors import StorageUnavailable


@dataclass(frozen=True, slots=True, order=True)
class Script:
    """A script of SQL, and the version of the schema that it makes."""

    number: int
    text: str


def read_scripts(package: str) -> Sequence[Script]:
    """Return the scripts of a driver in the order of their numbers, which begin at 1."""
    folder = files(package).joinpath("migrations")
    return sorted(
        Script(int(file.name.partition("_")[0]), file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    )


def due(scripts: Sequence[Script], version: int, *, database: str, option: str) -> Sequence[Script]:
    """Return the scripts that a database of a version does not have yet.

    Args:
        scripts: All scripts.
        version: The number of the last script that the database has; 0: none.
        database: The noun by which users know the database.
        option: The option that chooses another database.

    Raises:
        StorageUnavailable: a newer version of Loomline has changed the database.
    """
    if version > scripts[-1].number:
        raise StorageUnavailable(
            f"The {database} was last used by a newer version of Loomline. Upgrade Loomline, or"
            f" start with another {option}."
        )
    return [script for script in scripts if script.number > version]
