"""Reading, resizing and writing pictures: every kind of file, and everything that can be wrong with one."""

import hashlib
import io
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from muralist.pipeline.errors import OutputError, PictureError, PipelineError
from muralist.pipeline.pictures.images import crop_to_aspect, resize, resize_rows
from muralist.pipeline.pictures.metadata import dpi_of_exif, text_tags
from muralist.pipeline.pictures.rasters import Raster, new_raster
from muralist.pipeline.pictures.reading import read_picture, supported_inputs
from muralist.pipeline.pictures.writing import check_output, output_formats, write_picture
from muralist.tiling.grid import Span

EXTENSIONS = [".jpg", ".png", ".webp", ".tif"]
LOSSLESS = [".png", ".tif"]
MODEL, DATE = ExifTags.Base.Model, ExifTags.Base.DateTime


def photograph(height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth picture (height, width, 3) uint8 without symmetry, which survives lossy formats well."""
    rows, columns = np.mgrid[0:height, 0:width]
    channels = [rows / height, columns / width, (rows / height + columns / width) / 2]
    return np.round(np.dstack(channels) * 200 + 20).astype(np.uint8)


def deep_photograph(height: int = 48, width: int = 64) -> np.ndarray:
    """Like `photograph`, in uint16 with low bytes that eight bits cannot hold."""
    return (photograph(height, width).astype(np.uint16) << 8) + np.arange(width, dtype=np.uint16)[None, :, None]


def camera_exif(orientation: int = 1) -> bytes:
    """An EXIF block as a camera writes it: text, exposure, and facts about the old pixels."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[MODEL] = "Box Brownie"
    exif[DATE] = "1900:02:01 10:00:00"
    exif[ExifTags.Base.Copyright] = "© Zoë".encode()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] = IFDRational(1, 125)
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExifImageWidth] = 4000
    return exif.tobytes()


def profile(name: str) -> bytes:
    """One of libvips' built-in profiles."""
    return bytes(pyvips.Image.profile_load(name))


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    """The path, after Pillow has saved the image there."""
    image.save(path, **options)
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG file that claims a size and holds hardly any pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    framed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def exif_of(path: Path) -> Image.Exif:
    """The EXIF that an independent reader finds in a file."""
    with Image.open(path) as image:
        return image.getexif()


# ----------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("kind", [PictureError, OutputError])
def test_errors_survive_pickling(kind: type[PictureError] | type[OutputError]) -> None:
    """An error that crosses workers keeps its message and its facts."""
    copy = pickle.loads(pickle.dumps(kind("a.png: bad", path=Path("a.png"))))
    assert type(copy) is kind
    assert str(copy) == "a.png: bad"
    assert copy.path == Path("a.png")
    assert isinstance(copy, PipelineError)


def test_errors_have_builtin_parents() -> None:
    """Callers who know only Python's own errors can catch ours."""
    assert issubclass(PictureError, ValueError)
    assert issubclass(OutputError, OSError)


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


def test_the_table_of_inputs_names_the_formats() -> None:
    """The table that messages are computed from lists exactly the supported formats."""
    assert [kind.name for kind in supported_inputs()] == ["JPEG", "PNG", "TIFF", "WebP"]


@pytest.mark.parametrize("extension", LOSSLESS)
def test_sixteen_bits_stay_sixteen(tmp_path: Path, extension: str) -> None:
    """16-bit RGB keeps every bit through reading and writing."""
    path = tmp_path / f"deep{extension}"
    write_picture(path, deep_photograph(), bit_depth=16)
    picture = read_picture(path)
    assert picture.bit_depth == 16
    assert np.array_equal(picture.pixels, deep_photograph())


def test_grey_with_sixteen_bits(tmp_path: Path) -> None:
    """A 16-bit grey PNG becomes 16-bit RGB with equal channels."""
    grey = deep_photograph()[:, :, 1]
    path = saved(tmp_path / "grey.png", Image.fromarray(grey))
    assert np.array_equal(read_picture(path).pixels, np.dstack([grey] * 3))


@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_one_bit(tmp_path: Path, extension: str) -> None:
    """A 1-bit file becomes black and white in RGB."""
    bits = Image.fromarray(np.eye(9, dtype=np.uint8) * 255).convert("1")
    pixels = read_picture(saved(tmp_path / f"bits{extension}", bits)).pixels
    assert np.array_equal(pixels, np.dstack([np.eye(9, dtype=np.uint8) * 255] * 3))


def test_palette_with_transparency(tmp_path: Path) -> None:
    """Palette colours are looked up, and the transparent entry becomes alpha."""
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8))
    image.putpalette([10, 20, 30, 200, 100, 50])
    picture = read_picture(saved(tmp_path / "palette.png", image, transparency=1))
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[255, 0], [0, 255]]
    assert picture.pixels[0, 0].tolist() == [10, 20, 30]


