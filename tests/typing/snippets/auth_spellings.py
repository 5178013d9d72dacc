"""An auth file as people write it, with every documented spelling."""

from collections.abc import Sequence
from typing import Any, assert_type

from loomline import Auth
from loomline.auth import is_studio_user

auth = Auth()


@auth.authenticate
async def authenticate(
    authorization: str | None, headers: dict[bytes, bytes]
) -> Auth.types.MinimalUserDict:
    if authorization is None:
        raise Auth.exceptions.HTTPException(status_code=401, detail="Who are you?")
    return {"identity": authorization, "permissions": [str(len(headers))]}


@auth.on
async def everything(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, str]:
    owner = {"owner": ctx.user.identity}
    value.setdefault("metadata", {}).update(owner)
    return owner


@auth.on.threads
async def threads(
    ctx: Auth.types.AuthContext, value: Auth.types.on.threads.value
) -> Auth.types.HandlerResult:
    return is_studio_user(ctx.user) or bool(value)


@auth.on.threads.create
async def create(
    ctx: Auth.types.AuthContext, value: Auth.types.on.threads.create.value
) -> Auth.types.FilterType:
    value.setdefault("metadata", {})["owner"] = ctx.user.identity
    return {"owner": {"$eq": ctx.user.identity}}


@auth.on.threads.create_run
async def create_run(ctx: Auth.types.AuthContext, value: Auth.types.RunsCreate) -> bool:
    return "kwargs" in value and ctx.resource == "threads"


@auth.on.threads.read
async def read(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> None:
    print(ctx.permissions, value)


@auth.on.threads(actions=["update", "delete"])
async def change(
    ctx: Auth.types.AuthContext,
    value: Auth.types.on.threads.update.value | Auth.types.on.threads.delete.value,
) -> bool:
    return ctx.action == "update" or "run_id" in value


@auth.on.assistants(actions="create")
async def assistants(ctx: Auth.types.AuthContext, value: Auth.types.AssistantsCreate) -> bool:
    return bool(ctx.user["org"] == value.get("graph_id"))


@auth.on.crons.create
async def crons(
    ctx: Auth.types.AuthContext, value: Auth.types.on.crons.create.value
) -> Auth.types.HandlerResult:
    return {"owner": ctx.user.identity} if value.get("schedule") else False


@auth.on.store
async def store(ctx: Auth.types.AuthContext, value: Auth.types.on.store.value) -> None:
    namespace: Sequence[str] = value["namespace"] or ()
    value["namespace"] = (ctx.user.identity, *namespace)


@auth.on.store.put
async def put(ctx: Auth.types.AuthContext, value: Auth.types.on.store.put.value) -> bool:
    return value["namespace"][0] == ctx.user.identity


@auth.on.store(actions=["get", "search"])
async def look(
    ctx: Auth.types.AuthContext, value: Auth.types.StoreGet | Auth.types.StoreSearch
) -> bool:
    return value["namespace"][0] == ctx.user.identity


@auth.on(resources=["threads", "crons"], actions=["search"])
async def search(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> Auth.types.FilterType:
    return {"teams": {"$contains": list(ctx.permissions)}}


@auth.on(resources="assistants", actions="delete")
async def never(ctx: Auth.types.AuthContext, value: Auth.types.AssistantsDelete) -> bool:
    return False


async def handlers_are_still_functions(
    ctx: Auth.types.AuthContext, user: Auth.types.BaseUser
) -> None:
    assert_type(await create_run(ctx, {}), bool)
    assert_type(await everything(ctx, value={}), dict[str, str])
    assert_type(await authenticate(None, {}), Auth.types.MinimalUserDict)
    user_name: str = user.display_name
    Auth.types.AuthContext(
        permissions=[user_name],
        user=Auth.types.StudioUser("ada"),
        resource="threads",
        action="read",
    )
