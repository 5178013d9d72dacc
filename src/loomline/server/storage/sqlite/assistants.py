"""Assistants in SQLite."""

from __future__ import annotations

import sqlite3
from typing import Final

from loomline.server.storage.assistants import ASSISTANT, AssistantForm
from loomline.server.storage.sqlite.thread_rows import THREADS

# The one writer executes other writes between two batches. A batch has looked at the conditions
# of its threads in the same transaction.
ASSISTANTS: Final[AssistantForm[sqlite3.Connection]] = AssistantForm(
    record=ASSISTANT,
    folded={"name": "folded(name)", "graph_id": "folded(graph_id)"},
    delete_threads=lambda connection, thread_ids, _: THREADS.delete_all(connection, thread_ids),
    batch=50,
)
