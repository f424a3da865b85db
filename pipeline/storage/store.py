"""Files of a run, in a folder of this machine or under an fsspec URL such as s3://bucket/folder.

A file under its final name is complete, even after a power cut, and never changes. So this process may cache what it
wrote or read in memory (`byte_cache.py`) without checking again.
"""

import errno
import glob
import os
import shutil
import uuid
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.request import url2pathname

import fsspec

from ...model.atomic import atomic_write, is_part, sync_folder
from ..errors import OutputError
from .byte_cache import CACHE, Buffer

Span: TypeAlias = tuple[int, int]

# Bytes between two ranges that are fetched sooner over a network than a second request is answered.
GAP: Final = 1 << 20
START_OVER: Final = "discard the interrupted run and start over with --restart"
WHAT_NOW: Final = "name another folder with --scratch"


@dataclass(frozen=True)
class Store:
    """Files under one root. Names are relative to it, with "/" between folders; "" is the root itself.

    All methods may be called from several threads and processes. A remote store must be one where a file appears
    whole, as in S3 and other object stores.

    Attributes
    ----------
    root : str
        A folder, or a URL that fsspec knows, such as s3://bucket/folder. A folder must exist (so that a task that
        outlives its render does not bring it back); folders below it are made as needed.

    Raises
    ------
    OSError
        From every method: on this machine's file system with its errno, from elsewhere as `OutputError`, which
        names the URL, the reason and what to do.
    """

    root: str

    def __truediv__(self, name: str) -> "Store":
        return Store(_below(self.root, name))

    @property
    def local(self) -> Path | None:
        """The folder, if it is one on this machine's file system."""
        if self.root.startswith("file://"):
            return Path(url2pathname(self.root.removeprefix("file://")))
        return None if "://" in self.root else Path(self.root)

    def write(self, name: str, *parts: Buffer) -> None:
        """Write a file, whole or not at all: all parts (C-contiguous), one behind the other."""
        key = _below(self.root, name)
        CACHE.forget(key)
        self._files.write(name, parts)
        CACHE.put(key, *parts)

    def read(self, name: str) -> bytes:
        """Read a file. Raises FileNotFoundError if it is missing."""
        key = _below(self.root, name)
        if (cached := CACHE.get(key)) is not None:
            return bytes(cached)
        content = self._files.read(name)
        CACHE.count_fetched(len(content))
        CACHE.put(key, content)
        return content

    def ranges(self, name: str, spans: Sequence[Span]) -> list[bytes | memoryview]:
        """Read half-open ranges of bytes of a file, in the order given. Raises FileNotFoundError if it is missing."""
        cached = CACHE.get(_below(self.root, name))
        if cached is None:
            found = self._fetch(name, spans)
            CACHE.count_fetched(sum(map(len, found)))
        else:
            found = [cached[first:last] for first, last in spans]
        for (first, last), part in zip(spans, found, strict=True):
            if len(part) != last - first:
                raise OutputError(f"{_below(self.root, name)}: damaged: ends before byte {last}; {START_OVER}")
        return found

    def _fetch(self, name: str, spans: Sequence[Span]) -> list[bytes | memoryview]:
        files = self._files
        blocks = _merged(spans, files.gap)
        starts = [first for first, _ in blocks]
        found = [memoryview(block) for block in files.blocks(name, blocks)]

        def part(first: int, last: int) -> bytes | memoryview:
            if first == last:
                return b""
            number = bisect_right(starts, first) - 1
            return found[number][first - starts[number] : last - starts[number]]

        return [part(first, last) for first, last in spans]

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return CACHE.get(_below(self.root, name)) is not None or self._files.exists(name)

    def names(self, folder: str) -> set[str]:
        """Names of the files directly in a folder, without the folder; none if there is no such folder."""
        return self._files.names(folder)

    def remove(self, name: str) -> None:
        """Delete a file or a folder with all in it; nothing if it is missing."""
        self._files.remove(name)
        self.forget(name)

    def forget(self, name: str) -> None:
        """Drop a file, or a folder with all in it, from the cache."""
        CACHE.drop(_below(self.root, name))

    def check(self) -> None:
        """Find out before any work whether files can be written, read and removed here.

        Raises
        ------
        OutputError
            Says why not.
        """
        name = f".check-{uuid.uuid4().hex}"
        try:
            self._files.write(name, [b"muralist"])
            self._files.read(name)
            self._files.remove(name)
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(f"{self.root}: cannot be written to: {error.strerror}; {WHAT_NOW}") from error

    @property
    def _files(self) -> "_Local | _Remote":
        local = self.local
        return _Remote(self.root) if local is None else _Local(local)


