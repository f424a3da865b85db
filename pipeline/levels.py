"""The pyramid: which sizes a picture is painted at, coarse to fine, and how many steps each size gets.

The coarsest level always has the same long side, whatever the final size, so a preview is the first level of the
poster. The levels between are spread evenly (in proportion), each at most `level_ratio` times as large as the one
before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import pairwise
from math import ceil, log
from typing import Any, TypeVar

from ..tiling.errors import TileTooSmallError
from ..tiling.grid import TileGrid
from ..tiling.resample import Frame
from .errors import SettingsError
from .settings import Settings

T = TypeVar("T")

BLOCK = (64, 2048)  # px, height and width
# Steps after the start of a level, and before its end, at which additional rounds of L-BFGS end: its first steps are
# large, and differences between tiles in the last round are blended, but no later round corrects them.
SHORT_ROUNDS = (2, 5)
TUNED_LEVELS = 2  # the coarsest, on which `strength` finds its weights from one round to the next
# L-BFGS steps are larger than Adam's, so tiles drift apart sooner. A single tile only loses pairs when a round ends.
STEPS_PER_ROUND = {"lbfgs": 5, "adam": 10, "one tile": 25, "one tile, tuned": 12}
STYLE_TILE_PX = 1024  # of the tiles that a style picture is measured in


def at_level(values: Sequence[T], level: int) -> T:
    """Value for a level, counted from 0 at the coarsest; the last one serves all finer levels.

    >>> [at_level((200, 100, 40), level) for level in range(5)]
    [200, 100, 40, 40, 40]
    """
    return values[min(level, len(values) - 1)]


@dataclass(frozen=True)
class Level:
    """One size of the picture.

    The picture lies inside a canvas with `edge_margin` pixels around it, which are painted and cut off. A layer has no
    position for the pixels at the bottom and right that do not fill its stride.

    Attributes
    ----------
    index : int
        0 is the coarsest.
    height, width : int
        Picture, px.
    edge_margin, stride, tile, overlap : int
        px.
    min_side : int
        Smallest side of a tile that the network can see, px.
    steps, first_step : int
        Optimizer steps at this level; and at all coarser levels together, if none ends early.
    short_rounds : tuple of int
        Steps after the start of the level, and before its end, at which additional rounds end.
    snapshot_every : int or None
        Steps between snapshots, counted over all levels.
    tile_grid : (int, int) or None
        Rows and columns of tiles, instead of by `tile`.
    style_sides : tuple of int
        Long side that every style picture is scaled to, px.
    halvings : int
        How often tiles were halved because memory ran out.
    """

    index: int
    height: int
    width: int
    edge_margin: int
    stride: int
    tile: int
    overlap: int
    min_side: int
    steps: int
    first_step: int
    steps_per_round: int
    short_rounds: tuple[int, ...]
    snapshot_every: int | None
    tile_grid: tuple[int, int] | None
    learning_rate: float
    style_sides: tuple[int, ...]
    halvings: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to workers without what was computed here."""
        return type(self), tuple(getattr(self, each.name) for each in fields(self))

    @cached_property
    def grid(self) -> TileGrid:
        """The tiles of the canvas."""
        height, width = (n + 2 * self.edge_margin for n in (self.height, self.width))
        tile_grid = (
            None if self.tile_grid is None else (self.tile_grid[0] << self.halvings, self.tile_grid[1] << self.halvings)
        )
        return TileGrid(height, width, self.tile >> self.halvings, self.overlap, self.stride, tile_grid=tile_grid)

    @cached_property
    def blocks(self) -> TileGrid:
        """A partition of the canvas, in which pictures that are only read are filed: in rows that fit into memory."""
        height, width = self.grid.height, self.grid.width
        return TileGrid(height, width, self.tile, 0, tile_grid=(-(-height // BLOCK[0]), -(-width // BLOCK[1])))

    def halved(self) -> "Level":
        """Give the same level in more tiles, half as high and wide (or a quarter, ..., where half still is one tile).

        Raises `TileTooSmallError` if they would be too small for their overlap.
        """
        for halvings in range(self.halvings + 1, self.tile.bit_length()):
            level = replace(self, halvings=halvings)
            if level.shortest_side < level.min_side:
                break
            if len(level.grid) > len(self.grid):
                return level
        raise TileTooSmallError(self.tile >> self.halvings + 1, self.overlap)

    @property
    def shortest_side(self) -> int:
        """Of any tile, px. Raises `TileTooSmallError` if tiles are too small for their overlap."""
        return min(part.outer.length for axis in self.grid.axes for part in axis)

    @property
    def frame(self) -> Frame:
        """Where the picture lies in the canvas."""
        return Frame((self.grid.height, self.grid.width), (self.height, self.width), self.edge_margin)

    @cached_property
    def rounds(self) -> tuple[int, ...]:
        """Steps of every round: cut after `steps_per_round` of the level and `snapshot_every` of the run.

        What would leave a single step between the short rounds at both ends, or before those at the end, is not cut.
        """
        short = [
            step
            for step in self.short_rounds
            if step < self.steps_per_round and 2 * step <= self.steps and 2 * step + 1 != self.steps
        ]
        last = self.steps - max(short, default=0)
        usual = (step for step in range(0, self.steps, self.steps_per_round) if not short or step <= last - 2)
        ends = {0, *usual, *short, *(self.steps - step for step in short), *self.saves, self.steps}
        return tuple(end - start for start, end in pairwise(sorted(ends)))

    @property
    def saves(self) -> range:
        """Steps of the level after which a snapshot is written."""
        if self.snapshot_every is None:
            return range(0)
        return range(self.snapshot_every - self.first_step % self.snapshot_every, self.steps + 1, self.snapshot_every)

    def steps_after(self, rounds: int) -> int:
        """Steps of the level that its first rounds make."""
        return sum(self.rounds[:rounds])

    @property
    def pixels(self) -> int:
        """Pixels of the canvas."""
        return self.grid.height * self.grid.width

    @cached_property
    def tile_pixels(self) -> int:
        """Pixels of all tiles together, overlaps counted as often as they are painted."""
        rows, cols = (sum(part.outer.length for part in axis) for axis in self.grid.axes)
        return rows * cols

    @property
    def filed_pixels(self) -> int:
        """Pixels of all tiles together as they are filed: without what they only read for context."""
        rows, cols = (sum(part.extent.length for part in axis) for axis in self.grid.axes)
        return rows * cols


def plan_levels(
    height: int, width: int, styles: Sequence[tuple[int, float]], settings: Settings, stride: int, min_side: int
) -> tuple[Level, ...]:
    """Plan the pyramid.

    Parameters
    ----------
    height, width : int
        Of the painting, px.
    styles : sequence of (int, float)
        Long side of every style picture as it is, px, and its scale. Style pictures are never enlarged.
    stride, min_side : int
        Of the network, px.

    Raises
    ------
    SettingsError
        If the painting or a tile is smaller than the network can see.
    TileTooSmallError
        If a tile is smaller than two overlaps.
    """
    if min(height, width) < min_side:
        sides = [f"--{name}" for name in ("width", "height") if getattr(settings, name) is not None]
        flags = " and ".join(sides) or ("--dpi" if settings.print_size else "--size")
        raise SettingsError(
            f"got a painting of {width} x {height} px, wanted at least {min_side} px a side for network "
            f"{settings.network}; ask for more with {flags}"
        )
    scales = _scales(height, width, settings, min_side)
    levels: list[Level] = []
    for index, scale in enumerate(scales):
        size = max(min_side, round(height * scale)), max(min_side, round(width * scale))
        made = sum(level.steps for level in levels)
        steps = at_level(settings.steps if scale < 1 else settings.finest_steps, index)
        levels.append(_level(index, size, styles, settings, stride, min_side, steps, made))
    if (shortest := min(level.shortest_side for level in levels)) < min_side:
        raise SettingsError(
            f"got tiles of {shortest} px, wanted at least {min_side} px a side for these layers of network "
            f"{settings.network}; use --tile {min_side} or more"
        )
    return tuple(levels)


def _scales(height: int, width: int, settings: Settings, min_side: int) -> list[float]:
    first = min(1.0, max(settings.base_size / max(height, width), min_side / min(height, width)))
    count = ceil(log(1 / first, settings.level_ratio) - 1e-9)
    return [first ** (1 - i / count) for i in range(count)] + [1.0]


def _level(
    index: int,
    size: tuple[int, int],
    styles: Sequence[tuple[int, float]],
    settings: Settings,
    stride: int,
    min_side: int,
    steps: int,
    first_step: int,
) -> Level:
    level = Level(
        index=index,
        height=size[0],
        width=size[1],
        edge_margin=settings.edge_margin,
        stride=stride,
        tile=settings.tile,
        overlap=settings.overlap,
        min_side=min_side,
        steps=steps,
        first_step=first_step,
        steps_per_round=max(1, steps),
        short_rounds=(),
        snapshot_every=settings.snapshot_every,
        tile_grid=None if settings.tile_grid is None else _tile_grid(settings.tile_grid, size, min_side),
        learning_rate=at_level(settings.learning_rate, index),
        style_sides=tuple(min(side, round(max(size) * scale)) for side, scale in styles),
    )
    if not _syncs_tiles(settings):
        return level
    several = len(level.grid) > 1
    short = SHORT_ROUNDS if several and settings.optimizer == "lbfgs" and settings.consensus else ()
    tuned = index < TUNED_LEVELS and settings.content_weight is None
    alone = "one tile, tuned" if tuned else "one tile"
    usual = STEPS_PER_ROUND[settings.optimizer if several else alone]
    return replace(level, steps_per_round=settings.steps_per_round or usual, short_rounds=short)


def _syncs_tiles(settings: Settings) -> bool:
    """Whether tiles sync within a level: independent tiles do so only if the canvas is needed after each round."""
    looks = settings.snapshot_every is not None or settings.iterate == "best" or settings.early_stop > 0
    return settings.consensus or looks


def _tile_grid(wanted: tuple[int, int], size: tuple[int, int], min_side: int) -> tuple[int, int]:
    """As many rows and columns as wanted, if none becomes too small for the network."""
    rows, cols = (min(count, side // min_side) for count, side in zip(wanted, size, strict=True))
    return rows, cols
