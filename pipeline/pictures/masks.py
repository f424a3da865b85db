"""Masks: gray pictures that say how much of every pixel is selected, or one color of a color-coded picture.

`labels.png#ff0000` selects the pixels of one color in full. Transparent pixels are not selected.
"""

import os
import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageFilter

from ..errors import PictureError
from .array_file import ArrayFile, allocator_in
from .images import Picture, eight_bits, size_within
from .limits import DEFAULT_LIMITS, ReadLimits
from .pages import place_of
from .reading import kind_name, read_picture
from .vips import Pixels, full_scale

_LABEL: Final = re.compile(r"(?P<file>.+)#(?P<color>[0-9a-fA-F]{6})", re.DOTALL)
LABEL_LENGTH: Final = len("#RRGGBB")
BLOCK_ROWS: Final = 256
_NEARLY: Final = 4 / 255  # by which a color may differ from the one meant, and channels of a gray from each other
_EXACTLY: Final = 0.5 / 255
_LOSSY: Final = ("JPEG", "WebP", "HEIC", "AVIF", "JPEG XL", "JPEG 2000")  # kinds of files in which colors move
_EMPTY: Final = 0.02  # a mask that is nowhere above this counts as empty
_COLORS_TOLD: Final = 6
_FEATHER_SIDE: Final = 1024  # px, long side of a mask that is feathered
_FEATHER: Final = 0.008  # how far a feathered mask reaches beyond its edge, as a share of the long side


@dataclass(frozen=True, eq=False)
class Mask:
    """How much of every pixel is selected.

    Attributes
    ----------
    values
        (height, width), uint8 or uint16, full scale where a pixel is selected in full.
    path
        Where it was read from, without the color.
    sha256
        Hex digest of the file's bytes.
    color
        The color of the file that is meant, RRGGBB; "" for a gray picture.
    """

    values: Pixels | ArrayFile
    path: Path
    sha256: str
    color: str = ""

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.values.shape[0])

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return int(self.values.shape[1])

    @property
    def key(self) -> str:
        """What tells it from other masks."""
        return f"{self.sha256}-{self.color}"

    @property
    def picture(self) -> Picture:
        """The mask as a picture, to be cropped like the photograph."""
        return Picture(self.values, None, None, None, None, self.path, self.key)

    def feathered(self) -> "Mask":
        """Extend the mask a little beyond its edges, with decreasing values, so that blending shows no edge."""
        small = _brightest(self.values, *size_within(_FEATHER_SIDE, self.height, self.width))
        grown, reach = Image.fromarray(eight_bits(small)), round(_FEATHER * max(small.shape))
        for _ in range(reach):
            grown = grown.filter(ImageFilter.MaxFilter(3))
        return replace(self, values=np.asarray(grown.filter(ImageFilter.GaussianBlur(reach / 2))))


