"""An application around the server: FastAPI where it is installed."""

import contextlib
import importlib.util

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Route


@contextlib.asynccontextmanager
async def lifespan(app):
    app.state.started = True
    yield


async def hello(request):
    name = (await request.json())["name"]
    started = request.app.state.started
    return JSONResponse({"hello": name, "by": "starlette", "started": started})


async def mark(request, call_next):
    """Pass every response, event streams too, through the middleware that buffers most."""
    response = await call_next(request)
    response.headers["x-by"] = "starlette"
    return response


app = Starlette(
    routes=[Route("/hello", hello, methods=["POST"])],
    middleware=[Middleware(BaseHTTPMiddleware, dispatch=mark)],
    lifespan=lifespan,
)

if importlib.util.find_spec("fastapi") is not None:
    import fastapi
    import pydantic

    app = fastapi.FastAPI(lifespan=lifespan)

    class Greeting(pydantic.BaseModel):
        name: str

    def started(request: fastapi.Request) -> bool:
        return bool(request.app.state.started)

    @app.post("/hello")
    async def greet(greeting: Greeting, begun: bool = fastapi.Depends(started)):
        return {"hello": greeting.name, "by": "fastapi", "started": begun}

    @app.middleware("http")
    async def mark_all(request: fastapi.Request, call_next):
        response = await call_next(request)
        response.headers["x-by"] = "fastapi"
        return response
