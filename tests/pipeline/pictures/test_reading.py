"""Reading pictures: every kind of file, and everything that can be wrong with one."""

import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from handmade import gray_profile
from handmade import profile as handmade_profile
from PIL import ExifTags, Image
from reading import STORED, UPRIGHT, refused
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
from muralist.pipeline.pictures.limits import ReadLimits
from muralist.pipeline.pictures.profiles import adobe_rgb
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


@pytest.mark.parametrize("icc", [profile("p3"), adobe_rgb()])
def test_sixteen_bits_are_as_exact_as_eight(tmp_path: Path, icc: bytes) -> None:
    """Saturated colors of a wide gamut, too, are not interpolated on a coarse grid: they stay within three of 255."""
    colors = np.stack(np.meshgrid(*[np.arange(0, 256, 15)] * 3), -1).reshape(18 * 18, 18, 3).astype(np.uint8)
    write_picture(tmp_path / "a.tif", colors, icc=icc, bit_depth=16)
    found = read_picture(tmp_path / "a.tif").pixels
    assert found.dtype == np.uint16
    assert np.abs(found / 257 - colors).max() < 3
    assert np.abs(found / 257 - colors).mean() < 0.2


def test_a_broken_profile_reads_as_none(tmp_path: Path) -> None:
    """A profile of junk does not stop the picture: its numbers are taken as sRGB."""
    path = saved(tmp_path / "junk.png", Image.fromarray(photograph()), icc_profile=b"junk" * 50)
    assert np.array_equal(read_picture(path).pixels, photograph())


WITHOUT_CURVES = handmade_profile({b"wtpt": b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)}, b"RGB ")


def rgb_profile(curve: list[int], red: int, green: int, blue: int) -> bytes:
    """A profile of this curve, 16 bits, and shares of red, green and blue in white, in percent of sRGB's."""
    primaries = {b"r": (0.4361, 0.2225, 0.0139), b"g": (0.3851, 0.7169, 0.0971), b"b": (0.1431, 0.0606, 0.7139)}
    tags = {b"wtpt": b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)}
    for (name, xyz), share in zip(primaries.items(), (red, green, blue), strict=True):
        numbers = [round(655.36 * share * number) for number in xyz]
        tags[name + b"XYZ"] = b"XYZ " + bytes(4) + struct.pack(">3i", *numbers)
        tags[name + b"TRC"] = b"curv" + bytes(4) + struct.pack(f">I{len(curve)}H", len(curve), *curve)
    return handmade_profile(tags, b"RGB ")


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize(
    "icc",
    [
        *(WITHOUT_CURVES, profile("p3")[:300], b"junk" * 50, profile("cmyk"), gray_profile(1.8)),
        *(rgb_profile([65535, 0], 100, 100, 100), rgb_profile([0, 65535], 100, 100, 0)),
    ],
    ids=["no curves", "cut short", "junk", "CMYK", "gray", "negative", "yellow white"],
)
def test_a_profile_that_cannot_be_applied(tmp_path: Path, extension: str, icc: bytes) -> None:
    """Numbers with a profile that opens or not, but leads nowhere, are taken as sRGB, and that is said."""
    path = saved(tmp_path / f"a{extension}", Image.fromarray(photograph()), icc_profile=icc, quality=98)
    picture = read_picture(path)
    assert np.abs(picture.pixels.astype(int) - photograph()).max() <= (0 if extension in LOSSLESS else 6)
    assert picture.icc is None
    assert picture.notices == (
        f"{path}: its color profile is damaged or does not match its channels; they are read as sRGB",
    )


def test_a_press_profile_that_cannot_be_applied(tmp_path: Path) -> None:
    """CMYK numbers with such a profile are those of the built-in press profile."""
    ink = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    picture = read_picture(saved(tmp_path / "a.tif", ink, icc_profile=b"junk" * 50))
    assert "standard CMYK" in picture.notices[0]
    assert np.array_equal(picture.pixels, read_picture(saved(tmp_path / "b.tif", ink)).pixels)


@pytest.mark.parametrize("icc", [profile("srgb"), profile("p3"), rgb_profile([0, 65535], 90, 100, 80)])
def test_a_good_profile_is_no_news(tmp_path: Path, icc: bytes) -> None:
    """Where the profile is applied nothing is said, also if it gives white a tint."""
    path = saved(tmp_path / "a.png", Image.fromarray(photograph()), icc_profile=icc)
    assert read_picture(path).notices == ()


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


def test_urls_are_not_read() -> None:
    """Told as they were written, though a path has no double slash."""
    with pytest.raises(PictureError, match=r"^https://example\.com/a\.jpg: .*download"):
        read_picture("https://example.com/a.jpg")


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
    refused(tmp_path / "photo.jpg", "this is not a regular file; name a picture")


def test_the_pixel_limit_holds_before_decoding(tmp_path: Path) -> None:
    """A header that promises 3.6 gigapixels is refused with size, limit and the name of the setting."""
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(60_000, 60_000))
    refused(path, "60000 x 60000", "max_pixels = 2000000000")


def test_the_pixel_limit_can_be_set(tmp_path: Path) -> None:
    """The limit is inclusive and the caller's."""
    path = saved(tmp_path / "a.png", Image.fromarray(photograph()))
    refused(path, "max_pixels = 3071", max_pixels=48 * 64 - 1)
    assert read_picture(path, ReadLimits(max_pixels=48 * 64)).height == 48


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
