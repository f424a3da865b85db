"""Where the tiles of a canvas lie.

Each axis is covered on its own by spans that share `overlap` pixels with their neighbors; a tile is a row span times
a column span. Of the shared pixels the outer `halo` on either side is only read for context, and what lies between the
halos is blended. So every tile has three boxes, one inside the other:

* `core`: the cores partition the canvas (they meet in the middle of what is blended);
* `extent`: core plus what is blended with neighbors;
* `outer`: extent plus the halos; what the network sees.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from .errors import TileTooSmallError, TilingError


class Span(NamedTuple):
    """Half-open interval of one axis, px."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start

    def __and__(self, other: "Span") -> "Span":
        """Return what both cover; its length is zero or negative where they do not meet."""
        return Span(max(self.start, other.start), min(self.stop, other.stop))

    def inside(self, frame: "Span") -> slice:
        """Return this span as a slice of an array that holds `frame`."""
        return slice(self.start - frame.start, self.stop - frame.start)


class Box(NamedTuple):
    """Rectangle of a canvas: rows times columns."""

    rows: Span
    cols: Span

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.length, self.cols.length

    def __and__(self, other: "Box") -> "Box":
        return Box(self.rows & other.rows, self.cols & other.cols)

    def grown(self, by: int) -> "Box":
        """Return the box with so many pixels more on every side."""
        return Box(*(Span(span.start - by, span.stop + by) for span in self))

    def inside(self, frame: "Box") -> tuple[slice, slice]:
        """Return this box as slices of an array that holds `frame`."""
        return self.rows.inside(frame.rows), self.cols.inside(frame.cols)


@dataclass(frozen=True)
class Tile:
    """One tile: its place in the grid and its three boxes, each inside the next."""

    index: int
    row: int
    col: int
    core: Box
    extent: Box
    outer: Box


@dataclass(frozen=True)
class AxisTile:
    """One span of one axis: the one-dimensional form of a tile."""

    core: Span
    extent: Span
    outer: Span


