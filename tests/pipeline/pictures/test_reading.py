"""Reading pictures: every kind of file, whole and into a file, and everything that can be wrong with one."""

import hashlib
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import tifffile
from handmade import gray_profile
from handmade import profile as handmade_profile
from hostile import jpeg
from PIL import ExifTags, Image
from snapshots import (
    EXTENSIONS,
    LOSSLESS,
    camera_exif,
    deep_photograph,
    exif_of,
    photograph,
    png_header,
    profile,
    saved,
)

from muralist.pipeline.errors import PictureError
from muralist.pipeline.pictures.array_file import ArrayFile
from muralist.pipeline.pictures.reading import read_picture
from muralist.pipeline.pictures.writing import write_picture

# --------------------------------------------------------------------------------------------- reading, what goes well


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_reads_every_format(tmp_path: Path, extension: str) -> None:
    """Each supported format gives its pixels, path and hash, and no metadata that the file does not hold."""
    path = saved(tmp_path / f"a{extension}", Image.fromarray(photograph()), quality=98)
    picture = read_picture(path)
    assert picture.pixels.shape == (48, 64, 3)
    assert (picture.height, picture.width, picture.bit_depth) == (48, 64, 8)
    assert picture.pixels.dtype == np.uint8
    assert np.abs(picture.pixels.astype(int) - photograph()).max() <= (0 if extension in LOSSLESS else 6)
    assert (picture.alpha, picture.icc, picture.exif, picture.dpi) == (None, None, None, None)
    assert picture.path == path
    assert picture.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    """A PNG that is called .jpg, with brackets that libvips could take for options, is read."""
    path = tmp_path / "a[page=1].jpg"
    Image.fromarray(photograph()).save(path, format="png")
    assert np.array_equal(read_picture(path).pixels, photograph())


def test_an_overwritten_file_is_read_anew(tmp_path: Path) -> None:
    """libvips' cache of files by name is off."""
    path = saved(tmp_path / "a.png", Image.new("RGB", (5, 5), (1, 2, 3)))
    read_picture(path)
    saved(path, Image.new("RGB", (5, 5), (9, 9, 9)))
    assert read_picture(path).pixels.max() == 9


@pytest.mark.parametrize("extension", LOSSLESS)
def test_sixteen_bits_stay_sixteen(tmp_path: Path, extension: str) -> None:
    """16-bit RGB keeps every bit through reading and writing."""
    path = tmp_path / f"deep{extension}"
    write_picture(path, deep_photograph(), bit_depth=16)
    picture = read_picture(path)
    assert picture.bit_depth == 16
    assert np.array_equal(picture.pixels, deep_photograph())


def test_gray_with_sixteen_bits(tmp_path: Path) -> None:
    """A 16-bit gray PNG becomes 16-bit RGB with equal channels."""
    gray = deep_photograph()[:, :, 1]
    path = saved(tmp_path / "gray.png", Image.fromarray(gray))
    assert np.array_equal(read_picture(path).pixels, np.dstack([gray] * 3))


@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_one_bit(tmp_path: Path, extension: str) -> None:
    """A 1-bit file becomes black and white in RGB."""
    bits = Image.fromarray(np.eye(9, dtype=np.uint8) * 255).convert("1")
    pixels = read_picture(saved(tmp_path / f"bits{extension}", bits)).pixels
    assert np.array_equal(pixels, np.dstack([np.eye(9, dtype=np.uint8) * 255] * 3))


def test_palette_with_transparency(tmp_path: Path) -> None:
    """Palette colors are looked up, and the transparent entry becomes alpha."""
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8))
    image.putpalette([10, 20, 30, 200, 100, 50])
    picture = read_picture(saved(tmp_path / "palette.png", image, transparency=1))
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[255, 0], [0, 255]]
    assert picture.pixels[0, 0].tolist() == [10, 20, 30]


def test_gray_with_alpha(tmp_path: Path) -> None:
    """Alpha of a gray picture is kept aside."""
    picture = read_picture(saved(tmp_path / "la.png", Image.new("LA", (4, 3), (10, 100))))
    assert picture.alpha is not None
    assert (picture.pixels == 10).all()
    assert (picture.alpha == 100).all()