@dataclass(frozen=True)
class _Local:
    folder: Path
    gap: int = 0

    def write(self, name: str, parts: Sequence[Buffer]) -> None:
        path = self.folder / name
        try:
            self._write(path, parts)
        except FileNotFoundError:
            for folder in reversed(path.relative_to(self.folder).parents[:-1]):
                (self.folder / folder).mkdir(exist_ok=True)  # never the root
                sync_folder((self.folder / folder).parent)
            self._write(path, parts)

    def _write(self, path: Path, parts: Sequence[Buffer]) -> None:
        with atomic_write(path, clean_stale=False) as file:  # what is abandoned goes with the run folder
            for part in parts:
                file.write(part)

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def blocks(self, name: str, spans: Sequence[Span]) -> list[bytes]:
        with (self.folder / name).open("rb", buffering=0) as file:
            return [_pread(file.fileno(), first, last) for first, last in spans]

    def exists(self, name: str) -> bool:
        return os.path.isfile(self.folder / name)  # also where the name is too long to be one

    def names(self, folder: str) -> set[str]:
        try:
            with os.scandir(self.folder / folder) as entries:
                return {entry.name for entry in entries if entry.is_file() and not is_part(entry.name)}
        except (FileNotFoundError, NotADirectoryError):
            return set()

    def remove(self, name: str) -> None:
        path = self.folder / name
        if not path.is_dir():
            path.unlink(missing_ok=True)
            return
        gone = path.with_name(f"{path.name}.gone-{uuid.uuid4().hex}")  # tasks still under way cannot add to it
        with suppress(FileNotFoundError):
            os.rename(path, gone)
        shutil.rmtree(gone, ignore_errors=True)  # NFS keeps files that somebody still reads


def _pread(file: int, first: int, last: int) -> bytes:
    parts = []
    while first < last and (part := os.pread(file, last - first, first)):  # at most 2 GiB at once
        parts.append(part)
        first += len(part)
    return b"".join(parts)


@dataclass(frozen=True)
class _Remote:
    root: str
    gap: int = GAP

    def write(self, name: str, parts: Sequence[Buffer]) -> None:
        content = b"".join(parts)
        with _plain_errors(self.root):
            system, path = self._at(name)
            system.pipe_file(path, content)

    def read(self, name: str) -> bytes:
        with _plain_errors(self.root, name):
            system, path = self._at(name)
            return bytes(system.cat_file(path))

    def blocks(self, name: str, spans: Sequence[Span]) -> list[bytes]:
        with _plain_errors(self.root, name):
            system, path = self._at(name)
            starts, ends = [first for first, _ in spans], [last for _, last in spans]
            return list(system.cat_ranges([path] * len(spans), starts, ends, on_error="raise"))

    def exists(self, name: str) -> bool:
        with suppress(FileNotFoundError), _plain_errors(self.root, name):
            system, path = self._at(name)
            return bool(system.info(path)["type"] == "file")
        return False

    def names(self, folder: str) -> set[str]:
        with suppress(FileNotFoundError), _plain_errors(self.root, folder):
            system, path = self._at(folder)
            files = [entry["name"] for entry in system.ls(path, detail=True) if entry["type"] == "file"]
            return {file.rpartition("/")[2] for file in files if file.rpartition("/")[0] == path}
        return set()

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError), _plain_errors(self.root, name):
            system, path = self._at(name)
            files = system.find(path)  # not the folder: s3fs would delete an emptied bucket, too
            if path != glob.escape(path):  # names that `rm` takes for patterns, which match other files
                for file in files:
                    system.rm_file(file)
            elif files:
                system.rm(files)

    def _at(self, name: str) -> tuple[Any, str]:
        system, folder = _connect(self.root)
        return system, _below(folder, name)


@cache
def _connect(url: str) -> tuple[Any, str]:
    try:
        system, folder = fsspec.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        missing = "s3fs is not installed; pip install 'muralist[s3]'" if url.startswith("s3://") else str(error)
        raise OutputError(f"{url}: {missing}") from None
    except ValueError as error:
        raise OutputError(f"{url}: {error}; wanted a folder, or a URL such as s3://bucket/folder") from None
    return system, folder.rstrip("/")


os.register_at_fork(after_in_child=_connect.cache_clear)  # connections do not survive a fork


@contextmanager
def _plain_errors(url: str, name: str | None = None) -> Iterator[None]:
    """Turn errors of fsspec and the libraries below it into OSErrors that can be pickled; `name` may not exist."""
    try:
        yield
    except OutputError:
        raise
    except FileNotFoundError:
        if name is None:
            raise OutputError(f"{url}: there is no such bucket or folder; create it, or {WHAT_NOW}") from None
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), _below(url, name)) from None
    except PermissionError as error:
        raise OutputError(f"{url}: not permitted ({error}); check the credentials and their rights") from None
    except Exception as error:  # botocore's and aiohttp's are no OSErrors, and each protocol has its own
        reason = f"{type(error).__name__}: {error}"
        raise OutputError(f"{url}: {reason}; check the address, the network and the credentials") from None


def _below(root: str, name: str) -> str:
    return f"{root}{'' if root.endswith('/') else '/'}{name}" if name else root


def _merged(spans: Sequence[Span], gap: int) -> list[Span]:
    """Spans that cover all those given, in order; those no further apart than `gap` as one."""
    merged: list[Span] = []
    for first, last in sorted(span for span in spans if span[0] < span[1]):
        if merged and first - merged[-1][1] <= gap:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged


def fetched() -> int:
    """Bytes that `read` and `ranges` took from storage in this thread so far; not what was cached."""
    return CACHE.fetched
