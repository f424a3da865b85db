"""Masks: what of a picture is meant, by gray or by color, and what is no mask."""

from pathlib import Path

import numpy as np
import pytest
from facts import having
from pictures import deep, photograph, save
from PIL import Image

from muralist.pipeline.errors import PictureError
from muralist.pipeline.pictures.formats import INPUT_FORMATS
from muralist.pipeline.pictures.limits import ReadLimits
from muralist.pipeline.pictures.masks import _LOSSY, Mask, mask_file, read_mask

RAMP = np.tile(np.arange(0, 250, 5, dtype=np.uint8), (40, 1))
LABELS = np.zeros((40, 50, 3), np.uint8)
LABELS[:, :20] = (255, 0, 128)
LABELS[30:, 20:] = (0, 64, 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A gray ramp and a picture of three colors."""
    save(tmp_path / "ramp.png", RAMP)
    save(tmp_path / "labels.png", LABELS)
    return tmp_path


def shares(mask: Mask) -> np.ndarray:
    """How much of every pixel is meant."""
    return np.asarray(mask.values[0 : mask.height]) / np.iinfo(mask.values.dtype).max


def test_a_gray_picture_is_a_mask(folder):
    """Its values are the mask's, in 8 bits and 16, whatever the memory."""
    np.testing.assert_array_equal(read_mask(str(folder / "ramp.png")).values, RAMP)
    save(folder / "deep.png", np.repeat(deep(np.dstack([RAMP] * 3))[:, :, :1], 3, 2))
    assert shares(read_mask(str(folder / "deep.png"))) == pytest.approx(RAMP / 255, abs=0.005)
    filed = read_mask(str(folder / "ramp.png"), ReadLimits(memory=100, folder=folder))
    assert not isinstance(filed.values, np.ndarray)
    np.testing.assert_array_equal(shares(filed), RAMP / 255)


def test_what_is_transparent_is_not_meant(folder):
    """A white picture cut out by its alpha is the mask of its alpha."""
    save(folder / "cut.png", np.dstack([np.full((*RAMP.shape, 3), 255, np.uint8), RAMP]))
    assert shares(read_mask(str(folder / "cut.png"))) == pytest.approx(RAMP / 255, abs=0.003)


@pytest.mark.parametrize(("color", "wanted"), [("ff0080", LABELS[:, :, 0] > 0), ("000000", LABELS.max(2) == 0)])
def test_a_color_is_a_mask(folder, color, wanted):
    """The pixels of the color that is named are meant, all others are not."""
    mask = read_mask(f"{folder}/labels.png#{color.upper()}")
    np.testing.assert_array_equal(mask.values, wanted * np.uint8(255))
    assert (mask.path, mask.color) == (folder / "labels.png", color)


IDS = np.repeat(np.arange(4, dtype=np.uint8), [10, 1, 20, 19])[None].repeat(40, 0)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("label", range(4))
def test_class_ids_are_told_apart(tmp_path, label, bits):
    """In a gray picture of class ids, a label is not taken for its neighbors, of which it differs by a step."""
    save(tmp_path / "ids.png", IDS if bits == 8 else np.dstack([IDS.astype(np.uint16) * 257] * 3))
    mask = read_mask(f"{tmp_path}/ids.png#{bytes([label] * 3).hex()}")
    np.testing.assert_array_equal(shares(mask), label == IDS)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_class_that_is_not_there(tmp_path, bits):
    """Its neighbors are not taken for it, nor the smallest of 65536 classes for all of them."""
    ids = np.where(IDS == 2, 0, IDS)
    save(tmp_path / "ids.png", ids if bits == 8 else np.dstack([ids.astype(np.uint16)] * 3))
    with pytest.raises(PictureError, match=r"no pixel of the picture has this color.* such as #000000"):
        read_mask(f"{tmp_path}/ids.png#020202")


def test_a_color_that_was_converted(tmp_path):
    """Where no pixel has a color exactly, those within four steps of it are meant."""
    save(tmp_path / "labels.png", np.where(LABELS == 255, 252, LABELS).astype(np.uint8))
    mask = read_mask(f"{tmp_path}/labels.png#ff0080")
    np.testing.assert_array_equal(shares(mask), LABELS[:, :, 0] > 0)


def test_lossy_kinds_are_known():
    """What moves colors is called as in the table of formats."""
    assert {kind.name for kind in INPUT_FORMATS}.issuperset(_LOSSY)


def test_ids_as_a_gray_mask(tmp_path):
    """Class ids without a label are as good as black, and a label is proposed."""
    save(tmp_path / "ids.png", IDS)
    with pytest.raises(PictureError, match=r"black everywhere.*such as ids\.png#020202"):
        read_mask(f"{tmp_path}/ids.png")


def test_transparent_colors_are_not_proposed(tmp_path):
    """A color that only transparent pixels have does not occur, and none does where all is transparent."""
    alpha = np.where(LABELS[:, :, 0] > 0, 0, 255).astype(np.uint8)
    save(tmp_path / "cut.png", np.dstack([LABELS, alpha]))
    with pytest.raises(PictureError, match=r"no pixel of the picture has this color.* such as #000000 #004000$"):
        read_mask(f"{tmp_path}/cut.png#ff0080")
    save(tmp_path / "clear.png", np.dstack([LABELS, alpha * 0]))
    with pytest.raises(PictureError, match="transparent everywhere"):
        read_mask(f"{tmp_path}/clear.png#ff0080")


def test_colors_of_one_picture_are_told_apart(folder):
    """Masks of one file and two colors have keys of their own, and the file's hash in common."""
    first, second = (read_mask(f"{folder}/labels.png#{color}") for color in ("ff0080", "004000"))
    assert first.sha256 == second.sha256
    assert first.key != second.key


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("labels.png#0000ff", ("labels.png#0000ff: no pixel", "such as #000000 #ff0080 #004000")),
        ("labels.png", ("got a colored picture, wanted a gray one", "labels.png#000000")),
        ("black.png", ("black.png: got a mask that is black everywhere, wanted white",)),
        ("none.png", ("none.png: there is no such file",)),
        ("labels.png#f00", ("labels.png#f00: got 'f00' as a color, wanted six hexadecimal", "labels.png#ff0000")),
        ("none.png#f00", ("none.png#f00: there is no such file",)),
        ("large.png", ("more than max_pixels = 100000",)),
    ],
)
def test_what_is_no_mask(folder, name, parts):
    """A color that is not there, a colored picture, an empty mask, a missing or a large file: one line each."""
    save(folder / "black.png", np.zeros((40, 50), np.uint8))
    save(folder / "large.png", np.zeros((400, 500), np.uint8))
    with pytest.raises(PictureError) as caught:
        read_mask(f"{folder}/{name}", ReadLimits(100_000))
    assert all(part in str(caught.value) for part in parts), caught.value


