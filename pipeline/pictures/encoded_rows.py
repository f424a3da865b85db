"""A picture that is being written: rows from top to bottom, a few at a time, as samples of the file format."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .metadata import exported, srgb_profile
from .profiles import channels_of
from .stored import Stored
from .vips import BLOCK_BYTES, Pixels, Rows, as_vips, at_depth

_COLOR_TYPE = {3: 2, 4: 6}  # of a PNG, by channels


class RowsError(Exception):
    """Carries an error raised by `Rows` past code that would take an `OSError` for a full disk."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True)
class EncodedRows:
    """A picture as integers of 8 or 16 bits in the profile it is to have.

    Attributes
    ----------
    pixels
        (height, width, 3), sRGB-encoded; floats in [0, 1].
    alpha
        (height, width), or None.
    icc
        A usable output profile to convert to; None: sRGB.
    depth
        Bits per sample.
    intent
        What becomes of colors that the profile does not have, by libvips' names.
    may_have_alpha
        Whether the file can hold alpha.
    """

    pixels: Rows
    alpha: Rows | None
    icc: bytes | None
    depth: int
    intent: str = "relative"
    may_have_alpha: bool = True

    @property
    def is_cmyk(self) -> bool:
        """Whether they are inks."""
        return channels_of(self.icc) == 4

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha; else what is transparent is white."""
        return self.alpha is not None and self.may_have_alpha and not self.is_cmyk

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, 3 or 4)."""
        height, width = self.pixels.shape[:2]
        return height, width, 4 if self.is_cmyk or self.has_alpha else 3

    @property
    def dtype(self) -> "np.dtype[Any]":
        """uint8 or uint16."""
        return np.dtype(f"uint{self.depth}")

    @property
    def profile(self) -> bytes:
        """The profile that the samples are meant in."""
        return self.icc or srgb_profile()

    def row_blocks(self, rows: int | None = None) -> Iterator[Pixels]:
        """Yield (rows, width, channels) from top to bottom, the last as small as it is; without `rows`, a handy number.

        The rows themselves are asked for in order, each once, and at most about `BLOCK_BYTES` at a time.

        Raises
        ------
        ValueError
            If there is NaN or infinity among them, or not the shape that was promised.
        RowsError
            Whatever else they raise.
        """
        height = self.shape[0]
        for top in range(0, height, rows or self._at_once):
            yield self._block(top, min(top + (rows or self._at_once), height))

    @property
    def _at_once(self) -> int:
        _, width, channels = self.shape
        return max(1, BLOCK_BYTES // (width * channels * self.pixels.dtype.itemsize))

    def _block(self, top: int, stop: int) -> Pixels:
        block = np.empty((stop - top, *self.shape[1:]), self.dtype)
        for start in range(top, stop, self._at_once):
            end = min(start + self._at_once, stop)
            block[start - top : end - top] = self._read(start, end)
        return block

    def _read(self, start: int, stop: int) -> Pixels:
        image = as_vips(_ask(self.pixels, start, stop))
        alpha = None if self.alpha is None else as_vips(_ask(self.alpha, start, stop))
        if alpha is not None and not self.has_alpha:
            white = at_depth(image, 16).bandjoin(at_depth(alpha, 16)).flatten(background=65535, max_alpha=65535)
            image, alpha = white.cast("ushort"), None
        if self.icc is None:
            image = at_depth(image, self.depth)
        else:
            image = exported(at_depth(image, 16).copy(interpretation="rgb16"), self.icc, self.depth, self.intent)
        if alpha is not None:
            image = image.bandjoin(at_depth(alpha, self.depth))
        samples: Pixels = image.numpy()
        return samples


def as_png(samples: EncodedRows | Stored) -> Iterator[bytes]:
    """An uncompressed PNG file in pieces: the simplest format that libvips reads from a stream."""
    height, width, channels = samples.shape
    yield b"\x89PNG\r\n\x1a\n"
    yield from _chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, 8 * samples.dtype.itemsize, _COLOR_TYPE[channels], 0, 0, 0)
    )
    stored = zlib.compressobj(0)
    for block in samples.row_blocks():
        lines = block.astype(block.dtype.newbyteorder(">"), copy=False).view(np.uint8).reshape(len(block), -1)
        unfiltered = np.pad(lines, ((0, 0), (1, 0)))  # a line begins with the number of its filter
        yield from _chunk(b"IDAT", stored.compress(unfiltered.data))
    yield from _chunk(b"IDAT", stored.flush())
    yield from _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> Iterator[bytes]:
    yield struct.pack(">I4s", len(data), name)
    yield data
    yield struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))


def _ask(rows: Rows, start: int, stop: int) -> Pixels:
    try:
        block: Pixels = rows[start:stop]
    except Exception as error:
        raise RowsError(error) from error
    if block.shape != (stop - start, *rows.shape[1:]):
        raise ValueError(f"got rows {start} to {stop} as {block.shape}, wanted {(stop - start, *rows.shape[1:])}")
    if not np.isfinite(block).all():
        raise ValueError(f"NaN or infinity among the pixels from row {start} on")
    return block
