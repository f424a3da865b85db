"""Atomic writes: a file is written whole or not at all. muralist writes every file that others may read in this way.

A file is written under a temporary name in the same folder, flushed to disk, then renamed. Other users may be able to
put links into that folder, so the temporary name is unpredictable and must be new. A writer holds a lock on its file;
a temporary file without a lock was left by a killed process.
"""

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedRandom
from pathlib import Path
from typing import Final

PREFIX: Final = ".muralist-"  # of files that are being written
SUFFIX: Final = ".part"
_NOT_FOR_FOLDERS: Final = (errno.EACCES, errno.EINVAL, errno.ENOTSUP)  # file systems that do not let folders be synced


@contextmanager
def atomic_write(path: Path, *, clean_stale: bool = True) -> Iterator[BufferedRandom]:
    """Open a file that takes the place of `path` when the block ends; if the block fails, nothing has changed.

    Parameters
    ----------
    path : Path
        A link is replaced, not followed.
    clean_stale : bool
        Whether to remove first what killed processes left in the folder, which means listing all names in it.

    Yields
    ------
    binary file
        To be written, and to be read again.

    Raises
    ------
    OSError
        If the folder is missing, is not to be written to, or the disk is full.
    """
    if clean_stale:
        _remove_abandoned(path.parent)
    with _new_file(path.parent) as (file, part):
        yield file
        file.flush()
        os.fsync(file.fileno())
        os.replace(part, path)
    sync_folder(path.parent)


def check_writable(folder: Path) -> int:
    """Find out whether files can be created in a folder, by creating one for a moment: the only sure test.

    Returns the owner of that file, which on some mounts is not this user. Raises `OSError` if it cannot be created.
    """
    with _new_file(folder) as (file, part):
        part.unlink()
        return os.fstat(file.fileno()).st_uid


def is_part(name: str) -> bool:
    """Say whether a name is that of a file that is still being written, or was when its process was killed."""
    return name.startswith(PREFIX) and name.endswith(SUFFIX)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, if the file system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NOT_FOR_FOLDERS:
            raise


@contextmanager
def _new_file(folder: Path) -> Iterator[tuple[BufferedRandom, Path]]:
    """Create a file under a new name and yield both; the file is removed if the block fails."""
    while True:
        part = folder / f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}"
        with open(part, "x+b", opener=_open_no_link) as file:
            with suppress(OSError):  # not every file system has locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink == 0:  # another process took it for abandoned before it was locked
                continue
            try:
                yield file, part
            except BaseException:
                with suppress(OSError):  # in a folder that is gone, nothing is left to remove
                    part.unlink()
                raise
            return


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def _remove_abandoned(folder: Path) -> None:
    """Remove temporary files of killed processes. Files that cannot be removed stay."""
    with suppress(OSError), os.scandir(folder) as entries:
        for path in [Path(entry.path) for entry in entries if is_part(entry.name)]:
            with suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                finally:
                    os.close(descriptor)
