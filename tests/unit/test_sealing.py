"""The cipher, and what stands between handlers and storage."""

import asyncio
import base64
import threading

import pytest
from hypothesis import given, strategies as st

from loomline.encryption.aes import AesCipher, AesEncryption, UnknownKey
from loomline.encryption.keys import parse_keys
from loomline.encryption.types import DecryptResult
from loomline.server.domain.errors import EncryptionFailed
from loomline.server.domain.json import dump, load_object
from loomline.server.ports.sealing import ACTING, Acting
from loomline.server.storage.rewriting import PIECE_BYTES, Row, Table, rewrite
from loomline.server.storage.sealed_fields import COLUMNS, SealedField
from loomline.server.storage.sealing import SEALED, Sealer, blob_context

OLD, NEW = b"o" * 32, b"n" * 32


@given(st.binary(max_size=300))
def test_encrypted_bytes_are_decrypted_unchanged(data):
    cipher = AesCipher([OLD])
    sealed = cipher.encrypt(data)
    assert cipher.decrypt(sealed) == data
    assert AesCipher([NEW, OLD]).decrypt(sealed) == data
    assert cipher.encrypt(data) != sealed
    assert len(data) < 8 or data not in sealed


@given(st.binary(min_size=1, max_size=50), st.data())
def test_no_bit_can_be_changed(data, draw):
    cipher = AesCipher([OLD])
    sealed = bytearray(cipher.encrypt(data))
    place = draw.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= 1 << draw.draw(st.integers(0, 7))
    with pytest.raises(UnknownKey):
        cipher.decrypt(bytes(sealed))


@pytest.mark.parametrize("data", [b"", b"\x01", b"x" * 100])
def test_bytes_without_a_known_key_are_refused(data):
    with pytest.raises(UnknownKey):
        AesCipher([OLD]).decrypt(data)
    with pytest.raises(UnknownKey):
        AesCipher([NEW]).decrypt(AesCipher([OLD]).encrypt(data))


def test_salts_do_not_wear_out(monkeypatch):
    monkeypatch.setattr("loomline.encryption.aes._MESSAGES_PER_SALT", 3)
    cipher = AesCipher([OLD])
    sealed = [cipher.encrypt(b"data") for _ in range(7)]
    assert len({each[5:21] for each in sealed}) == 3
    assert [cipher.decrypt(each) for each in sealed] == [b"data"] * 7
    assert AesCipher([OLD]).encrypt(b"data")[5:21] != sealed[0][5:21]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", ()),
        (base64.b64encode(OLD).decode(), (OLD,)),
        (f" {base64.b64encode(NEW).decode()} , {base64.b64encode(OLD).decode()},", (NEW, OLD)),
        ("sixteen letters!", (b"sixteen letters!",)),
    ],
)
def test_encryption_keys_are_read_from_a_list(text, keys):
    assert parse_keys(text) == keys


@pytest.mark.parametrize("text", ["short", "x" * 31, base64.b64encode(b"short").decode()])
def test_malformed_encryption_key_is_refused_without_being_shown(text):
    with pytest.raises(ValueError, match="must be keys") as caught:
        parse_keys(text)
    assert text not in str(caught.value)


def test_there_must_be_a_key():
    with pytest.raises(ValueError, match="must be a key"):
        AesCipher([])


class Handlers:
    """Handlers that turn text round, and note what they are asked."""

    def __init__(self):
        self.asked = []
        self._blob_encryptor = self._blob_decryptor = self.blob
        self._json_encryptor = self._json_decryptor = self.json

    async def blob(self, ctx, data):
        self.asked.append((ctx.model, ctx.field, ctx.metadata, data))
        return data[::-1]

    async def json(self, ctx, data):
        self.asked.append((ctx.model, ctx.field, ctx.metadata, data))
        return {key: each[::-1] if isinstance(each, str) else each for key, each in data.items()}


@pytest.fixture
def handlers():
    return Handlers()


@pytest.fixture(params=[True, False], ids=["inline", "apart"])
async def sealer(request, handlers):
    made = Sealer(handlers, inline=request.param)
    yield made
    await made.close()


