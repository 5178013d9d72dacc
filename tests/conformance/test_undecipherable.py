"""What cannot be decrypted holds up nothing else, and is not lost."""

from itertools import pairwise
from types import SimpleNamespace

import pytest
from tests.conformance.acts import DONE, NOW, claim, thread_of
from tests.conformance.test_crons import MINUTE, stored
from tests.support import new_run

from loomline.server.domain.errors import EncryptionFailed, StorageUnavailable
from loomline.server.domain.json import Encoded
from loomline.server.storage.encrypted import EncryptedRuns, EncryptedStorage
from loomline.server.storage.encrypted_crons import EncryptedCrons
from loomline.server.storage.encrypted_webhooks import EncryptedWebhooks
from loomline.server.storage.sealing import Sealer

POISON = Encoded(b'{"input":"poison"}')


class Keys:
    """Handlers that need a service for keys, which one of the customers can shut."""

    def __init__(self):
        self.withdrawn = False
        self.refused = 0

    async def _json_encryptor(self, _, data):
        return {key: [value] for key, value in data.items()}

    async def _json_decryptor(self, _, data):
        if self.withdrawn and ["poison"] in data.values():
            self.refused += 1
            raise PermissionError
        return {key: value[0] for key, value in data.items()}


@pytest.fixture
def keys():
    return Keys()


@pytest.fixture
def sealed(storage, keys):
    if isinstance(storage, EncryptedStorage):
        pytest.skip("is encrypted already")
    sealer = Sealer(keys, inline=True)
    return SimpleNamespace(
        threads=storage.threads,
        runs=EncryptedRuns(storage.runs, sealer),
        crons=EncryptedCrons(storage.crons, sealer),
        webhooks=EncryptedWebhooks(storage.webhooks, sealer),
    )


async def add(storage, **fields):
    thread = await thread_of(storage)
    return (await storage.runs.create(new_run(thread, now=NOW, **fields))).run.run_id


async def test_undecipherable_run_does_not_delay_other_runs(sealed, keys, clock):
    poison, good = await add(sealed, kwargs=POISON), await add(sealed)
    keys.withdrawn = True
    for _ in range(5):
        found = await claim(sealed, limit=10)
        assert [each.run.run_id for each in found] in ([good], [])
    # It has lost no attempt, and goes on when its key is back.
    keys.withdrawn = False
    clock.move(10)
    (held,) = await claim(sealed, limit=10)
    assert (held.run.run_id, held.run.attempt) == (poison, 1)
    assert held.run.spec.input == "poison"


class Broken:
    """Runs of a database that goes away when something has been claimed."""

    def __init__(self, runs):
        self.claim = runs.claim

    async def release(self, _, **_more):
        raise StorageUnavailable("The database is away.")


async def test_runs_when_the_database_goes_away(storage, sealed, keys):
    await add(sealed, kwargs=POISON)
    good = await add(sealed)
    keys.withdrawn = True
    runs = EncryptedRuns(Broken(storage.runs), Sealer(keys, inline=True))
    assert [each.run.run_id for each in await runs.claim("worker", 10, 15.0)] == [good]


async def test_many_that_cannot_be_opened_are_in_nobodys_way(sealed, keys):
    poisoned = [await add(sealed, kwargs=POISON) for _ in range(20)]
    keys.withdrawn = True
    good = await add(sealed)
    assert [each.run.run_id for each in await claim(sealed, limit=5)] == [good]
    keys.withdrawn = False
    assert await claim(sealed, limit=5) == []
    assert {(await sealed.runs.get(None, each)).attempt for each in poisoned} == {0}


async def test_undecipherable_run_is_retried_with_growing_pauses(sealed, keys, clock):
    poison = await add(sealed, kwargs=POISON)
    keys.withdrawn = True
    tried = []
    for second in range(0, 3600, 2):
        before = keys.refused
        await claim(sealed)
        tried += [second] * (keys.refused > before)
        clock.move(2)
    waits = [later - earlier for earlier, later in pairwise(tried)]
    assert waits[:4] == [4, 8, 16, 32]
    assert waits == sorted(waits)
    assert waits[-1] == 600
    keys.withdrawn = False
    clock.move(600)
    (held,) = await claim(sealed)
    assert (held.run.run_id, held.run.attempt) == (poison, 1)


async def test_undecipherable_webhook_does_not_delay_other_webhooks(sealed, keys, clock):
    for kwargs in (POISON, Encoded(b"{}")):
        await add(sealed, kwargs=kwargs, webhook="https://example.com/")
        (held,) = await claim(sealed)
        await sealed.runs.finish(held, DONE)
    keys.withdrawn = True
    (good,) = await sealed.webhooks.claim(10, 5.0)
    await sealed.webhooks.delivered(good)
    clock.move(6)
    assert await sealed.webhooks.claim(10, 5.0) == []
    keys.withdrawn = False
    clock.move(6)
    (late,) = await sealed.webhooks.claim(10, 5.0)
    assert b"poison" in late.payload


async def test_undecipherable_cron_does_not_delay_other_crons(sealed, keys):
    poison = await stored(sealed, 1, payload={"input": "poison"})
    keys.withdrawn = True
    now = NOW + 10 * MINUTE
    with pytest.raises(EncryptionFailed):  # all keys are away, so it stays due
        await sealed.crons.due(now, 10)
    assert await sealed.crons.next_due() == now
    good = await stored(sealed, 2, next_run_date=now + MINUTE)
    assert await sealed.crons.due(now + MINUTE, 10) == [good]
    # The others do not wait for it: its next time is another.
    assert await sealed.crons.due(now + 5 * MINUTE, 10) == [good]
    keys.withdrawn = False
    assert (await sealed.crons.get(poison.cron_id)).next_run_date == now + 10 * MINUTE
