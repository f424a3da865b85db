"""What a picture is inside muralist, and what can be done with one in memory: resize, crop.

A picture is sRGB-encoded: an array (height, width, 3) of uint8 or uint16, or of float32 in [0, 1]. `reading.py` brings
every file to that form and `writing.py` brings it back to the file's own colour profile.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from muralist.pipeline.metadata import Dpi
from muralist.pipeline.samples import Pixels, full_scale


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
        The colour profile that was embedded in the file. `pixels` are already converted from it.
    exif
        The file's EXIF block. Its orientation has been applied to `pixels`.
    dpi
        Dots per inch, (horizontal, vertical); None if the file states none.
    path
        Where it was read from.
    sha256
        Hex digest of the file's bytes.
    """

    pixels: Pixels
    alpha: Pixels | None
    icc: bytes | None
    exif: bytes | None
    dpi: Dpi | None
    path: Path
    sha256: str

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


def resize(pixels: Pixels, height: int, width: int) -> npt.NDArray[np.float32]:
    """Resample to exactly (height, width) with a Lanczos-3 filter, antialiased when shrinking.

    Pixel centres lie at half-integers and the picture's borders stay where they are, so nothing shifts: flipping
    and resizing commute. Done by Pillow plane by plane in float32, because libvips 8.18 enlarges with a bicubic filter
    whose result is shifted, and shrinks with weights rounded to 1/64 of a pixel.

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
    if pixels.ndim == 2:
        return _resize_plane(pixels, height, width)
    result = np.empty((height, width, pixels.shape[2]), np.float32)
    for channel in range(pixels.shape[2]):
        result[:, :, channel] = _resize_plane(pixels[:, :, channel], height, width)
    return result


def _resize_plane(plane: Pixels, height: int, width: int) -> npt.NDArray[np.float32]:
    values = plane.astype(np.float32)
    values /= full_scale(plane)
    resized = np.array(Image.fromarray(values).resize((width, height), Image.Resampling.LANCZOS))
    return np.clip(resized, 0, 1, out=resized)


def crop_to_aspect(picture: Picture, aspect: float) -> Picture:
    """Cut the largest centred part with the given aspect (width / height) out of a picture, alpha included."""
    height = min(picture.height, max(1, round(picture.width / aspect)))
    width = min(picture.width, max(1, round(picture.height * aspect)))
    top, left = (picture.height - height) // 2, (picture.width - width) // 2
    part = (slice(top, top + height), slice(left, left + width))
    return replace(picture, pixels=picture.pixels[part], alpha=None if picture.alpha is None else picture.alpha[part])
