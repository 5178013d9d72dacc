"""Handlers for those who have none: everybody sees their own."""

from __future__ import annotations

from typing import Any

from loomline.auth import Auth
from loomline.auth.types import AuthContext, FilterType


def private_auth() -> Auth:
    """Return an object whose handlers write an owner on everything, and show it to nobody else.

    Items of the store are below a namespace of their owner.
    """
    auth = Auth()

    @auth.on
    async def own(ctx: AuthContext, value: dict[str, Any]) -> FilterType:
        owner: dict[str, str] = {"owner": ctx.user.identity}
        value.setdefault("metadata", {}).update(owner)
        return owner

    @auth.on.store
    async def below_own(ctx: AuthContext, value: dict[str, Any]) -> None:
        value["namespace"] = (label(ctx.user.identity), *(value["namespace"] or ()))

    return auth


def label(identity: str) -> str:
    """Return an identity as a label of a namespace, which has no periods; no two have the same."""
    return identity.replace("%", "%25").replace(".", "%2E")
