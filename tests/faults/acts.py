"""What happens to a fleet while it works."""

import random

import anyio


async def pause(shortest=0.3, longest=1.5):
    """Let the load go on until a moment that nothing foresees."""
    await anyio.sleep(random.uniform(shortest, longest))


async def kill(fleet):
    """Kill a process and start it again."""
    member = random.choice(fleet.members)
    member.kill()
    await pause(0.0, 0.3)
    await _start(member)


async def kill_while_starting(fleet):
    """Kill a process that is just starting."""
    member = random.choice(fleet.members)
    member.kill()
    member.start()
    await pause(0.0, 1.5)
    member.kill()
    await _start(member)


async def stop(fleet):
    """Stop a process as a deployment does, and start it again."""
    member = random.choice(fleet.members)
    code = await anyio.to_thread.run_sync(member.stop)
    assert code == 0, f"exit code {code}, see {fleet.log}"
    await _start(member)


async def freeze(fleet, seconds=5.0):
    """Freeze a process for longer than a lease, and let it go on."""
    member = random.choice(fleet.members)
    member.freeze()
    await anyio.sleep(seconds)
    member.thaw()


async def cut(fleet):
    """End every connection to the database, for half a second as soon as it is made."""
    await anyio.to_thread.run_sync(fleet.cut_connections, 0.5)


async def outage(fleet, seconds=6.0):
    """Stop the database for longer than a lease."""
    await anyio.to_thread.run_sync(fleet.database.stop)
    await anyio.sleep(seconds)
    await anyio.to_thread.run_sync(fleet.database.start)


async def restart_redis(fleet):
    """Kill Redis and start it again, without its data."""
    fleet.redis.kill()
    await pause(0.0, 1.0)
    await anyio.to_thread.run_sync(fleet.redis.start)


async def _start(member):
    member.start()
    await anyio.to_thread.run_sync(member.wait_until_ready)
