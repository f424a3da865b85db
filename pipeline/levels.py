"""The pyramid: which sizes a picture is painted at, coarse to fine, and how many steps each size gets.

The coarsest level always has the same long side, whatever the final size, so a preview is the first level of the
poster. The levels between are spread evenly (in proportion), each at most twice as large as the one before.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, log2

from muralist.pipeline.errors import SettingsError
from muralist.pipeline.settings import Settings, at_level
from muralist.tiling.grid import Box, Span, TileGrid
from muralist.tiling.resample import Frame


@dataclass(frozen=True)
class Level:
    """One size of the picture.

    The picture lies inside a canvas with `bleed` pixels around it (more at the bottom and right, up to a multiple of
    `stride`), which are painted and cut off, because the outermost pixels of a canvas have no neighbours to agree with.

    Attributes
    ----------
    index : int
        0 is the coarsest.
    height, width : int
        Picture, px.
    bleed, stride, tile, overlap : int
        px.
    steps, first_step : int
        Optimiser steps here, and at all coarser levels together.
    steps_per_round : int
    learning_rate : float
    style_side : int
        Long side the style picture is scaled to, px.
    """

    index: int
    height: int
    width: int
    bleed: int
    stride: int
    tile: int
    overlap: int
    steps: int
    first_step: int
    steps_per_round: int
    learning_rate: float
    style_side: int

    @cached_property
    def grid(self) -> TileGrid:
        """The tiles of the canvas."""
        height, width = (-(-(n + 2 * self.bleed) // self.stride) * self.stride for n in (self.height, self.width))
        return TileGrid(height, width, self.tile, self.overlap, self.stride)

    @property
    def frame(self) -> Frame:
        """Where the picture lies in the canvas."""
        return Frame((self.grid.height, self.grid.width), (self.height, self.width), self.bleed)

    @property
    def picture_box(self) -> Box:
        """The picture as a box of the canvas."""
        return Box(Span(self.bleed, self.bleed + self.height), Span(self.bleed, self.bleed + self.width))

    @property
    def rounds(self) -> tuple[int, ...]:
        """Steps of every round."""
        full, rest = divmod(self.steps, self.steps_per_round)
        return (self.steps_per_round,) * full + ((rest,) if rest else ())

    @property
    def finished(self) -> int:
        """The number under which the sums of the finished canvas are filed: one more than there are rounds."""
        return len(self.rounds) + 1

    @property
    def pixels(self) -> int:
        """Pixels of the canvas."""
        return self.grid.height * self.grid.width

    @cached_property
    def tile_pixels(self) -> int:
        """Pixels of all tiles together, overlaps counted as often as they are painted."""
        rows, cols = (sum(cut.outer.length for cut in axis) for axis in self.grid.axes)
        return rows * cols


def plan_levels(
    height: int, width: int, style_side: int, settings: Settings, stride: int, minimum: int
) -> tuple[Level, ...]:
    """Plan the pyramid.

    Parameters
    ----------
    height, width : int
        Of the painting, px.
    style_side : int
        Long side of the style picture as it is; it is never enlarged, px.
    settings : Settings
    stride, minimum : int
        Of the network, px.

    Raises
    ------
    SettingsError
        If the painting or a tile is smaller than the network's minimum.
    """
    if min(height, width) < minimum:
        raise SettingsError(
            f"got a painting of {width} x {height} px, wanted at least {minimum} px a side for network "
            f"{settings.network}; ask for more with --size"
        )
    scales = _scales(height, width, settings.coarse, minimum)
    levels: list[Level] = []
    for index, scale in enumerate(scales):
        size = max(minimum, round(height * scale)), max(minimum, round(width * scale))
        levels.append(_level(index, size, style_side, settings, stride, sum(level.steps for level in levels)))
    return tuple(levels)


def _scales(height: int, width: int, coarse: int, minimum: int) -> list[float]:
    first = min(1.0, max(coarse / max(height, width), minimum / min(height, width)))
    count = ceil(log2(1 / first) - 1e-9)
    return [first ** (1 - i / count) for i in range(count)] + [1.0]


def _level(
    index: int, size: tuple[int, int], style_side: int, settings: Settings, stride: int, first_step: int
) -> Level:
    steps = at_level(settings.steps, index)
    return Level(
        index=index,
        height=size[0],
        width=size[1],
        bleed=settings.bleed,
        stride=stride,
        tile=settings.tile,
        overlap=settings.overlap,
        steps=steps,
        first_step=first_step,
        # Independent tiles never meet before the level is done.
        steps_per_round=settings.steps_per_round if settings.consensus else max(1, steps),
        learning_rate=at_level(settings.learning_rate, index),
        style_side=min(style_side, round(max(size) * settings.style_scale)),
    )
