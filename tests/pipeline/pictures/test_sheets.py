"""Tests of what is printed around a painting: bleed, wrap and crop marks."""

import numpy as np
import pytest
from pictures import photograph

from muralist.pipeline.pictures.sheets import Bordered, Marked, Place, Sheet, edge_color, marks

PIXELS = photograph(24, 40)
ALPHA = PIXELS[:, :, 0]


class Watched:
    """Rows that remember which were asked for."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels, self.shape, self.dtype = pixels, pixels.shape, pixels.dtype
        self.most = 0

    def __getitem__(self, rows: slice) -> np.ndarray:
        self.most = max(self.most, rows.stop - rows.start)
        return self.pixels[rows]


@pytest.mark.parametrize("pixels", [PIXELS, ALPHA])
@pytest.mark.parametrize("border", [1, 7, 24])
def test_a_mirrored_border(pixels: np.ndarray, border: int) -> None:
    """Around the picture lies its mirror image, whichever rows are asked for together."""
    wanted = np.pad(pixels, ((border, border), (border, border), (0, 0))[: pixels.ndim], "symmetric")
    found = Bordered(pixels, border)
    assert found.shape == wanted.shape
    assert np.array_equal(found[0 : wanted.shape[0]], wanted)
    parts = [found[top : min(top + 5, wanted.shape[0])] for top in range(0, wanted.shape[0], 5)]
    assert np.array_equal(np.concatenate(parts), wanted)


def test_a_border_reads_few_rows_at_once() -> None:
    """A band of a border reads a band of the picture, not all of it."""
    watched = Watched(np.repeat(PIXELS, 20, axis=0))
    Bordered(watched, 100)[0:8]
    assert watched.most == 8


def test_a_border_of_one_color() -> None:
    """It has the mean color of the edge; alpha is opaque there, and inside nothing changes."""
    pixels = np.full((24, 40, 3), 50, np.uint8)
    pixels[0], pixels[-1] = 90, 90
    found = Bordered(pixels, 6, edge_color(pixels))[0:36]
    assert np.array_equal(found[6:-6, 6:-6], pixels)
    border = found.copy()
    border[6:-6, 6:-6] = found[0, 0]
    assert (border == found[0, 0]).all()
    assert 50 < found[0, 0, 0] < 90
    clear = np.zeros((24, 40), np.uint8)
    alpha = Bordered(clear, 6, edge_color(clear))[0:36]
    assert (alpha[:6] == 255).all()
    assert (alpha[6:-6, 6:-6] == 0).all()


@pytest.mark.parametrize("shape", [(300, 900), (900, 300)])
def test_the_mean_color_of_an_edge(shape: tuple[int, int]) -> None:
    """All four sides count by their length, also those of which only some rows are read."""
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[0] = pixels[-1] = 200
    expected = 200 * shape[1] / sum(shape)
    assert abs(edge_color(pixels).astype(int) - expected).max() <= 1


def test_the_boxes_of_a_sheet() -> None:
    """From the outside in: margin, bleed, wrap, front; the trim holds front and wrap."""
    sheet = Sheet(200, 300, bleed=10, wrap=30, edge="mirror", margin=40, dpi=100)
    assert (sheet.height, sheet.width) == (360, 460)
    assert sheet.bleed_box == Place(40, 40, 320, 420)
    assert sheet.trim_box == Place(50, 50, 310, 410)
    assert sheet.laid_out(np.zeros((200, 300, 3), np.uint8)).shape == (360, 460, 3)
    assert sheet.laid_out(np.zeros((280, 380, 3), np.uint8)).shape == (360, 460, 3)  # painted so large


def test_marks_point_to_the_corners_of_the_trim() -> None:
    """Two at every corner, on white, in the margin and nowhere else; alpha is opaque there."""
    sheet = Sheet(200, 300, bleed=10, margin=40, dpi=100)
    found = Marked(np.full((220, 320, 3), 99, np.uint8), sheet)[0:300]
    assert (found[40:-40, 40:-40] == 99).all()
    black = (found == 0).all(axis=2)
    assert black.sum() == sum((m.bottom - m.top) * (m.right - m.left) for m in marks(sheet))
    assert sorted(set(np.nonzero(black[0])[0])) == [50, 350]
    assert sorted(set(np.nonzero(black[:, 0])[0])) == [50, 250]
    assert (found[~black & (np.abs(found.astype(int) - 99).max(2) > 0)] == 255).all()
    parts = [Marked(np.full((220, 320, 3), 99, np.uint8), sheet)[top : top + 7] for top in range(0, 294, 7)]
    assert np.array_equal(np.concatenate(parts), found[:294])
    assert (Marked(np.zeros((220, 320), np.uint8), sheet)[0:40] == 255).all()


def test_a_plain_sheet_is_the_painting() -> None:
    """Without anything around it nothing is wrapped."""
    assert Sheet(24, 40).laid_out(PIXELS) is PIXELS
