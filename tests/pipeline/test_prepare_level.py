"""What lies ready before a level is painted: the photograph on its canvas, mirrored where the canvas is larger."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import picture_box

from muralist.pipeline import prepare_level
from muralist.pipeline.levels import BLOCK, Level, plan_levels
from muralist.pipeline.prepare_level import file_canvas, mirrored, with_margin
from muralist.pipeline.settings import Settings
from muralist.pipeline.storage.canvas import Canvas
from muralist.pipeline.storage.store import Store
from muralist.tiling.grid import Span

SETTINGS = Settings(tile=64, overlap=16)


def level_of(height: int, width: int, margin: int = 21) -> Level:
    """A level of one picture at its own size."""
    return plan_levels(height, width, [], SETTINGS.model_copy(update={"edge_margin": margin}), 16, 32)[-1]


def reader(pixels: np.ndarray) -> prepare_level.ReadRows:
    """A source that knows the picture at its own size, and no row outside it."""

    def read(height: int, width: int, rows: Span) -> np.ndarray:
        assert (height, width) == pixels.shape[:2]
        assert 0 <= rows.start < rows.stop <= height
        return pixels[slice(*rows)]

    return read


def padded(pixels: np.ndarray, level: Level) -> np.ndarray:
    """The whole canvas, by NumPy's mirrors."""
    rows, cols = picture_box(level)
    around = [(rows.start, level.grid.height - rows.stop), (cols.start, level.grid.width - cols.stop), (0, 0)]
    return np.pad(pixels, around, mode="reflect")


@pytest.mark.parametrize(("height", "width", "margin"), [(40, 53, 0), (71, 33, 9), (32, 33, 200)])
def test_the_canvas_is_mirrored(height, width, margin):
    """Around the picture lies its mirror image, again and again where the margin is wider than the picture."""
    level, pixels = level_of(height, width, margin), np.random.default_rng(0).random((height, width, 3))
    found = with_margin(reader(pixels), level, level.grid.box.rows)
    np.testing.assert_array_equal(found, padded(pixels, level))


LEVEL = level_of(37, 75)
PIXELS = np.random.default_rng(1).random((37, 75, 3), np.float32)
PADDED = padded(PIXELS, LEVEL)


@given(st.data())
def test_any_rows_of_the_canvas_are_cut_out_of_it(data):
    """Rows inside the picture, across its edge or beyond it are the same part of the whole canvas."""
    start = data.draw(st.integers(0, len(PADDED) - 1))
    rows = Span(start, data.draw(st.integers(start + 1, len(PADDED))))
    np.testing.assert_array_equal(with_margin(reader(PIXELS), LEVEL, rows), PADDED[slice(*rows)])


def test_no_more_is_read_than_it_takes():
    """Rows in the middle of a picture are read alone, and the mirrored ones from where they come."""
    read = []
    level, source = level_of(500, 400), reader(np.zeros((500, 400, 3)))

    def watched(height: int, width: int, rows: Span) -> np.ndarray:
        read.append(rows)
        return source(height, width, rows)

    with_margin(watched, level, Span(121, 141))
    with_margin(watched, level, Span(0, 21))
    assert read == [Span(100, 120), Span(1, 22)]


@given(st.lists(st.integers(-100, 100), min_size=1), st.integers(1, 30))
def test_places_are_folded_between_two_mirrors(places, length):
    """Every place comes to lie on the axis; those on it stay, and the rest go where NumPy's mirrors put them."""
    wanted = np.pad(np.arange(length), 100 + length, mode="reflect" if length > 1 else "edge")
    np.testing.assert_array_equal(mirrored(np.array(places), length), wanted[np.array(places) + 100 + length])


@pytest.mark.parametrize("level", [LEVEL, level_of(130, 40), level_of(97, 2100)])
def test_a_canvas_is_filed_in_blocks(tmp_path: Path, level):
    """A canvas given by rows, each asked for once and in order, is read back bit by bit; no block is large."""
    grid = level.blocks
    whole = np.random.default_rng(2).random((grid.height, grid.width, 3), np.float32)
    asked = []

    def read(rows: Span) -> np.ndarray:
        asked.extend(range(*rows))
        return whole[slice(*rows)]

    canvas = Canvas(Store(str(tmp_path)), "content", grid, 1)
    file_canvas(canvas, read)
    np.testing.assert_array_equal(canvas.read(grid.box)[0], whole)
    assert asked == list(range(grid.height))
    assert (grid.height, grid.width) == (level.grid.height, level.grid.width)
    assert all(tile.extent == tile.outer for tile in grid)
    assert max(tile.outer.rows.length for tile in grid) <= BLOCK[0]
    assert max(tile.outer.cols.length for tile in grid) <= BLOCK[1]
