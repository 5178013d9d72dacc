"""Authentication: whoever asks has a token that nobody else may see."""

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> dict[str, str]:
    if authorization is None:
        raise Auth.exceptions.HTTPException(status_code=401)
    return {"identity": "ada", "token": authorization.removeprefix("Bearer ")}