def test_grey_with_alpha(tmp_path: Path) -> None:
    """Alpha of a grey picture is kept aside."""
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
    """Display-P3 numbers become the sRGB numbers of the same colour, as Pillow's LittleCMS computes them."""
    path = saved(tmp_path / "p3.png", Image.new("RGB", (4, 4), (200, 60, 30)), icc_profile=profile("p3"))
    picture = read_picture(path)
    assert picture.icc == profile("p3")
    assert np.abs(picture.pixels[0, 0].astype(int) - [217, 42, 1]).max() <= 1


def test_embedded_profile_keeps_sixteen_bits(tmp_path: Path) -> None:
    """Colour conversion of a 16-bit file does not pass through 8 bits."""
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


def test_float_tiff_grey_with_small_overshoot(tmp_path: Path) -> None:
    """A grey float picture is read too, and what a filter overshot is clipped."""
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
    "content", [b"hello, this is no picture", b"RIFF\x24\0\0\0WAVEfmt ", b"<svg></svg>", b"GIF89a"]
)
def test_not_a_picture(tmp_path: Path, content: bytes) -> None:
    """Other files are refused with the list of supported formats, also those that libvips could open."""
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    refused(path, "JPEG, PNG, TIFF, WebP")


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """A folder that belongs to the user that the test then runs as: not root, who may do anything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not hasattr(os, "geteuid") or os.geteuid() != 0:
            yield folder
            return
        nobody = 65534
        os.chown(folder, nobody, nobody)
        os.seteuid(nobody)
        try:
            yield folder
        finally:
            os.seteuid(0)


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
    """A file that was cut short is an error and never a picture with a grey tail."""
    path = tmp_path / f"cut{extension}"
    noise = np.random.default_rng(0).integers(0, 256, (120, 700, 3), dtype=np.uint8)
    write_picture(path, noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    refused(path, "cut short", "again")


@pytest.mark.parametrize("compression", [None, "zlib", "lzma"])
def test_truncated_tiff_with_directory_in_front(tmp_path: Path, compression: str | None) -> None:
    """A TIFF whose directory is whole and whose last strip is not is an error, whatever the compression."""
    path = tmp_path / "cut.tif"
    noise = np.random.default_rng(0).integers(0, 256, (90, 80, 3), dtype=np.uint8)
    tifffile.imwrite(path, noise, photometric="rgb", rowsperstrip=16, compression=compression)
    path.write_bytes(path.read_bytes()[:-900])
    refused(path, "cut short")


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_too_short_for_its_size(tmp_path: Path, progressive: bool) -> None:
    """A small file that claims to be huge is refused before memory or disk is filled with grey."""
    path = tmp_path / "bomb.jpg"
    Image.fromarray(np.full((64, 64, 3), 99, np.uint8)).save(path, progressive=progressive)
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    content[at : at + 4] = (30_000).to_bytes(2, "big") * 2
    path.write_bytes(content)
    refused(path, "damaged: ", "bytes, wanted 1757812 at least for 30000 x 30000 pixels")


@pytest.mark.parametrize("progressive", [False, True])
def test_the_shortest_of_jpegs_is_read(tmp_path: Path, progressive: bool) -> None:
    """A picture of one colour is as short as JPEG can make it, and whole."""
    grey = Image.fromarray(np.full((4000, 4000), 99, np.uint8))
    grey.save(tmp_path / "grey.jpg", optimize=True, quality=1, progressive=progressive)
    assert np.ptp(read_picture(tmp_path / "grey.jpg").pixels) == 0


def test_a_broken_tag_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A TIFF with a unit of resolution that there is not is refused, and tifffile has nothing to add."""
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8, 3), np.uint8), photometric="rgb", resolution=(300, 300))
    content = bytearray((tmp_path / "a.tif").read_bytes())
    at = content.index(struct.pack("<HHI", 296, 3, 1)) + 8
    content[at : at + 2] = struct.pack("<H", 129)
    (tmp_path / "a.tif").write_bytes(content)
    refused(tmp_path / "a.tif", "damaged, cut short")
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
    assert isinstance(picture.pixels, Raster)
    assert picture.alpha is None or isinstance(picture.alpha, Raster)
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
        "grey.png": (rgb.convert("L"), {}),
        "palette.png": (rgb.convert("P"), {"transparency": 3}),
        "deep.png": (Image.fromarray(deep_photograph()[:, :, 0]), {}),
        "bits.tif": (rgb.convert("1"), {"compression": "group4"}),
        "cmyk.tif": (rgb.convert("CMYK"), {"icc_profile": profile("cmyk")}),
        "lzw.tif": (rgba, {"compression": "tiff_lzw"}),
    }


