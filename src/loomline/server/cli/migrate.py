"""Brings the database up to date, for deployments that do so before they start servers."""

from __future__ import annotations

import asyncio
import sys

from loomline.server.app import make_storage
from loomline.server.clock import SystemClock
from loomline.server.domain.errors import LoomlineError
from loomline.server.graphs.loader import extend_path
from loomline.server.ports.storage import Storage
from loomline.server.settings import Settings, SettingsError, apply_env


def migrate(settings: Settings) -> int:
    """Open the database and close it again; return the exit code."""
    # Handlers of encryption may be a module of the user's.
    apply_env(settings)
    extend_path(settings.python_path)
    try:
        asyncio.run(_open(make_storage(settings, SystemClock(), serving=False)))
    except (SettingsError, LoomlineError) as error:
        print(f"loomline: {error}", file=sys.stderr)
        return 1
    print("The database is up to date.")
    return 0


async def _open(storage: Storage) -> None:
    await storage.open()
    await storage.close()
