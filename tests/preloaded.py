"""Processes of the command line that do not import the server again.

Of the CPU time that a server process needs for its start, five sixths are imports. A helper process
has them done once and forks: each fork is a process of its own, with its own arguments, environment,
files and limits, that runs the same ``main`` and can be killed. Tests of the start itself, and of
variables that packages read while they are imported, start a new interpreter instead.
"""

import atexit
import contextlib
import functools
import importlib
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

_MESSAGE_BYTES = 200_000

_MODULES = (
    "loomline.server.cli",
    "loomline.server.cli.serve",
    "loomline.server.cli.work",
    "loomline.server.app.process",
    "loomline.server.storage.postgres",
    "loomline.server.events.redis",
    "langgraph.prebuilt",  # of many graphs
)


class Preloaded:
    """A process of the command line, with the part of ``subprocess.Popen``'s interface in use."""

    def __init__(self, arguments, *, env, files=None):
        self.args = arguments
        self.returncode = None
        self._lock = threading.Lock()
        out, err, self._status = os.pipe(), os.pipe(), os.pipe()
        request = {"arguments": arguments, "env": dict(env), "cwd": str(Path.cwd()), "files": files}
        try:
            self.pid = _helper().fork(request, [out[1], err[1], self._status[1]])
        finally:
            for _, theirs in (out, err, self._status):
                os.close(theirs)
        self._readers = [_Reader(out[0]), _Reader(err[0])]

    def poll(self):
        return self._end(0)

    def wait(self, timeout=None):
        if self._end(timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def communicate(self, timeout=None):
        self.wait(timeout)
        for reader in self._readers:
            reader.join(timeout)
            if reader.is_alive():  # a child of the process has the pipe still open
                raise subprocess.TimeoutExpired(self.args, timeout)
        return tuple(reader.content for reader in self._readers)

    def send_signal(self, number):
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def _end(self, timeout):
        # Without the lock: another thread may look or kill meanwhile.
        if self.returncode is None and _readable(self._status[0], timeout):
            with self._lock:
                self._read_status()
        return self.returncode

    def _read_status(self):
        if self.returncode is None:
            status = os.read(self._status[0], 100)
            assert status, "the helper process has died"
            self.returncode = int(status)
            os.close(self._status[0])


def _readable(descriptor, timeout):
    poll = select.poll()  # unlike select, for descriptors beyond 1023 as well
    poll.register(descriptor, select.POLLIN)
    return poll.poll(None if timeout is None else 1000 * timeout)


class _Reader(threading.Thread):
    """Reads a pipe to its end, so that the process never waits for a reader."""

    def __init__(self, descriptor):
        super().__init__(daemon=True)
        self._descriptor = descriptor
        self.content = ""
        self.start()

    def run(self):
        with os.fdopen(self._descriptor, encoding="utf-8", errors="replace") as file:
            self.content = file.read()


class _Helper:
    """The process that forks."""

    def __init__(self):
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.preloaded", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            cwd=Path(__file__).parents[1],  # the first use may come from any folder
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        theirs.close()
        atexit.register(self._stop)

    def fork(self, request, descriptors):
        with self._lock:
            socket.send_fds(self._control, [json.dumps(request).encode()], descriptors)
            return int(self._control.recv(100))

    def _stop(self):
        self._control.close()
        self._process.wait()


@functools.cache
def _helper():
    return _Helper()


# ------------------------------------------------------------------------- in the helper process


def _serve(control):
    """Fork for each request, and write the exit code of each fork into its pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    woken, waker = socket.socketpair()
    for each in (woken, waker):
        each.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    pipes = {}
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            woken.recv(1000)
            _report_ends(pipes)
        if control in ready:
            content, descriptors, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, 3)
            if not content:
                return None
            if (pid := os.fork()) == 0:
                return _become(json.loads(content), *descriptors)
            *outputs, pipes[pid] = descriptors
            for each in outputs:
                os.close(each)
            control.send(str(pid).encode())


def _report_ends(pipes):
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            pipe = pipes.pop(found[0])
            with contextlib.suppress(BrokenPipeError):
                os.write(pipe, str(os.waitstatus_to_exitcode(found[1])).encode())
            os.close(pipe)


def _become(request, out, err, status):
    """Make this fork like a new process; return the arguments of its command line."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(status)
    os.closerange(3, 1000)
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    os.chdir(request["cwd"])
    sys.path[0] = request["cwd"]
    if request["files"] is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, tuple(request["files"]))
    return request["arguments"]


def _main():
    control = socket.socket(fileno=int(sys.argv[1]))
    command_line, *_ = [importlib.import_module(name) for name in _MODULES]
    arguments = _serve(control)
    if arguments is not None:
        control.detach()
        sys.argv = [_MODULES[0], *arguments]
        sys.exit(command_line.main())


if __name__ == "__main__":
    _main()