@pytest.fixture(params=[1, 64 * 3 * 7, 1 << 24])
def small_bands(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are decoded row by row, a few rows at a time, or at once."""
    monkeypatch.setattr("muralist.pipeline.pictures.samples.BAND_BYTES", request.param)


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
    assert isinstance(read_picture(path, memory=needed - 1, folder=tmp_path).pixels, Raster)


def test_what_does_not_fit_needs_a_folder(tmp_path: Path) -> None:
    """To limit the memory and name no folder is the caller's error."""
    path = saved(tmp_path / "a.png", Image.fromarray(photograph()))
    with pytest.raises(ValueError, match="no folder"):
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
from muralist.pipeline.workers.memory import peak_rss
from muralist.pipeline.pictures.reading import read_picture

before = peak_rss()
picture = read_picture(sys.argv[1], memory=0, folder=Path(sys.argv[2]))
resize(crop_to_aspect(picture, 5).pixels, 60, 300)
print(peak_rss() - before)
"""


@pytest.mark.parametrize("extension", [".jpg", ".tif"])
def test_a_large_photograph_takes_little_memory(tmp_path: Path, extension: str) -> None:
    """A photograph of 270 MB is read, cropped and resized in less than 128 MiB."""
    path = tmp_path / f"large{extension}"
    pyvips.Image.black(9000, 10_000, bands=3).copy(interpretation="srgb").write_to_file(str(path))
    command = [sys.executable, "-c", READ_AND_RESIZE, str(path), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout) < 128 << 20


# ------------------------------------------------------------------------------------------------- changing the size


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_resize_to_the_same_size_only_converts(dtype: type) -> None:
    """At the same size the values stay, as floats in [0, 1]."""
    scale = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    pixels = (photograph() / 255 * scale).astype(dtype)
    same = resize(pixels, 48, 64)
    assert same.dtype == np.float32
    assert np.abs(same - pixels / scale).max() < 1e-6


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 90), st.integers(1, 90))
def test_resize_commutes_with_flipping(height: int, width: int, new_height: int, new_width: int) -> None:
    """No shift: flipping before resizing equals flipping after, up and down, for any sizes; sizes are exact."""
    plane = np.random.default_rng(height * 100 + width).random((height, width), dtype=np.float32)
    resized = resize(plane, new_height, new_width)
    assert resized.shape == (new_height, new_width)
    assert np.allclose(resize(plane[::-1, ::-1], new_height, new_width)[::-1, ::-1], resized, atol=1e-5)


@pytest.mark.parametrize("width", [25, 64, 77, 300])
def test_resize_keeps_a_gradient_in_place(width: int) -> None:
    """A ramp over half-pixel centres is the same ramp at every size, away from the borders."""
    old = np.tile((np.arange(100, dtype=np.float32) + 0.5) / 100, (10, 1))
    new = resize(old, 10, width)[5]
    margin = 4 + width // 25
    expected = (np.arange(width) + 0.5) / width
    assert np.abs(new - expected)[margin:-margin].max() < 2e-3


def test_resize_is_antialiased() -> None:
    """A checkerboard shrunk to a fraction is even grey."""
    board = (np.indices((90, 90)).sum(axis=0) % 2).astype(np.float32)
    assert np.abs(resize(board, 13, 13) - 0.5).max() < 0.02


def test_resize_clips_overshoots() -> None:
    """The filter's ringing at a hard edge stays in [0, 1]."""
    edge = np.zeros((20, 20, 3), np.uint8)
    edge[:, 10:] = 255
    big = resize(edge, 100, 100)
    assert (big.min(), big.max()) == (0, 1)


def test_resize_refuses_other_types() -> None:
    """An array whose full scale is unknown is refused, not guessed."""
    with pytest.raises(ValueError, match="int64"):
        resize(np.zeros((4, 4), np.int64), 2, 2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("filed", [False, True])
@pytest.mark.parametrize("size", [(133, 251), (61, 90), (300, 200), (133, 90), (1, 1), (2, 700)])
def test_rows_are_the_same_whichever_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: type, filed: bool, size: tuple[int, int]
) -> None:
    """Rows one by one, in bands and all together agree bit for bit, of arrays and rasters, and however read."""
    height, width = size
    scale = 1 if dtype is np.float32 else np.iinfo(dtype).max
    array = (np.random.default_rng(0).random((133, 251, 3)) * scale).astype(dtype)
    pixels: np.ndarray | Raster = array
    if filed:
        pixels = new_raster(tmp_path / "a.npy", array.shape, array.dtype)
        pixels[:, :] = array
    whole = resize(array, height, width)
    assert whole.shape == (height, width, 3)
    monkeypatch.setattr("muralist.pipeline.pictures.images._PLANE_SAMPLES", 251 * 10)
    monkeypatch.setattr("muralist.pipeline.pictures.images._SLAB_SAMPLES", width * 3 * 40)
    for band in (1, 7, 64, height):
        tops = range(0, height, band)
        parts = [resize_rows(pixels, height, width, (top, min(top + band, height))) for top in tops]
        assert np.array_equal(np.concatenate(parts), whole)


def test_rows_of_a_plane() -> None:
    """A plane, such as alpha, has rows too, and a `Span` says which."""
    plane = np.random.default_rng(0).integers(0, 256, (90, 50), dtype=np.uint8)
    rows = resize_rows(plane, 33, 20, Span(5, 9))
    assert rows.dtype == np.float32
    assert np.array_equal(rows, resize(plane, 33, 20)[5:9])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 90), st.integers(1, 90))
