"""Writes files into the user's folders, whole or not at all. Everything that prevents it is an `OutputError`."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from ..model.atomic import atomic_write, check_writable
from .errors import OutputError
from .words import url_in

# Bytes that names of files and folders beside an output are longer than its own: `.NAME.muralist.lock`.
_NAME_ROOM = 20


def check_place(path: Path, *, overwrite: bool) -> None:
    """Find out whether a file of any kind can be written, by creating one beside it for a moment.

    Raises
    ------
    OutputError
        If there is no such folder, it cannot be written to, or something is there that may not be replaced.
    """
    _check_folder(path)
    if os.path.isdir(path):
        raise OutputError(f"{path}: this is a folder; add a file name", path=path)
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{path}: exists already; use --overwrite to replace it, or another name", path=path)


def file_at(path: Path) -> object:
    """Tell a file from all others, whatever its name: there are links, and systems for which `a.jpg` is `A.JPG`."""
    try:
        facts = os.stat(path)
    except OSError:  # there is none yet
        return os.path.realpath(path)
    return facts.st_dev, facts.st_ino


def replaceable(overwrite: bool, own: Iterable[Path]) -> Callable[[Path], bool]:
    """Give what says of a file whether it may be replaced: any file may, or only some, whatever they are called."""
    files = {file_at(path) for path in own}
    return lambda path: overwrite or file_at(path) in files


def is_own(facts: os.stat_result, folder: Path) -> bool:
    """Say whether something in a folder belongs to us, by its facts.

    Some mounts (CIFS, vfat, NFS with root_squash) give all that we make to another user; then it belongs to that one.
    """
    if facts.st_uid == os.geteuid():
        return True
    try:
        return facts.st_uid == check_writable(folder)
    except OSError:
        return False


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that becomes `path` if all goes well."""
    try:
        with atomic_write(path) as file:
            yield file
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"{path}: could not be written ({error.strerror or error}); check the folder and its free space", path=path
        ) from error


def write_file(path: Path, content: bytes) -> None:
    """Write a small file beside a picture, whole or not at all. Raises `OutputError` if it cannot be written."""
    with writing(path) as file:
        file.write(content)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all. Raises `OutputError` if it cannot be read or written."""
    try:
        original = source.open("rb")
    except OSError as error:
        raise OutputError(
            f"{source}: cannot be read ({error.strerror}), wanted it to copy to {target}", path=source
        ) from error
    with original, writing(target) as file:
        shutil.copyfileobj(original, file, 1 << 20)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, if they are not there. Raises `OutputError` if it cannot be made."""
    if not os.path.exists(folder):
        _refuse_url(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: the folder cannot be created ({error.strerror}); name another", path=folder
        ) from error


@contextmanager
def named_in_utf_8(folder: Path) -> Iterator[Path]:
    """Give an existing folder a name for libraries that accept only UTF-8: its own if possible, otherwise a link."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        with TemporaryDirectory(prefix="muralist-") as place:
            link = Path(place, "link")
            link.symlink_to(folder.absolute())
            yield link
    else:
        yield folder


def keep_times(source: Path, output: Path) -> None:
    """Give a file the times of another: of its last change and last reading.

    Raises `OutputError` if the other is gone, or the file system takes no times.
    """
    try:
        times = source.stat()
        os.utime(output, ns=(times.st_atime_ns, times.st_mtime_ns), follow_symlinks=False)
    except OSError as error:
        raise OutputError(
            f"{output}: cannot be given the file times of {source} ({error.strerror}); switch keep_times off",
            path=output,
        ) from error


def _refuse_url(path: Path) -> None:
    if url := url_in(path):
        raise OutputError(
            f"{url}: nothing is written to URLs but intermediate canvases (--scratch); name a path", path=path
        )


def _check_folder(path: Path) -> None:
    try:
        check_writable(path.parent)
        longest = os.pathconf(path.parent, "PC_NAME_MAX") - _NAME_ROOM
    except FileNotFoundError as error:
        _refuse_url(path)
        raise OutputError(f"{path}: there is no folder {path.parent}; create it first", path=path) from error
    except OSError as error:
        raise OutputError(
            f"{path}: cannot write into the folder {path.parent} ({error.strerror}); choose another", path=path
        ) from error
    length = len(os.fsencode(path.name))
    if length > longest:
        raise OutputError(
            f"{path}: name too long: got {length} bytes, wanted at most {longest} (files beside it have longer ones); "
            "choose a shorter one",
            path=path,
        )