def _brightest(values: Pixels | ArrayFile, height: int, width: int) -> Pixels:
    """A mask shrunk so that a line, too, stays as bright as it is: (height, width)."""
    rows, cols = (np.arange(new + 1) * old // new for new, old in zip((height, width), values.shape, strict=True))
    found = np.stack([values[top:bottom].max(axis=0) for top, bottom in pairwise(rows)])
    return np.asarray(np.maximum.reduceat(found, cols[:-1], axis=1))


def mask_file(name: str) -> Path:
    """Path of the file that a mask's name is about.

    >>> mask_file("labels.png#ff0000"), mask_file("sky.png")
    (PosixPath('labels.png'), PosixPath('sky.png'))
    """
    named = _LABEL.fullmatch(name)
    return Path(name if named is None else named["file"])


def read_mask(name: str, limits: ReadLimits = DEFAULT_LIMITS) -> Mask:
    """Read a mask, of which any kind of picture may be the file.

    Parameters
    ----------
    name
        Path of a gray picture, or of any with `#RRGGBB`.
    limits
        As for `read_picture`.

    Raises
    ------
    PictureError
        If the file cannot be read, is colored though no color is named, does not have the color that is, or means
        no pixel at all; if what stands behind `#` is no color.
    """
    named, path = _LABEL.fullmatch(name), mask_file(name)
    file, mark, color = name.rpartition("#")
    if named is None and mark and not os.path.exists(place_of(path).file) and os.path.exists(file):
        raise PictureError(
            f"{name}: got {color!r} as a color, wanted six hexadecimal digits, such as {Path(file).name}#ff0000",
            path=path,
        )
    picture = read_picture(path, limits)
    color = "" if named is None else named["color"].lower()
    wanted = np.array([*bytes.fromhex(color)]) / 255 if color else None
    nearly = _NEARLY if wanted is None else _tolerance(picture, wanted)
    with allocator_in(limits.folder if isinstance(picture.pixels, ArrayFile) else None) as allocate:
        values = allocate(f"{picture.sha256}-{color}-mask", (picture.height, picture.width), picture.pixels.dtype)
        most = 0.0
        for rows in _blocks(picture):
            block = _meant(picture, rows, wanted, nearly)
            most = max(most, float(block.max()))
            values[rows, :] = np.rint(block * full_scale(picture.pixels))
    if most <= _EMPTY:
        raise PictureError(_nothing(name, picture, color), path=path)
    return Mask(values, path, picture.sha256, color)


def _blocks(picture: Picture) -> list[slice]:
    return [slice(top, min(top + BLOCK_ROWS, picture.height)) for top in range(0, picture.height, BLOCK_ROWS)]


def _tolerance(picture: Picture, color: np.ndarray) -> float:
    """How far a pixel may be from the color: not at all if some are exactly it, or all are gray, as class ids are."""
    if kind_name(picture.path) in _LOSSY:
        return _NEARLY
    is_gray = all((np.ptp(picture.pixels[rows], axis=2) == 0).all() for rows in _blocks(picture))
    occurs = any(_meant(picture, rows, color, _EXACTLY).any() for rows in _blocks(picture))
    return _EXACTLY if occurs or is_gray else _NEARLY


def _meant(picture: Picture, rows: slice, color: np.ndarray | None, nearly: float) -> np.ndarray:
    """How much of every pixel of some rows is selected: (rows, width), in [0, 1]."""
    colors = picture.pixels[rows] / np.float32(full_scale(picture.pixels))
    alpha = 1 if picture.alpha is None else picture.alpha[rows] / np.float32(full_scale(picture.alpha))
    if color is not None:
        return np.asarray((abs(colors - color).max(2) <= nearly) * np.float32(1) * alpha)
    if (np.ptp(colors, axis=2) * alpha).max() > nearly:
        raise PictureError(
            f"{picture.path}: got a colored picture, wanted a gray one as a mask; if it is color-coded, add the "
            f"color, such as {picture.path.name}#{_commonest(picture)[0]}",
            path=picture.path,
        )
    return np.asarray(colors[:, :, 0] * alpha)


def _nothing(name: str, picture: Picture, color: str) -> str:
    known = _commonest(picture)
    if not color:
        label = next((f", or a label, such as {picture.path.name}#{each}" for each in known if int(each, 16)), "")
        return f"{name}: got a mask that is black everywhere, wanted white where it applies{label}"
    if not known:
        return f"{name}: got a picture that is transparent everywhere, wanted one that has this color"
    found = " ".join(f"#{each}" for each in known)
    return f"{name}: no pixel of the picture has this color, wanted one that occurs, such as {found}"


def _commonest(picture: Picture) -> list[str]:
    """The colors that most pixels of a picture have, RRGGBB, except transparent ones."""
    step = max(1, max(picture.height, picture.width) // 500)
    small = picture.pixels[::step, ::step].reshape(-1, 3) >> (8 * (picture.pixels.dtype.itemsize - 1))
    if picture.alpha is not None:
        small = small[picture.alpha[::step, ::step].reshape(-1) > 0]
    return [f"{r:02x}{g:02x}{b:02x}" for (r, g, b), _ in Counter(map(tuple, small.tolist())).most_common(_COLORS_TOLD)]
