"""Places in a painting that are worth a look: the most visible borders between tiles, and parts of different kinds."""

import itertools
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import NamedTuple

import numpy as np

from ...tiling.grid import Box, Span
from ...tiling.seams import FALSE_OFFSETS, REACHES, Read, find_seams
from ..pictures.array_file import ArrayFile
from ..pictures.images import resize
from ..pictures.vips import Pixels

SEAMS = 5
AROUND = max(FALSE_OFFSETS) + max(REACHES)  # px to either side of a border that its score looks at
PARTS = 16  # along the long side, of which the telling ones are chosen
PART = 32  # px, side of a part when they are compared


class Seam(NamedTuple):
    """The border between two neighboring tiles, from (top, left) to (bottom, right), px.

    Attributes
    ----------
    top, left, bottom, right : int
        Of a border between columns, left and right are the same: the first column right of it.
    score : float
        How much more the painting changes across it than beside it, see `muralist.tiling.seams`.
    threshold : float or None
        Scores up to it are chance; None where there is too little to tell.
    """

    top: int
    left: int
    bottom: int
    right: int
    score: float
    threshold: float | None

    @property
    def visible(self) -> bool:
        """Whether there is more to see than chance makes."""
        return self.threshold is not None and self.score > self.threshold

    @property
    def excess(self) -> float:
        """How far it is above chance, as a factor."""
        return self.score / self.threshold if self.threshold else 0.0


class Part(NamedTuple):
    """A place in a picture, px, and what is to be seen there."""

    name: str
    row: int
    col: int


def worst_seams(
    painting: Pixels | ArrayFile,
    rows: Sequence[int],
    cols: Sequence[int],
    photograph: Pixels | ArrayFile | None = None,
    place: Box | None = None,
) -> list[Seam]:
    """Find the borders between neighboring tiles that show most, the worst first.

    Parameters
    ----------
    painting, photograph : (H, W, 3), of any of our dtypes
        In register. Read in strips along the borders.
    rows, cols : sequence of int
        First pixel row (column) below (right of) each border of the grid of tiles, px.
    place : Box, optional
        What the grid covers, if that is not the whole picture.
    """
    whole = Box(*(Span(0, side) for side in painting.shape[:2]))
    found = [_measured(line, painting, photograph) for line in _borders(place or whole, rows, cols)]
    return sorted(found, key=lambda seam: (seam.visible, seam.excess, seam.score), reverse=True)[:SEAMS]


def _borders(place: Box, rows: Sequence[int], cols: Sequence[int]) -> Iterator[Box]:
    """Every border between two tiles, as a box without width."""
    down, across = ([span.start, *lines, span.stop] for lines, span in zip((rows, cols), place, strict=True))
    for part in itertools.starmap(Span, itertools.pairwise(down)):
        yield from (Box(part, Span(col, col)) for col in cols)
    for part in itertools.starmap(Span, itertools.pairwise(across)):
        yield from (Box(Span(row, row), part) for row in rows)


def _measured(border: Box, painting: Pixels | ArrayFile, photograph: Pixels | ArrayFile | None) -> Seam:
    around = Box(*(_widened(span, side) for span, side in zip(border, painting.shape, strict=False)))
    rows, cols = (
        [span.start - wide.start] if not span.length else [] for span, wide in zip(border, around, strict=True)
    )
    read = None if photograph is None else _reader(photograph, around)
    seams = find_seams(around.shape, _reader(painting, around), rows, cols, read)
    threshold = round(seams.threshold, 3) if isfinite(seams.threshold) else None
    (top, bottom), (left, right) = border
    return Seam(top, left, bottom, right, round(seams.score, 3) if isfinite(seams.score) else 1e6, threshold)


def _widened(span: Span, side: int) -> Span:
    return span if span.length else Span(span.start - AROUND, span.start + AROUND) & Span(0, side)


def _reader(pixels: Pixels | ArrayFile, frame: Box) -> Read:
    held = pixels[slice(*frame.rows), slice(*frame.cols)]
    return lambda box: held[slice(*box.rows), slice(*box.cols)]


def telling_parts(picture: Pixels | ArrayFile) -> list[Part]:
    """Choose places that tell much about a painting: its middle, its finest detail, its calmest plane.

    Parameters
    ----------
    picture : (H, W, 3), of any of our dtypes
        Best the photograph.
    """
    height, width = picture.shape[:2]
    rows, cols = (max(1, round(side / max(height, width) * PARTS)) for side in (height, width))
    light = resize(picture, rows * PART, cols * PART).mean(2).reshape(rows, PART, cols, PART)
    spread = light.std(axis=(1, 3))
    middles = {
        "Middle": (rows / 2, cols / 2),
        "Finest detail": np.add(divmod(int(spread.argmax()), cols), 0.5),
        "Calmest area": np.add(divmod(int(spread.argmin()), cols), 0.5),
    }
    return [Part(name, int(row / rows * height), int(col / cols * width)) for name, (row, col) in middles.items()]
