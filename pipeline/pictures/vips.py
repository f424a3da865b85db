"""Conversion of pixels between NumPy arrays of our three dtypes and libvips images, in row blocks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import RawIOBase
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import pyvips

Pixels = npt.NDArray[Any]

# libvips caches files by name and would give the old pixels of a file that was overwritten.
pyvips.cache_set_max(0)
# Each thread of libvips holds rows of its own: with 32 reading 400 megapixels takes 0.7 GiB, with two 0.2, as fast.
pyvips.concurrency_set(2)

FULL_SCALE = {"uint8": 255, "uint16": 65535, "float32": 1}
VIPS_FORMAT = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}
VIPS_SCALE = {VIPS_FORMAT[dtype]: scale for dtype, scale in FULL_SCALE.items()}
DTYPE = {vips_format: np.dtype(dtype) for dtype, vips_format in VIPS_FORMAT.items()}
INTERPRETATION = {8: "srgb", 16: "rgb16"}
BLOCK_BYTES = 1 << 24

_SYSTEM_ERROR = "system error: "


class Rows(Protocol):
    """What a picture can be written from: an array, or anything that computes or reads rows when it is asked."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(height, width, channels), or (height, width) of alpha."""

    @property
    def dtype(self) -> "np.dtype[Any]":
        """float32, uint8 or uint16."""

    def __getitem__(self, rows: slice, /) -> Any:
        """Rows a to b of `[a:b]`, as an array."""


def full_scale(array: Rows) -> int:
    """The value that stands for full intensity in an array of this dtype."""
    if array.dtype.name not in FULL_SCALE:
        raise ValueError(f"dtype is {array.dtype}, wanted one of {', '.join(FULL_SCALE)}")
    return FULL_SCALE[array.dtype.name]


def as_vips(array: Pixels) -> Any:
    """A libvips image over the array's memory: (height, width) or (height, width, bands)."""
    array = np.ascontiguousarray(array)
    height, width = array.shape[:2]
    bands = 1 if array.ndim == 2 else array.shape[2]
    return pyvips.Image.new_from_memory(array.data, width, height, bands, VIPS_FORMAT[array.dtype.name])


def tripled(image: Any) -> Any:
    """A gray libvips image as RGB."""
    return image.bandjoin([image, image]).copy(interpretation=INTERPRETATION[8 * DTYPE[image.format].itemsize])


def at_depth(image: Any, depth: int) -> Any:
    """Samples of any of our dtypes as integers of 8 or 16 bits, rounded and clipped."""
    full_scale = 2**depth - 1
    if VIPS_SCALE[image.format] == full_scale:
        return image
    return (image * (full_scale / VIPS_SCALE[image.format])).rint().cast("uchar" if depth == 8 else "ushort")


@contextmanager
def source_of(file: BinaryIO | RawIOBase) -> Iterator[Any]:
    """A libvips source that reads an open file by our own calls: libvips maps a JPEG, which counts as memory."""
    with _called_back() as guarded:
        source = pyvips.SourceCustom()
        source.on_read(guarded(file.read, b""))
        source.on_seek(guarded(file.seek, -1))
        yield source


def each_row_block(image: Any, take: Callable[[int, Pixels], None]) -> None:
    """Hand over the rows of a libvips image from top to bottom, in row blocks of about `BLOCK_BYTES`.

    The image is computed in one go and never whole in memory. Reading it as regions or crops takes twice as long or
    fails ("out of order read") where blocks end within a strip of the file.

    Parameters
    ----------
    image
        A libvips image, opened for sequential access or not.
    take
        Gets the number of a block's first row and the block, (rows, width, bands), in the image's own dtype. What it
        raises ends the work.
    """
    blocks = _RowBlocks(image, take)
    with _called_back() as guarded:
        target = pyvips.TargetCustom()
        target.on_write(guarded(blocks.write, -1))
        image.rawsave_target(target)
    blocks.hand_over()


class _RowBlocks:
    """Makes row blocks of the bytes that libvips writes, which come in pieces of its own choice."""

    def __init__(self, image: Any, take: Callable[[int, Pixels], None]) -> None:
        self._row, self._dtype = (image.width, image.bands), DTYPE[image.format]
        self._take = take
        self._top, self._held = 0, bytearray()

    def write(self, piece: Any) -> int:
        self._held += piece
        if len(self._held) >= BLOCK_BYTES:
            self.hand_over()
        return len(piece)

    def hand_over(self) -> None:
        whole = len(self._held) - len(self._held) % (self._row[0] * self._row[1] * self._dtype.itemsize)
        block, self._held = self._held[:whole], self._held[whole:]
        if block:
            rows = np.frombuffer(block, self._dtype).reshape(-1, *self._row)
            self._take(self._top, rows)
            self._top += len(rows)


@contextmanager
def _called_back() -> Iterator[Callable[[Callable[..., Any], Any], Callable[..., Any]]]:
    """Functions for libvips to call, with what to answer if they raise: libvips loses errors, here they come out."""
    errors: list[BaseException] = []

    def guarded(call: Callable[..., Any], failed: Any) -> Callable[..., Any]:
        def answer(*arguments: Any) -> Any:
            try:
                return call(*arguments)
            except BaseException as error:  # raised below
                errors.append(error)
                return failed

        return answer

    try:
        yield guarded
    except pyvips.Error:
        if not errors:
            raise
    if errors:
        raise errors[0]


def one_line(error: pyvips.Error) -> str:
    """One line out of libvips' several: the operating system's if there is one, else the first."""
    lines = [line.strip() for line in str(error.detail).splitlines() if line.strip()] or ["libvips does not say why"]
    system = next((line for line in lines if line.startswith(_SYSTEM_ERROR)), None)
    return lines[0] if system is None else system.removeprefix(_SYSTEM_ERROR)
