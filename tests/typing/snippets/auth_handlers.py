"""Handlers as the documentation of such servers spells them."""

from typing import Any

from loomline import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> Auth.types.MinimalUserDict:
    if authorization is None:
        raise Auth.exceptions.HTTPException(status_code=401, detail="Who are you?")
    return {"identity": authorization, "permissions": ["read"]}


@auth.on
async def everything(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> Auth.types.FilterType:
    metadata = value.setdefault("metadata", {})
    metadata["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}


@auth.on.threads
async def threads(ctx: Auth.types.AuthContext, value: Auth.types.on.threads.value) -> bool:
    return "threads" in ctx.permissions


@auth.on.threads.create
async def create(ctx: Auth.types.AuthContext, value: Auth.types.on.threads.create.value) -> None:
    value.setdefault("metadata", {})["owner"] = ctx.user.identity


@auth.on.threads.create_run
async def run(ctx: Auth.types.AuthContext, value: Auth.types.RunsCreate) -> dict[str, str]:
    value["metadata"] = {"owner": ctx.user["identity"]}
    return {"owner": ctx.user.identity}


@auth.on.threads(actions=["read", "search"])
async def reading(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {"team": {"$contains": ctx.user.identity}}


@auth.on.store
async def store(ctx: Auth.types.AuthContext, value: Auth.types.on.store.value) -> None:
    namespace = value["namespace"] or ()
    if namespace[:1] != (ctx.user.identity,):
        value["namespace"] = (ctx.user.identity, *namespace)


@auth.on.store(actions=["put", "delete"])
async def writing(
    ctx: Auth.types.AuthContext, value: Auth.types.StorePut | Auth.types.StoreDelete
) -> bool:
    return value["namespace"][0] == ctx.user.identity


@auth.on(resources=["crons"], actions=["create"])
async def crons(ctx: Auth.types.AuthContext, value: Auth.types.on.crons.create.value) -> bool:
    return ctx.action == "create" and ctx.user.is_authenticated


@auth.on.assistants.search
async def searching(
    ctx: Auth.types.AuthContext, value: Auth.types.on.assistants.search.value
) -> Auth.types.HandlerResult:
    return {"owner": {"$eq": ctx.user.identity}} if value["limit"] else None
