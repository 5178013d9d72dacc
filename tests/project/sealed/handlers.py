"""Encryption objects of both packages, with a cipher that is easy to see through in tests."""

import asyncio
import base64
import threading
import warnings
from itertools import cycle

import orjson
from langgraph_sdk import Encryption as OfficialEncryption

import loomline

KEYS = {"acme": b"key of acme", "": b"common key"}
THREADS: set[str] = set()
MODELS: set[tuple[str | None, str | None]] = set()


def crossed(ctx, data):
    THREADS.add(threading.current_thread().name)
    key = KEYS[ctx.metadata.get("tenant", "")]
    return bytes(a ^ b for a, b in zip(data, cycle(key), strict=False))


def made(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encryption = kind()

    @encryption.encrypt.blob
    async def seal_blob(ctx, data):
        await asyncio.sleep(0)
        return b"X" + crossed(ctx, data)

    @encryption.decrypt.blob
    async def open_blob(ctx, data):
        assert (ctx.model, ctx.field) == (None, None)
        assert data[:1] == b"X"
        return crossed(ctx, data[1:])

    @encryption.encrypt.json
    async def seal_json(ctx, data):
        MODELS.add((ctx.model, ctx.field))
        await asyncio.sleep(0)
        return {key: each if key == "owner" else text(ctx, each) for key, each in data.items()}

    @encryption.decrypt.json
    async def open_json(ctx, data):
        return {key: value(ctx, each) for key, each in data.items()}

    return encryption


def text(ctx, value):
    return base64.b64encode(crossed(ctx, orjson.dumps(value))).decode()


def value(ctx, text):
    return orjson.loads(crossed(ctx, base64.b64decode(text)))


ours = made(loomline.Encryption)
official = made(OfficialEncryption)

tenants = made(loomline.Encryption)


@tenants.context
async def context(user, ctx):
    return {} if user is None else {"tenant": user.tenant}


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    half = loomline.Encryption()
    empty = loomline.Encryption()
    loses = loomline.Encryption()
    fails = loomline.Encryption()


@half.encrypt.blob
async def only(ctx, data):
    return data


@loses.encrypt.json
async def lose(ctx, data):
    return {"all": "gone"}


@loses.decrypt.json
async def find(ctx, data):
    return data


@fails.encrypt.json
async def fail(ctx, data):
    raise RuntimeError(f"secret {data}")


@fails.decrypt.json
async def fail_too(ctx, data):
    return data


nothing = {"no": "encryption"}