async def test_fields_without_encryption_stay_readable(sealer, handlers):
    data = {"text": "abc", "number": 1}
    sealed = await sealer.run(lambda seals: seals.seal("thread", "values", data))
    assert sealed == {"text": {SEALED: "cba"}, "number": 1}
    handlers.asked.clear()
    assert await sealer.run(lambda seals: seals.open({**sealed, "old": "plain"})) == {
        **data,
        "old": "plain",
    }
    assert handlers.asked == [(None, None, {}, {"text": "cba"})]


async def test_plain_objects_ask_no_handler(sealer, handlers):
    assert await sealer.run(lambda seals: seals.open({"a": {"b": 1}})) == {"a": {"b": 1}}
    assert await sealer.run(lambda seals: seals.seal("thread", "values", {})) == {}
    own = {"graph_id": "g", "langgraph_host": "h", "created_by": "system"}
    assert await sealer.run(lambda seals: seals.seal("thread", "metadata", own)) == own
    assert handlers.asked == []


async def test_each_context_is_opened_apart(sealer, handlers):
    ACTING.set(Acting(metadata={"tenant": "a"}))
    one = await sealer.run(lambda seals: seals.seal("thread", "metadata", {"x": "1a"}))
    ACTING.set(Acting(metadata={"tenant": "b"}))
    two = await sealer.run(lambda seals: seals.seal("thread", "metadata", {"y": "1b", "z": "2b"}))
    ACTING.set(None)
    handlers.asked.clear()
    opened = await sealer.run(lambda seals: seals.open(one | two))
    assert opened == {"x": "1a", "y": "1b", "z": "2b"}
    assert handlers.asked == [
        (None, None, {"tenant": "a"}, {"x": "a1"}),
        (None, None, {"tenant": "b"}, {"y": "b1", "z": "b2"}),
    ]


@pytest.mark.parametrize("value", [{"a": "xy"}, "xy", ["xy"], None, 5])
async def test_sealed_json_is_opened_unchanged(sealer, value):
    ACTING.set(None)
    encoded = dump(value)
    sealed = await sealer.run(lambda seals: seals.seal_text("thread", "values", encoded))
    assert await sealer.run(lambda seals: seals.open_text(sealed)) == encoded
    assert b"xy" not in sealed or isinstance(value, list)


async def test_configs_can_be_looked_into(sealer):
    config = {"tags": ["t"], "name": "abc", "configurable": {"model": "xyz", "n": 1}}
    sealed = await sealer.run(lambda seals: seals.seal_config("assistant", config))
    assert list(sealed) == list(config)
    assert sealed["configurable"] == {"model": {SEALED: "zyx"}, "n": 1}
    assert await sealer.run(lambda seals: seals.open_config(sealed)) == config


async def test_sealed_blob_carries_its_context(sealer):
    ACTING.set(Acting(metadata={"tenant": "a"}))
    kind, content = await sealer.run(lambda seals: seals.seal_blob("msgpack", b"abc"))
    assert (kind, blob_context(content), content[-3:]) == (
        "sealed:msgpack",
        {"tenant": "a"},
        b"cba",
    )
    ACTING.set(None)
    assert await sealer.run(lambda seals: seals.open_blob(kind, content)) == ("msgpack", b"abc")
    assert await sealer.run(lambda seals: seals.open_blob("msgpack", b"abc")) == ("msgpack", b"abc")


@pytest.mark.parametrize(
    "value",
    [
        {SEALED: 1},
        {SEALED: "aes:x", "context": {"tenant": "b"}},
        {SEALED: 1, "plain": True},
        {SEALED: {SEALED: 1, "plain": True}, "plain": True},
    ],
)
@pytest.mark.parametrize("key", ["number", "graph_id"])
async def test_plaintext_resembling_ciphertext_is_sealed_and_restored(sealer, handlers, key, value):
    ACTING.set(None)
    data = {key: value, "text": "abc"}
    sealed = await sealer.run(lambda seals: seals.seal("thread", "metadata", data))
    handlers.asked.clear()
    assert await sealer.run(lambda seals: seals.open(sealed)) == data
    assert handlers.asked == [(None, None, {}, {"text": "cba"})]
    only_blobs = Handlers()
    only_blobs._json_encryptor = only_blobs._json_decryptor = None
    other = Sealer(only_blobs, inline=True)
    kept = await other.run(lambda seals: seals.seal("thread", "metadata", data))
    assert await other.run(lambda seals: seals.open(kept)) == data