def test_resize_is_pillows(height: int, width: int, new_height: int, new_width: int) -> None:
    """Pillow, given the whole plane, finds the same but for the last bits: it may take the passes in another order."""
    plane = np.random.default_rng(height * 100 + width).random((height, width), dtype=np.float32)
    expected = np.asarray(Image.fromarray(plane).resize((new_width, new_height), Image.Resampling.LANCZOS))
    assert np.abs(resize(plane, new_height, new_width) - expected.clip(0, 1)).max() < 5e-7


def test_a_huge_shrink_reads_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many source rows make one row, only as many as allowed are taken in at once, and each about once."""
    taken: list[int] = []

    class Counting(np.ndarray):
        """Pixels that count the rows that are asked for."""

        def __getitem__(self, part: Any) -> Any:
            taken.append(part.stop - part.start)
            return np.asarray(super().__getitem__(part))

    plane = np.zeros((3000, 20), np.uint8).view(Counting)
    monkeypatch.setattr("muralist.pipeline.pictures.images._PLANE_SAMPLES", 20 * 50)
    assert resize(plane, 10, 4).shape == (10, 4)
    assert max(taken) == 50
    assert sum(taken) == 3000


@pytest.mark.parametrize(("aspect", "shape"), [(1, (48, 48)), (4, (16, 64)), (64 / 48, (48, 64)), (1000, (1, 64))])
def test_crop_to_aspect(tmp_path: Path, aspect: float, shape: tuple[int, int]) -> None:
    """The crop is the largest of its aspect, centred, and takes the alpha with it."""
    image = Image.fromarray(np.dstack([photograph(), photograph()[:, :, 0]]))
    picture = read_picture(saved(tmp_path / "a.png", image))
    part = crop_to_aspect(picture, aspect)
    top, left = (48 - shape[0]) // 2, (64 - shape[1]) // 2
    assert part.alpha is not None
    assert (part.height, part.width) == shape
    assert np.array_equal(part.pixels, photograph()[top : top + shape[0], left : left + shape[1]])
    assert part.alpha.shape == shape


def test_crop_to_aspect_of_a_raster(tmp_path: Path) -> None:
    """A picture in files is cropped as one in memory is, and copies nothing: the files stay the same."""
    image = Image.fromarray(np.dstack([photograph(), photograph()[:, :, 0]]))
    path = saved(tmp_path / "a.png", image)
    part, filed = (
        crop_to_aspect(read_picture(path), 1),
        crop_to_aspect(read_picture(path, memory=0, folder=tmp_path), 1),
    )
    assert isinstance(filed.pixels, Raster)
    assert isinstance(filed.alpha, Raster)
    assert (filed.height, filed.width, filed.bit_depth) == (48, 48, 8)
    assert np.array_equal(filed.pixels[:], part.pixels)
    assert part.alpha is not None
    assert np.array_equal(filed.alpha[:], part.alpha)
    assert len(os.listdir(tmp_path)) == 3


def test_crop_to_aspect_without_alpha(tmp_path: Path) -> None:
    """An opaque picture stays opaque."""
    picture = read_picture(saved(tmp_path / "a.png", Image.fromarray(photograph())))
    assert crop_to_aspect(picture, 2).alpha is None


# -------------------------------------------------------------------------------------------- writing, what goes well


@pytest.mark.parametrize(
    ("extension", "tolerance"), [(".jpg", 4), (".jpeg", 4), (".webp", 6), (".png", 0), (".TIF", 0)]
)
def test_round_trip(tmp_path: Path, extension: str, tolerance: int) -> None:
    """What is written comes back, by any spelling of the extension, in sRGB and with nothing left beside."""
    path = tmp_path / f"a{extension}"
    write_picture(path, (photograph() / 255).astype(np.float32))
    picture = read_picture(path)
    assert np.abs(picture.pixels.astype(int) - photograph()).max() <= tolerance
    assert picture.icc == profile("srgb")
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("extension", LOSSLESS)
@pytest.mark.parametrize(
    ("pixels", "bit_depth", "expected"),
    [
        (np.float32(0.5), 8, 128),
        (np.float32(0.5), 16, 32768),
        (np.float32(1.5), 8, 255),
        (np.float32(-0.5), 16, 0),
        (np.uint8(200), 16, 200 * 257),
        (np.uint16(200 * 257 + 100), 8, 200),
    ],
)
def test_depth_is_converted_with_rounding(
    tmp_path: Path, extension: str, pixels: np.generic, bit_depth: int, expected: int
) -> None:
    """Every dtype goes to every depth, rounded to nearest and clipped."""
    path = tmp_path / f"a{extension}"
    write_picture(path, np.full((3, 5, 3), pixels), bit_depth=bit_depth)
    picture = read_picture(path)
    assert picture.bit_depth == bit_depth
    assert (picture.pixels == expected).all()


@pytest.mark.parametrize("extension", [".jpg", ".webp"])
def test_formats_of_eight_bits_get_eight(tmp_path: Path, extension: str) -> None:
    """At the end of the work a wish for 16 bits does not stop a JPEG or WebP."""
    write_picture(tmp_path / f"a{extension}", deep_photograph(), bit_depth=16)
    assert read_picture(tmp_path / f"a{extension}").bit_depth == 8


@pytest.mark.parametrize("extension", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("bit_depth", [8, 16])
def test_alpha_round_trip(tmp_path: Path, extension: str, bit_depth: int) -> None:
    """Alpha comes back, and so do the colours under full transparency where the format is lossless."""
    path = tmp_path / f"a{extension}"
    alpha = np.zeros((48, 64), np.float32)
    alpha[:, 32:] = 1
    write_picture(path, photograph(), alpha=alpha, bit_depth=bit_depth)
    picture = read_picture(path)
    assert picture.alpha is not None
    full = 2**picture.bit_depth - 1
    assert np.array_equal(picture.alpha, (alpha * full).astype(picture.pixels.dtype))
    assert np.abs(picture.pixels * (255 / full) - photograph()).max() <= (6 if extension == ".webp" else 0)


def test_jpeg_lays_transparent_pictures_on_white(tmp_path: Path) -> None:
    """A JPEG has no alpha: what was transparent is white."""
    path = tmp_path / "a.jpg"
    write_picture(path, np.zeros((16, 16, 3), np.uint8), alpha=np.zeros((16, 16), np.uint8))
    picture = read_picture(path)
    assert picture.alpha is None
    assert picture.pixels.min() >= 254


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_profile_round_trip(tmp_path: Path, extension: str) -> None:
    """Pixels are converted to the given profile, which is embedded, and come back as the same colours."""
    path = tmp_path / f"a{extension}"
    pixels = np.full((32, 32, 3), (200, 60, 30), np.uint8)
    write_picture(path, pixels, icc=profile("p3"))
    with Image.open(path) as image:
        stored = np.asarray(image)[16, 16]
        assert image.info["icc_profile"] == profile("p3")
    assert np.abs(stored.astype(int) - [185, 71, 43]).max() <= 3
    assert np.abs(read_picture(path).pixels[16, 16].astype(int) - pixels[0, 0]).max() <= 4


@pytest.mark.parametrize("icc", [profile("cmyk"), b"junk" * 50, b"\0" * 16 + b"RGB " + b"\0" * 500, b""])
def test_unusable_profiles_become_srgb(tmp_path: Path, icc: bytes) -> None:
    """A profile that RGB pixels cannot be converted to is replaced by sRGB, with the numbers to match."""
    path = tmp_path / "a.png"
    write_picture(path, photograph(), icc=icc)
    assert read_picture(path).icc == profile("srgb")
    assert np.array_equal(read_picture(path).pixels, photograph())


@pytest.mark.parametrize("exif", [None, camera_exif()])
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_dpi_round_trip(tmp_path: Path, extension: str, exif: bytes | None) -> None:
    """The resolution comes back from every format, with EXIF and without."""
    path = tmp_path / f"a{extension}"
    write_picture(path, photograph(), dpi=(300, 150), exif=exif)
    dpi = read_picture(path).dpi
    assert dpi == pytest.approx((300, 150), abs=0.01)


def test_tiff_resolution_is_in_inches(tmp_path: Path) -> None:
    """Print shops read the TIFF's resolution tag; its unit is the inch."""
    write_picture(tmp_path / "a.tif", photograph(), dpi=(300, 300))
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        tags = tiff.pages.first.tags
        assert tags.valueof("ResolutionUnit") == 2
        assert tags.valueof("XResolution") == (300, 1)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_exif_survives(tmp_path: Path, extension: str) -> None:
    """Camera and date pass through reading and writing, in every format, and accents with them."""
    first, second = tmp_path / "first.jpg", tmp_path / f"second{extension}"
    Image.fromarray(photograph()).save(first, exif=camera_exif(orientation=3))
    write_picture(second, photograph(), exif=read_picture(first).exif)
    exif = exif_of(second)
    assert (exif[MODEL], exif[DATE]) == ("Box Brownie", "1900:02:01 10:00:00")
    assert text_tags(read_picture(second).exif)[ExifTags.Base.Copyright] == "© Zoë".encode()
    assert exif.get(ExifTags.Base.Orientation, 1) == 1


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
def test_exif_tells_the_truth_about_the_new_pixels(tmp_path: Path, extension: str) -> None:
    """The size in EXIF is the new one, and the exposure is kept."""
    path = tmp_path / f"a{extension}"
    write_picture(path, photograph(), exif=camera_exif())
    details = exif_of(path).get_ifd(ExifTags.IFD.Exif)
    assert details[ExifTags.Base.ExifImageWidth] == 64
    assert details[ExifTags.Base.ExposureTime] == pytest.approx(1 / 125)


