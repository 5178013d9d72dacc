"""Rows belong to the users that their metadata lists; those users may change the list."""

import loomline

auth = loomline.Auth()

OPERATOR = "of-the-operator"
"""The user who may do everything: webhooks must not borrow this user's credentials."""


@auth.authenticate
async def authenticate(authorization: str | None):
    scheme, _, name = (authorization or "").partition(" ")
    if scheme != "Bearer" or not name:
        raise loomline.Auth.exceptions.HTTPException(401, "Who are you?")
    return name


@auth.on
async def members(ctx, value):
    if ctx.user.identity == OPERATOR:
        return None
    if ctx.action in {"create", "create_run"}:
        value.setdefault("metadata", {}).setdefault("members", [ctx.user.identity])
    return {"members": {"$contains": ctx.user.identity}}