def test_a_feathered_mask_goes_on_beyond_its_edge():
    """What was meant stays meant, and around it lies a slope without a step; far away is nothing."""
    values = np.zeros((300, 1000), np.uint8)
    values[100:200, 300:600] = 255
    found = shares(Mask(values, Path("a.png"), "aa").feathered())
    assert found[105:195, 305:595].min() > 0.95
    line = found[150, 600:640]
    assert (np.diff(line) <= 0).all()
    assert abs(np.diff(line)).max() < 0.2
    assert not found[:, 650:].any()
    assert not found[:60].any()


def test_a_line_is_kept_in_full_when_feathered(tmp_path):
    """A wire of three pixels in a large photograph stays as white as it is, from a file on the disk, too."""
    values = np.zeros((2000, 6000), np.uint8)
    values[1000:1003] = 255
    save(tmp_path / "wire.png", values)
    for limits in (ReadLimits(), ReadLimits(memory=100, folder=tmp_path)):
        found = shares(read_mask(f"{tmp_path}/wire.png", limits).feathered())
        assert found[round(1001 / 2000 * len(found))].min() > 0.95


def test_gray_stays_gray_when_feathered():
    """Half of a pixel is still half."""
    values = np.full((100, 100), 128, np.uint8)
    assert shares(Mask(values, Path("a.png"), "aa").feathered()) == pytest.approx(np.full((100, 100), 0.5), abs=0.01)


def test_the_file_of_a_mask():
    """A color is no part of the file's name; a page is."""
    assert mask_file("a/labels.png#00ff00") == Path("a/labels.png")
    assert mask_file("scan.tif#2") == Path("scan.tif#2")


def test_a_jpeg_of_labels_is_near_enough_in_flat_parts(folder):
    """Colors that a JPEG moved by a step or two are those that were meant."""
    Image.fromarray(LABELS).save(folder / "labels.jpg", quality=100, subsampling=0)
    mask = read_mask(f"{folder}/labels.jpg#ff0080")
    assert (shares(mask)[:, :16] == 1).mean() > 0.9


def test_a_photograph_is_no_mask(folder):
    """A photograph that is named as a mask by mistake is told."""
    save(folder / "photo.png", photograph())
    with pytest.raises(PictureError, check=having(path=folder / "photo.png")):
        read_mask(str(folder / "photo.png"))
