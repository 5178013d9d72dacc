import json
import logging
import sys

import pytest

from loomline.server import logs


@pytest.fixture(autouse=True)
def restore():
    """Leave the logging of the test run as it was."""
    root, ours = logging.getLogger(), logging.getLogger("loomline")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], level, our_level = before
    root.setLevel(level)
    ours.setLevel(our_level)


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
    assert traceback[0].startswith("Traceback")
    assert traceback[-1] == "ValueError: bad"


def test_json_lines(lines):
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
