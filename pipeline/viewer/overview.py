"""Shrinks a whole canvas for display."""

from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
from PIL import Image

from ...tiling.grid import Box, Span
from ..levels import Level
from ..pictures.images import eight_bits, size_within

LARGEST: Final = 2048  # px, long side of what is read whole


class Shown(Protocol):
    """A canvas as the picture it would be, see `muralist.pipeline.export.FinalImage`."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, 3."""

    def read(self, box: Box) -> np.ndarray:
        """Read a box: (h, w, 3), uint8 or uint16."""


ReadCanvas = Callable[[Level, int], Shown]  # reads the canvas of a level after so many rounds


def overview(shown: Shown, side: int) -> np.ndarray:
    """Shrink a canvas to a long side of `side` px, if it is larger: (h, w, 3), uint8.

    Of one that is large only as many rows are read as are shown.
    """
    height, width = shown.shape[:2]
    rows, cols = size_within(side, height, width)
    if max(height, width) <= LARGEST:
        whole = Image.fromarray(eight_bits(shown.read(Box(Span(0, height), Span(0, width)))))
        return np.asarray(whole.resize((cols, rows), Image.Resampling.BOX))
    chosen = ((np.arange(rows) + 0.5) * height / rows).astype(int)
    lines = (eight_bits(shown.read(Box(Span(row, row + 1), Span(0, width)))) for row in chosen.tolist())
    return np.concatenate([np.asarray(Image.fromarray(line).resize((cols, 1), Image.Resampling.BOX)) for line in lines])
