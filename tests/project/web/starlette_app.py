"""An application of Starlette that a server is put behind."""

import contextlib

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute

import loomline

LOG: list[str] = []


class Stamp:
    """Stamps every answer, and answers itself where it is told to."""

    def __init__(self, app, name):
        self.app = app
        self.name = name

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"].endswith("/teapot"):
            await PlainTextResponse("short and stout", 418)(scope, receive, send)
            return

        async def stamped(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-stamp", self.name.encode())]
            await send(message)

        await self.app(scope, receive, stamped)


@contextlib.asynccontextmanager
async def lifespan(app):
    LOG.append("started")
    app.state.word = "from the state of the app"
    yield {"word": "from the lifespan"}
    LOG.append("stopped")


async def hello(request):
    words = [request.app.state.word, request.state.word]
    return JSONResponse({"words": words, "path": request.url.path})


async def info(request):
    return JSONResponse({"info": "mine"})


async def log(request):
    return JSONResponse(LOG)


async def echo(request):
    return JSONResponse({"size": len(await request.body())})


async def fail(request):
    raise RuntimeError("a secret reason")


async def refuse(request):
    raise HTTPException(402, "pay first")


async def graphs(request):
    """Ask the server that this application is in front of."""
    async with loomline.get_client() as client:
        found = await client.assistants.search(limit=100)
    return JSONResponse(sorted(each["graph_id"] for each in found))


async def talk(socket):
    await socket.accept()
    await socket.send_text(f"you said {await socket.receive_text()}")
    await socket.close()


app = Starlette(
    routes=[
        Route("/hello", hello),
        Route("/info", info),
        Route("/log", log),
        Route("/threads/mine", hello),
        Route("/echo", echo, methods=["POST"]),
        Route("/fail", fail),
        Route("/refuse", refuse),
        Route("/graphs", graphs),
        Route("/folder/", hello),
        WebSocketRoute("/talk", talk),
    ],
    middleware=[Middleware(Stamp, name="mine")],
    lifespan=lifespan,
)

nothing = {"no": "app"}
