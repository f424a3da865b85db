"""Where tiles lie: cores partition the canvas, neighbors overlap, windows sum to one."""

import pickle
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from muralist.tiling.errors import TileTooSmallError, TilingError
from muralist.tiling.grid import Box, Span, TileGrid, cover, divide

STEADY = settings(derandomize=True, deadline=None)


@st.composite
def grids(draw, longest=150):
    """Any grid whose tiles hold their overlaps; odd canvases, 1-px overlaps, oversized tiles and chunks among them."""
    stride = draw(st.sampled_from([1, 2, 4, 16]))
    overlap = draw(st.integers(0, 40))
    shared = -(-overlap // stride) * stride
    return TileGrid(
        height=draw(st.integers(1, longest)),
        width=draw(st.integers(1, longest)),
        tile=draw(st.integers(max(stride, 2 * shared, 4), 2 * shared + 120)),
        overlap=overlap,
        stride=stride,
        halo=draw(st.none() | st.integers(0, 25)),
        tile_grid=draw(st.none() | st.tuples(st.integers(1, 9), st.integers(1, 9))),
    )


def mask(grid: TileGrid, box: Box) -> np.ndarray:
    """Zeros over the canvas, ones in the box."""
    out = np.zeros((grid.height, grid.width), int)
    out[box.inside(grid.box)] = 1
    return out


def contains(outside: Box, inside: Box) -> bool:
    """Whether one box lies in another and is not empty."""
    return (outside & inside) == inside and min(inside.shape) > 0


@STEADY
@given(grids())
def test_cores_partition_the_canvas(grid):
    """Every pixel lies in exactly one core."""
    assert (sum(mask(grid, tile.core) for tile in grid) == 1).all()


@STEADY
@given(grids())
def test_boxes_nest(grid):
    """A core lies in its extent, an extent in its outer box, an outer box in the canvas."""
    for tile in grid:
        assert contains(tile.extent, tile.core)
        assert contains(tile.outer, tile.extent)
        assert contains(grid.box, tile.outer)


@STEADY
@given(grids())
def test_tiles_are_numbered_row_by_row(grid):
    """A tile knows its number, and its row and column in the grid."""
    rows, cols = grid.shape
    assert [(tile.index, tile.row, tile.col) for tile in grid] == [
        (row * cols + col, row, col) for row in range(rows) for col in range(cols)
    ]
    assert len(grid) == rows * cols


@STEADY
@given(grids())
def test_outer_boxes_are_aligned_to_the_stride(grid):
    """Tiles start at multiples of the stride, and all but the last of an axis stop there."""
    for axis in grid.axes:
        assert all(part.outer.start % grid.stride == 0 for part in axis)
        assert all(part.outer.stop % grid.stride == 0 for part in axis[:-1])


@STEADY
@given(grids())
def test_neighbors_share_the_overlap(grid):
    """Neighbors share at least the overlap, and no pixel is blended from more than two spans of an axis."""
    for axis in grid.axes:
        assert all(left.outer.stop - right.outer.start >= grid.overlap for left, right in pairwise(axis))
        assert all(left.outer.start < right.outer.start for left, right in pairwise(axis))
        assert all(left.extent.stop <= right.extent.start for left, right in zip(axis, axis[2:], strict=False))


@STEADY
@given(grids())
def test_halo_is_not_blended(grid):
    """Between the end of an extent and the end of its tile lies at least the halo, except at the canvas's edge."""
    halo = -(-grid.overlap // grid.stride) * grid.stride // 4 if grid.halo is None else grid.halo
    for axis in grid.axes:
        for left, right in pairwise(axis):
            kept = min(halo, (left.outer.stop - right.outer.start) // 2)
            assert left.outer.stop - left.extent.stop >= kept
            assert right.extent.start - right.outer.start >= kept


@STEADY
@given(grids())
def test_tiles_are_no_longer_than_asked(grid):
    """An outer box is at most the tile long, plus what does not fill a stride at the canvas's end."""
    assume(grid.tile_grid is None)
    for axis in grid.axes:
        assert all(part.outer.length <= max(grid.tile, grid.stride) + grid.stride - 1 for part in axis)


@STEADY
@given(grids(longest=120))
def test_windows_sum_to_one(grid):
    """At every pixel the windows of all tiles sum to one within 1e-6; they are zero outside the extent."""
    total = np.zeros((grid.height, grid.width))
    for tile in grid:
        rows, cols = grid.window(tile)
        assert rows.dtype == cols.dtype == np.float32
        weights = np.outer(rows, cols)
        assert weights.shape == tile.outer.shape
        assert weights.min() >= 0
        assert weights.max() <= 1
        outside = np.ones(tile.outer.shape, bool)
        outside[tile.extent.inside(tile.outer)] = False
        assert (weights[outside] == 0).all()
        total[tile.outer.inside(grid.box)] += weights
    np.testing.assert_allclose(total, 1, rtol=0, atol=1e-6)


@STEADY
@given(grids())
def test_chunks_are_as_many_as_asked(grid):
    """A grid of chunks has just so many rows and columns, fewer only where a chunk would be below the overlap."""
    assume(grid.tile_grid is not None)
    least = max(grid.stride, -(-grid.overlap // grid.stride) * grid.stride)
    for found, wanted, length in zip(grid.shape, grid.tile_grid, (grid.height, grid.width), strict=True):
        assert found <= wanted
        assert found == wanted or length < (found + 1) * least


@STEADY
@given(st.integers(16, 900), st.integers(1, 9), st.sampled_from([1, 4, 16]))
def test_chunks_without_overlap_are_plain_rectangles(length, count, stride):
    """Without overlap the chunks themselves partition the axis, evenly to a stride, and nothing is blended."""
    spans = divide(length, count, 0, stride)
    assert spans[0].start == 0
    assert spans[-1].stop == length
    assert all(left.stop == right.start for left, right in pairwise(spans))
    lengths = [span.length // stride for span in spans]
    assert max(lengths) - min(lengths) <= 1
    grid = TileGrid(length, length, tile=64, overlap=0, stride=stride, tile_grid=(count, 1))
    assert all(tile.core == tile.extent == tile.outer for tile in grid)
    assert all((factor == 1).all() for tile in grid for factor in grid.window(tile))


def test_chunks_do_not_heed_the_tile():
    """Six chunks are six whatever the tile, and an overlap that is too large for the tile is none for them."""
    for tile in (16, 100, 4096):
        grid = TileGrid(200, 330, tile=tile, overlap=20, stride=4, tile_grid=(2, 3))
        assert grid.shape == (2, 3)
        assert [part.outer for part in grid.axes[1]] == [Span(0, 120), Span(100, 228), Span(208, 330)]


@STEADY
@given(st.integers(1, 100), st.integers(1, 100), st.integers(0, 200), st.sampled_from([1, 16]))
def test_tile_larger_than_the_canvas_is_the_only_one(height, width, overlap, stride):
    """One tile covers a canvas that fits in it, whatever the overlap, and its window is all ones."""
    grid = TileGrid(height, width, tile=112, overlap=overlap, stride=stride)
    (tile,) = grid
    assert tile.core == tile.extent == tile.outer == grid.box
    assert all((factor == 1).all() for factor in grid.window(tile))


def test_one_pixel_overlap():
    """Tiles of two pixels that share one still cover the canvas, each core a pixel or two."""
    grid = TileGrid(height=1, width=5, tile=2, overlap=1)
    assert [tile.outer.cols for tile in grid] == [Span(0, 2), Span(1, 3), Span(2, 4), Span(3, 5)]
    assert sorted(tile.core.cols.length for tile in grid) == [1, 1, 1, 2]


@pytest.mark.parametrize("overlap", [3, 32])
@pytest.mark.parametrize("halo", [0, 1])
def test_tile_of_two_overlaps_is_enough(overlap, halo):
    """A tile of exactly two overlaps is accepted for every canvas, even where nearly all of it is blended."""
    for width in range(1, 8 * overlap):
        axis = TileGrid(height=1, width=width, tile=2 * overlap, overlap=overlap, halo=halo).axes[1]
        assert sum(part.core.length for part in axis) == width


def test_canvas_a_little_longer_than_a_tile_is_halved():
    """Two tiles of a little more than half the canvas cover it, not a full one and a sliver."""
    assert cover(1040, 1024, 64, 16) == [Span(0, 560), Span(480, 1040)]


@STEADY
@given(grids())
def test_pieces_partition_the_extent(grid):
    """Every pixel of an extent lies in exactly one of its pieces, and none outside it; they come row by row."""
    for tile in grid:
        pieces = grid.strips(tile)
        assert all(contains(tile.extent, piece) for piece in pieces)
        assert (sum(mask(grid, piece) for piece in pieces) == mask(grid, tile.extent)).all()
        assert pieces == sorted(pieces)


@STEADY
@given(grids())
def test_other_tiles_need_whole_pieces(grid):
    """A piece lies in the outer box of another tile or has no pixel in common with it."""
    pieces = np.array([piece for tile in grid for piece in grid.strips(tile)])[:, None]  # (piece, 1, axis, end)
    outers = np.array([tile.outer for tile in grid])[None]
    first, last = np.maximum(pieces, outers)[..., 0], np.minimum(pieces, outers)[..., 1]
    inside = (first == pieces[..., 0]) & (last == pieces[..., 1])
    assert (inside.all(-1) | (first >= last).any(-1)).all()


def test_pieces_are_strips_along_the_edges():
    """A tile that overlaps with a neighbor on the right has its middle, and what the neighbor sees of it."""
    grid = TileGrid(height=64, width=112, tile=64, overlap=16)
    assert [piece.cols for piece in grid.strips(grid[0])] == [Span(0, 48), Span(48, 58)]
    assert [piece.cols for piece in grid.strips(grid[1])] == [Span(54, 64), Span(64, 112)]


@STEADY
@given(grids(), st.data())
def test_touching_yields_the_tiles_whose_extent_meets_the_box(grid, data):
    """Exactly the tiles that a box needs are yielded, in tile order."""
    rows, cols = (
        Span(*sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))))
        for n in (grid.height, grid.width)
    )
    box = Box(rows, cols)
    assert list(grid.touching(box)) == [tile for tile in grid if min((tile.extent & box).shape) > 0]


def test_spans_and_boxes_intersect():
    """What two spans share is a span, of no positive length where they do not meet."""
    assert Span(2, 9) & Span(5, 12) == Span(5, 9)
    assert (Span(0, 3) & Span(3, 5)).length == 0
    assert (Span(0, 3) & Span(7, 9)).length < 0
    assert Span(5, 9).inside(Span(2, 12)) == slice(3, 7)
    both = Box(Span(0, 4), Span(0, 6)) & Box(Span(1, 9), Span(2, 5))
    assert both == Box(Span(1, 4), Span(2, 5))
    assert both.shape == (3, 3)


@pytest.mark.parametrize("index", [-1, 8])
def test_tiles_outside_the_grid_do_not_exist(index):
    """There are tiles 0 to len - 1 and no others; negative numbers do not count from the end."""
    grid = TileGrid(height=100, width=200, tile=64, overlap=16)
    with pytest.raises(IndexError):
        grid[index]


@STEADY
@given(grids(), st.integers(1, 3))
def test_too_small_a_tile_is_refused(grid, missing):
    """A tile smaller than two overlaps is refused as soon as the canvas needs more than one tile."""
    shared = -(-grid.overlap // grid.stride) * grid.stride
    tile = 2 * shared - missing
    assume(tile >= grid.stride)
    assume(grid.height >= tile + grid.stride)
    with pytest.raises(TileTooSmallError):
        len(TileGrid(grid.height, grid.width, tile, grid.overlap, grid.stride))


def test_too_small_a_tile_says_what_to_do():
    """The error names what was given and the smallest tile that works, and survives pickling."""
    with pytest.raises(TileTooSmallError, match=r"--tile 128\b") as caught:
        len(TileGrid(height=300, width=50, tile=100, overlap=64))
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, TilingError)
    assert (again.tile, again.overlap, str(again)) == (100, 64, str(caught.value))


def test_the_smallest_tile_that_works_consists_of_whole_blocks():
    """A tile that is twice its overlap may not be, once both are multiples of the network's stride."""
    sizes = {"height": 1000, "width": 1000, "overlap": 100, "stride": 32}
    for tile in (200, 230, 255):
        with pytest.raises(TileTooSmallError, match=rf"tile {tile} px .* 100 px.* blocks of 32 px; use --tile 256 or"):
            len(TileGrid(tile=tile, **sizes))
    assert len(TileGrid(tile=256, **sizes)) > 1


@pytest.mark.parametrize(
    "wrong", [{"height": 0}, {"width": -1}, {"tile": 0}, {"stride": 0}, {"overlap": -1}, {"tile_grid": (2, 0)}]
)
def test_sizes_that_are_not_positive_are_refused(wrong):
    """A grid without pixels, tiles or stride, or with a negative overlap, is refused with what was given."""
    sizes = {"height": 10, "width": 10, "tile": 4, "overlap": 1, "stride": 1} | wrong
    ((name, value),) = wrong.items()
    with pytest.raises(TilingError, match=rf"TileGrid\(.*{name}={re.escape(str(value))}") as caught:
        TileGrid(**sizes)
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is TilingError
    assert str(again) == str(caught.value)


def test_grids_and_tiles_pickle():
    """A grid whose windows were computed crosses to a worker and is the same grid there."""
    grid = TileGrid(height=101, width=77, tile=64, overlap=16)
    grid.window(grid[3])
    again = pickle.loads(pickle.dumps(grid))
    assert again == grid
    assert list(again) == list(grid)
