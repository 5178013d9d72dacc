"""Assistants in PostgreSQL."""

from __future__ import annotations

from typing import Final

from loomline.server.storage.assistants import ASSISTANT, AssistantForm
from loomline.server.storage.postgres.connection import Connection
from loomline.server.storage.postgres.thread_rows import THREADS
from loomline.server.storage.records import STRING

ASSISTANTS: Final[AssistantForm[Connection]] = AssistantForm(
    record=ASSISTANT.also(folded_name=STRING, folded_graph=STRING),
    folded={"name": "folded_name", "graph_id": "folded_graph"},
    delete_threads=THREADS.delete_all,
)
