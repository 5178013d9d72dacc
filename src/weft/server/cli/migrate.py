"""Brings the database up to date, for deployments that do so before they start servers."""

from __future__ import annotations

import asyncio
import sys

from weft.server.app import make_storage
from weft.server.clock import SystemClock
from weft.server.domain.errors import WeftError
from weft.server.graphs.loader import extend_path
from weft.server.ports.storage import Storage
from weft.server.settings import Settings, SettingsError, apply_env


def migrate(settings: Settings) -> int:
    """Open the database and close it again; return the exit code."""
    # Handlers of encryption may be a module of the user's.
    apply_env(settings)
    extend_path(settings.python_path)
    try:
        asyncio.run(_open(make_storage(settings, SystemClock(), serving=False)))
    except (SettingsError, WeftError) as error:
        print(f"weft: {error}", file=sys.stderr)
        return 1
    print("The database is up to date.")
    return 0


async def _open(storage: Storage) -> None:
    await storage.open()
    await storage.close()
