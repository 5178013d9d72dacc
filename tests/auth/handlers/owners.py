"""Whoever calls themselves ada is ada, and each sees their own."""

import loomline

auth = loomline.Auth()


@auth.authenticate
async def authenticate(authorization: str | None):
    scheme, _, name = (authorization or "").partition(" ")
    if scheme != "Bearer" or not name:
        raise loomline.Auth.exceptions.HTTPException(401, "Who are you?")
    return name


@auth.on
async def only_the_owner(ctx, value):
    owner = {"owner": ctx.user.identity}
    value.setdefault("metadata", {}).update(owner)
    return owner


@auth.on.store
async def own_namespace(ctx, value):
    value["namespace"] = (ctx.user.identity, *(value["namespace"] or ()))
