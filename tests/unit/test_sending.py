"""The sender of webhooks, with a real database and real connections."""

import asyncio
import contextlib
import shutil
import ssl
import subprocess
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.conformance.acts import DONE, add, claim, thread_of
from tests.receiver import receiving
from tests.support import open_storage

from loomline.server.clock import SystemClock
from loomline.server.domain.errors import WebhookFailed
from loomline.server.domain.json import Encoded
from loomline.server.domain.webhooks import WebhookPolicy, parse_target
from loomline.server.events.signals import MemorySignals
from loomline.server.ports.signals import WEBHOOK
from loomline.server.services.webhooks import WebhookGuard
from loomline.server.settings import parse_networks
from loomline.server.worker.posting import SystemResolver, WebhookClient
from loomline.server.worker.webhooks import SenderOptions, WebhookSender

HERE = WebhookPolicy(allowed_networks=parse_networks("127.0.0.0/8"))


class Names:
    """A resolver whose names are those of the test. What they lead to may change."""

    def __init__(self, **addresses):
        self.addresses_of = addresses
        self.asked = asyncio.Event()

    async def addresses(self, host, port):
        self.asked.set()
        return self.addresses_of.get(host.partition(".")[0], [])


def sender_options(**options):
    given = {"attempts": 8, "timeout_seconds": 10.0, "retry_seconds": 1.0}
    return SenderOptions(**given | options)


@pytest.fixture
async def storage(tmp_path):
    async with open_storage(tmp_path) as opened:
        yield opened


@pytest.fixture
async def sending(storage):
    """Start senders on one database; return the last."""
    started = []

    async def start(names, policy=HERE, **options):
        client = WebhookClient(5.0)
        client.open(None)
        sender = WebhookSender(
            storage=storage,
            signals=MemorySignals(),
            clock=SystemClock(),
            guard=WebhookGuard(policy, names),
            transport=client,
            options=sender_options(retry_seconds=0.02, attempts=3, poll_seconds=0.05, **options),
        )
        started.append((sender, client))
        await sender.start(orphaned=False)
        return sender

    yield start
    for sender, client in started:
        await sender.stop()
        await client.aclose()


async def end_a_run(storage, webhook):
    await add(storage, await thread_of(storage), webhook=webhook)
    (held,) = await claim(storage)
    await storage.runs.finish(held, DONE)


async def until(condition):
    async with asyncio.timeout(150):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_a_name_that_leads_elsewhere_by_now(storage, sending):
    with receiving() as receiver:
        port = receiver.url.rpartition(":")[2]
        names = Names(good=["127.0.0.1"], bad=["10.0.0.1"], mixed=["127.0.0.1", "10.0.0.1"])
        await sending(names)
        for name in ("bad", "mixed", "good"):
            await end_a_run(storage, f"http://{name}.example:{port}/{name}")
        told = await asyncio.to_thread(receiver.next)
        assert (told.path, told.headers["host"]) == ("/good", f"good.example:{port}")

        async def given_up():
            return (await storage.webhooks.stats()).dead == 2

        await until(given_up)
        for dead in await storage.webhooks.dead(10):
            assert (dead.attempts, dead.error) == (1, "Webhook host blocked: private IP range")
        assert receiver.came.empty()


async def test_a_name_that_is_not_found_is_tried_again(storage, sending):
    names = Names()
    await sending(names)
    with receiving() as receiver:
        port = receiver.url.rpartition(":")[2]
        await end_a_run(storage, f"http://late.example:{port}/")
        await names.asked.wait()
        names.addresses_of["late"] = ["127.0.0.1"]
        assert (await asyncio.to_thread(receiver.next)).path == "/"


async def test_several_senders_send_everything_once(storage, sending):
    with receiving() as receiver:
        for number in range(60):
            await end_a_run(storage, f"{receiver.url}/{number}")
        for _ in range(4):
            await sending(SystemResolver(), per_host=100)
        paths = [(await asyncio.to_thread(receiver.next)).path for _ in range(60)]

        async def done():
            return (await storage.webhooks.stats()).pending == 0

        await until(done)
        assert sorted(paths) == sorted(f"/{number}" for number in range(60))
        assert receiver.came.empty()


async def test_a_host_that_hangs_does_not_hold_up_the_others(storage, sending):
    with receiving() as slow, receiving() as quick:
        slow.hold = threading.Event()
        names = Names(slow=["127.0.0.1"], quick=["127.0.0.1"])
        ports = [each.url.rpartition(":")[2] for each in (slow, quick)]
        for _ in range(40):
            await end_a_run(storage, f"http://slow.example:{ports[0]}/")
        await end_a_run(storage, f"http://quick.example:{ports[1]}/")
        await sending(names, most=32, timeout_seconds=20.0)
        await asyncio.to_thread(quick.next, 5)
        assert slow.came.qsize() <= 16
        slow.hold.set()
        for _ in range(40):
            await asyncio.to_thread(slow.next)


@contextlib.asynccontextmanager
async def told_by_hints(storage, **options):
    """A sender that looks by itself once a minute; yield what tells it to look."""
    signals = MemorySignals()
    client = WebhookClient(5.0)
    client.open(None)
    sender = WebhookSender(
        storage=storage,
        signals=signals,
        clock=SystemClock(),
        guard=WebhookGuard(HERE, SystemResolver()),
        transport=client,
        options=sender_options(poll_seconds=60.0, **options),
    )
    await sender.start(orphaned=True)

    async def tell(receiver):
        async with asyncio.timeout(150):
            while receiver.came.empty():
                await signals.publish(WEBHOOK)
                await asyncio.sleep(0.01)

    yield tell
    await sender.stop()
    await client.aclose()


