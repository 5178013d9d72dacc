"""The limit of open files."""

from __future__ import annotations

import contextlib
import sys
from typing import Final

# Systems that allow any number fail for a limit that large.
_MOST: Final = 1_048_576


def raise_descriptor_limit() -> None:
    """Allow this process as many open files as it may allow itself.

    The usual soft limit of 1024 is for programs that use select(); every connection is a file.
    """
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - Windows does not have it

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else hard
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    with contextlib.suppress(ValueError, OSError):  # a sandbox may forbid it
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
