"""Sheets: a painting with what is printed around it (bleed, wrap and crop marks).

A sheet is read like the painting, in rows from top to bottom. From the outside in: white margin with crop marks, bleed
(cut off), wrap (around the stretcher's edges), and the front.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from ..lengths import pixels_of
from .vips import Pixels, Rows, full_scale

MARK_MARGIN_MM: Final = 10.0  # of white, which holds the marks
MARK_MM: Final = 5.0
MARK_WIDTH_MM: Final = 0.1
_SAMPLED = 64  # rows that tell the color of an edge


class Place(NamedTuple):
    """A rectangle on a sheet, px."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class Sheet:
    """How a painting lies on what is printed; lengths are in pixels.

    Attributes
    ----------
    front_height, front_width : int
        What is seen from the front.
    bleed, wrap : int
        On every side.
    edge : {"paint", "mirror", "color"}
        What bleed and wrap are made of where there is a wrap.
    margin : int
        Of white on every side, for crop marks; 0 for none.
    """

    front_height: int
    front_width: int
    bleed: int = 0
    wrap: int = 0
    edge: str = "paint"
    margin: int = 0
    dpi: float = 300.0

    @property
    def height(self) -> int:
        """Of all that is printed."""
        return self.front_height + 2 * self._around

    @property
    def width(self) -> int:
        """Of all that is printed."""
        return self.front_width + 2 * self._around

    @property
    def _around(self) -> int:
        return self.bleed + self.wrap + self.margin

    @property
    def bleed_box(self) -> Place:
        """What is printed but for marks."""
        return Place(self.margin, self.margin, self.height - self.margin, self.width - self.margin)

    @property
    def trim_box(self) -> Place:
        """What is left when it is cut: the front, and what goes round the edges."""
        inset = self.margin + self.bleed
        return Place(inset, inset, self.height - inset, self.width - inset)

    @property
    def front_box(self) -> Place:
        """What is seen from the front."""
        inset = self._around
        return Place(inset, inset, self.height - inset, self.width - inset)

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        boxes = {"bleed": self.bleed_box, "trim": self.trim_box, "front": self.front_box}
        return {"height": self.height, "width": self.width, **{name: list(box) for name, box in boxes.items()}}

    def laid_out(self, painting: Rows) -> Rows:
        """Give the rows of the sheet from those of the painting, colors or alpha."""
        border = (self.height - 2 * self.margin - painting.shape[0]) // 2
        color = edge_color(painting) if border and self.edge == "color" else None
        found: Rows = Bordered(painting, border, color) if border else painting
        return Marked(found, self) if self.margin else found


@dataclass(frozen=True)
class Bordered:
    """A picture with a border of its own mirror image, or of one color.

    Attributes
    ----------
    picture : Rows
        (height, width, 3), or (height, width) of alpha.
    border : int
        px
    color : ndarray (3,), or () for alpha, or None
        None for a mirror image.
    """

    picture: Rows
    border: int
    color: Pixels | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """With the border."""
        height, width = self.picture.shape[:2]
        return height + 2 * self.border, width + 2 * self.border, *self.picture.shape[2:]

    @property
    def dtype(self) -> "np.dtype[Any]":
        """The picture's."""
        return self.picture.dtype

    def __getitem__(self, rows: slice) -> Pixels:
        start, stop, _ = rows.indices(self.shape[0])
        wanted = np.arange(start, stop) - self.border
        height, width = self.picture.shape[:2]
        inside = np.where(wanted < 0, -1 - wanted, np.where(wanted >= height, 2 * height - 1 - wanted, wanted))
        low, high = int(inside.min()), int(inside.max()) + 1
        block = np.asarray(self.picture[low:high])[inside - low]
        sides = ((0, 0), (self.border, self.border), *[(0, 0)] * (block.ndim - 2))
        found: Pixels = np.pad(block, sides, "symmetric")
        if self.color is not None:
            found[(wanted < 0) | (wanted >= height)] = self.color
            found[:, : self.border] = self.color
            found[:, self.border + width :] = self.color
        return found


def edge_color(picture: Rows) -> Pixels:
    """Read the mean color along a picture's edge, of all its top and bottom and some rows between; opaque for alpha."""
    if len(picture.shape) == 2:
        return np.asarray(full_scale(picture), picture.dtype)
    height, width = picture.shape[:2]
    between = ((np.arange(_SAMPLED) + 0.5) * height / _SAMPLED).astype(int)
    ends = np.concatenate([picture[0:1][0], picture[height - 1 : height][0]])
    sides = np.concatenate([picture[row : row + 1][0][[0, -1]] for row in between])
    ends_mean, sides_mean = (part.astype(np.float64).mean(axis=0) for part in (ends, sides))
    mean = (width * ends_mean + height * sides_mean) / (width + height)
    return np.asarray(mean if picture.dtype.kind == "f" else np.rint(mean), picture.dtype)


@dataclass(frozen=True)
class Marked:
    """A picture on white, with marks in its corners that say where to cut.

    Attributes
    ----------
    picture : Rows
        (height, width, 3), or (height, width) of alpha, which is opaque around it.
    """

    picture: Rows
    sheet: Sheet

    @property
    def shape(self) -> tuple[int, ...]:
        """With the margin."""
        return self.sheet.height, self.sheet.width, *self.picture.shape[2:]

    @property
    def dtype(self) -> "np.dtype[Any]":
        """The picture's."""
        return self.picture.dtype

    def __getitem__(self, rows: slice) -> Pixels:
        start, stop, _ = rows.indices(self.shape[0])
        found = np.full((stop - start, *self.shape[1:]), full_scale(self.picture), self.dtype)
        box = self.sheet.bleed_box
        top, bottom = max(start, box.top), min(stop, box.bottom)
        if top < bottom:
            found[top - start : bottom - start, box.left : box.right] = self.picture[top - box.top : bottom - box.top]
        if found.ndim == 3:
            for mark in marks(self.sheet):
                found[max(0, mark.top - start) : max(0, mark.bottom - start), mark.left : mark.right] = 0
        return found


def marks(sheet: Sheet) -> list[Place]:
    """Lines that lead to the corners of what is left when the sheet is cut, two at each, in the margin outside."""
    length, width = (pixels_of(mm, sheet.dpi) for mm in (MARK_MM, MARK_WIDTH_MM))
    length, width = min(length, sheet.margin), max(1, width)
    trim = sheet.trim_box
    found = []
    for across in (trim.left, trim.right):
        left = across - width // 2
        found.append(Place(0, left, length, left + width))
        found.append(Place(sheet.height - length, left, sheet.height, left + width))
    for down in (trim.top, trim.bottom):
        top = down - width // 2
        found.append(Place(top, 0, top + width, length))
        found.append(Place(top, sheet.width - length, top + width, sheet.width))
    return found