def test_exif_passes_through_tiff(tmp_path: Path) -> None:
    """The text tags of a TIFF come back as an EXIF block, ready for any format."""
    write_picture(tmp_path / "a.tif", photograph(), exif=camera_exif())
    write_picture(tmp_path / "b.jpg", photograph(), exif=read_picture(tmp_path / "a.tif").exif)
    assert exif_of(tmp_path / "b.jpg")[MODEL] == "Box Brownie"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
def test_the_thumbnail_of_the_photograph_is_dropped(tmp_path: Path, extension: str, order: str) -> None:
    """A thumbnail in EXIF would show the photograph in file browsers, so it goes; the rest stays."""
    path = tmp_path / f"a{extension}"
    thumbnail = io.BytesIO()
    Image.new("RGB", (16, 16), (255, 0, 0)).save(thumbnail, "jpeg")
    data = thumbnail.getvalue()
    header = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    main = struct.pack(order + "HHHI4sI", 1, MODEL, 2, 4, b"Box\0", 26)
    second = struct.pack(order + "HHHIIHHIII", 2, 0x201, 4, 1, 56, 0x202, 4, 1, len(data), 0)
    write_picture(path, photograph(), exif=b"Exif\0\0" + header + main + second + data)
    assert data not in path.read_bytes()
    assert exif_of(path)[MODEL] == "Box"


