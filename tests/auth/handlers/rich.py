"""Users with fields of their own, some of them secret."""

import loomline

auth = loomline.Auth()


@auth.authenticate
async def authenticate(authorization: str | None):
    if authorization not in {"ada", "bob", "banned", "clumsy"}:
        raise loomline.Auth.exceptions.HTTPException(401)
    name = authorization.capitalize()
    return ["p"], {"identity": authorization, "display_name": name, "org": "x", "token": "s3cret"}


@auth.on
async def only_the_owner(ctx, value):
    owner = {"owner": ctx.user.identity}
    value.setdefault("metadata", {}).update(owner)
    return owner


@auth.on.threads.create_run
async def not_all(ctx, value):
    assert ctx.user.token == "s3cret"
    if ctx.user.identity == "banned":
        return False
    if ctx.user.identity == "clumsy":
        raise ValueError("a bug")
    value["metadata"]["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}