async def test_a_hint_is_enough(storage):
    with receiving() as receiver:
        async with told_by_hints(storage) as tell:
            await end_a_run(storage, receiver.url)
            await tell(receiver)


async def test_a_hint_is_enough_while_a_host_is_busy(storage):
    with receiving() as slow, receiving() as quick:
        slow.hold = threading.Event()
        async with told_by_hints(storage, per_host=1) as tell:
            await end_a_run(storage, slow.url)
            await tell(slow)
            slow.next()
            await end_a_run(storage, slow.url)
            for _ in range(2):
                await end_a_run(storage, quick.url.replace("127.0.0.1", "localhost"))
                await tell(quick)
                quick.next()
            # What waits for the busy host goes there as soon as it is free.
            assert slow.came.empty()
            slow.hold.set()
            await asyncio.to_thread(slow.next)


@pytest.fixture
def certified(tmp_path, monkeypatch):
    """The port of a server that proves to be hook.example, which is trusted."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-keyout", key, "-out", certificate, "-subj", "/CN=hook.example",
            "-addext", "subjectAltName=DNS:hook.example",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


async def test_certificates_are_for_the_name_not_the_address(certified):
    client = WebhookClient(10.0)
    client.open(None)
    right = parse_target(f"https://hook.example:{certified}/", WebhookPolicy())
    assert await client.post(right, "127.0.0.1", {}, b"{}") == 204
    for host in ("other.example", "127.0.0.1"):
        wrong = parse_target(f"https://{host}:{certified}/", WebhookPolicy())
        with pytest.raises(WebhookFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await client.post(wrong, "127.0.0.1", {}, b"{}")
    await client.aclose()


async def test_names_of_the_system():
    resolver = SystemResolver()
    assert await resolver.addresses("192.0.2.1", 80) == ["192.0.2.1"]
    assert "127.0.0.1" in await resolver.addresses("localhost", 80)
    for wrong in ("nowhere.invalid", "a..b", "x" * 70):
        assert await resolver.addresses(wrong, 80) == []
    # Forms that only some parsers know as addresses are resolved like names, and checked then.
    assert set(await resolver.addresses("127.1", 80)) <= {"127.0.0.1"}
    resolver.close()


SECRET = {"authorization": "Bearer of-the-operator"}
LISTED = replace(HERE, allowed_domains=("good.example",))


async def test_configured_headers_reach_a_listed_host(storage, sending):
    with receiving() as receiver:
        port = receiver.url.rpartition(":")[2]
        await sending(Names(good=["127.0.0.1"]), LISTED, headers=SECRET)
        await end_a_run(storage, f"http://good.example:{port}/")
        told = await asyncio.to_thread(receiver.next)
        assert told.headers["authorization"] == SECRET["authorization"]


async def test_configured_headers_stay_here_where_no_host_is_listed(storage, sending):
    with receiving() as receiver:
        await sending(SystemResolver(), headers=SECRET)
        await end_a_run(storage, receiver.url)
        assert "authorization" not in (await asyncio.to_thread(receiver.next)).headers


async def test_webhook_that_was_enqueued_before_the_list_follows_the_present_list(storage, sending):
    with receiving() as receiver:
        port = receiver.url.rpartition(":")[2]
        await end_a_run(storage, f"http://bad.example:{port}/bad")
        await end_a_run(storage, f"http://good.example:{port}/good")
        names = Names(good=["127.0.0.1"], bad=["127.0.0.1"])
        await sending(names, LISTED, headers=SECRET)
        assert (await asyncio.to_thread(receiver.next)).path == "/good"

        async def given_up():
            return (await storage.webhooks.stats()).dead == 1

        await until(given_up)
        (dead,) = await storage.webhooks.dead(1)
        assert "not in an allowed domain" in dead.error
        assert receiver.came.empty()


@pytest.mark.parametrize("user", [None, Encoded(b'{"identity":"bob"}')])
async def test_webhook_into_the_server_is_sent_as_the_user_of_its_run(storage, user):
    asked = []

    def inside(given):
        async def app(scope, receive, send):
            asked.append((given, scope["path"], dict(scope["headers"])))
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        return app

    client = WebhookClient(5.0)
    client.open(inside)
    policy = WebhookPolicy(allow_loopback=True, allowed_domains=("*.example",))
    sender = WebhookSender(
        storage=storage,
        signals=MemorySignals(),
        clock=SystemClock(),
        guard=WebhookGuard(policy, Names()),
        transport=client,
        options=sender_options(headers=SECRET, poll_seconds=0.05),
    )
    await add(storage, await thread_of(storage), webhook="/hooks", user=user)
    (held,) = await claim(storage)
    await storage.runs.finish(held, DONE)
    await sender.start(orphaned=False)

    async def sent():
        return (await storage.webhooks.stats()).pending == 0

    await until(sent)
    await sender.stop()
    await client.aclose()
    ((given, path, headers),) = asked
    assert (given, path) == (user, "/hooks")
    assert b"authorization" not in headers
