"""The data directory: one server has it at a time, and other users of the machine do not see it."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from loomline.server.domain.errors import StorageUnavailable

logger: logging.Logger = logging.getLogger("loomline.storage")

_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_NEW_FILE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

# File systems that cannot lock a folder, such as NFS. The lock file is left for these.
_NO_FOLDER_LOCKS: Final = frozenset(
    {errno.EBADF, errno.EINVAL, errno.EISDIR, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP}
)


class DataFolder:
    """The directory of a database file.

    Args:
        database: The path of the database file in it.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._folder = database.parent
        self._locks = ExitStack()

    def take(self) -> None:
        """Make the directory where it does not exist, and lock it for this process.

        Raises:
            StorageUnavailable: another process has it, or it cannot be made or written.
        """
        try:
            self._folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            with ExitStack() as locks:
                self._lock(locks)
                self._create()
                self._hide()
                self._locks = locks.pop_all()
        except BlockingIOError:
            raise StorageUnavailable(
                f"Another server uses the data directory '{self._folder}'. Stop it, or start this"
                " one with another --data-dir."
            ) from None
        except OSError as error:
            raise StorageUnavailable(
                f"The data directory '{self._folder}' cannot be used: {error.strerror}. Choose"
                " another one with --data-dir."
            ) from None
        self._warn()

    def release(self) -> None:
        """Let other processes have the directory."""
        self._locks.close()

    def _lock(self, locks: ExitStack) -> None:
        # The lock of a file is lost with its name: programs that clean up delete old files, and
        # the next server would make and lock another one. A folder with files in it stays.
        _lock_folder(self._folder, locks)
        descriptor = os.open(
            self._database.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE
        )
        locks.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())

    def _create(self) -> None:
        """Make the database file with the mode that SQLite gives its other files as well.

        An existing file must not be opened here: closing it would drop the locks that SQLite has.
        """
        with suppress(FileExistsError):
            os.close(os.open(self._database, _NEW_FILE, _FILE_MODE))

    def _hide(self) -> None:
        """Keep the directory out of Git repositories, unless it has files of the user."""
        names = os.listdir(self._folder)  # noqa: PTH208 - names alone
        if not all(name.startswith(f"{self._database.stem}.") for name in names):
            return
        with suppress(FileExistsError):
            descriptor = os.open(self._folder / ".gitignore", _NEW_FILE, _FILE_MODE)
            try:
                os.write(descriptor, b"*\n")
            finally:
                os.close(descriptor)

    def _warn(self) -> None:
        beside = [
            self._database.with_name(f"{self._database.name}-{end}") for end in ("wal", "shm")
        ]
        files = [path for path in (self._database, *beside) if _is_open(path)]
        remedies = [_remedy(_FOLDER_MODE, [self._folder])] if _is_open(self._folder) else []
        remedies += [_remedy(_FILE_MODE, files)] if files else []
        if remedies:
            logger.warning(
                "OTHER USERS of this machine may read or change the data directory '%s', which"
                " holds everything that clients have sent. Make it private: %s",
                self._folder,
                "; ".join(remedies),
            )


def _lock_folder(folder: Path, locks: ExitStack) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    locks.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_FOLDER_LOCKS:
            raise


def _is_open(path: Path) -> bool:
    """Return whether other users than the owner have any right to a path."""
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except OSError:
        return False


def _remedy(mode: int, paths: Sequence[Path]) -> str:
    return " ".join([f"chmod {mode:o}", *(f"'{path}'" for path in paths)])
