"""Reading pictures with little memory: into files, in row blocks, and what a decoder would take."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import tifffile
from hostile import jpeg
from PIL import ExifTags, Image
from reading import STORED, UPRIGHT, refused
from snapshots import (
    EXTENSIONS,
    deep_photograph,
    photograph,
    profile,
    saved,
)

from muralist.pipeline.errors import PictureError
from muralist.pipeline.pictures.array_file import ArrayFile
from muralist.pipeline.pictures.limits import ReadLimits
from muralist.pipeline.pictures.reading import read_picture
from muralist.pipeline.pictures.writing import write_picture


def read_into(folder: Path, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels and alpha of a picture that was read into files of a new folder."""
    folder.mkdir()
    picture = read_picture(path, ReadLimits(memory=0, folder=folder))
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
def small_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are decoded row by row, a few rows at a time, or at once."""
    monkeypatch.setattr("muralist.pipeline.pictures.vips.BLOCK_BYTES", request.param)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", list(kinds_of_pictures()))
def test_an_array_file_holds_the_same(tmp_path: Path, name: str) -> None:
    """In files or in memory, decoded in row blocks or at once: pixels and alpha are the same."""
    image, options = kinds_of_pictures()[name]
    path = saved(tmp_path / name, image, **options)
    pixels, alpha = read_into(tmp_path / "room", path)
    picture = read_picture(path)
    assert np.array_equal(pixels, picture.pixels)
    assert pixels.dtype == picture.pixels.dtype
    assert (alpha is None) == (picture.alpha is None)
    assert alpha is None or np.array_equal(alpha, picture.alpha)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", ["rgb", "profile", "alpha"])
def test_an_array_file_of_floats_holds_the_same(tmp_path: Path, name: str) -> None:
    """Float TIFFs become 16 bits."""
    path = tmp_path / "float.tif"
    values = (photograph() / 255).astype(np.float32)
    if name == "alpha":
        tifffile.imwrite(path, np.dstack([values, values[:, :, 0]]), photometric="rgb", extrasamples=["unassalpha"])
    else:
        tifffile.imwrite(path, values, photometric="rgb", iccprofile=profile("p3") if name == "profile" else None)
    pixels, _ = read_into(tmp_path / "room", path)
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels, read_picture(path).pixels)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_array_file_is_upright(tmp_path: Path, orientation: int) -> None:
    """Row blocks of a turned photograph come to lie as strips of columns, or from the bottom up."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = saved(tmp_path / "turned.png", Image.fromarray(np.dstack([STORED] * 4)), exif=exif)
    pixels, alpha = read_into(tmp_path / "room", path)
    assert np.array_equal(pixels[:, :, 0], UPRIGHT[orientation])
    assert alpha is not None
    assert np.array_equal(alpha, UPRIGHT[orientation])


@pytest.mark.parametrize(("channels", "depth"), [(3, 8), (4, 8), (3, 16)])
def test_the_memory_decides(tmp_path: Path, channels: int, depth: int) -> None:
    """What just fits into the given memory, alpha included, is an array; what does not is an `ArrayFile`."""
    path = tmp_path / "a.png"
    alpha = photograph()[:, :, 0] if channels == 4 else None
    write_picture(path, deep_photograph(), alpha=alpha, bit_depth=depth)
    needed = 48 * 64 * channels * depth // 8
    assert isinstance(read_picture(path, ReadLimits(memory=needed, folder=tmp_path)).pixels, np.ndarray)
    assert isinstance(read_picture(path, ReadLimits(memory=needed - 1, folder=tmp_path)).pixels, ArrayFile)


def test_what_does_not_fit_needs_a_folder(tmp_path: Path) -> None:
    """To limit the memory and name no folder is the caller's error."""
    path = saved(tmp_path / "a.png", Image.fromarray(photograph()))
    with pytest.raises(ValueError, match=r"\b100\b"):
        read_picture(path, ReadLimits(memory=100))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_damaged_picture_leaves_no_file(tmp_path: Path, extension: str) -> None:
    """A picture that turns out damaged at its end is refused, and what was read of it is removed."""
    path, room = tmp_path / f"cut{extension}", tmp_path / "room"
    room.mkdir()
    write_picture(path, np.random.default_rng(0).integers(0, 256, (120, 700, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-400])
    refused(path, "cut short", memory=0, folder=room)
    assert os.listdir(room) == []


def test_one_bad_float_at_the_end_leaves_no_file(tmp_path: Path) -> None:
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
from muralist.pipeline.pictures.limits import ReadLimits
from muralist.pipeline.pictures.reading import read_picture

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    read_picture(sys.argv[1], ReadLimits(memory=0, folder=Path(sys.argv[2])))
except OutputError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
@pytest.mark.parametrize("limit", [100, 48 * 64 * 3])
def test_a_disk_without_room_for_the_pixels(tmp_path: Path, limit: int) -> None:
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
from muralist.pipeline.pictures.limits import ReadLimits
from muralist.pipeline.pictures.reading import read_picture

read_picture(sys.argv[3])  # so that all libraries are there; with their bytecode compiled or not makes 20 MB
before = peak_rss()
picture = read_picture(sys.argv[1], ReadLimits(memory=0, folder=Path(sys.argv[2])))
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
    """Refused by the header, with number and way out; what is decoded in blocks takes no more, however large."""
    path = tmp_path / name
    Image.new("RGB", (64, 48)).save(path, **save)
    if bytes_per_pixel is None:
        assert read_picture(path, ReadLimits(decoder_memory=1)).height == 48
        return
    limit = 64 * 48 * bytes_per_pixel
    assert read_picture(path, ReadLimits(decoder_memory=limit)).height == 48
    with pytest.raises(PictureError, match=r"64 x 48 px .*--memory"):
        read_picture(path, ReadLimits(decoder_memory=limit - 1))


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    """A progressive JPEG of some bytes that claims 65,500 px a side would take 8 GiB."""
    path = tmp_path / "bomb.jpg"
    path.write_bytes(jpeg(65_500, progressive=True) + bytes(20_000_000))
    with pytest.raises(PictureError, match=r"65500 x 65500 px .*8\.0 GiB"):
        read_picture(path, ReadLimits(5_000_000_000, decoder_memory=1 << 30))