@pytest.mark.parametrize("extension", [".jpg", ".tif"])
def test_cmyk_without_profile(tmp_path: Path, extension: str) -> None:
    """CMYK goes through the built-in press profile: full magenta and yellow are a printed red, not (255, 0, 0)."""
    path = saved(tmp_path / f"cmyk{extension}", Image.new("CMYK", (16, 16), (0, 255, 255, 0)))
    red, green, blue = read_picture(path).pixels[8, 8].tolist()
    assert red > 200
    assert 10 < green < 80
    assert blue < 80


def test_cmyk_with_its_profile(tmp_path: Path) -> None:
    """An embedded CMYK profile is used, and kept in the record."""
    path = saved(tmp_path / "cmyk.tif", Image.new("CMYK", (8, 8), (0, 0, 0, 0)), icc_profile=profile("cmyk"))
    picture = read_picture(path)
    assert picture.icc == profile("cmyk")
    assert picture.pixels.min() > 240


def test_embedded_profile_is_converted_to_srgb(tmp_path: Path) -> None:
    """Display-P3 numbers become the sRGB numbers of the same color, as Pillow's LittleCMS computes them."""
    path = saved(tmp_path / "p3.png", Image.new("RGB", (4, 4), (200, 60, 30)), icc_profile=profile("p3"))
    picture = read_picture(path)
    assert picture.icc == profile("p3")
    assert np.abs(picture.pixels[0, 0].astype(int) - [217, 42, 1]).max() <= 1


def test_embedded_profile_keeps_sixteen_bits(tmp_path: Path) -> None:
    """Color conversion of a 16-bit file does not pass through 8 bits."""
    path = tmp_path / "p3.png"
    write_picture(path, deep_photograph(), icc=profile("p3"), bit_depth=16)
    picture = read_picture(path)
    assert picture.bit_depth == 16
    assert len(np.unique(picture.pixels)) > 256
    assert np.abs(picture.pixels.astype(int) - deep_photograph()).mean() < 128  # half of an 8-bit step


def test_a_broken_profile_reads_as_none(tmp_path: Path) -> None:
    """A profile of junk does not stop the picture: its numbers are taken as sRGB."""
    path = saved(tmp_path / "junk.png", Image.fromarray(photograph()), icc_profile=b"junk" * 50)
    assert np.array_equal(read_picture(path).pixels, photograph())


WITHOUT_CURVES = handmade_profile({b"wtpt": b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)}, b"RGB ")


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize(
    "icc",
    [WITHOUT_CURVES, profile("p3")[:300], b"junk" * 50, profile("cmyk"), gray_profile(1.8)],
    ids=["no curves", "cut short", "junk", "CMYK", "gray"],
)
def test_a_profile_that_cannot_be_applied(tmp_path: Path, extension: str, icc: bytes) -> None:
    """Numbers with a profile that opens or not, but leads nowhere, are taken as sRGB, and that is said."""
    path = saved(tmp_path / f"a{extension}", Image.fromarray(photograph()), icc_profile=icc, quality=98)
    picture = read_picture(path)
    assert np.abs(picture.pixels.astype(int) - photograph()).max() <= (0 if extension in LOSSLESS else 6)
    assert picture.icc is None
    assert picture.notices == (
        f"{path}: its color profile is damaged or meant for other colors; they are taken as sRGB",
    )


def test_a_press_profile_that_cannot_be_applied(tmp_path: Path) -> None:
    """CMYK numbers with such a profile are those of the built-in press profile."""
    ink = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    picture = read_picture(saved(tmp_path / "a.tif", ink, icc_profile=b"junk" * 50))
    assert "a usual press' CMYK" in picture.notices[0]
    assert np.array_equal(picture.pixels, read_picture(saved(tmp_path / "b.tif", ink)).pixels)


