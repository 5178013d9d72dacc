"""Every phase of a test (setup, call, teardown) ends in time, whatever it waits for.

pytest-timeout raises in the main thread. That ends synchronous code, but not a coroutine: anyio
runs the tests and fixtures of a session in one task, which would go on waiting, and the next
coroutine would wait for that task. So coroutines get a deadline of their own in the event loop, a
little earlier than that of pytest-timeout. A process that neither of them can free is ended; xdist
then reports the test and starts another worker.
"""

import asyncio
import contextlib
import faulthandler
import functools
import inspect
import math
import os
import signal
import time

import pytest
import pytest_timeout

_EARLIER = 11 / 12
"""The part of a phase's time that coroutines have: 55 of 60 seconds."""

_LEAST_SECONDS = 1.0
"""What a coroutine has when an earlier one of the same phase has used up the time."""

_AGAIN = 1 / 60
"""The part of a phase's time between two cancellations of a coroutine that still waits."""

_NEXT_LINE_SECONDS = 0.001
"""The pause before an alarm is tried again that came where code has no line number."""

_NEXT_ALARM_SECONDS = 0.5
"""The pause before an alarm is tried again that no handler has seen.

Python runs handlers between instructions. An alarm that arrives after the last of them and before
a system call that waits does not end that call.
"""

_LATER = 1.5
"""After how many times the time of a phase the process is ended."""

_UNTIL = pytest.StashKey[float]()
_PAUSE = pytest.StashKey[float]()
_STDERR = pytest.StashKey[int]()


def pytest_configure(config):
    config.stash[_STDERR] = os.dup(2)  # before output is captured


def pytest_unconfigure(config):
    os.close(config.stash[_STDERR])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item):
    with _timed(item), _phase(item):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item):
    with _phase(item):  # timed by pytest-timeout itself, because of timeout_func_only
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item):
    with _timed(item), _phase(item):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    place, name = pyfuncitem, "obj"
    if hasattr(pyfuncitem.obj, "hypothesis"):
        place, name = pyfuncitem.obj.hypothesis, "inner_test"
    function = getattr(place, name)
    if inspect.iscoroutinefunction(function):
        setattr(place, name, _bounded(function, pyfuncitem.config))
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(fixturedef, request):
    function = fixturedef.func
    if inspect.iscoroutinefunction(function):
        fixturedef.func = _bounded(function, request.config)
    elif inspect.isasyncgenfunction(function):
        fixturedef.func = _bounded_generator(function, request.config)
    try:
        return (yield)
    finally:
        fixturedef.func = function


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_timeout_set_timer(item, settings):
    result = yield
    handler = signal.getsignal(signal.SIGALRM)
    if settings.method == "signal" and callable(handler):
        signal.signal(signal.SIGALRM, functools.partial(_raise_at_a_line, handler))
        seconds, _ = signal.getitimer(signal.ITIMER_REAL)
        signal.setitimer(signal.ITIMER_REAL, seconds or _NEXT_LINE_SECONDS, _NEXT_ALARM_SECONDS)
    return result


def _raise_at_a_line(handler, number, frame):
    """Call a handler of SIGALRM that raises, once every frame is at a line of its source.

    Some instructions, such as the jump at the end of a loop, belong to no line. pytest cannot
    print the traceback of an exception that was raised at one, and ends the whole session.
    """
    if all(each.f_lineno is not None for each in _stack(frame)):
        signal.setitimer(signal.ITIMER_REAL, 0)
        handler(number, frame)
    else:
        signal.setitimer(signal.ITIMER_REAL, _NEXT_LINE_SECONDS, _NEXT_LINE_SECONDS)


def _stack(frame):
    while frame is not None:
        yield frame
        frame = frame.f_back


@contextlib.contextmanager
def _timed(item):
    """Let pytest-timeout watch a phase in which it would not do so by itself."""
    settings = pytest_timeout._get_item_settings(item)
    if not settings.timeout:
        yield
        return
    item.config.hook.pytest_timeout_set_timer(item=item, settings=settings)
    try:
        yield
    finally:
        item.config.hook.pytest_timeout_cancel_timer(item=item)


@contextlib.contextmanager
def _phase(item):
    seconds = pytest_timeout._get_item_settings(item).timeout
    stash = item.config.stash
    if not seconds or pytest_timeout.is_debugging():
        stash[_UNTIL] = math.inf
        yield
        return
    stash[_UNTIL] = time.monotonic() + seconds * _EARLIER
    stash[_PAUSE] = seconds * _AGAIN
    faulthandler.dump_traceback_later(seconds * _LATER, exit=True, file=stash[_STDERR])
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _bounded(function, config):
    @functools.wraps(function)
    async def bounded(*args, **kwargs):
        async with _deadline(config):
            return await function(*args, **kwargs)

    return bounded


def _bounded_generator(function, config):
    @functools.wraps(function)
    async def bounded(*args, **kwargs):
        generator = function(*args, **kwargs)
        async with _deadline(config):
            value = await anext(generator)
        yield value
        async with _deadline(config):
            if await anext(generator, StopAsyncIteration) is not StopAsyncIteration:
                pytest.fail(f"fixture {function.__name__} has more than one yield")

    return bounded


@contextlib.asynccontextmanager
async def _deadline(config):
    """Cancel what is within at the end of the phase, and again until it has ended.

    Raises:
        TimeoutError: if it was cancelled, even if it took no notice and went on to its end.
    """
    until = config.stash.get(_UNTIL, math.inf)
    if until == math.inf:
        yield
        return
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    when = loop.time() + max(until - time.monotonic(), _LEAST_SECONDS)
    pause = config.stash[_PAUSE]
    count = 0

    def cancel():
        nonlocal again, count
        count += 1
        task.cancel()
        again = loop.call_later(pause, cancel)

    again = loop.call_at(when + pause, cancel)
    async with asyncio.timeout_at(when) as limit:
        try:
            yield
        finally:
            again.cancel()
            for _ in range(count):
                task.uncancel()
    if limit.expired():
        raise TimeoutError