async def other_keys(ctx, data):
    return {"other": 1}


async def no_json(ctx, data):
    return dict.fromkeys(data, b"bytes")


async def no_object(ctx, data):
    return "text"


async def failing(ctx, data):
    raise KeyError("a secret")


@pytest.mark.parametrize("bad", [other_keys, no_json, no_object, failing])
async def test_handlers_that_break_the_rules(sealer, handlers, bad):
    broken = Handlers()
    broken._json_encryptor = bad
    other = Sealer(broken, inline=True)
    with pytest.raises(EncryptionFailed) as caught:
        await other.run(lambda seals: seals.seal("thread", "metadata", {"a": "b"}))
    assert "secret" not in str(caught.value)


async def test_decrypt_result_of_a_handler_is_unwrapped(handlers):
    async def opened(ctx, data):
        return DecryptResult({key: each[::-1] for key, each in data.items()}, None)

    handlers._json_decryptor = opened
    sealer = Sealer(handlers, inline=True)
    assert await sealer.run(lambda seals: seals.open({"a": {SEALED: "ba"}})) == {"a": "ab"}


async def test_the_context_handler_is_asked_once(handlers):
    asked = []

    async def context(user, ctx):
        asked.append(user)
        return {"user": user}

    handlers._context_handler = context
    sealer = Sealer(handlers, inline=True)
    ACTING.set(Acting(user="ada"))
    for _ in range(3):
        sealed = await sealer.run(lambda seals: seals.seal("thread", "values", {"a": "bc"}))
    assert sealed == {"a": {SEALED: "cb", "context": {"user": "ada"}}}
    assert asked == ["ada"]


async def test_the_context_handler_is_asked_once_for_all_that_goes_on_at_once(handlers):
    asked = []

    async def context(user, ctx):
        asked.append(user)
        await asyncio.sleep(0)
        return {"user": user}

    handlers._context_handler = context
    sealer = Sealer(handlers)
    ACTING.set(Acting(user="ada"))
    sealed = await sealer.run(
        lambda seals: seals.each(lambda each: seals.seal_blob("kind", each), [b"ab"] * 5)
    )
    assert [blob_context(content) for _, content in sealed] == [{"user": "ada"}] * 5
    assert asked == ["ada"]
    await sealer.close()


async def test_the_error_of_a_context_handler_is_not_shown(handlers):
    async def context(user, ctx):
        raise LookupError("secret")

    handlers._context_handler = context
    ACTING.set(Acting(user="ada"))
    with pytest.raises(EncryptionFailed, match="context handler failed with LookupError") as caught:
        await Sealer(handlers, inline=True).run(
            lambda seals: seals.seal("thread", "values", {"a": "bc"})
        )
    assert "secret" not in str(caught.value)


async def test_waiting_for_a_handler_ends_with_the_server(handlers):
    begun = threading.Event()

    async def endless(ctx, data):
        begun.set()
        await asyncio.Event().wait()

    handlers._blob_encryptor = endless
    sealer = Sealer(handlers)
    act = lambda seals: seals.seal_blob("kind", b"data")  # noqa: E731
    here = asyncio.create_task(sealer.run(act))
    on_thread = asyncio.create_task(asyncio.to_thread(sealer.run_blocking, act))
    await asyncio.to_thread(begun.wait)
    while len(asyncio.all_tasks(sealer._thread._loop)) < 2:
        await asyncio.sleep(0)
    await sealer.close()
    for each in (here, on_thread):
        with pytest.raises(EncryptionFailed, match="had not ended"):
            await each


async def test_who_goes_away_cancels_the_handler(handlers):
    begun, cancelled = threading.Event(), threading.Event()

    async def endless(ctx, data):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    handlers._blob_encryptor = endless
    sealer = Sealer(handlers)
    task = asyncio.create_task(sealer.run(lambda seals: seals.seal_blob("kind", b"data")))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(cancelled.wait, 150)
    await sealer.close()