@pytest.mark.parametrize("name", ["srgb", "p3"])
def test_a_good_profile_is_no_news(tmp_path: Path, name: str) -> None:
    """Where the profile is applied nothing is said."""
    path = saved(tmp_path / "a.png", Image.fromarray(photograph()), icc_profile=profile(name))
    assert read_picture(path).notices == ()


STORED = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
UPRIGHT = {
    1: STORED,
    2: STORED[:, ::-1],
    3: STORED[::-1, ::-1],
    4: STORED[::-1],
    5: STORED.T,
    6: STORED[::-1].T,
    7: STORED[::-1, ::-1].T,
    8: STORED.T[::-1],
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_orientation_is_applied(tmp_path: Path, orientation: int, extension: str) -> None:
    """Pixels and alpha are turned upright for all eight EXIF orientations, dpi with them."""
    stored = Image.fromarray(np.dstack([STORED] * 4), mode=None)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = saved(tmp_path / f"turned{extension}", stored, exif=exif, dpi=(300, 150))
    picture = read_picture(path)
    assert picture.alpha is not None
    assert np.array_equal(picture.pixels[:, :, 0], UPRIGHT[orientation])
    assert np.array_equal(picture.alpha, UPRIGHT[orientation])
    assert picture.dpi is not None
    assert picture.dpi == pytest.approx((300, 150) if orientation < 5 else (150, 300), abs=0.05)


def test_orientation_is_not_applied_twice(tmp_path: Path) -> None:
    """A turned JPEG, written back with its EXIF, is upright for every reader."""
    path = saved(tmp_path / "turned.jpg", Image.fromarray(photograph()), exif=camera_exif(orientation=6))
    picture = read_picture(path)
    assert picture.pixels.shape == (64, 48, 3)
    write_picture(tmp_path / "out.jpg", picture.pixels, exif=picture.exif)
    assert exif_of(tmp_path / "out.jpg").get(ExifTags.Base.Orientation, 1) == 1
    assert read_picture(tmp_path / "out.jpg").pixels.shape == (64, 48, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_float_tiff_is_taken_as_srgb_encoded(tmp_path: Path, dtype: type) -> None:
    """Float values are the picture's own numbers on a scale of 0 to 1, not linear light."""
    path = tmp_path / "float.tif"
    tifffile.imwrite(path, (photograph() / 255).astype(dtype), photometric="rgb")
    picture = read_picture(path)
    assert picture.pixels.dtype == np.uint16
    assert np.abs(picture.pixels / 257 - photograph()).max() < 0.1


def test_float_tiff_gray_with_small_overshoot(tmp_path: Path) -> None:
    """A gray float picture is read too, and what a filter overshot is clipped."""
    path = tmp_path / "float.tif"
    tifffile.imwrite(path, np.array([[-0.1, 0.5], [1.0, 1.2]], np.float32), photometric="minisblack")
    assert read_picture(path).pixels[:, :, 2].tolist() == [[0, 32768], [65535, 65535]]


def test_float_tiff_with_profile(tmp_path: Path) -> None:
    """An embedded profile applies to float values too."""
    path = tmp_path / "float.tif"
    values = np.broadcast_to(np.float32([200, 60, 30]) / 255, (8, 8, 3))
    tifffile.imwrite(path, values, photometric="rgb", iccprofile=profile("p3"))
    assert np.abs(read_picture(path).pixels[0, 0] / 257 - [217, 42, 3]).max() < 2


def test_the_first_page_is_read(tmp_path: Path) -> None:
    """Of a file with several pages the first counts."""
    path = tmp_path / "pages.tif"
    tifffile.imwrite(path, np.stack([photograph(), 255 - photograph()]), photometric="rgb")
    assert np.array_equal(read_picture(path).pixels, photograph())


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_missing_resolution_is_none(tmp_path: Path, extension: str) -> None:
    """The resolution that libvips invents for files without one is not reported, nor written."""
    write_picture(tmp_path / f"a{extension}", photograph())
    assert read_picture(tmp_path / f"a{extension}").dpi is None


def test_resolution_in_centimetres(tmp_path: Path) -> None:
    """Dots per centimetre are converted."""
    tifffile.imwrite(tmp_path / "a.tif", photograph(), resolution=(100, 100), resolutionunit="CENTIMETER")
    assert read_picture(tmp_path / "a.tif").dpi == (254, 254)


# -------------------------------------------------------------------------------------------- reading, what goes wrong


def refused(path: Path, *wanted: str, **options: Any) -> None:
    """Reading fails with one line that names the path and the given words."""
    with pytest.raises(PictureError) as caught:
        read_picture(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.path == path
    for words in (str(path), *wanted):
        assert words in message


def test_missing_file(tmp_path: Path) -> None:
    """A path with nothing there says so."""
    refused(tmp_path / "nothing.png", "no such file", "check the path")
    refused(saved(tmp_path / "a.png", Image.new("L", (2, 2))) / "b.png", "no such file")


def test_folder(tmp_path: Path) -> None:
    """A folder is not a picture."""
    refused(tmp_path, "folder")


def test_empty_file(tmp_path: Path) -> None:
    """A file of no bytes is called empty."""
    (tmp_path / "a.png").touch()
    refused(tmp_path / "a.png", "empty")


@pytest.mark.parametrize(
    "content", [b"hello, this is no picture", b"RIFF\x24\0\0\0WAVEfmt ", b"<svg></svg>", b"ftypheic"]
)
def test_not_a_picture(tmp_path: Path, content: bytes) -> None:
    """Other files are refused with the list of supported formats, also those that libvips could open."""
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    refused(path, "JPEG, PNG, TIFF, WebP")


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_unreadable_file(ordinary_user: Path) -> None:
    """A file without permission to read is told from a missing one."""
    path = saved(ordinary_user / "a.png", Image.new("L", (2, 2)))
    path.chmod(0)
    refused(path, "permission")


def test_other_read_errors_are_reported_too(tmp_path: Path) -> None:
    """An error of the operating system that has no text of its own here keeps the system's words."""
    refused(tmp_path / ("a" * 300 + ".png"), "cannot be read", "name too long")


@pytest.mark.parametrize("part", [0.05, 0.5, 0.98])
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_truncated_file(tmp_path: Path, extension: str, part: float) -> None:
    """A file that was cut short is an error and never a picture with a gray tail."""
    path = tmp_path / f"cut{extension}"
    noise = np.random.default_rng(0).integers(0, 256, (120, 700, 3), dtype=np.uint8)
    write_picture(path, noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    refused(path, "cut short", "again")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_truncated_tiff_with_directory_in_front(tmp_path: Path, compression: str | None) -> None:
    """A TIFF whose directory is whole and whose last strip is not is an error, whatever the compression."""
    path = tmp_path / "cut.tif"
    noise = np.random.default_rng(0).integers(0, 256, (90, 80, 3), dtype=np.uint8)
    tifffile.imwrite(path, noise, photometric="rgb", rowsperstrip=16, compression=compression)
    path.write_bytes(path.read_bytes()[:-900])
    refused(path, "cut short")


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_too_short_for_its_size(tmp_path: Path, progressive: bool) -> None:
    """A small file that claims to be huge is refused before memory or disk is filled with gray."""
    path = tmp_path / "bomb.jpg"
    Image.fromarray(np.full((64, 64, 3), 99, np.uint8)).save(path, progressive=progressive)
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    content[at : at + 4] = (30_000).to_bytes(2, "big") * 2
    path.write_bytes(content)
    refused(path, "damaged: ", "bytes, wanted 1757812 at least for 30000 x 30000 pixels")


@pytest.mark.parametrize("progressive", [False, True])
def test_the_shortest_of_jpegs_is_read(tmp_path: Path, progressive: bool) -> None:
    """A picture of one color is as short as JPEG can make it, and whole."""
    gray = Image.fromarray(np.full((4000, 4000), 99, np.uint8))
    gray.save(tmp_path / "gray.jpg", optimize=True, quality=1, progressive=progressive)
    assert np.ptp(read_picture(tmp_path / "gray.jpg").pixels) == 0


def test_a_broken_tag_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A TIFF with a unit of resolution that there is not states no resolution, and tifffile has nothing to add."""
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8, 3), np.uint8), photometric="rgb", resolution=(300, 300))
    content = bytearray((tmp_path / "a.tif").read_bytes())
    at = content.index(struct.pack("<HHI", 296, 3, 1)) + 8
    content[at : at + 2] = struct.pack("<H", 129)
    (tmp_path / "a.tif").write_bytes(content)
    assert read_picture(tmp_path / "a.tif").dpi is None
    assert "tifffile" not in [record.name for record in caplog.records]


def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    """Nothing is read where reading might wait for ever."""
    os.mkfifo(tmp_path / "photo.jpg")
    refused(tmp_path / "photo.jpg", "this is no file; name a picture")


def test_the_pixel_limit_holds_before_decoding(tmp_path: Path) -> None:
    """A header that promises 3.6 gigapixels is refused with size, limit and the name of the setting."""
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(60_000, 60_000))
    refused(path, "60000 x 60000", "max_pixels = 2000000000")


def test_the_pixel_limit_can_be_set(tmp_path: Path) -> None:
    """The limit is inclusive and the caller's."""
    path = saved(tmp_path / "a.png", Image.fromarray(photograph()))
    refused(path, "max_pixels = 3071", max_pixels=48 * 64 - 1)
    assert read_picture(path, max_pixels=48 * 64).height == 48


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_float_tiff_must_be_finite(tmp_path: Path, value: float) -> None:
    """NaN and infinity in a float TIFF are refused."""
    values = np.full((4, 5, 3), 0.5, np.float32)
    values[2, 3, 1] = value
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    refused(tmp_path / "a.tif", "NaN or infinite")


def test_float_tiff_on_another_scale(tmp_path: Path) -> None:
    """A float TIFF in 0 to 255 is refused rather than read as white."""
    tifffile.imwrite(tmp_path / "a.tif", photograph().astype(np.float32), photometric="rgb")
    refused(tmp_path / "a.tif", "wanted 0 to 1")


@pytest.mark.parametrize(
    ("samples", "photometric"),
    [
        (np.zeros((8, 9, 5), np.uint8), "minisblack"),
        (np.zeros((8, 9, 3), np.uint32), "rgb"),
        (np.zeros((8, 9, 3), np.int16), "rgb"),
    ],
)
def test_unsupported_samples(tmp_path: Path, samples: np.ndarray, photometric: str) -> None:
    """Scientific TIFFs with many channels or other integers are named and refused."""
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric=photometric, planarconfig="contig")
    refused(tmp_path / "a.tif", "channels", "not supported", "export")


# ------------------------------------------------------------------------------------- reading into a file, as regions


def read_into(folder: Path, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels and alpha of a picture that was read into files of a new folder."""
    folder.mkdir()
    picture = read_picture(path, memory=0, folder=folder)
    assert isinstance(picture.pixels, ArrayFile)
    assert picture.alpha is None or isinstance(picture.alpha, ArrayFile)
    assert len(list(folder.iterdir())) == (1 if picture.alpha is None else 2)
    return picture.pixels[:], None if picture.alpha is None else picture.alpha[:]


def kinds_of_pictures() -> dict[str, Any]:
    """Pillow images by file name, and what they are saved with: every way of storing pixels that has its own path."""
    rgb = Image.fromarray(photograph())
    rgba = Image.fromarray(np.dstack([photograph(), photograph()[:, :, 0]]))
    return {
        "a.jpg": (rgb, {}),
        "progressive.jpg": (rgb, {"progressive": True}),
        "a.webp": (rgba, {}),
        "rgba.png": (rgba, {}),
        "p3.png": (rgba, {"icc_profile": profile("p3")}),
        "gray.png": (rgb.convert("L"), {}),
        "palette.png": (rgb.convert("P"), {"transparency": 3}),
        "deep.png": (Image.fromarray(deep_photograph()[:, :, 0]), {}),
        "bits.tif": (rgb.convert("1"), {"compression": "group4"}),
        "cmyk.tif": (rgb.convert("CMYK"), {"icc_profile": profile("cmyk")}),
        "lzw.tif": (rgba, {"compression": "tiff_lzw"}),
    }


@pytest.fixture(params=[1, 64 * 3 * 7, 1 << 24])
def small_bands(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are decoded row by row, a few rows at a time, or at once."""
    monkeypatch.setattr("muralist.pipeline.pictures.vips.BLOCK_BYTES", request.param)


@pytest.mark.usefixtures("small_bands")
@pytest.mark.parametrize("name", list(kinds_of_pictures()))
def test_a_raster_holds_the_same(tmp_path: Path, name: str) -> None:
    """In files or in memory, decoded in bands or at once: pixels and alpha are the same."""
    image, options = kinds_of_pictures()[name]
    path = saved(tmp_path / name, image, **options)
    pixels, alpha = read_into(tmp_path / "room", path)
    picture = read_picture(path)
    assert np.array_equal(pixels, picture.pixels)
    assert pixels.dtype == picture.pixels.dtype
    assert (alpha is None) == (picture.alpha is None)
    assert alpha is None or np.array_equal(alpha, picture.alpha)


@pytest.mark.usefixtures("small_bands")
@pytest.mark.parametrize("name", ["rgb", "profile", "alpha"])
def test_a_raster_of_floats_holds_the_same(tmp_path: Path, name: str) -> None:
    """Float TIFFs become 16-bit rasters."""
    path = tmp_path / "float.tif"
    values = (photograph() / 255).astype(np.float32)
    if name == "alpha":
        tifffile.imwrite(path, np.dstack([values, values[:, :, 0]]), photometric="rgb", extrasamples=["unassalpha"])
    else:
        tifffile.imwrite(path, values, photometric="rgb", iccprofile=profile("p3") if name == "profile" else None)
    pixels, _ = read_into(tmp_path / "room", path)
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels, read_picture(path).pixels)


@pytest.mark.usefixtures("small_bands")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_raster_is_upright(tmp_path: Path, orientation: int) -> None:
    """Bands of a turned photograph come to lie as strips of columns, or from the bottom up."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = saved(tmp_path / "turned.png", Image.fromarray(np.dstack([STORED] * 4)), exif=exif)
    pixels, alpha = read_into(tmp_path / "room", path)
    assert np.array_equal(pixels[:, :, 0], UPRIGHT[orientation])
    assert alpha is not None
    assert np.array_equal(alpha, UPRIGHT[orientation])


@pytest.mark.parametrize(("channels", "depth"), [(3, 8), (4, 8), (3, 16)])
def test_the_memory_decides(tmp_path: Path, channels: int, depth: int) -> None:
    """What just fits into the given memory, alpha included, is an array; what does not is a raster."""
    path = tmp_path / "a.png"
    alpha = photograph()[:, :, 0] if channels == 4 else None
    write_picture(path, deep_photograph(), alpha=alpha, bit_depth=depth)
    needed = 48 * 64 * channels * depth // 8
    assert isinstance(read_picture(path, memory=needed, folder=tmp_path).pixels, np.ndarray)
    assert isinstance(read_picture(path, memory=needed - 1, folder=tmp_path).pixels, ArrayFile)


def test_what_does_not_fit_needs_a_folder(tmp_path: Path) -> None:
    """To limit the memory and name no folder is the caller's error."""
    path = saved(tmp_path / "a.png", Image.fromarray(photograph()))
    with pytest.raises(ValueError, match=r"\b100\b"):
        read_picture(path, memory=100)


@pytest.mark.usefixtures("small_bands")
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_damaged_picture_leaves_no_raster(tmp_path: Path, extension: str) -> None:
    """A picture that turns out damaged at its end is refused, and what was read of it is removed."""
    path, room = tmp_path / f"cut{extension}", tmp_path / "room"
    room.mkdir()
    write_picture(path, np.random.default_rng(0).integers(0, 256, (120, 700, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-400])
    refused(path, "cut short", memory=0, folder=room)
    assert os.listdir(room) == []


def test_one_bad_float_at_the_end_leaves_no_raster(tmp_path: Path) -> None:
    """All values are looked at before any is filed."""
    values = np.full((500, 50, 3), 0.5, np.float32)
    values[-1, -1, -1] = 200
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    (tmp_path / "room").mkdir()
    refused(tmp_path / "a.tif", "from 0.5 to 200", "wanted 0 to 1", memory=0, folder=tmp_path / "room")
    assert os.listdir(tmp_path / "room") == []


READ_WITH_A_LIMIT = """
import resource, signal, sys
from pathlib import Path
from muralist.pipeline.errors import OutputError
from muralist.pipeline.pictures.reading import read_picture

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    read_picture(sys.argv[1], memory=0, folder=Path(sys.argv[2]))
except OutputError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
@pytest.mark.parametrize("limit", [100, 48 * 64 * 3])
def test_a_disk_without_room_for_the_raster(tmp_path: Path, limit: int) -> None:
    """Pixels that cannot be filed are no fault of the picture: one line says what to do, and nothing is left."""
    path = saved(tmp_path / "a.png", Image.fromarray(photograph()))
    (tmp_path / "room").mkdir()
    command = [sys.executable, "-c", READ_WITH_A_LIMIT, str(path), str(tmp_path / "room"), str(limit)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.startswith(str(tmp_path / "room"))
    assert "free space, or name another folder with --scratch" in result.stdout
    assert result.stdout.count("\n") == 1
    assert os.listdir(tmp_path / "room") == []


READ_AND_RESIZE = """
import sys
from pathlib import Path
from muralist.pipeline.pictures.images import crop_to_aspect, resize, resize_rows
from muralist.pipeline.workers.machine import peak_rss
from muralist.pipeline.pictures.reading import read_picture

read_picture(sys.argv[3])  # so that all libraries are there; with their bytecode compiled or not makes 20 MB
before = peak_rss()
picture = read_picture(sys.argv[1], memory=0, folder=Path(sys.argv[2]))
resize(crop_to_aspect(picture, 5).pixels, 60, 300)
print(peak_rss() - before)
"""


@pytest.mark.integration
@pytest.mark.parametrize("extension", [".jpg", ".tif"])
def test_a_large_photograph_takes_little_memory(tmp_path: Path, extension: str) -> None:
    """A photograph of 270 MB is read, cropped and resized in less than 128 MiB."""
    path, small = tmp_path / f"large{extension}", tmp_path / f"small{extension}"
    for place, height, width in ((path, 10_000, 9000), (small, 64, 64)):
        pyvips.Image.black(width, height, bands=3).copy(interpretation="srgb").write_to_file(str(place))
    command = [sys.executable, "-c", READ_AND_RESIZE, str(path), str(tmp_path), str(small)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout) < 128 << 20


@pytest.mark.parametrize(
    ("name", "save", "bytes_per_pixel"),
    [
        ("progressive.jpg", {"progressive": True}, 6),
        ("a.webp", {}, 9),
        ("a.jpg", {}, None),
        ("a.png", {}, None),
    ],
)
def test_what_the_decoder_would_take_is_limited(tmp_path, name, save, bytes_per_pixel):
    """Refused by the header, with the number and the way out; what is decoded in bands takes no more, however large."""
    path = tmp_path / name
    Image.new("RGB", (64, 48)).save(path, **save)
    if bytes_per_pixel is None:
        assert read_picture(path, decoder_memory=1).height == 48
        return
    limit = 64 * 48 * bytes_per_pixel
    assert read_picture(path, decoder_memory=limit).height == 48
    with pytest.raises(PictureError, match=r"64 x 48 px .*--memory"):
        read_picture(path, decoder_memory=limit - 1)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    """A progressive JPEG of some bytes that claims 65,500 px a side would take 8 GiB."""
    path = tmp_path / "bomb.jpg"
    path.write_bytes(jpeg(65_500, progressive=True) + bytes(20_000_000))
    with pytest.raises(PictureError, match=r"65500 x 65500 px .*8\.0 GiB"):
        read_picture(path, 5_000_000_000, decoder_memory=1 << 30)
