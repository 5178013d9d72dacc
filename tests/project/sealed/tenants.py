"""Middleware that stands for authentication: it takes a header at its word."""

from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.middleware import Middleware


@dataclass(frozen=True)
class User:
    identity: str
    tenant: str


class Authentication:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        for name, value in scope["headers"] if scope["type"] == "http" else ():
            if name == b"x-tenant":
                scope = {**scope, "user": User("somebody", value.decode())}
        await self.app(scope, receive, send)


app = Starlette(middleware=[Middleware(Authentication)])
