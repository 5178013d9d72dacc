"""An application of FastAPI that a server is put behind."""

from fastapi import Depends, FastAPI
from pydantic import BaseModel

app = FastAPI()


class Thread(BaseModel):
    """A name that the server has a schema of, too."""

    colour: str
    length: int


async def opened():
    yield "opened"


@app.post("/yarn")
async def yarn(thread: Thread, dependency: str = Depends(opened)) -> Thread:
    return Thread(colour=f"{thread.colour} ({dependency})", length=thread.length + 1)
