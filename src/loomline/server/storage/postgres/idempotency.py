"""Keys of requests in PostgreSQL."""

from __future__ import annotations

from typing import Final

from loomline.server.storage.idempotency import Keys
from loomline.server.storage.postgres.dialect import DIALECT

_KEYS: Final = Keys(DIALECT)

claim_key = _KEYS.claim
forget_keys = _KEYS.forget
