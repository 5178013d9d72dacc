"""An application around the server: FastAPI where it is installed."""

import importlib.util

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route


async def hello(_request):
    return JSONResponse({"hello": "starlette"})


app = Starlette(routes=[Route("/hello", hello)])

if importlib.util.find_spec("fastapi") is not None:
    import fastapi

    app = fastapi.FastAPI()

    @app.get("/hello")
    async def greet() -> dict[str, str]:
        return {"hello": "fastapi"}