@pytest.mark.parametrize("exif", [b"garbage", b"Exif\0\0", camera_exif()[:20], camera_exif()[:-8]])
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_broken_exif_never_stops_a_picture(tmp_path: Path, extension: str, exif: bytes) -> None:
    """A block that is no EXIF is lost, without an error or a warning."""
    path = tmp_path / f"a{extension}"
    write_picture(path, photograph(), exif=exif)
    assert read_picture(path).pixels.shape == (48, 64, 3)


def exif_with_resolution(kind: int, count: int, value: bytes) -> bytes:
    """An EXIF block of one resolution, stored as the given TIFF type."""
    entries = [struct.pack("<HHII", tag, kind, count, 38) for tag in (0x11A, 0x11B)]
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + b"".join(entries) + bytes(4) + value


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (exif_with_resolution(5, 1, struct.pack("<II", 300, 1)), (300, 300)),
        (exif_with_resolution(5, 1, struct.pack("<II", 0, 0)), None),
        (exif_with_resolution(5, 1, struct.pack("<II", 0, 1)), None),
        (exif_with_resolution(2, 8, b"a lot!!\0"), None),
    ],
)
def test_a_resolution_that_is_no_number_is_none(block: bytes, expected: tuple[float, float] | None) -> None:
    """Only a positive number in EXIF counts as a resolution: cameras write 0/0, editors anything."""
    assert dpi_of_exif(block) == expected


def test_exif_without_resolution_gets_the_prescribed_one(tmp_path: Path) -> None:
    """EXIF must state a resolution; where none is known the standard's 72 dpi is written."""
    write_picture(tmp_path / "a.jpg", photograph(), exif=camera_exif())
    assert read_picture(tmp_path / "a.jpg").dpi == (72, 72)


def test_tiff_is_tiled_and_compressed(tmp_path: Path) -> None:
    """A TIFF of several tiles, cut at both edges, is exact, deflated in the standard way and not BigTIFF."""
    pixels = np.random.default_rng(1).integers(0, 65536, (700, 1100, 3), dtype=np.uint16)
    write_picture(tmp_path / "a.tif", pixels, bit_depth=16)
    assert np.array_equal(read_picture(tmp_path / "a.tif").pixels, pixels)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        page = tiff.pages.first
        assert (page.tilewidth, page.tilelength, page.predictor) == (512, 512, 2)
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert not tiff.is_bigtiff


