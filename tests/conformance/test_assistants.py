"""What every database must do with assistants."""

from uuid import uuid4

import pytest
from tests.conformance.acts import NOW

from weft.server.domain.assistants import default_assistant
from weft.server.domain.errors import AssistantNotFound
from weft.server.domain.ids import default_assistant_id


async def test_default_assistants_are_stored_once(storage):
    first = default_assistant("agent", "agent", "An agent", NOW)
    await storage.assistants.ensure([first])
    await storage.assistants.ensure([default_assistant("agent", "renamed", None, NOW)])
    assert await storage.assistants.get(default_assistant_id("agent")) == first
    with pytest.raises(AssistantNotFound):
        await storage.assistants.get(uuid4())