def cover(length: int, tile: int, overlap: int, stride: int) -> list[Span]:
    """Cover an axis with spans of at most `tile` that share at least `overlap` and start at multiples of `stride`.

    Parameters
    ----------
    length : int
        Length of the axis, px.
    tile, overlap : int
        Multiples of `stride`, px; `tile >= 2 * overlap`.
    stride : int
        Total stride of the network, px. The last span may be up to `stride - 1` longer than `tile`.

    >>> cover(100, 64, 16, 16)
    [Span(start=0, stop=64), Span(start=32, stop=100)]
    """
    units, shared = length // stride, overlap // stride
    if units * stride <= tile:
        return [Span(0, length)]
    count = -(-(units - shared) // (tile // stride - shared))
    # No longer than needed: a canvas a little longer than one tile gets two tiles of little more than half its length.
    side = -(-(units + (count - 1) * shared) // count)
    starts = [i * (units - side) // (count - 1) * stride for i in range(count)]
    return [*(Span(start, start + side * stride) for start in starts[:-1]), Span(starts[-1], length)]


def divide(length: int, count: int, overlap: int, stride: int) -> list[Span]:
    """Divide an axis into `count` even parts, grown so that neighbors share `overlap`; fewer where they do not fit.

    Parameters
    ----------
    length : int
        Length of the axis, px.
    count : int
        Parts wanted. No part is shorter than the overlap or a stride, so that no pixel belongs to three.
    overlap : int
        A multiple of `stride`, px; 0 gives a partition.
    stride : int
        Total stride of the network, px, at whose multiples all but the last part start and stop.

    >>> divide(100, 3, 0, 16)
    [Span(start=0, stop=32), Span(start=32, stop=64), Span(start=64, stop=100)]
    """
    units, shared = length // stride, overlap // stride
    count = max(1, min(count, units // max(1, shared)))
    borders = [i * units // count for i in range(1, count)]
    starts = [0, *((border - shared // 2) * stride for border in borders)]
    stops = [*((border - shared // 2 + shared) * stride for border in borders), length]
    return [Span(*ends) for ends in zip(starts, stops, strict=True)]


def axis_tiles(spans: list[Span], width: int) -> list[AxisTile]:
    """Divide the pixels that neighbors share: at most `width` are blended, the rest is halo on either side."""
    blends = [_middle(Span(right.start, left.stop), width) for left, right in itertools.pairwise(spans)]
    first, last = spans[0].start, spans[-1].stop
    extents = zip([first, *(b.start for b in blends)], [*(b.stop for b in blends), last], strict=True)
    borders = [first, *((b.start + b.stop) // 2 for b in blends), last]
    cores = itertools.pairwise(borders)
    return [AxisTile(Span(*c), Span(*e), outer) for c, e, outer in zip(cores, extents, spans, strict=True)]


def _middle(shared: Span, width: int) -> Span:
    start = shared.start + (shared.length - min(width, shared.length)) // 2
    return Span(start, start + min(width, shared.length))


@dataclass(frozen=True)
class TileGrid:
    """The tiles of one canvas.

    Parameters
    ----------
    height, width : int
        Canvas, px.
    tile : int
        Side of a tile's `outer` box, px, brought down to a multiple of `stride`. Larger than the canvas: one tile.
    overlap : int
        Pixels that neighbors share, brought up to a multiple of `stride`.
    stride : int
        Total stride of the network, px, so that a feature position is the same block of pixels in every tile.
    halo : int, optional
        Pixels of the overlap on either side that are not blended; by default three eighths of the overlap.
    tile_grid : (int, int), optional
        Rows and columns of tiles to divide the canvas into evenly, whatever `tile`; see `divide`.

    Raises
    ------
    TileTooSmallError
        If a tile is smaller than two overlaps and the canvas needs more than one.

    >>> grid = TileGrid(height=100, width=200, tile=64, overlap=16)
    >>> len(grid), grid.shape, grid[1].core
    (8, (2, 4), Box(rows=Span(start=0, stop=50), cols=Span(start=54, stop=100)))
    """

    height: int
    width: int
    tile: int
    overlap: int
    stride: int = 1
    halo: int | None = None
    tile_grid: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.tile, self.stride, *(self.tile_grid or ())) < 1 or self.overlap < 0:
            raise TilingError(f"a grid needs positive sizes, got {self!r}")

    @cached_property
    def axes(self) -> tuple[list[AxisTile], list[AxisTile]]:
        """The tiles of the rows and of the columns."""
        rows, cols = self.tile_grid or (None, None)
        return self._axis(self.height, rows), self._axis(self.width, cols)

    def _axis(self, length: int, count: int | None) -> list[AxisTile]:
        overlap = -(-self.overlap // self.stride) * self.stride
        halo = 3 * overlap // 8 if self.halo is None else self.halo
        spans = self._tiled(length, overlap) if count is None else divide(length, count, overlap, self.stride)
        # No wider than neighbors lie apart, so that no pixel is blended from three spans.
        width = min(overlap - 2 * halo, *(b.start - a.start for a, b in itertools.pairwise(spans)), overlap)
        return axis_tiles(spans, max(0, width))

    def _tiled(self, length: int, overlap: int) -> list[Span]:
        tile = max(self.stride, self.tile // self.stride * self.stride)
        if 2 * overlap > tile and length >= tile + self.stride:
            raise TileTooSmallError(self.tile, self.overlap, self.stride)
        return cover(length, tile, overlap, self.stride)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return len(self.axes[0]), len(self.axes[1])

    @property
    def box(self) -> Box:
        """The whole canvas."""
        return Box(Span(0, self.height), Span(0, self.width))

    def __len__(self) -> int:
        return self.shape[0] * self.shape[1]

    def __getitem__(self, index: int) -> Tile:
        if not 0 <= index < len(self):
            raise IndexError(index)
        row, col = divmod(index, self.shape[1])
        down, across = self.axes[0][row], self.axes[1][col]
        boxes = (Box(getattr(down, name), getattr(across, name)) for name in ("core", "extent", "outer"))
        return Tile(index, row, col, *boxes)

    def __iter__(self) -> Iterator[Tile]:
        return (self[index] for index in range(len(self)))

    def touching(self, box: Box) -> Iterator[Tile]:
        """Yield the tiles whose extent meets `box`, in tile order."""
        rows, cols = (
            [i for i, part in enumerate(axis) if (part.extent & span).length > 0]
            for axis, span in zip(self.axes, box, strict=True)
        )
        return (self[row * self.shape[1] + col] for row in rows for col in cols)

    @cached_property
    def _parts(self) -> tuple[list[list[Span]], list[list[Span]]]:
        rows, cols = (split_at_neighbors(axis) for axis in self.axes)
        return rows, cols

    def strips(self, tile: Tile) -> list[Box]:
        """Divide a tile's extent where the outers of other tiles begin and end, in row order.

        What a neighbor needs of a tile is then whole strips along its edges.
        """
        return [Box(*spans) for spans in itertools.product(self._parts[0][tile.row], self._parts[1][tile.col])]

    @cached_property
    def _ramps(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        rows, cols = (ramps(axis) for axis in self.axes)
        return rows, cols

    def window(self, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        """Blend weights of a tile over its `outer` box, as the two factors of an outer product.

        Returns
        -------
        rows, cols : ndarray, float32, in [0, 1]
            `rows[:, None] * cols` are the weights; over all tiles they sum to one at every pixel.
        """
        return self._ramps[0][tile.row], self._ramps[1][tile.col]


def split_at_neighbors(axis: list[AxisTile]) -> list[list[Span]]:
    """Divide the extent of every span of an axis where outers of other spans begin and end."""
    edges = {edge for part in axis for edge in part.outer}
    borders = [sorted({*part.extent, *(e for e in edges if part.extent.start < e < part.extent.stop)}) for part in axis]
    return [[Span(*ends) for ends in itertools.pairwise(each)] for each in borders]


def ramps(axis: list[AxisTile]) -> list[np.ndarray]:
    """Blend weights of every span of an axis over its `outer` pixels; at every pixel they sum to one."""
    weights = [np.zeros(part.outer.length, np.float32) for part in axis]
    for part, weight in zip(axis, weights, strict=True):
        weight[part.extent.inside(part.outer)] = 1.0
    for i, (left, right) in enumerate(itertools.pairwise(axis)):
        shared = left.extent & right.extent
        rising = np.sin((np.arange(shared.length) + 0.5) / max(shared.length, 1) * np.pi / 2) ** 2
        weights[i][shared.inside(left.outer)] = 1.0 - rising
        weights[i + 1][shared.inside(right.outer)] = rising
    return weights
