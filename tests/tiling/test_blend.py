"""Blending: untouched tiles give the canvas back, and any box of it is that part of the whole."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from muralist.tiling.blend import blend
from muralist.tiling.grid import Box, Span, Tile, TileGrid

STEADY = settings(derandomize=True, deadline=None)


@st.composite
def grids(draw):
    """Small grids of one to many tiles, some with hard borders, some blended over 1 px."""
    overlap = draw(st.integers(0, 12))
    return TileGrid(
        height=draw(st.integers(1, 70)),
        width=draw(st.integers(1, 70)),
        tile=draw(st.integers(max(3, 2 * overlap), 2 * overlap + 40)),
        overlap=overlap,
        halo=draw(st.none() | st.integers(0, 6)),
    )


def noise(*shape: int) -> np.ndarray:
    """Random float32 pixels in [0, 1)."""
    return np.random.default_rng(0).random(shape, np.float32)


def painted(grid: TileGrid) -> list[np.ndarray]:
    """A picture of its own for every tile's outer box."""
    rng = np.random.default_rng(1)
    return [rng.random((*tile.outer.shape, 3), np.float32) for tile in grid]


@STEADY
@given(grids())
def test_untouched_tiles_give_the_canvas_back(grid):
    """Blending crops of a canvas gives it back within 1e-6, and exactly where one tile alone reaches."""
    canvas = noise(grid.height, grid.width, 3)
    back = blend(grid, grid.box, lambda tile, part: canvas[part.inside(grid.box)])
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, canvas, rtol=0, atol=1e-6)
    reached = np.zeros((grid.height, grid.width), int)
    for tile in grid:
        reached[tile.extent.inside(grid.box)] += 1
    np.testing.assert_array_equal(back[reached == 1], canvas[reached == 1])


@STEADY
@given(grids(), st.data())
def test_a_box_is_that_part_of_the_whole(grid, data):
    """Reading any box, and blending all, give the same pixels to the last bit."""
    tiles = painted(grid)

    def read(tile: Tile, part: Box) -> np.ndarray:
        return tiles[tile.index][part.inside(tile.outer)]

    box = Box(
        *(
            Span(*sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))))
            for n in (grid.height, grid.width)
        )
    )
    np.testing.assert_array_equal(blend(grid, box, read), blend(grid, grid.box, read)[box.inside(grid.box)])


@STEADY
@given(grids(), st.data())
def test_only_needed_parts_are_read(grid, data):
    """What is asked of a tile lies inside both its extent and the box, and no tile is asked twice."""
    box = Box(*(Span(data.draw(st.integers(0, n - 1)), n) for n in (grid.height, grid.width)))
    asked = []

    def read(tile: Tile, part: Box) -> np.ndarray:
        assert part == tile.extent & box
        assert min(part.shape) > 0
        asked.append(tile.index)
        return np.zeros((*part.shape, 1), np.float32)

    blend(grid, box, read)
    assert asked == [tile.index for tile in grid.touching(box)]


def test_leading_axes_are_kept():
    """A state of several planes is blended plane by plane."""
    grid = TileGrid(height=33, width=41, tile=20, overlap=6)
    state = noise(4, 2, 33, 41, 3)
    back = blend(grid, grid.box, lambda tile, part: state[(..., *part.inside(grid.box), slice(None))])
    assert back.shape == state.shape
    np.testing.assert_allclose(back, state, rtol=0, atol=1e-6)
    plane = blend(grid, grid.box, lambda tile, part: state[2, 1][part.inside(grid.box)])
    np.testing.assert_array_equal(back[2, 1], plane)


def test_a_step_between_two_tiles_is_feathered():
    """A black and a white tile pass into each other evenly over the blended band, half and half where cores meet."""
    grid = TileGrid(height=1, width=60, tile=40, overlap=20, halo=4)
    left, right = grid
    line = blend(grid, grid.box, lambda tile, part: np.full((*part.shape, 1), tile.col, np.float32))[0, :, 0]
    band = left.extent.cols & right.extent.cols
    assert band.length == 12
    assert (line[: band.start] == 0).all()
    assert (line[band.stop :] == 1).all()
    assert (np.diff(line[band.start - 1 : band.stop + 1]) > 0).all()
    np.testing.assert_allclose(line + line[::-1], 1, atol=1e-6)
