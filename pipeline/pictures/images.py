"""Pictures as muralist represents them, and operations on them: resize and crop.

A picture is sRGB-encoded: an array (height, width, 3) of uint8 or uint16, or of float32 in [0, 1], or a `ArrayFile` of
these, which lies in a file. `reading.py` brings every file to that form and `writing.py` brings it back to the file's
own color profile.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from .array_file import Allocator, ArrayFile, allocator_in
from .exif import Dpi
from .vips import Pixels, full_scale

_LOBES = 3  # of the filter, on either side
_PLANE_SAMPLES = 1 << 21  # read and brought to the new width at once; Pillow makes three float copies
_ROWS_PICKED = 64
_SLAB_SAMPLES = 1 << 23  # at the new width, kept to be mixed


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture in the sRGB working space, upright, with what belongs back into its file.

    Attributes
    ----------
    pixels
        (height, width, 3), uint8 or uint16, sRGB-encoded.
    alpha
        (height, width), dtype of `pixels`, not premultiplied; None for an opaque picture.
    icc
        The color profile that was embedded in the file. `pixels` are already converted from it.
    exif
        The file's EXIF block. Its orientation has been applied to `pixels`.
    dpi
        Dots per inch, (horizontal, vertical); None if the file states none.
    path
        Where it was read from.
    sha256
        Hex digest of the file's bytes.
    xmp
        The file's XMP document.
    iptc
        The file's IPTC-IIM block.
    notices
        What the user should know of how it was read.
    """

    pixels: Pixels | ArrayFile
    alpha: Pixels | ArrayFile | None
    icc: bytes | None
    exif: bytes | None
    dpi: Dpi | None
    path: Path
    sha256: str
    xmp: bytes | None = None
    iptc: bytes | None = None
    notices: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return int(self.pixels.shape[1])

    @property
    def bit_depth(self) -> int:
        """Bits per channel: 8 or 16."""
        return self.pixels.dtype.itemsize * 8


def resize(pixels: Pixels | ArrayFile, height: int, width: int) -> npt.NDArray[np.float32]:
    """Resample to exactly (height, width) with a Lanczos-3 filter, antialiased when shrinking.

    Pixel centers lie at half-integers and the picture's borders stay where they are, so nothing shifts: flipping
    and resizing commute. The width is changed by Pillow, plane by plane in float32, because libvips 8.18 enlarges with
    a bicubic filter whose result is shifted, and shrinks with weights rounded to 1/64 of a pixel. The height is changed
    here, with Pillow's weights, because Pillow knows where a part of a picture lies in single precision only.

    Parameters
    ----------
    pixels
        (H, W, C) or (H, W); uint8, uint16, or float32 in [0, 1].
    height, width
        Wanted size in pixels, each at least 1.

    Returns
    -------
    float32 in [0, 1], (height, width, C) or (height, width). Overshoots of the filter are clipped.
    """
    return resize_rows(pixels, height, width, (0, height))


