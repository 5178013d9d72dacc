"""Who gets which run."""

from tests.conformance.acts import NOW, add, claim, thread_of


async def of_graphs(storage, *graphs, limit=10):
    found = await storage.runs.claim("worker", limit, 15.0, graphs=graphs)
    return [each.run.run_id for each in found]


async def test_a_worker_gets_runs_of_its_graphs_only(storage):
    old = await add(storage, await thread_of(storage), graph_id="old")
    new = [await add(storage, await thread_of(storage), graph_id="new") for _ in range(3)]
    assert await of_graphs(storage) == []
    assert await of_graphs(storage, "old", "other") == [old]
    assert await of_graphs(storage, "old") == []
    assert {(await storage.runs.get(None, each)).attempt for each in new} == {0}
    assert await of_graphs(storage, "new", limit=2) == new[:2]
    assert [each.run.run_id for each in await claim(storage, limit=10)] == new[2:]


async def test_a_run_whose_graph_is_unknown_holds_its_place_on_the_thread(storage):
    thread = await thread_of(storage)
    first = await add(storage, thread, graph_id="new")
    await add(storage, thread, graph_id="old")
    assert await of_graphs(storage, "old") == []
    assert await of_graphs(storage, "old", "new") == [first]


async def test_runs_of_unknown_graphs_are_counted(storage):
    for graph in ("old", "new", "new"):
        await add(storage, await thread_of(storage), graph_id=graph)
    assert (await storage.runs.stats()).unknown_graph == 0
    assert (await storage.runs.stats(graphs=["old"])).unknown_graph == 2
    assert (await storage.runs.stats(graphs=["new"])).unknown_graph == 1
    assert (await storage.runs.stats(graphs=[])).unknown_graph == 3


async def test_a_run_that_pauses_is_nobodys_until_then(storage, clock):
    first = await add(storage, await thread_of(storage))
    (held,) = await claim(storage)
    await storage.runs.release(held, pause_seconds=5.0)
    second = await add(storage, await thread_of(storage))
    assert [each.run.run_id for each in await claim(storage, limit=10)] == [second]
    clock.move(5)
    (again,) = await claim(storage, limit=10)
    assert (again.run.run_id, again.run.attempt, again.number) == (first, 1, 2)
    assert again.run.created_at == NOW
