import json
import logging
import sys

import pytest

from loomline.server import logs
from loomline.server.domain.repetitions import Repetitions


@pytest.fixture(autouse=True)
def restore():
    """Leave the logging of the test run as it was."""
    root = logging.getLogger()
    others = [logging.getLogger(name) for name in ("loomline", "uvicorn.error", "psycopg")]
    before, levels = root.handlers[:], [logger.level for logger in (root, *others)]
    yield
    root.handlers[:] = before
    for logger, level in zip((root, *others), levels, strict=True):
        logger.setLevel(level)


@pytest.fixture
def lines(capsys):
    def lines(*, level="INFO", as_json=False):
        logs.configure(level=level, as_json=as_json)
        logger = logging.getLogger("loomline.test")
        logger.debug("too small")
        logger.info("run ended", extra={"run_id": "1", "ms": 2.5, "text": 'two "words"\nin lines'})
        try:
            raise ValueError("bad")
        except ValueError:
            logger.exception("it failed")
        logging.getLogger("other").info("not ours")
        return capsys.readouterr().err.splitlines()

    return lines


def test_one_line_with_its_fields(lines):
    first, second, *traceback = lines()
    time, rest = first.split(" ", 1)
    assert time.endswith("+00:00")
    assert rest == (
        "INFO    loomline.test: run ended run_id=1 ms=2.5 text=" r'"two \"words\"\nin lines"'
    )
    assert second.endswith("ERROR   loomline.test: it failed")
    assert traceback[0].startswith("  Traceback")
    assert traceback[-1] == "  ValueError: bad"


def test_json_log_lines_have_all_fields(lines):
    first, second = (json.loads(line) for line in lines(as_json=True))
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "info",
        "logger": "loomline.test",
        "message": "run ended",
        "run_id": "1",
        "ms": 2.5,
        "text": 'two "words"\nin lines',
    }
    assert second["traceback"].endswith("ValueError: bad")


def test_the_level_is_for_our_own_logs(lines):
    assert any("too small" in line for line in lines(level="DEBUG"))
    assert not any("not ours" in line for line in lines(level="DEBUG"))


def test_configuring_again_does_not_double_the_lines(lines):
    lines()
    assert sum("run ended" in line for line in lines()) == 1


def test_a_value_that_json_does_not_know_is_shown_as_text(capsys):
    logs.configure(level="INFO", as_json=True)
    logging.getLogger("loomline.test").info("x", extra={"what": sys})
    assert "module 'sys'" in json.loads(capsys.readouterr().err)["what"]


# Escape, carriage return, new line, backspace, DEL, the new line and the escape of Latin-1, the
# separators of lines, and a character that turns the direction of writing.
HOSTILE = "\x1b[2J\rfake\n2026 INFO x\x08\x7f\x85\x9b\u2028a\u2029b\u202ec"


def raised(error):
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.mark.parametrize("as_json", [False, True])
def test_control_characters_of_messages_values_and_exceptions_are_escaped(capsys, as_json):
    logs.configure(level="INFO", as_json=as_json)
    logger = logging.getLogger("loomline.test")
    logger.info("a %s", HOSTILE, extra={"value": HOSTILE, "other": "\x85"})
    logger.error("failed", exc_info=raised(ValueError(HOSTILE)))
    written = capsys.readouterr().err
    assert [each for each in HOSTILE if not each.isprintable() and each in written] == ["\n"]
    lines = written.split("\n")
    if as_json:
        first, second = map(json.loads, lines[:2])
        assert (first["message"], first["value"]) == (f"a {HOSTILE}", HOSTILE)
        assert second["traceback"].endswith(HOSTILE)
        assert lines[2:] == [""]
    else:
        assert r"\u001b[2J\rfake\n2026 INFO x\u0008\u007f\u0085" in lines[0]
        assert 'other="\\u0085"' in lines[0]
        # A line that does not begin with a space is a record; an exception cannot forge one.
        assert [line[:1] for line in lines[2:-1]] == [" "] * len(lines[2:-1])


class Clock:
    time = 0.0

    def __call__(self):
        return self.time


def record(error, message="run failed", **fields):
    made = logging.LogRecord("loomline.worker", logging.ERROR, __file__, 1, message, (), None)
    made.exc_info = (type(error), error, error.__traceback__)
    vars(made).update(fields)
    return made


def test_the_traceback_of_a_failure_is_written_once_in_five_minutes(capsys):
    clock = Clock()
    formatter = logs.KeyValueFormatter(logs.Tracebacks(Repetitions(clock)))
    error = raised(ValueError("bad"))
    first, *more = (formatter.format(record(error, graph_id="a", run_id=n)) for n in range(300))
    assert first.splitlines()[-1] == "  ValueError: bad"
    assert all(line.count("\n") == 0 for line in more)
    assert "run_id=299" in more[-1]
    assert 'error="ValueError: bad" at=' in more[-1]
    assert more[-1].endswith(" repeated=299")
    clock.time = 300.0
    assert "Traceback" in formatter.format(record(error, graph_id="a"))


def test_failures_of_other_graphs_classes_and_lines_have_tracebacks_of_their_own():
    formatter = logs.KeyValueFormatter()
    error, same_line = raised(ValueError("bad")), raised(ValueError("other text"))
    assert "Traceback" in formatter.format(record(error, graph_id="a"))
    assert "Traceback" not in formatter.format(record(same_line, graph_id="a"))
    assert "Traceback" in formatter.format(record(error, graph_id="b"))
    assert "Traceback" in formatter.format(record(error, graph_id="a", message="other"))
    assert "Traceback" in formatter.format(record(raised(KeyError("bad")), graph_id="a"))
    try:
        raise ValueError("bad")
    except ValueError as elsewhere:
        assert "Traceback" in formatter.format(record(elsewhere, graph_id="a"))


def test_failures_that_are_remembered_are_bounded():
    repetitions = Repetitions(kinds=10)
    tracebacks = logs.Tracebacks(repetitions)
    error = raised(ValueError("bad"))
    for number in range(100):
        assert tracebacks.repeated(record(error, graph_id=str(number))) == 0
    assert len(repetitions) == 10
    assert tracebacks.repeated(record(error, graph_id="99")) == 1
    assert tracebacks.repeated(record(error, graph_id="0")) == 0


def test_a_long_traceback_is_cut_in_its_middle():
    formatter = logs.JsonFormatter()
    error = raised(ValueError("x" * 1_000_000))
    trace = json.loads(formatter.format(record(error)))["traceback"]
    assert len(trace) < 21_000
    assert trace.startswith("Traceback")
