"""The masks of a painting as areas over its picture, each with an outline and a name.

An area is where a mask has at least half of its full value. The sidecar names the masks with their hashes; a mask that
is missing or has changed is not shown, because its original area is unknown. The only module that uses contourpy.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from contourpy import contour_generator
from PIL import Image, ImageFilter

from ...tiling.grid import Box
from ..errors import PictureError, SettingsError
from ..pictures.images import resize, size_within
from ..pictures.limits import ReadLimits
from ..pictures.masks import LABEL_LENGTH, Mask, mask_file, read_mask
from ..region_specs import FACES, parse_region
from ..regions import fitted
from .record import Input, Record
from .register import Found

Point = tuple[int, int]

SIDE: Final = 512  # px, long side at which outlines are traced
HALF: Final = 0.5
SPECK: Final = 8  # points, of which an outline has at least so many
COLORS: Final = ("#ffb000", "#3ea6ff", "#ff5ea8", "#5ed66b", "#b98cff", "#ff7a3d", "#2fd0c5", "#e8e24a")


class Area(NamedTuple):
    """A part of a painting that a mask is about.

    Attributes
    ----------
    name : str
        Of the style there, or what else is special.
    note : str
        The mask, its share of the painting, and how else it is painted.
    color : str
        As CSS has it.
    rings : list of list of (row, column)
        px of the picture file; what lies within an odd number of them belongs to the area. May be empty.
    heart : (row, column) or None
        Far from the outline; None where there is no ring.
    """

    name: str
    note: str
    color: str
    rings: list[list[Point]]
    heart: Point | None


class _Wanted(NamedTuple):
    """A mask that a painting was asked for with: its name, and what the record says of it; whether black is meant."""

    mask: str
    recorded: Input
    name: str
    note: str = ""
    inverse: bool = False


def find_areas(
    record: Record | None, painting: Path, photograph: Found, limits: ReadLimits
) -> tuple[list[Area], tuple[str, ...]]:
    """Find the areas of a painting's masks; return what the user should know, too.

    Parameters
    ----------
    photograph : Found
        Its shape and crop are those of the masks.
    limits : ReadLimits
        Of reading masks.
    """
    if record is None or not record.inputs.masks:
        return [], ()
    if photograph.crop is None:
        return [], ("The regions are not shown: they lie on the photograph, which is not shown either.",)
    try:
        wanted = list(_wanted(record, painting))
    except (SettingsError, LookupError, TypeError, AttributeError) as error:
        return [], (f"The regions are not shown: the sidecar's settings do not describe them ({error}).",)
    areas, lost = list[Area](), list[str]()
    for each in wanted:
        mask = _found(each, painting, limits)
        if mask is None:
            lost.append(each.mask)
            continue
        shown = _shown(mask, photograph, stretch=record.settings.get("region_fit") is True)
        areas.append(_area(each, shown, record.place, COLORS[len(areas) % len(COLORS)]))
    if not lost:
        return areas, ()
    return areas, (f"Areas not shown, since their masks are missing or were changed: {', '.join(lost)}.",)


def _wanted(record: Record, painting: Path) -> Iterator[_Wanted]:
    named = {mask.name: mask for mask in record.inputs.masks}
    for spec in map(parse_region, record.settings.get("regions") or ()):  # type: ignore[arg-type]
        if spec.mask in named:  # regions have no effect if the style loss has no weight
            yield _Wanted(spec.mask, named[spec.mask], Path(spec.style).name, ", ".join(spec.options))
    if recorded := named.get("strength map"):
        yield _Wanted(str(record.settings["strength_map"]), recorded, "half the strength or less", inverse=True)
    protect: Any = record.settings.get("protect") or ()
    names = [protect] if isinstance(protect, str) else sorted(protect, key=FACES.__eq__)  # faces are recorded last
    protected = (mask for mask in record.inputs.masks if mask.name == "protected")
    for name, recorded in zip(names, protected, strict=False):  # there may be no face
        yield _Wanted(recorded.path if name == FACES else name, recorded, "stays a photograph")


def _found(wanted: _Wanted, painting: Path, limits: ReadLimits) -> Mask | None:
    """A mask as it was when it was painted by, wherever it is now; None if it is not there any more."""
    file = mask_file(wanted.mask)
    color = "" if file == Path(wanted.mask) else wanted.mask[-LABEL_LENGTH:]
    for place in dict.fromkeys([file, painting.parent / file.name]):
        try:
            mask = read_mask(f"{place}{color}", limits)
        except PictureError:
            continue
        if mask.sha256 == wanted.recorded.sha256:
            return mask
    return None


def _shown(mask: Mask, photograph: Found, *, stretch: bool) -> np.ndarray:
    """The part of a mask that was painted by, small: (h, w), in [0, 1]."""
    assert photograph.crop is not None
    assert photograph.shape is not None
    values = photograph.crop(fitted(mask, str(mask.path), photograph.shape, stretch=stretch).picture).pixels
    height, width = values.shape
    return resize(values, *size_within(SIDE, height, width))


def _area(wanted: _Wanted, values: np.ndarray, place: Box, color: str) -> Area:
    values = 1 - values if wanted.inverse else values
    heights, widths = (span.length / side for span, side in zip(place, values.shape, strict=True))

    def placed(row: float, col: float) -> Point:
        """From the middles of pixels, with one more around them, to the picture file; the edge stays the edge."""
        found = place.rows.start + (row - 0.5) * heights, place.cols.start + (col - 0.5) * widths
        inside = [min(max(round(at), span.start), span.stop) for at, span in zip(found, place, strict=True)]
        return inside[0], inside[1]

    padded = np.pad(values, 1)
    lines: Any = contour_generator(z=padded).lines(HALF)  # arrays of (column, row)
    rings = [[placed(row, col) for col, row in line.tolist()] for line in lines if len(line) >= SPECK]
    nowhere = "" if rings else "nowhere as much as half"
    note = ", ".join(filter(None, [wanted.mask, f"{values.mean():.0%} of the painting", nowhere, wanted.note]))
    return Area(wanted.name, note, color, rings, placed(*_heart(padded >= HALF)) if rings else None)


def _heart(meant: np.ndarray) -> Point:
    """A point that is as far as can be from where nothing is meant, of (h, w) booleans with none at the edge."""
    left = Image.fromarray(meant)
    while (worn := left.convert("L").filter(ImageFilter.MinFilter(3))).getbbox():
        left = worn
    rows, cols = np.nonzero(np.asarray(left))
    middle = len(rows) // 2
    return int(rows[middle]), int(cols[middle])
