"""The photograph of a painting, aligned with it: the part that was painted, at the painting's size."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...tiling.grid import Box, Span
from ..errors import PictureError
from ..pictures.array_file import Allocator, ArrayFile
from ..pictures.images import Picture, resize_rows
from ..pictures.limits import ReadLimits
from ..pictures.reading import read_picture
from ..pictures.vips import BLOCK_BYTES, Pixels
from ..render_plan import painted_part
from ..sizes import target_size
from .record import Record

MOST_EXPOSURE: Final = 3  # stops, as of the setting


@dataclass(frozen=True)
class Found:
    """The photograph of a painting, cropped as it was painted, or why there is none to be shown.

    Attributes
    ----------
    shape : (int, int) or None
        Height and width of the whole photograph, px; with a record only.
    crop : callable (Picture) -> Picture, or None
        Crops a picture of that shape as the photograph was cropped.
    """

    picture: Picture | None
    notices: tuple[str, ...] = ()
    shape: tuple[int, int] | None = None
    crop: Callable[[Picture], Picture] | None = None


def find_photograph(record: Record | None, painting: Path, named: Path | None, limits: ReadLimits) -> Found:
    """Find the photograph that a painting was made from; one that changed since is not shown.

    Raises `PictureError` if one was named that is not what the record tells of.
    """
    if record is None:
        return Found(None if named is None else read_picture(named, limits))
    wanted = record.inputs.content
    places = [named] if named else [Path(wanted.path), painting.parent / Path(wanted.path).name]
    for place in dict.fromkeys(places):
        try:
            found = read_picture(place, limits, exposure=_exposure(record))
        except PictureError:
            if named:
                raise
            continue
        if found.sha256 == wanted.sha256:
            return _cropped(found, record, limits.folder)
        if named:
            raise PictureError(
                f"{named}: not the photograph that {painting} was painted from: its SHA-256 differs; name the right "
                "one",
                path=named,
            )
    return Found(
        None, (f"The photograph is not shown: {wanted.path} is missing or was changed. Name it with --photograph.",)
    )


def _exposure(record: Record) -> float:
    """How many stops brighter a raw photograph was developed; 0 if the record tells nothing that can be."""
    stops = record.settings.get("raw_exposure")
    return float(stops) if isinstance(stops, int | float) and abs(stops) <= MOST_EXPOSURE else 0.0


def _cropped(photograph: Picture, record: Record, folder: Path | None) -> Found:
    names = ["size", "width", "height", "aspect", "print_size", "dpi", "fit"]
    names += [] if record.sheet is None else ["bleed", "wrap", "wrap_edge"]  # before, `bleed` was something else
    try:
        asked: dict[str, Any] = {name: record.settings[name] for name in names}
        target = target_size(photograph.height, photograph.width, **asked)
    except (LookupError, TypeError, ValueError, ArithmeticError):
        target = None
    if target is None or target.painted_size != (record.height, record.width):
        return Found(
            None, ("The photograph is not shown: the sidecar's settings would give a painting of another size.",)
        )

    def crop(picture: Picture) -> Picture:
        return painted_part(picture, target, folder)

    return Found(crop(photograph), shape=(photograph.height, photograph.width), crop=crop)


def in_register(
    photograph: Picture, picture: Picture, allocate: Allocator, place: Box | None = None
) -> Pixels | ArrayFile:
    """The photograph at a picture's size, 8 bits; or, with white around it, where the painting is in the picture.

    What is transparent is white.
    """
    height, width = picture.height, picture.width
    (top, bottom), (left, right) = place or Box(Span(0, height), Span(0, width))
    pixels = allocate("in-register", (height, width, 3), np.dtype(np.uint8))
    step = max(1, BLOCK_BYTES // (width * 12))
    for start in range(0, height, step):
        stop = min(start + step, height)
        block = np.full((stop - start, width, 3), 255, np.uint8)
        inner = Span(start, stop) & Span(top, bottom)
        if inner.length > 0:
            shown = bottom - top, right - left, (inner.start - top, inner.stop - top)
            part = resize_rows(photograph.pixels, *shown)
            if photograph.alpha is not None:
                part = 1 - (1 - part) * resize_rows(photograph.alpha, *shown)[:, :, None]
            block[inner.start - start : inner.stop - start, left:right] = np.rint(part * 255)
        pixels[start:stop, 0:width] = block
    return pixels
