"""A custom application that remembers the webhooks that it has received."""

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

_CAME: list[dict[str, object]] = []


async def receive(request):
    user = request.scope.get("user")
    _CAME.append(
        {
            "run_id": (await request.json())["run_id"],
            "identity": None if user is None else user.identity,
            "headers": dict(request.headers),
        }
    )
    return JSONResponse({})


async def show(_):
    return JSONResponse(_CAME)


app = Starlette(routes=[Route("/hooks", receive, methods=["POST"]), Route("/hooks", show)])
