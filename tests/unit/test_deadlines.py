"""A test that waits for ever fails under its own name, and the tests after it still run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CONFTEST = """
import pytest
from tests import deadlines

def pytest_configure(config):
    config.pluginmanager.register(deadlines)

@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"
"""

SETTINGS = """
[pytest]
anyio_mode = auto
timeout = {seconds}
timeout_func_only = true
"""

HEAD = """
import asyncio, contextlib, time
import pytest
from hypothesis import given, settings, strategies

pytestmark = pytest.mark.usefixtures("anyio_backend")

@pytest.fixture
async def resource():
    await asyncio.sleep(0)
    yield 1
    await asyncio.sleep(0)
"""

HANGING = {
    "test": """
async def test_hanging(resource):
    await asyncio.Event().wait()
""",
    "test_that_cleans_up_for_ever": """
async def test_hanging(resource):
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.Event().wait()
""",
    "test_that_ignores_a_cancellation": """
async def test_hanging(resource):
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
""",
    "test_of_hypothesis": """
@settings(deadline=None, max_examples=1)
@given(strategies.just(1))
async def test_hanging(given):
    await asyncio.Event().wait()
""",
    "blocked_loop": """
async def test_hanging(resource):
    time.sleep(100)
""",
    "synchronous_test": """
def test_hanging(resource):
    time.sleep(100)
""",
    "synchronous_test_with_a_loop": """
def test_hanging():
    asyncio.run(asyncio.Event().wait())
""",
    "synchronous_setup": """
@pytest.fixture
def never_ready():
    time.sleep(100)

def test_hanging(resource, never_ready):
    pass
""",
    "synchronous_teardown": """
@pytest.fixture
def never_closed():
    yield
    time.sleep(100)

async def test_hanging(resource, never_closed):
    pass
""",
    "setup": """
@pytest.fixture
async def never_ready():
    await asyncio.Event().wait()

async def test_hanging(resource, never_ready):
    pass
""",
    "setup_of_a_generator": """
@pytest.fixture
async def never_ready():
    await asyncio.Event().wait()
    yield

async def test_hanging(resource, never_ready):
    pass
""",
    "teardown": """
@pytest.fixture
async def never_closed():
    yield
    await asyncio.Event().wait()

async def test_hanging(resource, never_closed):
    pass
""",
}

NEXT = """
async def test_next(resource):
    await asyncio.sleep(0)
    assert resource == 1
"""

PLUGINS = ("anyio.pytest_plugin", "pytest_timeout", "xdist", "_hypothesis_pytestplugin")


@pytest.fixture
def run(tmp_path):
    """Run pytest on modules, in a process of its own; return the exit code and the output."""

    def run(modules, *options, seconds):
        (tmp_path / "conftest.py").write_text(CONFTEST)
        (tmp_path / "pytest.ini").write_text(SETTINGS.format(seconds=seconds))
        for name, source in modules.items():
            (tmp_path / f"test_{name}.py").write_text(HEAD + source)
        named = [part for name in PLUGINS for part in ("-p", name)]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *named, "-rA", *options],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True, text=True, timeout=220, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


ALARM = """
import ctypes, functools, operator, signal, time
import pytest_timeout
from tests import deadlines

class Item:
    pass

def spin(until):
    while time.monotonic() < until:
        pass

def fail(item, settings):
    raise TimeoutError

pytest_timeout.timeout_sigalrm = fail
spin.__code__ = spin.__code__.replace(co_linetable=b"")
settings = pytest_timeout.Settings(1.0, "signal", False, False)
setting = deadlines.pytest_timeout_set_timer(Item, settings)
next(setting)
pytest_timeout.pytest_timeout_set_timer(Item, settings)
try:
    setting.send(True)
except StopIteration:
    pass
until = time.monotonic() + 1.2
"""

AFTER_CODE_WITHOUT_LINES = """
try:
    spin(until)
    time.sleep(100)
except TimeoutError as error:
    print(time.monotonic() >= until)
    entry = error.__traceback__
    while entry:
        print(entry.tb_lineno)
        entry = entry.tb_next
"""

BEFORE_A_SYSTEM_CALL = """
unseen = functools.partial(ctypes.CDLL(None).usleep, 10_000_000)
try:  # no handler runs between the two calls
    list(map(operator.call, [unseen, functools.partial(time.sleep, 100)]))
except TimeoutError:
    print(time.monotonic() < until + 50)
"""


def alarm(then):
    return subprocess.run(
        [sys.executable, "-c", ALARM + then], cwd=ROOT, timeout=60,
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip


def test_an_alarm_in_code_without_lines_is_raised_at_the_next_line():
    spun, *lines = alarm(AFTER_CODE_WITHOUT_LINES)
    assert spun == "True"
    assert lines
    assert "None" not in lines


def test_an_alarm_that_no_handler_has_seen_is_raised_nevertheless():
    assert alarm(BEFORE_A_SYSTEM_CALL) == ["True"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_hanging_code_fails_under_its_name_and_the_next_test_runs(run):
    modules = {name: source + NEXT for name, source in HANGING.items()}
    code, output = run(modules, seconds=2)
    assert code == 1, output
    failed = set(re.findall(r"^(?:FAILED|ERROR) (.*?::\w+)", output, re.MULTILINE))
    assert failed == {f"test_{name}.py::test_hanging" for name in HANGING}, output
    passed = set(re.findall(r"^PASSED (.*)::test_next", output, re.MULTILINE))
    assert passed == {f"test_{name}.py" for name in HANGING}, output


@pytest.mark.one_interpreter
@pytest.mark.slow
def test_a_marked_test_has_the_time_of_its_mark(run):
    source = """
@pytest.mark.timeout(40)
async def test_long(resource):
    await asyncio.sleep(2.5)

@pytest.mark.timeout(2)
async def test_hanging(resource):
    await asyncio.Event().wait()
"""
    _, output = run({"it": source}, seconds=1)
    assert "PASSED test_it.py::test_long" in output
    assert "FAILED test_it.py::test_hanging" in output


@pytest.mark.one_interpreter
@pytest.mark.slow
def test_a_setup_does_not_use_up_the_time_of_its_test(run):
    source = """
@pytest.fixture
async def slow():
    await asyncio.sleep(2)

async def test_long(slow):
    await asyncio.sleep(2)
"""
    code, output = run({"it": source}, seconds=3.5)
    assert code == 0, output


@pytest.mark.slow
def test_a_process_that_cannot_be_freed_is_ended_and_the_test_is_named(run):
    source = """
async def test_hanging(resource):
    while True:
        try:
            await asyncio.Event().wait()
        except BaseException:
            pass
"""
    code, output = run({"it": source + NEXT}, "-n", "1", seconds=3)
    assert code == 1, output
    assert re.search(r"crashed while running '.*test_hanging'", output), output
    assert "PASSED test_it.py::test_next" in output
