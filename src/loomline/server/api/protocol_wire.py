"""Commands of the thread protocol and their answers, as they are on the wire."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import cast

from loomline.server.api.errors import status_of
from loomline.server.api.limits import TooManyRequests
from loomline.server.domain.errors import Conflict, EventsLost, InvalidInput, LoomlineError
from loomline.server.domain.json import Encoded, JsonObject, dump
from loomline.server.services.protocol_commands import CommandFailed

logger: logging.Logger = logging.getLogger("loomline.api")

_NO_COMMAND = "Protocol commands must include an integer id and string method."
_INTERNAL = "An internal error occurred"

_DENIED = frozenset({401, 403})

# Integers that every client can read.
_ID_MOST = 2**53


class BadCommand(InvalidInput):
    """Something that is no command. ``id`` is what it names itself, if that can be an id."""

    def __init__(self, message: str, command_id: int | None = None) -> None:
        super().__init__(message)
        self.id = command_id


@dataclass(frozen=True, slots=True)
class Command:
    id: int
    method: str
    params: JsonObject

    @classmethod
    def of(cls, value: object) -> Command:
        """Return the command that a client sent.

        Raises:
            BadCommand: it is none.
        """
        given: JsonObject = value if isinstance(value, dict) else {}
        command_id, method = given.get("id"), given.get("method")
        if isinstance(command_id, float) and command_id.is_integer():
            command_id = int(command_id)  # JSON has one kind of number
        whole = isinstance(command_id, int) and not isinstance(command_id, bool)
        if not whole or abs(cast("int", command_id)) > _ID_MOST:
            raise BadCommand(_NO_COMMAND)
        if not isinstance(method, str):
            raise BadCommand(_NO_COMMAND, cast("int", command_id))
        params = given.get("params")
        return cls(cast("int", command_id), method, params if isinstance(params, dict) else {})


def success(command: Command, result: JsonObject, through: int) -> Encoded:
    return dump(
        {
            "type": "success",
            "id": command.id,
            "result": result,
            "meta": {"applied_through_seq": through},
        }
    )


def failure(command_id: int | None, error: Exception, through: int | None = None) -> Encoded:
    """Return the answer to a command that failed; what is not for clients is only logged."""
    code, message = _reason(error)
    answer: JsonObject = {"type": "error", "id": command_id, "error": code, "message": message}
    if through is not None:
        answer["meta"] = {"applied_through_seq": through}
    return dump(answer)


def _reason(error: Exception) -> tuple[str, str]:
    if isinstance(error, CommandFailed):
        return error.code, str(error)
    if isinstance(error, BadCommand | Conflict):
        return "invalid_argument", str(error)
    if isinstance(error, TooManyRequests):
        return "unknown_error", f"429: {error}"
    status = status_of(error)
    if status in _DENIED:
        return "permission_denied", f"{status}: {error}"
    if isinstance(error, LoomlineError) and status is not None:
        return "unknown_error", f"{status}: {error}"
    logger.error("a command failed", exc_info=error)
    return "unknown_error", _INTERNAL


def lost(error: LoomlineError) -> Encoded:
    """Return what a reader is told before its stream breaks off."""
    if not isinstance(error, EventsLost):
        return failure(None, error)
    return failure(None, CommandFailed("unknown_error", str(error)))
