"""Writing pictures: every kind of file comes out as it should, or not at all."""

import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pyvips
import tifffile
from facts import having
from PIL import ExifTags, Image
from snapshots import (
    DATE,
    EXTENSIONS,
    LOSSLESS,
    MODEL,
    camera_exif,
    deep_photograph,
    exif_of,
    photograph,
    profile,
    saved,
)

from muralist.pipeline.errors import OutputError
from muralist.pipeline.output_files import make_folder
from muralist.pipeline.pictures.encoding import OUTPUT_EXTENSIONS
from muralist.pipeline.pictures.exif import dpi_of_exif, text_tags
from muralist.pipeline.pictures.reading import read_picture
from muralist.pipeline.pictures.writing import check_output, check_side, write_picture

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
    """Alpha comes back, and so do the colors under full transparency where the format is lossless."""
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
    """Pixels are converted to the given profile, which is embedded, and come back as the same colors."""
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


def test_a_tiff_says_when_it_was_taken(tmp_path: Path) -> None:
    """It has room for one date: that of the last change, as in the photograph, otherwise when that was taken."""
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "1900:02:01 10:00:00"
    exif[ExifTags.Base.Make] = "Maker"
    for changed, wanted in ((None, "1900:02:01 10:00:00"), ("1901:01:01 00:00:00", "1901:01:01 00:00:00")):
        if changed:
            exif[DATE] = changed
        write_picture(tmp_path / "a.tif", photograph(), exif=exif.tobytes())
        assert exif_of(tmp_path / "a.tif")[DATE] == wanted


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
    monkeypatch.setattr("muralist.pipeline.pictures.encoding._BIGTIFF_BYTES", 1000)
    write_picture(tmp_path / "a.tif", photograph(), exif=camera_exif())
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.is_bigtiff
    picture = read_picture(tmp_path / "a.tif")
    assert np.array_equal(picture.pixels, photograph())
    assert text_tags(picture.exif)[MODEL] == b"Box Brownie"


def test_jpeg_is_not_subsampled_and_quality_counts(tmp_path: Path) -> None:
    """Color is stored at full resolution, and quality changes the size of the file."""
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
        (np.zeros((4, 4), np.uint8), None, "height, width, 3"),
        (np.zeros((0, 4, 3), np.uint8), None, "shape"),
        (np.zeros((4, 4, 3), np.float64), None, "float64"),
        (np.full((4, 4, 3), np.nan, np.float32), None, "NaN"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8), "alpha .*shape"),
        (np.zeros((4, 4, 3), np.uint8), np.full((4, 4), np.inf, np.float32), "infinity"),
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
    monkeypatch.setattr(tifffile, "imwrite", lambda *_, **__: None)
    with pytest.raises(OutputError, check=having(OSError, path=tmp_path / "a.tif")):
        write_picture(tmp_path / "a.tif", photograph())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_writing_into_a_missing_folder(tmp_path: Path, extension: str) -> None:
    """A folder that went away during the work is one clean error."""
    with pytest.raises(OutputError, check=having(FileNotFoundError, path=tmp_path / "gone" / f"a{extension}")):
        write_picture(tmp_path / "gone" / f"a{extension}", photograph())


def test_writing_below_a_file(tmp_path: Path) -> None:
    """A parent that is a file is one clean error, at the check as at the end."""
    path = saved(tmp_path / "b.png", Image.new("L", (2, 2))) / "a.png"
    with pytest.raises(OutputError, check=having(NotADirectoryError, path=path)):
        write_picture(path, photograph())
    with pytest.raises(OutputError, check=having(NotADirectoryError, path=path)):
        check_output(path, overwrite=False)


def test_writing_knows_the_limits_too(tmp_path: Path) -> None:
    """Without a check beforehand the format's own limits still give the clear message."""
    with pytest.raises(OutputError, match="16383"):
        write_picture(tmp_path / "a.webp", np.zeros((1, 16384, 3), np.uint8))
    with pytest.raises(OutputError, match=" ".join(OUTPUT_EXTENSIONS), check=having(path=tmp_path / "a")):
        write_picture(tmp_path / "a", photograph())


