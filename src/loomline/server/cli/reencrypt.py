"""Encrypts the database anew, after the keys have changed."""

from __future__ import annotations

import asyncio
import sys

from loomline.server.api.inside import Door, show_official_clients
from loomline.server.app import make_storage
from loomline.server.clock import SystemClock
from loomline.server.domain.errors import LoomlineError
from loomline.server.graphs.loader import extend_path
from loomline.server.settings import Settings, SettingsError, apply_env
from loomline.server.storage.encrypted import EncryptedStorage


def reencrypt(settings: Settings) -> int:
    """Encrypt what is encrypted with the keys of now; return the exit code."""
    apply_env(settings)
    extend_path(settings.python_path)
    show_official_clients(Door())  # handlers may import the official client, as in a server
    try:
        storage = make_storage(settings, SystemClock(), serving=False)
        if not isinstance(storage, EncryptedStorage):
            raise SettingsError("No encryption is configured: set LOOMLINE_ENCRYPTION_KEYS.")
        count = asyncio.run(_reencrypt(storage))
    except (SettingsError, LoomlineError) as error:
        print(f"loomline: {error}", file=sys.stderr)
        return 1
    print(f"{count} rows have been encrypted anew.")
    return 0


async def _reencrypt(storage: EncryptedStorage) -> int:
    await storage.open()
    try:
        return await storage.reencrypt()
    finally:
        await storage.close()
