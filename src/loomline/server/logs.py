"""Logging: one line per event, with its fields."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Final

from loomline.server.domain.repetitions import Repetitions, origin

# What every record has; everything else was given by the caller.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


# Characters that end a line somewhere, or make a terminal or an editor show another text: the
# controls of ASCII and Latin-1, the separators of lines, and the marks that turn its direction.
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

# An exception may quote a whole request.
_TRACEBACK_CHARACTERS: Final = 20_000


class Tracebacks:
    """Decides which tracebacks are written: each failure has its own once in five minutes.

    A cron that fails every second would fill a disk otherwise. Failures are the same if they are
    logged with the same message, for the same graph, with the same class of exception from the same
    line. Those not seen for longest are forgotten first.
    """

    def __init__(self, repetitions: Repetitions | None = None) -> None:
        self._repetitions = Repetitions() if repetitions is None else repetitions

    def repeated(self, record: logging.LogRecord) -> int:
        """Return 0 if the traceback of a record is to be written.

        Otherwise it is the number of repetitions of the failure since that was done.
        """
        kind = (record.name, record.msg, getattr(record, "graph_id", None), *_origin(record))
        return self._repetitions.note(kind)


class _LineFormatter(logging.Formatter):
    """The common part of the formats: which tracebacks are written."""

    def __init__(self, tracebacks: Tracebacks | None = None) -> None:
        super().__init__()
        self._tracebacks = Tracebacks() if tracebacks is None else tracebacks

    def _failure(self, record: logging.LogRecord) -> tuple[dict[str, object], str | None]:
        """Return fields about the exception of a record, and its traceback if it is written."""
        if not record.exc_info or record.exc_info[1] is None:
            return {}, None
        repeated = self._tracebacks.repeated(record)
        if repeated:
            kind, place = _origin(record)
            error = f"{kind}: {record.exc_info[1]!s:.200}"
            return {"error": error, "at": place, "repeated": repeated}, None
        text = self.formatException(record.exc_info)
        half = _TRACEBACK_CHARACTERS // 2
        long = len(text) > _TRACEBACK_CHARACTERS
        return {}, f"{text[:half]}\n...\n{text[-half:]}" if long else text


class KeyValueFormatter(_LineFormatter):
    """``time level logger message key=value …``, then the traceback if there is one.

    A line that does not begin with a space is a record, also if a value or an exception has lines.
    """

    def format(self, record: logging.LogRecord) -> str:
        more, trace = self._failure(record)
        fields = (f"{key}={_quoted(value)}" for key, value in {**_fields(record), **more}.items())
        message = _escaped(record.getMessage())
        head = f"{_time(record)} {record.levelname:<7} {record.name}: {message}"
        line = f"{head} {' '.join(fields)}".rstrip()
        return line if trace is None else f"{line}\n{_indented(trace)}"


class JsonFormatter(_LineFormatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        more, trace = self._failure(record)
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
            **more,
        }
        if trace is not None:
            line["traceback"] = trace
        return _CONTROLS.sub(_unicode, json.dumps(line, default=str, ensure_ascii=False))


def configure(*, level: str, as_json: bool) -> None:
    """Send all logs to standard error, in one of the two formats."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else KeyValueFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("loomline").setLevel(level)
    # It warns about each invalid request, as often as a client sends one; they are counted instead.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    # It warns about what follows from an error, which is raised and logged anyway.
    logging.getLogger("psycopg").setLevel(logging.ERROR)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _quoted(value: object) -> str:
    text = str(value)
    if text and not any(character in text for character in ' "=') and not _CONTROLS.search(text):
        return text
    return _CONTROLS.sub(_unicode, json.dumps(text, ensure_ascii=False))


def _escaped(text: str) -> str:
    return _CONTROLS.sub(lambda found: _SHORT.get(found[0], _unicode(found)), text)


def _indented(text: str) -> str:
    return "\n".join(f"  {_escaped(line)}" for line in text.split("\n"))


def _unicode(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _origin(record: logging.LogRecord) -> tuple[str, str]:
    """Return the class of a record's exception and the line that has raised it."""
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__name__, origin(error)
