"""Pixels in an uncompressed file; only the requested parts are read into memory.

Files are read and written, never mapped: mapped pages count as resident memory, and writing to them on a full disk
kills the process.
"""

import errno
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OutputError
from .vips import Pixels


@dataclass(frozen=True)
class ArrayFile:
    """Pixels, or a rectangle of them, in a .npy file. Indexed with slices it reads, and gives an array of its own.

    Attributes
    ----------
    path
        The file.
    shape
        (height, width, ...) of the rectangle.
    dtype
        Of the samples.
    start
        Where in the file the rectangle's first pixel lies, bytes.
    stride
        From a row to the next, bytes.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int
    stride: int

    @property
    def nbytes(self) -> int:
        """Bytes of all samples."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def _pixel(self) -> int:
        return math.prod(self.shape[2:]) * self.dtype.itemsize

    def crop(self, rows: slice, cols: slice) -> "ArrayFile":
        """Give a rectangle of the pixels without reading any; the slices must not have steps."""
        if {rows.step, cols.step} - {None, 1}:
            raise ValueError(f"got rows {rows} and cols {cols}, wanted slices without steps")
        down, across = range(self.shape[0])[rows], range(self.shape[1])[cols]
        start = self.start + down.start * self.stride + across.start * self._pixel
        return replace(self, shape=(len(down), len(across), *self.shape[2:]), start=start)

    def __getitem__(self, part: slice | tuple[slice, slice]) -> Pixels:
        """Read `[rows]` or `[rows, cols]`, with or without steps forward.

        Raises `OSError` if the file is gone, or shorter than it was.
        """
        rows, cols = part if isinstance(part, tuple) else (part, slice(None))
        place = self.crop(slice(rows.start, rows.stop), slice(cols.start, cols.stop))
        line, wanted = np.empty(place.shape[1:], self.dtype), range(place.shape[0])[:: rows.step]
        pixels = np.empty((len(wanted), *line[:: cols.step].shape), self.dtype)
        with self.path.open("rb", buffering=0) as file:
            for index, row in enumerate(wanted):
                file.seek(place.start + row * self.stride)
                if file.readinto(line.data) != line.nbytes:
                    raise OSError(errno.EIO, "shorter than it was written", str(self.path))
                pixels[index] = line[:: cols.step]
        return pixels

    def __setitem__(self, part: tuple[slice, slice], pixels: Pixels) -> None:
        """Write a rectangle `[rows, cols]`, slices without a step.

        Raises `OutputError` if the disk is full, or does not take it for another reason.
        """
        place = self.crop(*part)
        with _filing(self.path), self.path.open("r+b") as file:
            for row, line in enumerate(np.broadcast_to(pixels, place.shape)):
                file.seek(place.start + row * place.stride)
                file.write(np.ascontiguousarray(line, self.dtype).data)


def new_array_file(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> ArrayFile:
    """Make a file for pixels of this shape, which are to be written into it; an existing one is replaced.

    Raises `OutputError` if the file cannot be made.
    """
    with _filing(path):
        stored = np.lib.format.open_memmap(path, "w+", dtype, shape)
    return ArrayFile(path, shape, stored.dtype, stored.offset, stored.strides[0])


Allocator = Callable[[str, tuple[int, ...], np.dtype[Any]], Pixels | ArrayFile]


@contextmanager
def allocator_in(folder: Path | None) -> Iterator[Allocator]:
    """Yield a function that allocates pixels by name: in files of a folder (removed if the block fails) or memory."""
    made: list[Path] = []

    def allocate(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Pixels | ArrayFile:
        if folder is None:
            return np.empty(shape, dtype)
        made.append(folder / f"{name}.npy")
        return new_array_file(made[-1], shape, dtype)

    try:
        yield allocate
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise


@contextmanager
def _filing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        raise OutputError(
            f"{path}: pixels that do not fit into memory cannot be stored there ({reason}); free space, or name "
            "another folder with --scratch",
            path=path,
        ) from error
