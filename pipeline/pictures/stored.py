"""A picture with the sample values of its file, in its own profile; parts of it are written without conversion."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .array_file import ArrayFile
from .exif import Dpi
from .images import eight_bits
from .profiles import channels_of
from .vips import BLOCK_BYTES, Pixels


@dataclass(frozen=True, eq=False)
class Stored:
    """A picture, written as `EncodedRows` are.

    Attributes
    ----------
    pixels
        (height, width, 3 or 4), uint8 or uint16: RGB or CMYK.
    profile
        What the numbers mean.
    dpi
        Dots per inch, (horizontal, vertical); None if nothing states them.
    depth
        Bits to give: 8 or 16.
    """

    pixels: Pixels | ArrayFile
    profile: bytes
    dpi: Dpi | None
    depth: int = 16

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, 3 or 4)."""
        height, width, channels = self.pixels.shape
        return height, width, channels

    @property
    def dtype(self) -> "np.dtype[Any]":
        """uint8 or uint16."""
        return np.dtype(f"uint{min(self.depth, 8 * self.pixels.dtype.itemsize)}")

    @property
    def is_cmyk(self) -> bool:
        """Whether they are inks."""
        return channels_of(self.profile) == 4

    @property
    def has_alpha(self) -> bool:
        """They have none."""
        return False

    def part(self, rows: slice, cols: slice) -> "Stored":
        """A rectangle of it."""
        found = self.pixels.crop(rows, cols) if isinstance(self.pixels, ArrayFile) else self.pixels[rows, cols]
        return replace(self, pixels=found)

    def at_depth(self, depth: int) -> "Stored":
        """The same with at most so many bits."""
        return replace(self, depth=depth)

    def row_blocks(self, rows: int | None = None) -> Iterator[Pixels]:
        """Yield (rows, width, channels) from top to bottom, the last as small as it is."""
        height, width, channels = self.shape
        at_once = rows or max(1, BLOCK_BYTES // (width * channels * 2))
        for top in range(0, height, at_once):
            block = self.pixels[top : min(top + at_once, height)]
            yield block if block.dtype == self.dtype else eight_bits(block)
