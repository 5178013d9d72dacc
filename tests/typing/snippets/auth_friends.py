"""Encryption, priority, cache and runtime as people write them."""

from datetime import timedelta
from typing import Any, assert_type

from pydantic import BaseModel

from loomline import DecryptResult, Encryption, EncryptionContext, Priority
from loomline.auth.types import BaseUser
from loomline.cache import SWRResult, cache_get, cache_set, swr
from loomline.runtime import AccessContext, ServerRuntime

encryption = Encryption()


@encryption.context
async def tenant(user: BaseUser, ctx: EncryptionContext) -> dict[str, Any]:
    return {**ctx.metadata, "tenant": user["org"]}


@encryption.encrypt.blob
async def lock(ctx: EncryptionContext, data: bytes) -> bytes:
    key: bytes = ctx.metadata["key"]
    return key + data


@encryption.decrypt.blob
async def unlock(ctx: Encryption.types.EncryptionContext, data: bytes) -> DecryptResult[bytes]:
    return DecryptResult(data[1:], replacement=None if ctx.field else data)


@encryption.encrypt.json
async def lock_values(ctx: EncryptionContext, data: dict[str, Any]) -> dict[str, Any]:
    return {key: f"{ctx.model}{value}" for key, value in data.items()}


@encryption.decrypt.json
async def unlock_values(
    ctx: EncryptionContext, data: Encryption.types.Json
) -> Encryption.types.Json | DecryptResult[Encryption.types.Json]:
    return data if ctx.metadata else DecryptResult(data)


priority = Priority()


@priority.assign
async def assign(ctx: Priority.types.PriorityContext) -> Priority.types.PrioritySettings | None:
    if ctx.cron_id:
        return None
    return {"priority": -5 if "paid" in ctx.permissions else 5, "fairness_group": ctx.graph_id}


class Rates(BaseModel):
    euro: float


async def load() -> Rates:
    return Rates(euro=1.1)


async def rates() -> float:
    await cache_set("visits", 1, ttl=timedelta(hours=1))
    print(await cache_get("visits"))
    result = await swr("rates", load, fresh_for=timedelta(minutes=5), model=Rates)
    assert_type(result, SWRResult[Rates])
    if result.status == "stale":
        assert_type(await result.mutate(Rates(euro=2)), Rates)
        await result.mutate()
    return result.value.euro


class Settings(BaseModel):
    model: str = "small"


async def factory(runtime: ServerRuntime[Settings]) -> str:
    reason: AccessContext = runtime.access_context
    execution = runtime.execution_runtime
    if execution is None:
        return reason
    return execution.context.model + execution.ensure_user().identity


async def factory_of_anything(config: dict[str, Any], runtime: ServerRuntime) -> object:
    user = runtime.user
    return runtime.store if user is None else config
