"""A canvas in a store: any box of it reads as if it were one array, and neighbors read strips."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from muralist.pipeline.storage.canvas import PLANE_BYTES, Canvas, stored_bytes
from muralist.pipeline.storage.store import Store, fetched
from muralist.tiling.grid import Box, Span, TileGrid

GRIDS = [
    TileGrid(96, 160, tile=64, overlap=16),
    TileGrid(97, 61, tile=64, overlap=20, stride=4),
    TileGrid(100, 100, tile=64, overlap=0),
    TileGrid(120, 120, tile=64, overlap=16, tile_grid=(3, 2)),
    TileGrid(40, 50, tile=64, overlap=16),
]


def filed(folder: Path, grid: TileGrid, whole: np.ndarray, bfloat16: int = 0) -> Canvas:
    """A canvas whose tiles hold the parts of an array (planes, H, W, 3)."""
    canvas = Canvas(Store(str(folder)), "round_0001", grid, len(whole), bfloat16=bfloat16)
    for tile in grid:
        canvas.write(tile, whole[(slice(None), *tile.extent.inside(grid.box))])
    return canvas


@pytest.mark.parametrize("grid", GRIDS)
def test_what_was_filed_is_read_whole(tmp_path, grid):
    """Tiles that agree give the array back, all planes or some of them."""
    whole = np.random.default_rng(0).random((4, grid.height, grid.width, 3), np.float32)
    canvas = filed(tmp_path, grid, whole)
    np.testing.assert_allclose(canvas.read(grid.box), whole, atol=1e-6)
    np.testing.assert_array_equal(canvas.read(grid.box, slice(1, 3)), canvas.read(grid.box)[1:3])


@pytest.mark.parametrize("grid", GRIDS)
def test_the_last_planes_are_stored_in_bfloat16(tmp_path, grid):
    """They come back as near as torch's bfloat16, the others as they were."""
    random = np.random.default_rng(0)
    whole = random.normal(0, 1e-4, (4, grid.height, grid.width, 3)).astype(np.float32)
    whole[3, ::7] *= 1e-30
    whole[3, ::5] = 0
    canvas = filed(tmp_path, grid, whole, bfloat16=2)
    found, nearest = canvas.read(grid.box), torch.from_numpy(whole).bfloat16().float().numpy()
    np.testing.assert_allclose(found[:2], whole[:2], rtol=1e-6)
    assert (np.abs(found - whole)[2:] <= np.abs(nearest - whole)[2:] + 1e-6 * np.abs(whole[2:])).all()
    assert (found[2:, :: 5 * 7] != whole[2:, :: 5 * 7]).any()
    np.testing.assert_array_equal(canvas.read(grid.box, slice(1, 3)), found[1:3])
    sizes = [len(canvas.store.read(canvas.name(tile))) for tile in grid]
    assert sizes == [np.prod(tile.extent.shape) * (2 * 12 + 2 * 6) for tile in grid]


@pytest.fixture(scope="module")
def canvas(tmp_path_factory):
    """A canvas of nine tiles that do not agree."""
    grid = TileGrid(96, 120, tile=64, overlap=24)
    canvas = Canvas(Store(str(tmp_path_factory.mktemp("canvas"))), "round", grid, 2, bfloat16=1)
    random = np.random.default_rng(1)
    for tile in grid:
        canvas.write(tile, random.random((2, *tile.extent.shape, 3), np.float32))
    return canvas


@given(st.data())
def test_any_box_is_cut_out_of_the_whole(canvas, data):
    """A box read alone is, bit by bit, the same as cut out of the whole canvas."""
    spans = []
    for length in (canvas.grid.height, canvas.grid.width):
        start = data.draw(st.integers(0, length - 1))
        spans.append(Span(start, data.draw(st.integers(start + 1, length))))
    box = Box(*spans)
    whole = canvas.read(canvas.grid.box)
    np.testing.assert_array_equal(canvas.read(box), whole[(slice(None), *box.inside(canvas.grid.box))])


@pytest.mark.parametrize("bfloat16", [0, 3])
def test_neighbors_read_strips(tmp_path, bfloat16):
    """What a tile fetches of its neighbors' files is what lies in its outer box, and not more."""
    grid = TileGrid(256, 256, tile=128, overlap=32)
    canvas = filed(tmp_path, grid, np.zeros((4, 256, 256, 3), np.float32), bfloat16)
    tile, before = grid[4], fetched()
    canvas.read(tile.outer)
    inside = sum(np.prod((each.extent & tile.outer).shape) for each in grid.touching(tile.outer))
    assert fetched() - before == inside * stored_bytes(4, bfloat16)


def test_bytes_of_a_pixel():
    """Twelve for a plane in float32, six in bfloat16."""
    assert [stored_bytes(5, 0), stored_bytes(5, 4), stored_bytes(2, 2)] == [60, 36, 12]
    assert PLANE_BYTES == 12