def test_large_tiff_is_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the TIFF is a BigTIFF, and is read back with its text tags."""
    monkeypatch.setattr("muralist.pipeline.pictures.writing._BIGTIFF_BYTES", 1000)
    write_picture(tmp_path / "a.tif", photograph(), exif=camera_exif())
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.is_bigtiff
    picture = read_picture(tmp_path / "a.tif")
    assert np.array_equal(picture.pixels, photograph())
    assert text_tags(picture.exif)[MODEL] == b"Box Brownie"


def test_jpeg_is_not_subsampled_and_quality_counts(tmp_path: Path) -> None:
    """Colour is stored at full resolution, and quality changes the size of the file."""
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    write_picture(tmp_path / "good.jpg", noise)
    write_picture(tmp_path / "small.jpg", noise, quality=30)
    image = pyvips.Image.jpegload(str(tmp_path / "good.jpg"))
    assert image.get("jpeg-chroma-subsample") == "4:4:4"
    assert (tmp_path / "small.jpg").stat().st_size < (tmp_path / "good.jpg").stat().st_size / 2


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (17, 513)])
def test_odd_sizes(tmp_path: Path, extension: str, shape: tuple[int, int]) -> None:
    """Single pixels, lines and sizes just over a tile come back."""
    write_picture(tmp_path / f"a{extension}", np.full((*shape, 3), 77, np.uint8))
    picture = read_picture(tmp_path / f"a{extension}")
    assert picture.pixels.shape == (*shape, 3)
    assert np.abs(picture.pixels.astype(int) - 77).max() <= 3


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep file names in Unicode")
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_names_in_any_encoding(tmp_path: Path, extension: str) -> None:
    """Names with accents, brackets and spaces work, and so do old ones that are not UTF-8."""
    for name in ("été [1, Q=5] 画", os.fsdecode(b"\xe9t\xe9")):
        write_picture(tmp_path / f"{name}{extension}", photograph())
        assert read_picture(tmp_path / f"{name}{extension}").height == 48


def test_a_memory_map_is_written(tmp_path: Path) -> None:
    """Pixels may lie in a file on disk, read-only."""
    np.save(tmp_path / "canvas.npy", (photograph() / 255).astype(np.float32))
    canvas = np.load(tmp_path / "canvas.npy", mmap_mode="r")
    write_picture(tmp_path / "a.png", canvas)
    assert np.array_equal(read_picture(tmp_path / "a.png").pixels, photograph())


def test_strided_pixels_are_written(tmp_path: Path) -> None:
    """A flipped view is written as what it shows."""
    write_picture(tmp_path / "a.png", photograph()[::-1, ::2])
    assert np.array_equal(read_picture(tmp_path / "a.png").pixels, photograph()[::-1, ::2])


def test_writing_replaces_a_file(tmp_path: Path) -> None:
    """An existing file is replaced; refusing is the business of check_output."""
    (tmp_path / "a.png").write_bytes(b"old")
    write_picture(tmp_path / "a.png", photograph())
    assert read_picture(tmp_path / "a.png").height == 48


# ------------------------------------------------------------------------------------------ writing, what goes wrong


@pytest.mark.parametrize(
    ("pixels", "alpha", "words"),
    [
        (np.zeros((4, 4), np.uint8), None, "wanted .height, width, 3."),
        (np.zeros((0, 4, 3), np.uint8), None, "shape"),
        (np.zeros((4, 4, 3), np.float64), None, "float64"),
        (np.full((4, 4, 3), np.nan, np.float32), None, "NaN"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8), "alpha has shape"),
        (np.zeros((4, 4, 3), np.uint8), np.full((4, 4), np.inf, np.float32), "NaN or infinity"),
    ],
)
def test_wrong_arrays_are_bugs(tmp_path: Path, pixels: np.ndarray, alpha: np.ndarray | None, words: str) -> None:
    """Wrong shapes and types, and holes in the canvas, are the caller's error and leave no file."""
    with pytest.raises(ValueError, match=words):
        write_picture(tmp_path / "a.png", pixels, alpha=alpha)
    assert os.listdir(tmp_path) == []


WRITE_WITH_A_LIMIT = """
import os, resource, signal, sys
import numpy as np
from muralist.pipeline.errors import OutputError
from muralist.pipeline.pictures.writing import write_picture

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
try:
    write_picture(sys.argv[1], noise)
except OutputError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_full_disk_leaves_nothing(tmp_path: Path, extension: str) -> None:
    """When writing fails midway, the old file stays, nothing is left beside it, and one line says why."""
    path = tmp_path / f"a{extension}"
    path.write_bytes(b"old")
    result = subprocess.run(
        [sys.executable, "-c", WRITE_WITH_A_LIMIT, str(path)], capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith(f"{path}: could not be written (")
    assert result.stdout.count("\n") == 1
    assert "free space" in result.stdout
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == b"old"


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the file is flushed removes the part that was written."""

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_picture(tmp_path / "a.png", photograph())
    assert os.listdir(tmp_path) == []


