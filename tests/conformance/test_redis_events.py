"""What only an event log and signals on a server of their own have to do."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
import redis
from hypothesis import HealthCheck, given, settings, strategies as st
from tests.redis_server import new_prefix, redis_server
from tests.support import open_descriptors

from loomline.server.domain.errors import EventsLost, EventsUnavailable
from loomline.server.domain.events import START, Event, EventId, Live
from loomline.server.domain.json import Encoded
from loomline.server.events.redis import RedisEvents, RedisOptions


def event(number):
    return Event("values", Encoded(b"%d" % number), "values")


async def numbers(reader):
    return [int(stored.event.data) async for batch in reader for stored in batch]


@asynccontextmanager
async def process(url, prefix, **options):
    """What one process has; several of them on the same server are independent."""
    events = RedisEvents(url, RedisOptions(prefix=prefix, **options))
    await events.open()
    try:
        yield events
    finally:
        await events.aclose()


@pytest.fixture
def prefix():
    return new_prefix()


@pytest.fixture
async def here(redis_url, prefix):
    async with process(redis_url, prefix) as events:
        yield events


@pytest.fixture
async def there(redis_url, prefix):
    async with process(redis_url, prefix) as events:
        yield events


@pytest.fixture
def client(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def server(tmp_path):
    with redis_server(tmp_path) as server:
        yield server


def cut_connections(client):
    """Cut all connections but our own, as a failing network does."""
    own = client.client_id()
    for each in client.client_list():
        if int(each["id"]) != own:
            client.client_kill_filter(_id=each["id"])


async def test_another_process_sees_events_and_their_end(here, there):
    reading = asyncio.create_task(numbers(there.log.read("run", START)))
    waiting = asyncio.create_task(there.log.read("run", START).last())
    for number in range(200):
        await here.log.append("run", [event(number)])
    await here.log.close("run", 60)
    assert await reading == list(range(200))
    assert (await waiting).event == event(199)


async def test_ids_of_one_process_are_cursors_in_another(here, there):
    await here.log.append("run", [event(number) for number in range(5)])
    await here.log.flush("run")
    reader = here.log.read("run", START)
    first = (await anext(reader))[1].id
    await here.log.close("run", 60)
    await reader.aclose()
    assert EventId.parse(str(first)) == first
    assert await numbers(there.log.read("run", first)) == [2, 3, 4]


async def test_flushed_events_are_seen_by_later_readers(here, there):
    for number in range(50):
        await here.log.append("run", [event(number)])
        await here.log.flush("run")
        reader = there.log.read("run", START)
        reader.drain()
        assert (await numbers(reader))[-1] == number


async def test_a_writer_in_another_program(redis_url, prefix, here):
    program = (
        "import asyncio, sys\n"
        "from loomline.server.events.redis import RedisEvents, RedisOptions\n"
        "from loomline.server.domain.events import Event\n"
        "async def main():\n"
        "    events = RedisEvents(sys.argv[1], RedisOptions(prefix=sys.argv[2]))\n"
        "    await events.open()\n"
        "    await events.log.append('run', [Event('values', b'7')])\n"
        "    await events.log.close('run', 60)\n"
        "    await events.signals.publish('work', 'there')\n"
        "    await events.aclose()\n"
        "asyncio.run(main())\n"
    )
    async with here.signals.listen("work") as listener:
        reading = asyncio.create_task(numbers(here.log.read("run", START)))
        command = [sys.executable, "-c", program, redis_url, prefix]
        await asyncio.to_thread(subprocess.run, command, check=True, timeout=150)
        assert await reading == [7]
        assert await listener.wait(150) == [("work", "there")]


async def test_a_signal_reaches_other_processes_once_and_its_own(here, there):
    async with here.signals.listen("work") as near, there.signals.listen("work", "stop") as far:
        await here.signals.publish("work", "x")
        assert await near.wait(5) == [("work", "x")]
        assert await far.wait(5) == [("work", "x")]
        await there.signals.publish("work", "y")
        assert await near.wait(5) == [("work", "y")]


async def test_a_topic_that_is_wanted_later_is_heard_too(here, there):
    async with here.signals.listen("a"), here.signals.listen("b") as listener:
        await there.signals.publish("b", "x")
        assert await listener.wait(150) == [("b", "x")]


async def test_listeners_are_told_to_look_after_the_connection_was_lost(server, prefix):
    async with process(server.url, prefix) as here, here.signals.listen("work") as listener:
        with redis.Redis.from_url(server.url) as client:
            cut_connections(client)
        assert await listener.wait(150) == [("work", "")]


async def test_a_connection_with_unsent_data_to_a_stalled_server_is_closed(server, prefix):
    large = Event("values", Encoded(b'"%s"' % (b"x" * 1_000_000)), "values")
    events = RedisEvents(server.url, RedisOptions(prefix=prefix, answer_seconds=0.3))
    before = open_descriptors()
    await events.open()
    with server.frozen():
        for _ in range(10):
            await events.log.append("run", [large])
        assert not await events.log.flush("run")
        await events.aclose()
        assert open_descriptors().keys() - before.keys() == set()


async def test_connections_that_are_cut_lose_and_repeat_nothing(server, prefix):
    async with process(server.url, prefix) as here, process(server.url, prefix) as there:
        reading = asyncio.create_task(numbers(there.log.read("run", START)))
        with redis.Redis.from_url(server.url) as client:
            for number in range(300):
                await here.log.append("run", [event(number)])
                if number % 50 == 25:
                    cut_connections(client)
                await here.log.flush("run")
        await here.log.close("run", 60)
        assert await reading == list(range(300))


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25
)
@given(
    steps=st.lists(
        st.one_of(st.integers(1, 30), st.sampled_from(["cut", "reconnect", "flush"])), max_size=12
    )
)
async def test_a_client_sees_all_events_once_whatever_is_cut(server, steps):
    stream = str(uuid4())
    async with process(server.url, "loomline:") as here, process(server.url, "loomline:") as there:
        seen, cursor, count = [], START, 0
        reader = there.log.read(stream, cursor)
        with redis.Redis.from_url(server.url) as client:
            for step in steps:
                if step == "cut":
                    cut_connections(client)
                elif step == "flush":
                    await here.log.flush(stream)
                elif step == "reconnect":
                    await reader.aclose()
                    reader = there.log.read(stream, cursor)
                else:
                    await here.log.append(stream, [event(count + each) for each in range(step)])
                    count += step
                    batch = await anext(reader)
                    seen += [int(stored.event.data) for stored in batch]
                    cursor = batch[-1].id
        await here.log.close(stream, 60)
        seen += await numbers(reader)
        assert seen == list(range(count))


async def test_a_server_that_comes_back_with_its_data_interrupts_nothing(tmp_path, prefix):
    with redis_server(tmp_path, keep_data=True) as server:
        async with process(server.url, prefix) as here, process(server.url, prefix) as there:
            reader = there.log.read("run", START)
            await here.log.append("run", [event(1)])
            assert [int(each.event.data) for each in await anext(reader)] == [1]
            reading = asyncio.create_task(numbers(reader))
            await asyncio.to_thread(server.kill)
            for number in range(2, 50):
                await here.log.append("run", [event(number)])
            await asyncio.to_thread(server.start)
            await here.log.close("run", 60)
            assert await reading == list(range(2, 50))


async def test_a_server_that_comes_back_empty_is_noticed_by_readers(server, prefix):
    async with process(server.url, prefix) as here, process(server.url, prefix) as there:
        reader = there.log.read("run", START)
        await here.log.append("run", [event(1)])
        await anext(reader)
        reading = asyncio.create_task(anext(reader))
        end = there.log.read("run", START)
        waiting = asyncio.create_task(end.last())
        await here.log.flush("run")
        await there.log.flush("run")
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        for task in (reading, waiting):
            with pytest.raises(EventsLost):
                await task
        await here.log.append("run", [event(2)])
        await here.log.close("run", 60)
        with pytest.raises(EventsLost, match="lost"):
            await numbers(there.log.read("run", START))
        assert (await there.log.read("run", START).last()).event == event(2)


async def test_readers_of_new_streams_survive_a_server_that_returns_empty(server, prefix):
    async with process(server.url, prefix) as here, process(server.url, prefix) as there:
        await here.log.append("old", [event(0)])
        await here.log.flush("old")
        reading = asyncio.create_task(numbers(there.log.read("new", START)))
        waiting = asyncio.create_task(there.log.read("new", START).last())
        await asyncio.sleep(0)
        await there.log.flush("new")
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await here.log.append("new", [event(1), event(2)])
        await here.log.close("new", 60)
        assert await reading == [1, 2]
        assert (await waiting).event == event(2)


async def test_unreachable_server_delays_callers_only_briefly(server, prefix):
    async with process(server.url, prefix) as here, here.signals.listen("work") as listener:
        waiting = asyncio.create_task(here.log.read("run", START).last())
        await here.log.append("run", [event(1)])
        await here.log.flush("run")
        server.kill()
        began = time.monotonic()
        with pytest.raises(EventsUnavailable, match="cannot be reached"):
            await waiting
        assert time.monotonic() - began < 2
        for act in (
            lambda: here.log.append("run", [event(2)]),
            lambda: here.log.flush("run"),
            lambda: here.log.close("run", 60),
            lambda: here.signals.publish("work", "x"),
        ):
            began = time.monotonic()
            await act()
            assert time.monotonic() - began < 2
        assert await listener.wait(150) == [("work", "x")]
        with pytest.raises(EventsUnavailable):
            await here.ping()
        with pytest.raises(EventsUnavailable):
            await here.log.read("run", START).last()
        await asyncio.to_thread(server.start)
        await here.log.flush("run")


async def test_readers_of_events_wait_as_long_as_they_are_meant_to(server, prefix):
    async with process(server.url, prefix, read_patience_seconds=0.3) as here:
        reading = asyncio.create_task(anext(here.log.read("run", START)))
        await here.log.append("other", [event(1)])
        await here.log.flush("other")
        server.kill()
        with pytest.raises(EventsUnavailable):
            await reading


async def test_a_server_that_hangs_is_like_one_that_is_away(server, prefix):
    async with process(server.url, prefix) as here, process(server.url, prefix) as there:
        reading = asyncio.create_task(numbers(there.log.read("run", START)))
        await here.log.append("run", [event(1)])
        assert await here.log.flush("run")
        waiting = asyncio.create_task(there.log.read("run", START).last())
        await there.log.flush("run")
        with server.frozen():
            began = time.monotonic()
            await here.log.append("run", [event(2)])
            assert not await here.log.flush("run")
            with pytest.raises(EventsUnavailable):
                await there.log.read("run", START).last()
            with pytest.raises(EventsUnavailable):
                await waiting
            with pytest.raises(EventsUnavailable):
                await here.ping()
            assert time.monotonic() - began < 40
            assert not here.available
        await here.log.close("run", 60)
        assert await reading == [1, 2]
        assert here.available


async def test_a_fence_counts_in_all_processes(here, there):
    await here.log.append("run", [event(1)], 1)
    await here.log.flush("run")
    await there.log.append("run", [event(2)], 2)
    await there.log.flush("run")
    await here.log.append("run", [event(3)], 1)
    await here.log.flush("run")
    await there.log.append("run", [event(4)], 2)
    await there.log.close("run", 60)
    assert await numbers(here.log.read("run", START)) == [1, 2, 4]


async def test_readers_on_any_loop(here, there):
    def read():
        return asyncio.run(numbers(there.log.read("run", START)))

    reading = [asyncio.create_task(asyncio.to_thread(read)) for _ in range(3)]
    for number in range(100):
        await here.log.append("run", [event(number)])
    await here.log.close("run", 60)
    assert await asyncio.gather(*reading) == [list(range(100))] * 3


async def test_nothing_happens_before_it_is_open(redis_url):
    unused = RedisEvents(redis_url, RedisOptions("loomline:"))
    assert unused.available
    assert unused.log.size == 0


async def test_who_gives_up_opening_leaves_no_thread():
    before = set(threading.enumerate())  # there may be servers of other tests
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        deaf.setblocking(False)
        opening = asyncio.create_task(
            RedisEvents(
                f"redis://127.0.0.1:{deaf.getsockname()[1]}", RedisOptions("loomline:")
            ).open()
        )
        connection, _ = await asyncio.get_running_loop().sock_accept(deaf)
        with connection:
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
    new = set(threading.enumerate()) - before
    assert "loomline-redis" not in [thread.name for thread in new]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    names = [str(folder / name) for name in ("certificate.pem", "key.pem")]
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
        "-out", names[0], "-keyout", names[1],
    ]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl to make a certificate with")
    return names


@asynccontextmanager
async def behind_tls(server, certificate):
    """Yield the port at which a server is reached with TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    tasks = set()

    async def copy(reader, writer):
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        source, target = await asyncio.open_unix_connection(server.socket)
        await asyncio.gather(copy(reader, target), copy(source, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as listening:
        yield listening.sockets[0].getsockname()[1]
    await asyncio.gather(*tasks)


async def test_events_and_signals_arrive_over_tls(server, certificate, prefix):
    async with behind_tls(server, certificate) as port:
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate[0]}"
        async with process(url, prefix) as here, process(server.url, prefix) as there:
            reading = asyncio.create_task(numbers(here.log.read("run", START)))
            await there.log.append("run", [event(1)])
            await there.log.close("run", 60)
            assert await reading == [1]


async def test_unknown_certificate_is_refused_without_revealing_the_password(
    server, certificate, prefix
):
    async with behind_tls(server, certificate) as port:
        with pytest.raises(EventsUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await RedisEvents(
                f"rediss://:secret@127.0.0.1:{port}/0", RedisOptions("loomline:")
            ).open()


async def test_too_many_events_for_a_server_that_is_away_leave_a_gap(tmp_path, prefix):
    with redis_server(tmp_path, keep_data=True) as server:
        async with process(server.url, prefix, pending_events=10) as here:
            await here.log.append("run", [event(0)])
            await here.log.flush("run")
            server.kill()
            await here.log.append("run", [event(1)])
            await here.log.flush("run")
            for number in range(2, 101):
                await here.log.append("run", [event(number)])
            assert here.log.size == 1
            await asyncio.to_thread(server.start)
            await here.log.close("run", 60)
            reader, seen = here.log.read("run", START), []
            with pytest.raises(EventsLost, match="lost"):
                async for batch in reader:
                    seen += [int(stored.event.data) for stored in batch]
            assert seen == [0, 1]
            assert (await here.log.read("run", START).last()).event == event(100)


async def test_questions_to_a_server_that_is_away_do_not_pile_up(server, prefix):
    async with process(server.url, prefix, wait_patience_seconds=0.001) as here:
        server.kill()
        for _ in range(500):
            with pytest.raises(EventsUnavailable):
                await here.log.read("run", START).last()
        assert sum(len(outbox.steps) for outbox in here._writer._outboxes.values()) < 150


async def test_a_log_is_trimmed_on_the_server(here, redis_url, prefix, client):
    async with process(redis_url, prefix, events=100) as small:
        for number in range(1000):
            await small.log.append("run", [event(number)])
        await small.log.close("run", 60)
        entries = client.xrange(f"{prefix}events:run")
        assert sum(len(content) - 1 for _, content in entries[:-1]) <= 100
        kept = await numbers(here.log.read("run", START))
        assert kept == list(range(1000 - len(kept), 1000))
        assert len(kept) >= 90


async def test_everything_that_is_written_goes_one_day(here, prefix, client):
    await here.log.append("open", [event(1)])
    await here.log.append("closed", [event(1)])
    await here.log.close("closed", 100)
    await here.log.discard("gone")
    await here.log.flush("open")
    rest = {
        key.decode().removeprefix(prefix): client.ttl(key)
        for key in client.scan_iter(f"{prefix}*", count=1000)
    }
    assert rest.pop("clock") == -1
    assert min(rest.values()) > 0
    assert max(seconds for key, seconds in rest.items() if key.endswith(":closed")) <= 100
    assert max(rest.values()) <= 86_400
    assert rest["events:gone"] <= 30


async def test_many_readers_share_four_connections(server, prefix):
    async with process(server.url, prefix) as here, process(server.url, prefix) as there:
        readers = [
            asyncio.create_task(numbers(there.log.read(str(stream), START)))
            for stream in range(50)
            for _ in range(4)
        ]
        async with there.signals.listen("work"):
            for number in range(20):
                for stream in range(50):
                    await here.log.append(str(stream), [event(number)])
            with redis.Redis.from_url(server.url) as client:
                assert len(client.client_list()) <= 4 + 3 + 1
            for stream in range(50):
                await here.log.close(str(stream), 60)
        assert await asyncio.gather(*readers) == [list(range(20))] * 200
        assert there.log.size == 0


async def test_a_slow_reader_goes_back_to_the_log(redis_url, prefix, here):
    async with process(redis_url, prefix, window_events=10) as there:
        slow, quick = there.log.read("run", START), there.log.read("run", START)
        await here.log.append("run", [event(0)])
        assert len(await anext(slow)) == len(await anext(quick)) == 1
        for number in range(1, 500):
            await here.log.append("run", [event(number)])
            await here.log.flush("run")
            if number == 1:
                await anext(slow)
        await here.log.close("run", 60)
        assert await numbers(quick) == list(range(1, 500))
        assert await numbers(slow) == list(range(2, 500))


async def test_live_reader_continues_after_events_lost_before_it_came(server, prefix):
    async with process(server.url, prefix) as here:
        await here.log.append("run", [event(1)])
        reader = here.log.read("run", START)
        waiting = asyncio.create_task(reader.last())
        await here.log.flush("run")
        server.kill()
        await asyncio.to_thread(server.start)
        with pytest.raises(EventsLost):
            await waiting
        await here.log.append("run", [event(2)])
        reader = here.log.read("run", Live())
        await here.log.append("run", [event(3)])
        await here.log.close("run", 60)
        assert await numbers(reader) == [3]


async def test_who_cannot_connect_is_told_where_and_no_password(tmp_path):
    url = f"unix://me:secret@{tmp_path}/nothing.sock"
    with pytest.raises(EventsUnavailable, match=r"nothing\.sock") as raised:
        await RedisEvents(url, RedisOptions("loomline:")).open()
    assert "secret" not in str(raised.value)


async def test_a_foreign_key_in_the_way_stops_only_its_own_stream(here, prefix, client):
    client.set(f"{prefix}events:bad", "text")
    await here.log.append("bad", [event(1)])
    await here.log.append("good", [event(1)])
    await here.log.close("good", 60)
    assert await numbers(here.log.read("good", START)) == [1]
