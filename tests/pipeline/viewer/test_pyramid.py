"""Tiles of a picture: together they are the picture, at every size, and what goes wrong comes out."""

import numpy as np
import pytest
import pyvips
from facts import having
from pictures import deep, painting

from muralist.pipeline.errors import OutputError
from muralist.pipeline.pictures.images import resize
from muralist.pipeline.viewer.pyramid import (
    LOSSLESS,
    LOSSY,
    OVERLAP,
    TILE,
    cut_pyramid,
    level_count,
    write_thumbnail,
)


def put_together(folder, shape, extension):
    """A level's tiles as one picture; where they lap over each other they are the same."""
    whole = np.zeros((*shape, 3), np.uint8)
    for path in folder.iterdir():
        col, row = map(int, path.stem.split("_"))
        top, left = max(0, row * TILE - OVERLAP), max(0, col * TILE - OVERLAP)
        tile = pyvips.Image.new_from_file(str(path)).numpy()
        place = whole[top : top + tile.shape[0], left : left + tile.shape[1]]
        assert path.suffix == f".{extension}"
        assert tile.shape == place.shape
        assert ((place == 0) | (place == tile)).all()
        place[:] = tile
    return whole


def test_lossless_tiles_are_the_picture(tmp_path):
    """Without loss, the finest level's tiles are the picture's pixels; each level is half as large as the next."""
    pixels = np.maximum(painting(700, 1100), 1)  # 0 is a place without a tile
    pyramid = cut_pyramid(pixels, tmp_path / "tiles", LOSSLESS)
    assert (pyramid.levels, pyramid.extension) == (3, "webp")
    np.testing.assert_array_equal(put_together(pyramid.folder / "2", (700, 1100), "webp"), pixels)
    half = put_together(pyramid.folder / "1", (350, 550), "webp")
    assert abs(half - resize(pixels, 350, 550) * 255).mean() < 6
    assert [path.name for path in (pyramid.folder / "0").iterdir()] == ["0_0.webp"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiles"]
    assert sorted(path.name for path in pyramid.folder.iterdir()) == ["0", "1", "2"]


def test_sixteen_bits_and_floats_become_eight(tmp_path):
    """Tiles of a deep picture, and of one in floats, are those of the picture rounded to eight bits."""
    pixels = deep(painting(60, 90))
    for name, rows in (("deep", pixels), ("float", (pixels / 65535).astype(np.float32))):
        cut_pyramid(rows, tmp_path / name, LOSSLESS)
        found = pyvips.Image.new_from_file(str(tmp_path / name / "0" / "0_0.webp")).numpy()
        np.testing.assert_array_equal(found, np.rint(pixels / 257.0))


def test_lossy_tiles_are_near(tmp_path):
    """JPEG tiles are a fraction of the size, and near the picture."""
    pixels = painting(200, 300)
    pyramid = cut_pyramid(pixels, tmp_path / "tiles", LOSSY)
    (path,) = pyramid.tiles().values()
    assert path.suffix == ".jpg"
    assert abs(pyvips.Image.new_from_file(str(path)).numpy() - pixels.astype(float)).mean() < 4


@pytest.mark.parametrize("shape", [(1, 1), (512, 512), (513, 20), (1024, 1025)])
def test_levels_are_counted_beforehand(tmp_path, shape):
    """A picture under way has as many levels as its page will have when it is done."""
    assert level_count(*shape) == cut_pyramid(np.zeros((*shape, 3), np.uint8), tmp_path / "t", LOSSY).levels


def test_a_thumbnail_is_small(tmp_path):
    """The thumbnail of a large picture has 320 px, that of a small one its own size."""
    for side, wanted in ((700, 320), (100, 100)):
        pyramid = cut_pyramid(painting(side, side), tmp_path / f"{side}", LOSSLESS)
        write_thumbnail(pyramid, tmp_path / f"{side}.jpg")
        assert pyvips.Image.new_from_file(str(tmp_path / f"{side}.jpg")).width == wanted


class Failing:
    """Rows of which those from 32 on raise something, as a file on a broken disk would, or Ctrl-C."""

    shape, dtype = (4000, 1500, 3), np.dtype(np.uint8)

    def __init__(self, error):
        self.error = error

    def __getitem__(self, rows):
        if rows.start:
            raise self.error
        return np.zeros((rows.stop, 1500, 3), np.uint8)


@pytest.mark.parametrize("error", [OSError(5, "the disk is broken"), KeyboardInterrupt()])
def test_what_rows_raise_comes_out(tmp_path, error):
    """An error of the rows ends the tiles, and is raised as it is."""
    with pytest.raises(type(error)) as caught:
        cut_pyramid(Failing(error), tmp_path / "tiles", LOSSY)
    assert caught.value is error


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    """Where libvips cannot write, the folder is named, and what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, check=having(path=tmp_path / "file" / "tiles")):
        cut_pyramid(painting(60, 90), tmp_path / "file" / "tiles", LOSSY)
