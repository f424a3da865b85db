"""What the painting's file has of the photograph's: alpha, bits, resolution, EXIF, profile, times."""

import numpy as np
import pytest
import pyvips
from pictures import deep, photograph, save, with_alpha
from PIL import ExifTags, Image

from muralist.pipeline.pictures.reading import read_picture

pytestmark = pytest.mark.integration


def test_alpha_is_put_back(paint, folder):
    """Transparency is not painted but comes back as it was, at the painting's size."""
    save(folder / "clear.png", with_alpha(photograph()))
    paint(content="clear.png", size=64, steps=[1])
    with Image.open(folder / "out.png") as image:
        assert (image.mode, image.size) == ("RGBA", (64, 48))
        alpha = np.asarray(image, int)[:, :, 3]
    np.testing.assert_allclose(alpha[20], np.linspace(0, 255, 64), atol=3)
    paint("opaque.jpg", content="clear.png", steps=[1])
    assert read_picture(folder / "opaque.jpg").alpha is None


@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_sixteen_bits_stay_sixteen(paint, folder, extension):
    """A photograph of 16 bits gives a painting of 16, with more than 256 values, and 8 bits if asked for."""
    save(folder / "deep.tif", deep(photograph()))
    sidecar = paint(f"out{extension}", content="deep.tif", steps=[1])
    found = read_picture(folder / f"out{extension}").pixels
    assert found.dtype == np.uint16
    assert len(np.unique(found)) > 1000
    assert sidecar["bit_depth"] == 16
    assert paint(f"eight{extension}", content="deep.tif", steps=[0], bit_depth=8)["bit_depth"] == 8
    assert read_picture(folder / f"eight{extension}").pixels.dtype == np.uint8


def test_formats_of_eight_bits_get_eight(paint, folder):
    """A photograph of 16 bits still becomes a JPEG without being asked."""
    save(folder / "deep.tif", deep(photograph()))
    assert paint("out.jpg", content="deep.tif", steps=[0])["bit_depth"] == 8


def test_a_print_has_its_size_and_resolution(paint, folder):
    """`print_size` at a resolution gives so many pixels, cut to the paper's shape, and the file says so."""
    sidecar = paint("out.tif", print_size="3x2in", dpi=50, fit="crop", steps=[1])
    found = read_picture(folder / "out.tif")
    assert found.pixels.shape == (100, 150, 3)
    assert found.dpi == (50, 50)
    assert (sidecar["levels"][-1]["height"], sidecar["levels"][-1]["width"]) == (100, 150)


def test_resolution_exif_and_profile_are_kept(paint, folder):
    """What the photograph's file says of itself, and its color profile, are in the painting's file."""
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "Box Brownie"
    p3 = bytes(pyvips.Image.profile_load("p3"))
    save(folder / "photo.jpg", photograph(), dpi=(240, 240), exif=exif, icc_profile=p3)
    paint("out.jpg", content="photo.jpg", steps=[0], base_size=128)
    found = read_picture(folder / "out.jpg")
    assert found.icc == p3
    assert found.dpi == (240, 240)
    with Image.open(folder / "out.jpg") as image:
        assert image.getexif()[ExifTags.Base.Model] == "Box Brownie"
    original = read_picture(folder / "photo.jpg").pixels.astype(int)
    assert np.abs(found.pixels - original).mean() < 2  # the same colors, not only the same numbers


def test_the_profile_can_be_left_behind(paint, folder):
    """With `profile: srgb` the painting is sRGB and looks the same."""
    p3 = bytes(pyvips.Image.profile_load("p3"))
    save(folder / "photo.jpg", photograph(), icc_profile=p3)
    paint("out.png", content="photo.jpg", steps=[0], base_size=128, profile="srgb")
    found = read_picture(folder / "out.png")
    assert found.icc == bytes(pyvips.Image.profile_load("srgb"))
    np.testing.assert_allclose(found.pixels, read_picture(folder / "photo.jpg").pixels, atol=1)


def test_a_profile_that_is_not_applied_is_told_once(paint, folder):
    """What was said of a picture while it was read is a notice, and one of them however often it is read."""
    for name in ("photo.png", "style.png"):
        save(folder / name, photograph(), icc_profile=b"junk" * 50)
    notices = paint(steps=[0], base_size=128, init=str(folder / "photo.png"))["notices"]
    assert [notice.partition(": ")[0] for notice in notices] == [str(folder / "photo.png"), str(folder / "style.png")]
    assert all("color profile is damaged" in notice for notice in notices)
