"""Each user sees their own: with loomline.Auth."""

import loomline

auth = loomline.Auth()
TOKENS = {
    "Bearer ada": {"identity": "ada", "permissions": ["read"], "org": "x", "token": "s3cret"},
    "Bearer bob": {"identity": "bob"},
}


@auth.authenticate
async def authenticate(authorization: str | None):
    if authorization not in TOKENS:
        raise loomline.Auth.exceptions.HTTPException(
            401, "Who are you?", {"www-authenticate": "Bearer"}
        )
    return TOKENS[authorization]


@auth.on
async def only_the_owner(ctx, value):
    owner = {"owner": ctx.user.identity}
    value.setdefault("metadata", {}).update(owner)
    return owner


@auth.on.store
async def own_namespace(ctx, value):
    value["namespace"] = (ctx.user.identity, *(value["namespace"] or ()))
