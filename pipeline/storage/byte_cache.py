"""Caches file contents in memory. Files of a run never change once they are written."""

import mmap
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock, local
from typing import Any, Final, TypeAlias

Buffer: TypeAlias = Any  # bytes, a memoryview, a C-contiguous array; collections.abc.Buffer from Python 3.12 on


class ByteCache:
    """Contents of files by name, with the least recently used dropped first. Thread-safe.

    Attributes
    ----------
    limit : int
        Bytes that are cached at most.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self._size = 0
        self._counts = local()
        self._files: OrderedDict[str, memoryview] = OrderedDict()
        self._lock = Lock()

    def resize(self, limit: int) -> None:
        """Cache at most `limit` bytes from now on."""
        with self._lock:
            self.limit = limit
            self._shrink()

    @property
    def fetched(self) -> int:
        """Bytes that were not cached and that this thread had to fetch."""
        return int(getattr(self._counts, "fetched", 0))

    def count_fetched(self, nbytes: int) -> None:
        """Count bytes that had to be fetched."""
        self._counts.fetched = self.fetched + nbytes

    def get(self, key: str) -> memoryview | None:
        """Content of a file if it is cached."""
        with self._lock:
            if key in self._files:
                self._files.move_to_end(key)
            return self._files.get(key)

    def put(self, key: str, *parts: Buffer) -> None:
        """Cache a file, given in parts, unless it alone is larger than the limit."""
        size = sum(memoryview(part).nbytes for part in parts)
        content = _copied(parts, size) if 0 < size <= self.limit else None
        with self._lock:
            self._drop(key)
            if content is not None:
                self._files[key] = content
                self._size += size
                self._shrink()

    def forget(self, key: str) -> None:
        """Drop a file."""
        with self._lock:
            self._drop(key)

    def drop(self, key: str) -> None:
        """Drop a folder with all in it, or a file."""
        with self._lock:
            for file in [file for file in self._files if file == key or file.startswith(key.rstrip("/") + "/")]:
                self._drop(file)

    def _drop(self, key: str) -> None:
        self._size -= len(self._files.pop(key, b""))

    def _shrink(self) -> None:
        while self._size > self.limit:
            self._drop(next(iter(self._files)))


def _copied(parts: Sequence[Buffer], size: int) -> memoryview:
    """Copy parts to memory outside the heap, which large short-lived blocks would fragment."""
    block = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):  # the system takes its time over small pages
        with suppress(OSError):  # some kernels have no larger ones
            block.madvise(mmap.MADV_HUGEPAGE)
    for part in parts:
        block.write(part)
    return memoryview(block)


CACHE: Final = ByteCache()
"""Of this process; at first, nothing is cached."""


def set_cache_limit(limit: int) -> None:
    """Cache at most so many bytes of what this process writes and reads."""
    CACHE.resize(limit)
