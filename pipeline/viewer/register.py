"""The photograph of a painting, in register: the part that was painted, at the painting's size."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from muralist.pipeline.errors import PictureError
from muralist.pipeline.pictures.images import Picture, crop_to_aspect, resize_rows
from muralist.pipeline.pictures.rasters import Raster, Room
from muralist.pipeline.pictures.samples import BAND_BYTES, Pixels
from muralist.pipeline.sizes import target_size
from muralist.pipeline.viewer.record import Record


@dataclass(frozen=True)
class Found:
    """The photograph of a painting, cropped as it was painted, or why there is none to be shown."""

    picture: Picture | None
    notices: tuple[str, ...] = ()


def find_photograph(
    record: Record | None, painting: Path, named: Path | None, read: Callable[[Path], Picture]
) -> Found:
    """Find the photograph that a painting was made from; one that changed since is not shown.

    Raises
    ------
    PictureError
        If one was named that is not what the record tells of.
    """
    if record is None:
        return Found(None if named is None else read(named))
    wanted = record.inputs.content
    places = [named] if named else [Path(wanted.path), painting.parent / Path(wanted.path).name]
    for place in dict.fromkeys(places):
        try:
            found = read(place)
        except PictureError:
            if named:
                raise
            continue
        if found.sha256 == wanted.sha256:
            return _cropped(found, record)
        if named:
            raise PictureError(
                f"{named}: not the photograph that {painting} was painted from, as its SHA-256 tells; name that one",
                path=named,
            )
    return Found(
        None, (f"The photograph is not shown: {wanted.path} is not there, or was changed. Name it with --photograph.",)
    )


def _cropped(photograph: Picture, record: Record) -> Found:
    names = ("size", "width", "height", "aspect", "print_size", "dpi", "fit")
    try:
        asked: dict[str, Any] = {name: record.settings[name] for name in names}
        target = target_size(photograph.height, photograph.width, **asked)
    except (LookupError, TypeError, ValueError, ArithmeticError):
        target = None
    if target is None or (target.height, target.width) != (record.height, record.width):
        return Found(
            None, ("The photograph is not shown: the record's settings do not lead to a painting of this size.",)
        )
    for aspect in target.crops:
        photograph = crop_to_aspect(photograph, aspect)
    return Found(photograph)


def in_register(photograph: Picture, painting: Picture, room: Room) -> Pixels | Raster:
    """The photograph at the painting's size, 8 bits."""
    shape = (painting.height, painting.width, 3)
    pixels = room("in-register", shape, np.dtype(np.uint8))
    rows = max(1, BAND_BYTES // (shape[1] * 12))
    for top in range(0, shape[0], rows):
        band = (top, min(top + rows, shape[0]))
        part = resize_rows(photograph.pixels, *shape[:2], band)
        pixels[slice(*band), slice(0, shape[1])] = np.rint(part * 255).astype(np.uint8)
    return pixels