# ------------------------------------------------------------------------------------------------ checking beforehand


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.png", "a.webp", "a.tif", "a.tiff"])
def test_check_output_passes_good_names(tmp_path: Path, name: str) -> None:
    """A new file in a writable folder is fine, and checking leaves no trace."""
    check_output(tmp_path / name, overwrite=False, bit_depth=8)
    assert os.listdir(tmp_path) == []


def test_check_output_allows_overwriting_on_request(tmp_path: Path) -> None:
    """An existing file is refused, with the option that allows it, and stays as it is."""
    (tmp_path / "a.png").write_bytes(b"old")
    with pytest.raises(OutputError, match="--overwrite") as caught:
        check_output(tmp_path / "a.png", overwrite=False)
    assert caught.value.path == tmp_path / "a.png"
    check_output(tmp_path / "a.png", overwrite=True)
    assert (tmp_path / "a.png").read_bytes() == b"old"


def test_check_output_lists_the_extensions(tmp_path: Path) -> None:
    """An unknown extension is answered with the known ones, all of them."""
    with pytest.raises(OutputError) as caught:
        check_output(tmp_path / "a.gif", overwrite=False)
    assert "'.gif'" in str(caught.value)
    for extension in OUTPUT_EXTENSIONS:
        assert extension in str(caught.value)


def test_check_output_refuses_folders(tmp_path: Path) -> None:
    """A folder named like a picture is not replaced, and a missing parent is named."""
    (tmp_path / "a.png").mkdir()
    with pytest.raises(OutputError, check=having(path=tmp_path / "a.png")):
        check_output(tmp_path / "a.png", overwrite=True)
    with pytest.raises(OutputError, check=having(FileNotFoundError, path=tmp_path / "gone" / "a.png")):
        check_output(tmp_path / "gone" / "a.png", overwrite=True)
    with pytest.raises(OutputError, match=r"^s3://bucket/a\.png: .*--scratch"):
        check_output("s3://bucket/a.png", overwrite=True)
    with pytest.raises(OutputError, match=r"^s3://bucket/out: "):
        make_folder(Path("s3://bucket/out"))


def test_check_output_tries_the_length_of_the_name(tmp_path: Path) -> None:
    """A name that leaves no room for the temporary file's is found out before any work."""
    with pytest.raises(OutputError, match=r"\b254 bytes"):
        check_output(tmp_path / ("a" * 250 + ".png"), overwrite=False)


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_check_output_tries_the_folder(ordinary_user: Path) -> None:
    """A folder without permission to write is found out before any work."""
    ordinary_user.chmod(0o500)
    try:
        with pytest.raises(OutputError, check=having(PermissionError, path=ordinary_user / "a.png")):
            check_output(ordinary_user / "a.png", overwrite=False)
    finally:
        ordinary_user.chmod(0o700)


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_check_output_knows_a_link_that_cannot_be_followed(ordinary_user: Path) -> None:
    """A link into a folder that may not be entered is something that is there."""
    (ordinary_user / "locked").mkdir(0)
    (ordinary_user / "a.png").symlink_to(ordinary_user / "locked" / "b.png")
    with pytest.raises(OutputError, match="--overwrite"):
        check_output(ordinary_user / "a.png", overwrite=False)


@pytest.mark.parametrize(("name", "limit"), [("a.jpg", 65500), ("a.webp", 16383)])
def test_the_largest_side_is_known(name: str, limit: int) -> None:
    """Sides beyond the format's limit are refused with the limit and a way out, sides at it are not."""
    check_side(Path(name), limit)
    with pytest.raises(OutputError, match=rf"\b{limit} .*\.tif"):
        check_side(Path(name), limit + 1)


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_check_output_knows_the_depth(tmp_path: Path, name: str) -> None:
    """A wish for 16 bits in an 8-bit format is refused with the formats that have them."""
    with pytest.raises(OutputError, match=r"\b16 bits .*\.png \.tif"):
        check_output(tmp_path / name, overwrite=False, bit_depth=16)
