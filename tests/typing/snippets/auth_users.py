"""What an authenticator may return, and who counts as a user."""

from typing import Any

from loomline import Auth


class Person:
    def __init__(self, identity: str) -> None:
        self.identity = identity


async def as_text(authorization: str | None) -> str:
    return authorization or "nobody"


async def as_mapping(headers: dict[bytes, bytes]) -> dict[str, Any]:
    return {"identity": "ada", "org": len(headers)}


async def as_object(path: str) -> Person:
    return Person(path)


Auth().authenticate(as_text)
Auth().authenticate(as_mapping)
Auth().authenticate(as_object)

person: Auth.types.MinimalUser = Person("ada")
studio: Auth.types.BaseUser = Auth.types.StudioUser("ada", is_authenticated=True)