def test_an_empty_file_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder that reports success and writes nothing is found out."""
    monkeypatch.setattr(tifffile, "imwrite", lambda target, *_, **__: Path(target).touch())
    with pytest.raises(OutputError, match="wrote nothing"):
        write_picture(tmp_path / "a.tif", photograph())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_writing_into_a_missing_folder(tmp_path: Path, extension: str) -> None:
    """A folder that went away during the work is one clean error."""
    with pytest.raises(OutputError, match="could not be written"):
        write_picture(tmp_path / "gone" / f"a{extension}", photograph())


def test_writing_below_a_file(tmp_path: Path) -> None:
    """A parent that is a file is one clean error, at the check as at the end."""
    path = saved(tmp_path / "b.png", Image.new("L", (2, 2))) / "a.png"
    with pytest.raises(OutputError, match="could not be written"):
        write_picture(path, photograph())
    with pytest.raises(OutputError, match="cannot write into the folder"):
        check_output(path, overwrite=False)


def test_writing_knows_the_limits_too(tmp_path: Path) -> None:
    """Without a check beforehand the format's own limits still give the clear message."""
    with pytest.raises(OutputError, match="16383"):
        write_picture(tmp_path / "a.webp", np.zeros((1, 16384, 3), np.uint8))
    with pytest.raises(OutputError, match="no extension"):
        write_picture(tmp_path / "a", photograph())


# ------------------------------------------------------------------------------------------------ checking beforehand


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.png", "a.webp", "a.tif", "a.tiff"])
def test_check_output_passes_good_names(tmp_path: Path, name: str) -> None:
    """A new file in a writable folder is fine, and checking leaves no trace."""
    check_output(tmp_path / name, overwrite=False, height=16383, width=10, bit_depth=8)
    assert os.listdir(tmp_path) == []


def test_check_output_allows_overwriting_on_request(tmp_path: Path) -> None:
    """An existing file is refused, with the option that allows it, and stays as it is."""
    (tmp_path / "a.png").write_bytes(b"old")
    with pytest.raises(OutputError, match="use --overwrite") as caught:
        check_output(tmp_path / "a.png", overwrite=False)
    assert caught.value.path == tmp_path / "a.png"
    check_output(tmp_path / "a.png", overwrite=True)
    assert (tmp_path / "a.png").read_bytes() == b"old"


def test_check_output_lists_the_extensions(tmp_path: Path) -> None:
    """An unknown extension is answered with the known ones, all of them."""
    with pytest.raises(OutputError) as caught:
        check_output(tmp_path / "a.gif", overwrite=False)
    assert "'.gif'" in str(caught.value)
    for kind in output_formats():
        for extension in kind.extensions:
            assert extension in str(caught.value)


def test_check_output_refuses_folders(tmp_path: Path) -> None:
    """A folder named like a picture is not replaced, and a missing parent is named."""
    (tmp_path / "a.png").mkdir()
    with pytest.raises(OutputError, match="this is a folder"):
        check_output(tmp_path / "a.png", overwrite=True)
    with pytest.raises(OutputError, match=r"no folder .*gone; create it"):
        check_output(tmp_path / "gone" / "a.png", overwrite=True)


def test_check_output_tries_the_length_of_the_name(tmp_path: Path) -> None:
    """A name that leaves no room for the temporary file's is found out before any work."""
    with pytest.raises(OutputError, match="name too long"):
        check_output(tmp_path / ("a" * 250 + ".png"), overwrite=False)


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_check_output_tries_the_folder(ordinary_user: Path) -> None:
    """A folder without permission to write is found out before any work."""
    ordinary_user.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="cannot write into the folder"):
            check_output(ordinary_user / "a.png", overwrite=False)
    finally:
        ordinary_user.chmod(0o700)


@pytest.mark.parametrize(("name", "limit"), [("a.jpg", 65500), ("a.webp", 16383)])
def test_check_output_knows_the_largest_side(tmp_path: Path, name: str, limit: int) -> None:
    """Sides beyond the format's limit are refused with the limit and a way out, sides at it are not."""
    check_output(tmp_path / name, overwrite=False, height=limit, width=1)
    with pytest.raises(OutputError, match=rf"{limit} pixels a side.*\.tif"):
        check_output(tmp_path / name, overwrite=False, height=1, width=limit + 1)


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_check_output_knows_the_depth(tmp_path: Path, name: str) -> None:
    """A wish for 16 bits in an 8-bit format is refused with the formats that have them."""
    with pytest.raises(OutputError, match=r"16 bits.*use \.png \.tif"):
        check_output(tmp_path / name, overwrite=False, bit_depth=16)
