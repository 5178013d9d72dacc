"""The faults that a fleet suffers while it works."""

import random

import anyio


async def pause(shortest=0.3, longest=1.5):
    """Let the load go on until a random moment."""
    await anyio.sleep(random.uniform(shortest, longest))


async def kill(fleet):
    """Kill a process and start it again."""
    member = random.choice(fleet.members)
    member.kill()
    await _inspect(fleet)
    await pause(0.0, 0.3)
    await _start(member)


async def kill_while_starting(fleet):
    """Kill a process that is just starting."""
    member = random.choice(fleet.members)
    member.kill()
    member.start()
    await pause(0.0, 1.5)
    member.kill()
    await _inspect(fleet)
    await _start(member)


async def stop(fleet):
    """Stop a process as a deployment does, and start it again."""
    member = random.choice(fleet.members)
    code = await anyio.to_thread.run_sync(member.stop)
    assert code == 0, f"exit code {code}: {fleet.log_lines()[-20:]}"
    await _inspect(fleet)
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
    await _inspect(fleet)


async def cut_writes(fleet):
    """End the connections that are writing checkpoints, and let later writes through."""
    await anyio.to_thread.run_sync(fleet.break_writes, 3.0, "pg_terminate_backend")
    await _inspect(fleet)


async def cancel_writes(fleet):
    """Let the database give up writes of checkpoints, as a timeout does, and let later ones through."""
    await anyio.to_thread.run_sync(fleet.break_writes, 3.0, "pg_cancel_backend")
    await _inspect(fleet)


async def lock_tables(fleet):
    """Lock the tables of checkpoints, at times for longer than a statement waits for a lock."""
    await anyio.to_thread.run_sync(fleet.lock_tables, random.choice((0.5, 2.0, 6.0, 12.0)))


async def freeze_backends(fleet):
    """Freeze the database's side of every connection, at times for longer than a lease."""
    await anyio.to_thread.run_sync(fleet.freeze_backends, random.uniform(0.5, 6.0))


async def outage(fleet, seconds=6.0):
    """Stop the database for longer than a lease."""
    await anyio.to_thread.run_sync(fleet.database.stop)
    await anyio.sleep(seconds)
    await anyio.to_thread.run_sync(fleet.database.start)
    await _inspect(fleet)


async def restart_redis(fleet):
    """Kill Redis and start it again, without its data."""
    fleet.redis.kill()
    await pause(0.0, 1.0)
    await anyio.to_thread.run_sync(fleet.redis.start)


async def fill_disk(fleet):
    """Let the disk be full for some seconds."""
    await anyio.to_thread.run_sync(fleet.fill_disk, random.uniform(0.5, 4.0))


async def fill_disk_now_and_then(fleet):
    """Let the disk be full for some writes and not for the next."""
    await anyio.to_thread.run_sync(fleet.fill_disk_now_and_then, 3.0)


async def lock_file(fleet):
    """Lock the database's file, at times for longer than a write waits for it."""
    await anyio.to_thread.run_sync(fleet.lock_file, random.choice((0.5, 2.0, 4.5, 7.0, 12.0)))


async def _inspect(fleet):
    await anyio.to_thread.run_sync(fleet.inspect)


async def _start(member):
    member.start()
    await anyio.to_thread.run_sync(member.wait_until_ready)