def resize_rows(pixels: Pixels | ArrayFile, height: int, width: int, rows: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Give the rows from start up to stop of what `resize` gives, the same bits whichever are asked for together.

    Only the source rows that count are read, and few of them are in memory at once.

    Parameters
    ----------
    pixels, height, width
        As for `resize`.
    rows
        Start and stop, a `Span` for one.

    Returns
    -------
    float32 in [0, 1], (stop - start, width, C) or (stop - start, width)
    """
    mixes = [_mix(pixels.shape[0], height, row) for row in range(*rows)]
    result = np.empty((len(mixes), width * math.prod(pixels.shape[2:])), np.float32)
    at_once = _rows_at_once(pixels.shape[0] / height, result.shape[1])
    for first in range(0, len(mixes), at_once):
        slab_mixes = mixes[first : first + at_once]
        top, bottom = slab_mixes[0].top, slab_mixes[-1].bottom
        slab = _at_width(pixels, width, top, bottom)
        for row, mix in enumerate(slab_mixes, first):
            result[row] = np.einsum("r,rs->s", mix.weights, slab[mix.top - top : mix.bottom - top])
    return np.clip(result, 0, 1, out=result).reshape(len(mixes), width, *pixels.shape[2:])


class _Mix(NamedTuple):
    """The source rows that make a row, and how much of each."""

    top: int
    weights: npt.NDArray[np.float64]

    @property
    def bottom(self) -> int:
        return self.top + len(self.weights)


def _mix(old: int, new: int, row: int) -> _Mix:
    """Weights of row number `row` of `new`, mixed from `old` rows: those of Pillow's ImagingResample."""
    if old == new:
        return _Mix(row, np.ones(1))
    center, stretch = (row + 0.5) * old / new, max(old / new, 1)
    top, bottom = max(0, int(center - _LOBES * stretch + 0.5)), min(old, int(center + _LOBES * stretch + 0.5))
    distance = (np.arange(top, bottom) + 0.5 - center) / stretch
    weights = np.where(abs(distance) < _LOBES, np.sinc(distance) * np.sinc(distance / _LOBES), 0)
    return _Mix(top, weights / weights.sum())


def _rows_at_once(scale: float, samples: int) -> int:
    """How many rows of so many samples can be made at once, of slabs that are not too large."""
    margins = 2 * _LOBES * max(scale, 1)
    return max(1, int((_SLAB_SAMPLES / samples - margins) / scale))


def _at_width(pixels: Pixels | ArrayFile, width: int, top: int, bottom: int) -> npt.NDArray[np.float32]:
    """Rows of a picture at another width, (bottom - top, width * C)."""
    result = np.empty((bottom - top, width, math.prod(pixels.shape[2:])), np.float32)
    at_once = max(1, _PLANE_SAMPLES // pixels.shape[1])
    for first in range(top, bottom, at_once):
        part = np.atleast_3d(pixels[first : min(first + at_once, bottom)])
        for channel in range(part.shape[2]):
            result[first - top :][: len(part), :, channel] = _plane_at_width(part[:, :, channel], width)
    return result.reshape(bottom - top, -1)


def _plane_at_width(plane: Pixels, width: int) -> Pixels:
    values = plane.astype(np.float32)
    values /= full_scale(plane)
    return np.asarray(Image.fromarray(values).resize((width, len(values)), Image.Resampling.LANCZOS))


def size_within(side: int, height: int, width: int) -> tuple[int, int]:
    """Height and width shrunk to a long side of `side` px, if it is longer; at least 1.

    >>> size_within(512, 1000, 2000), size_within(512, 300, 200)
    ((256, 512), (300, 200))
    """
    scale = min(1, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def crop_to_aspect(picture: Picture, aspect: float) -> Picture:
    """Cut the largest centered part with the given aspect (width / height) out of a picture, alpha included."""
    rows, cols = _of_aspect((slice(0, picture.height), slice(0, picture.width)), aspect)
    alpha = None if picture.alpha is None else _crop(picture.alpha, rows, cols)
    return replace(picture, pixels=_crop(picture.pixels, rows, cols), alpha=alpha)


def with_surroundings(
    picture: Picture, crops: Sequence[float], share: tuple[float, float], folder: Path | None
) -> Picture:
    """Crop a picture to one aspect after the other, but with more around it.

    Beyond the crop lies what the picture has there, and beyond its edges its mirror image.

    Parameters
    ----------
    picture
        Upright.
    crops
        As for `crop_to_aspect`.
    share
        How much more there is to be on either side, as shares of the crop's height and width.
    folder
        Where to file the pixels of a `ArrayFile`, which are copied.

    Raises
    ------
    OutputError
        If they cannot be filed there.
    """
    rows, cols = slice(0, picture.height), slice(0, picture.width)
    for aspect in crops:
        rows, cols = _of_aspect((rows, cols), aspect)
    down, across = (
        _mirrored(side, round(part * (side.stop - side.start)), count)
        for side, part, count in ((rows, share[0], picture.height), (cols, share[1], picture.width))
    )
    with allocator_in(folder) as allocate:
        pixels = _picked(picture.pixels, down, across, allocate, f"{picture.sha256}-around-pixels")
        alpha = picture.alpha
        if alpha is not None:
            alpha = _picked(alpha, down, across, allocate, f"{picture.sha256}-around-alpha")
    return replace(picture, pixels=pixels, alpha=alpha)


def _of_aspect(box: tuple[slice, slice], aspect: float) -> tuple[slice, slice]:
    """Rows and columns of the largest centered part of a box that has an aspect."""
    rows, cols = box
    full_height, full_width = rows.stop - rows.start, cols.stop - cols.start
    height = min(full_height, max(1, round(full_width / aspect)))
    width = min(full_width, max(1, round(full_height * aspect)))
    top, left = rows.start + (full_height - height) // 2, cols.start + (full_width - width) // 2
    return slice(top, top + height), slice(left, left + width)


def _mirrored(side: slice, more: int, count: int) -> npt.NDArray[np.int64]:
    """Numbers of the rows from `more` before a span to `more` behind it, where there are `count`, mirrored beyond."""
    folded = np.arange(side.start - more, side.stop + more) % (2 * count)
    return np.asarray(np.minimum(folded, 2 * count - 1 - folded))


def _picked(
    pixels: Pixels | ArrayFile,
    down: npt.NDArray[np.int64],
    across: npt.NDArray[np.int64],
    allocate: Allocator,
    name: str,
) -> Pixels | ArrayFile:
    """Rows and columns by number, in memory as they were, or in a file."""
    if not isinstance(pixels, ArrayFile):
        return pixels[down][:, across]
    made = allocate(name, (len(down), len(across), *pixels.shape[2:]), pixels.dtype)
    for first in range(0, len(down), _ROWS_PICKED):
        wanted = down[first : first + _ROWS_PICKED]
        low, high = int(wanted.min()), int(wanted.max()) + 1
        block = pixels[low:high][wanted - low]
        made[first : first + len(wanted), :] = block[:, across]
    return made


def _crop(pixels: Pixels | ArrayFile, rows: slice, cols: slice) -> Pixels | ArrayFile:
    return pixels.crop(rows, cols) if isinstance(pixels, ArrayFile) else pixels[rows, cols]


def eight_bits(pixels: Pixels) -> Pixels:
    """Give pixels of 16 bits 8 of them, rounded."""
    return pixels if pixels.dtype == np.uint8 else np.rint(pixels / 257).astype(np.uint8)
