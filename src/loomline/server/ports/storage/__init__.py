"""The database, resource by resource. No SQL, session or query object crosses this seam.

Every method may be called from any event loop of the process, and every method may raise
``StorageUnavailable``.

``access`` is a condition on the metadata of a row, and with runs on that of their thread: a row
that does not meet it is as good as not there, in the same act as what is done to it. Only its id is
taken.
"""

from __future__ import annotations

from loomline.server.ports.storage.assistants import AssistantStorage
from loomline.server.ports.storage.crons import CronStorage
from loomline.server.ports.storage.database import Storage
from loomline.server.ports.storage.edits import StateEdit
from loomline.server.ports.storage.runs import RunStorage
from loomline.server.ports.storage.threads import ThreadStorage
from loomline.server.ports.storage.webhooks import WebhookStorage

__all__ = [
    "AssistantStorage",
    "CronStorage",
    "RunStorage",
    "StateEdit",
    "Storage",
    "ThreadStorage",
    "WebhookStorage",
]