@pytest.mark.parametrize("answer", ["text", None, {"a": object()}])
async def test_a_context_must_be_an_object(handlers, answer):
    async def context(user, ctx):
        return answer

    handlers._context_handler = context
    ACTING.set(Acting(user="ada"))
    with pytest.raises(EncryptionFailed):
        await Sealer(handlers, inline=True).run(
            lambda seals: seals.seal("thread", "values", {"a": "bc"})
        )


async def test_handlers_have_a_loop_of_their_own():
    places = set()

    class Waiting(Handlers):
        async def blob(self, ctx, data):
            await asyncio.sleep(0)
            places.add((threading.current_thread().name, id(asyncio.get_running_loop())))
            return data

    waiting = Waiting()
    waiting._blob_encryptor = waiting._blob_decryptor = waiting.blob
    sealer = Sealer(waiting)
    act = lambda seals: seals.seal_blob("kind", b"data")  # noqa: E731
    await sealer.run(act)
    await asyncio.to_thread(sealer.run_blocking, act)
    await asyncio.to_thread(lambda: asyncio.run(sealer.run(act)))
    assert len(places) == 1
    assert places.pop()[0] == "loomline-encryption"
    await sealer.close()
    inline = Sealer(waiting, inline=True)
    with pytest.raises(EncryptionFailed, match="must not"):
        inline.run_blocking(act)


async def test_the_built_in_handlers():
    sealer = Sealer(AesEncryption([OLD], ["word"]), inline=True)
    data = {"word": "w", "other": "o"}
    metadata = await sealer.run(lambda seals: seals.seal("thread", "metadata", data))
    assert metadata["other"] == "o"
    assert metadata["word"] != "w"
    values = await sealer.run(lambda seals: seals.seal("thread", "values", data))
    assert not {"w", "o"} & {str(each) for each in values.values()}
    assert await sealer.run(lambda seals: seals.open(metadata | values)) == data
    with pytest.raises(EncryptionFailed):
        await sealer.run(lambda seals: seals.open({"a": {SEALED: "not ours"}}))


async def test_rewriting_leaves_the_plain_text_of_users_alone():
    class One:
        tables = (Table("t", ("id",), COLUMNS["threads"]),)
        stored = ()

        async def page(self, table, after, limit):
            return (
                [] if after else [Row((1,), [*(dump(each).decode() for each in texts), None, None])]
            )

        async def replace(self, table, rows):
            self.stored = [(old.key, after.json[:2]) for old, after in rows]

    marker = {SEALED: "aes:nonsense"}
    plain = {"a": {"b": marker}, "configurable": {"c": marker}, "sealed_values": "text"}
    config = {"configurable": {"configurable": {"d": marker}}}
    sealer = Sealer(AesEncryption([OLD], "*"), inline=True)
    sealed = await sealer.run(lambda seals: seals.seal("thread", "metadata", {"x": 1}))
    texts = ({**sealed, **plain}, config)
    one = One()
    assert await rewrite(one, Sealer(AesEncryption([NEW, OLD], "*"), inline=True)) == 1
    ((key, (first, second)),) = one.stored
    found = load_object(first)
    assert (key, load_object(second)) == ((1,), config)
    assert {each: found[each] for each in plain} == plain
    assert found["x"] != sealed["x"]
    new = Sealer(AesEncryption([NEW]), inline=True)
    assert await new.run(lambda seals: seals.open({"x": found["x"]})) == {"x": 1}


async def test_rewriting_large_rows_replaces_them_in_pieces():
    text = "t" * 100_000

    class Many:
        tables = (Table("t", ("id",), {"metadata": SealedField("thread", "metadata")}),)
        pieces = ()

        async def page(self, table, after, limit):
            return [] if after else [Row((number,), [sealed]) for number in range(10)]

        async def replace(self, table, rows):
            self.pieces += (len(rows),)

    sealer = Sealer(AesEncryption([OLD], "*"), inline=True)
    sealed = dump(await sealer.run(lambda s: s.seal("thread", "metadata", {"x": text}))).decode()
    many = Many()
    assert await rewrite(many, sealer) == 10
    assert sum(many.pieces) == 10
    assert max(many.pieces) * len(sealed) < PIECE_BYTES + len(sealed)
