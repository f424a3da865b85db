"""TIFF files as they are met with: sloppy tags, thumbnails, colors and channels that are taken for others, damage."""

import io
import struct
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import tifffile
from handmade import ASCII, BYTE, LONG, RATIONAL, SHORT, UNDEFINED, Value, directory, tiff, tiff_tags
from PIL import ExifTags, Image, ImageCms
from snapshots import photograph, profile

from muralist.pipeline.errors import PictureError
from muralist.pipeline.pictures.exif import text_tags
from muralist.pipeline.pictures.images import Picture
from muralist.pipeline.pictures.limits import ReadLimits
from muralist.pipeline.pictures.profiles import adobe_rgb
from muralist.pipeline.pictures.reading import read_picture, read_size
from muralist.pipeline.pictures.writing import write_picture

PIXELS = photograph()
DEEP = PIXELS.astype(np.uint16) * 257
ADOBE = adobe_rgb()
NOISE = np.random.default_rng(0).integers(0, 256, (96, 80, 3), dtype=np.uint8)


def read(folder: Path, content: bytes) -> Picture:
    """The picture that a file of these bytes holds."""
    (folder / "a.tif").write_bytes(content)
    return read_picture(folder / "a.tif")


def incompatibility(folder: Path, content: bytes) -> str:
    """What is said of a file of these bytes, in one line."""
    with pytest.raises(PictureError) as caught:
        read(folder, content)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(folder / "a.tif"))
    return message


def test_a_palette_of_grays_keeps_its_profile(tmp_path: Path) -> None:
    """Where all colors of a palette are gray, its profile is applied as to any other palette."""
    image = Image.fromarray(PIXELS[:, :, 0], "P")
    image.putpalette([level for number in range(256) for level in (number,) * 3])
    image.save(tmp_path / "a.tif", icc_profile=ADOBE)
    Image.fromarray(PIXELS[:, :, 0]).convert("RGB").save(tmp_path / "b.tif", icc_profile=ADOBE)
    found, wanted = read_picture(tmp_path / "a.tif"), read_picture(tmp_path / "b.tif")
    assert (found.icc, found.notices) == (ADOBE, ())
    assert np.array_equal(found.pixels, wanted.pixels)
    assert not np.array_equal(found.pixels[:, :, 0], PIXELS[:, :, 0])


# ------------------------------------------------------------------------------------------------------- sloppy tags


SLOPPY: dict[str, dict[int, Value | None]] = {
    "text without NUL": {271: (ASCII, b"ACM")},
    "long text without NUL": {305: (ASCII, b"Acme 1.0")},
    "text padded with NULs": {305: (ASCII, b"Acme 1.0".ljust(32, b"\0"))},
    "text of another type": {306: (BYTE, b"2026")},
    "empty text": {270: (ASCII, b"")},
    "page number of one value": {297: (SHORT, [3])},
    "a tag that nobody knows": {65111: (LONG, [1])},
    "numbers of a drone": {700: (BYTE, b"<x:xmpmeta/>"), 34665: (LONG, [4]), 50341: (UNDEFINED, b"PrintIM\0")},
    "empty profile": {34675: (UNDEFINED, b"")},
    "orientation 0": {274: (SHORT, [0])},
    "orientation 9": {274: (SHORT, [9])},
    "orientation of two values": {274: (SHORT, [1, 1])},
    "odd unit of resolution": {282: (RATIONAL, [300, 1]), 283: (RATIONAL, [300, 1]), 296: (SHORT, [129])},
    "resolution of nothing": {282: (RATIONAL, [0, 0]), 283: (RATIONAL, [0, 0]), 296: (SHORT, [2])},
    "resolution as short": {282: (SHORT, [300]), 283: (SHORT, [300])},
    "ExtraSamples without extra samples": {338: (SHORT, [2, 2])},
    "no planar configuration, nor fill order": {284: None, 266: None},
}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("name", list(SLOPPY))
@pytest.mark.parametrize("pixels", [PIXELS, DEEP], ids=["8 bit", "16 bit"])
def test_sloppy_tags_refuse_nothing(tmp_path: Path, name: str, order: str, pixels: np.ndarray) -> None:
    """What libtiff warns about beside the pixels does not matter."""
    picture = read(tmp_path, tiff(pixels, tags=SLOPPY[name], order=order))
    assert np.array_equal(picture.pixels, pixels)
    assert picture.dpi is None or name.startswith("resolution as")
    assert picture.icc is None
    assert read_size(tmp_path / "a.tif") == pixels.shape[:2]


@pytest.mark.parametrize("order", "<>")
def test_tags_in_any_order(tmp_path: Path, order: str) -> None:
    """Tags that are not sorted, or there twice, are read."""
    assert np.array_equal(read(tmp_path, tiff(PIXELS, by_number=False, order=order)).pixels, PIXELS)


@pytest.mark.parametrize("compression", ["lzw", "packbits", "jpeg", "deflate"])
def test_sloppy_tags_with_every_compression(tmp_path: Path, compression: str) -> None:
    """Sloppy tags are told from damaged pixels also where libtiff only warns of both."""
    image = pyvips.Image.new_from_array(PIXELS, interpretation="srgb")
    content = image.tiffsave_buffer(compression=compression, Q=98)
    picture = read(tmp_path, with_tag(content, ExifTags.Base.ResolutionUnit, struct.pack("<H", 129)))
    assert np.abs(picture.pixels.astype(int) - PIXELS).max() <= (6 if compression == "jpeg" else 0)
    assert picture.dpi is None


def with_tag(content: bytes, tag: int, value: bytes) -> bytes:
    """A classic little-endian file, in which an entry of its first directory has another value, stored inline."""
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        at = file.pages.first.tags[int(tag)].offset + 8
    return content[:at] + value.ljust(4, b"\0") + content[at + 4 :]


def test_text_without_its_end_is_kept(tmp_path: Path) -> None:
    """A camera's name without NUL comes into the painting whole."""
    picture = read(tmp_path, tiff(PIXELS, tags={271: (ASCII, b"DJI"), 272: (ASCII, b"FC6310\0\0\0\0")}))
    assert text_tags(picture.exif) == {271: b"DJI", 272: b"FC6310"}


@pytest.mark.parametrize("extension", [".tif", ".jpg"])
def test_when_it_was_taken_is_kept(tmp_path: Path, extension: str) -> None:
    """Where nothing but the EXIF directory tells a date, as after most scans and exports, the painting has it."""
    place = len(tiff(PIXELS, tags={34665: (LONG, [0])}))
    taken = struct.pack("<HHHIII", 1, 0x9003, ASCII, 20, place + 18, 0) + b"2020:05:06 07:08:09\0"
    picture = read(tmp_path, tiff(PIXELS, tags={34665: (LONG, [place])}) + taken)
    write_picture(tmp_path / f"b{extension}", PIXELS, exif=picture.exif)
    with Image.open(tmp_path / f"b{extension}") as painting:
        found = painting.getexif()
        dates = {found.get(ExifTags.Base.DateTime), found.get_ifd(ExifTags.IFD.Exif).get(0x9003)}
    assert "2020:05:06 07:08:09" in dates


def test_an_exif_directory_that_is_nowhere(tmp_path: Path) -> None:
    """It reads as absent."""
    picture = read(tmp_path, tiff(PIXELS, tags={271: (ASCII, b"DJI\0"), 34665: (LONG, [1 << 30])}))
    assert text_tags(picture.exif) == {271: b"DJI"}


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_profile_resolution_and_orientation_are_read(tmp_path: Path, big: bool, order: str) -> None:
    """What libvips is not shown is read all the same."""
    options: dict[str, Any] = {"resolution": (300, 150), "resolutionunit": "INCH", "iccprofile": profile("p3")}
    tags = [(274, "H", 1, 6, True)]
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, PIXELS, photometric="rgb", bigtiff=big, byteorder=order, extratags=tags, **options)
    picture = read_picture(file)
    assert (picture.height, picture.width, picture.dpi) == (64, 48, (150, 300))
    assert picture.icc == profile("p3")
    assert read_size(file) == (64, 48)


@pytest.mark.parametrize("subsampling", ["on", "off"])
@pytest.mark.parametrize("stated", [None, [1, 1], [2, 2]])
def test_a_jpeg_within_knows_how_it_is_sampled(tmp_path: Path, subsampling: str, stated: list[int] | None) -> None:
    """JPEG in TIFF is read whether or not the tag about its colors is there, and right."""
    jpeg = pyvips.Image.new_from_array(PIXELS, interpretation="srgb").jpegsave_buffer(Q=98, subsample_mode=subsampling)
    tags: dict[int, Value | None] = {259: (SHORT, [7]), 279: (LONG, [len(jpeg)])}
    if stated:
        tags[530] = (SHORT, stated)
    picture = read(tmp_path, tiff(PIXELS, 6, tags, data=jpeg))
    assert np.abs(picture.pixels.astype(int) - PIXELS).max() <= 8


# ------------------------------------------------------------------------------------------------------------ damage


def compressed(compression: str, *, tiled: bool) -> bytes:
    """Noise in strips or tiles; uncompressed is "none"."""
    image = pyvips.Image.new_from_array(NOISE, interpretation="srgb")
    shape = {"tile": True, "tile_width": 16, "tile_height": 16} if tiled else {"tile_height": 16}
    return bytes(image.tiffsave_buffer(compression=compression, **shape))


def parts_of(content: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where strips or tiles lie, and their lengths."""
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        return file.pages.first.dataoffsets, file.pages.first.databytecounts


@pytest.mark.parametrize("tiled", [False, True], ids=["strips", "tiles"])
@pytest.mark.parametrize("compression", ["lzw", "packbits", "jpeg", "deflate"])
def test_a_broken_part_is_refused(tmp_path: Path, compression: str, tiled: bool) -> None:
    """A strip or tile that is overwritten is damage, and never black or gray."""
    content = bytearray(compressed(compression, tiled=tiled))
    offsets, lengths = parts_of(bytes(content))
    assert len(offsets) > 3
    start, stop = offsets[2] + lengths[2] // 3, offsets[2] + lengths[2]
    content[start:stop] = bytes([0x80] * (stop - start))
    assert "damaged" in incompatibility(tmp_path, bytes(content))


@pytest.mark.parametrize("tiled", [False, True], ids=["strips", "tiles"])
@pytest.mark.parametrize("compression", ["none", "lzw", "packbits", "jpeg", "deflate"])
@pytest.mark.parametrize("what", ["offset", "length", "end"])
def test_a_missing_part_is_refused(tmp_path: Path, compression: str, tiled: bool, what: str) -> None:
    """A strip or tile that lies nowhere, is empty, or beyond the end, is damage."""
    content = compressed(compression, tiled=tiled)
    tags = {"offset": (324, 273), "length": (325, 279), "end": (324, 273)}[what]
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        tag = file.pages.first.tags[tags[0] if tiled else tags[1]]
        code, width = {3: ("<H", 2), 4: ("<I", 4)}[int(tag.dtype)]
    at = tag.valueoffset + 2 * width
    value = struct.pack(code, min(len(content), 256**width - 1) if what == "end" else 0)
    assert "damaged" in incompatibility(tmp_path, content[:at] + value + content[at + width :])


@pytest.mark.parametrize("compression", ["none", "lzw", "packbits", "jpeg", "deflate"])
def test_a_file_cut_short_is_refused(tmp_path: Path, compression: str) -> None:
    """A file whose directory is in front and whose end is missing is damaged, whatever the compression."""
    content = compressed(compression, tiled=False)
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        tags = {tag.code: tag for tag in file.pages.first.tags.values()}
        strips = [content[a : a + n] for a, n in zip(*parts_of(content), strict=True)]
        found: dict[int, Value | None] = {
            code: (int(tag.dtype), content[tag.valueoffset : tag.valueoffset + tag.valuebytecount])
            for code, tag in tags.items()
            if code in (258, 259, 262, 277, 278, 284, 317, 347, 530)
        }
    offsets = np.cumsum([0, *map(len, strips)])[:-1]
    front = 4096
    found |= {273: (LONG, [front + int(n) for n in offsets]), 279: (LONG, [len(strip) for strip in strips])}
    data = tiff(NOISE, tags=found, data=b"").ljust(front, b"\0") + b"".join(strips)
    assert read(tmp_path, data).pixels.shape == NOISE.shape
    assert "damaged" in incompatibility(tmp_path, data[:-100])


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("tag", [258, 259, 262, 274, 277, 330])
def test_numbers_that_are_none(tmp_path: Path, tag: int, number: float) -> None:
    """A tag that holds no finite number is read as 0: the file is read, or refused with its name."""
    value = struct.unpack("<I", struct.pack("<f", number))[0]
    content = tiff(PIXELS, tags={tag: (LONG, [value])})
    content = content.replace(struct.pack("<HHI", tag, LONG, 1), struct.pack("<HHI", tag, 11, 1))
    if tag in (274, 330):
        assert np.array_equal(read(tmp_path, content).pixels, PIXELS)
    else:
        incompatibility(tmp_path, content)


@pytest.mark.parametrize("content", [b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\0\xff", b"II+\0\x08\0\0\0"])
def test_a_file_without_directory(tmp_path: Path, content: bytes) -> None:
    """Where the first directory cannot be read the file is damaged."""
    assert "no directory" in incompatibility(tmp_path, content)


# ------------------------------------------------------------------------------------------------ raw and thumbnails


def sub_directory(content: bytes, tags: dict[int, Value | None]) -> bytes:
    """The file, with a directory behind its end that the last value of its SubIFDs is to name."""
    place = len(content)
    return content + directory(tags, place=place, strip=8)


def with_sub_directory(first: dict[int, Value | None], second: dict[int, Value | None]) -> bytes:
    """A thumbnail's file with a second picture in a directory below the first."""
    small = PIXELS[:12, :16]
    place = len(tiff(small, tags={**first, 330: (LONG, [0])}))
    return sub_directory(tiff(small, tags={**first, 330: (LONG, [place])}), {**tiff_tags(PIXELS), **second})


def with_following(first: dict[int, Value | None], second: dict[int, Value | None]) -> bytes:
    """A thumbnail's file with a second picture in the directory that follows."""
    small = PIXELS[:12, :16]
    place = len(tiff(small, tags=first, behind=b"-")) - 1
    return tiff(small, tags=first, behind=directory({**tiff_tags(PIXELS), **second}, place=place, strip=8))


@pytest.mark.parametrize("made", [with_sub_directory, with_following])
@pytest.mark.parametrize("photometric", [32803, 34892])
def test_raw_photographs_are_told(tmp_path: Path, made: Any, photometric: int) -> None:
    """DNG, NEF and their like hold a thumbnail first, which nobody wants painted: they are for LibRaw."""
    message = incompatibility(tmp_path, made({254: (LONG, [1])}, {262: (SHORT, [photometric])}))
    assert "raw photograph that LibRaw cannot develop" in message
    assert "raw converter" in message


def test_a_raw_photograph_without_thumbnail(tmp_path: Path) -> None:
    """Nor are a sensor's own numbers a picture."""
    assert "raw photograph" in incompatibility(tmp_path, tiff(PIXELS[:, :, :1], 32803))


def test_canons_raw_photographs(tmp_path: Path) -> None:
    """CR2 tells itself by its head alone."""
    content = tiff(PIXELS)
    place = len(content)
    moved = directory(tiff_tags(PIXELS), place=place, strip=16)
    assert "raw photograph" in incompatibility(
        tmp_path, content[:4] + struct.pack("<I", place) + b"CR\2\0" + content[12:] + moved
    )


@pytest.mark.parametrize("made", [with_sub_directory, with_following])
@pytest.mark.parametrize("tags", [{254: (LONG, [1])}, {255: (SHORT, [2])}])
def test_a_thumbnail_before_the_picture(tmp_path: Path, made: Any, tags: dict[int, Value | None]) -> None:
    """A TIFF whose first picture is declared smaller than another is refused with both sizes."""
    message = incompatibility(tmp_path, made(tags, {}))
    assert "thumbnail of 16 x 12 pixels" in message
    assert "64 x 48" in message


@pytest.mark.parametrize("made", [with_sub_directory, with_following])
@pytest.mark.parametrize(
    ("first", "second"), [({}, {}), ({254: (LONG, [1])}, {256: (LONG, [4])}), ({}, {254: (LONG, [1])})]
)
def test_other_pictures_in_the_file_do_not_matter(tmp_path: Path, made: Any, first: Any, second: Any) -> None:
    """Pages, smaller copies, and a lone picture that calls itself reduced: the first is read."""
    assert np.array_equal(read(tmp_path, made(first, second)).pixels, PIXELS[:12, :16])


def test_directories_in_a_ring(tmp_path: Path) -> None:
    """A directory that names itself as the next one is read once."""
    content = bytearray(tiff(PIXELS))
    struct.pack_into("<I", content, 8 + 2 + 12 * len(tiff_tags(PIXELS)), 8)
    assert np.array_equal(read(tmp_path, bytes(content)).pixels, PIXELS)


# ------------------------------------------------------------------------------------------------------ extra samples


EXTRA = np.full((48, 64, 1), 40, np.uint8)
CMYK = np.dstack([255 - PIXELS, np.zeros((48, 64), np.uint8)])


@pytest.mark.parametrize("photometric", [1, 2, 5])
@pytest.mark.parametrize("declared", [None, [0], [2], [1]])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_only_declared_alpha_is_alpha(tmp_path: Path, photometric: int, declared: Any, dtype: type) -> None:
    """A spot color or a saved selection makes no holes; alpha does, premultiplied or not."""
    colors = {1: PIXELS[:, :, :1], 2: PIXELS, 5: CMYK}[photometric]
    pixels, scale = np.dstack([colors, EXTRA]).astype(dtype), 257 if dtype is np.uint16 else 1
    tags: dict[int, Value | None] = {338: declared and (SHORT, declared)}
    picture = read(tmp_path, tiff(pixels * dtype(scale), photometric, tags))
    opaque = read(tmp_path, tiff(colors.astype(dtype) * dtype(scale), photometric))
    if declared in (None, [0]):
        assert picture.alpha is None
    else:
        assert picture.alpha is not None
        assert np.ptp(picture.alpha) == 0
        assert picture.alpha[0, 0] == 40 * scale
    if declared != [1]:
        assert np.array_equal(picture.pixels, opaque.pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_premultiplied_alpha(tmp_path: Path, dtype: type) -> None:
    """Colors that were multiplied by alpha are divided by it."""
    scale = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
    pixels = np.full((8, 8, 4), 50 * scale, dtype)
    pixels[:, :, 3] = dtype(100 * scale)
    picture = read(
        tmp_path, tiff(pixels, tags={338: (SHORT, [1]), 339: (SHORT, [3 if dtype is np.float32 else 1] * 4)})
    )
    unit = 1 if dtype is np.uint8 else 257
    assert np.abs(picture.pixels / unit - 127.5).max() <= 0.5
    assert picture.alpha is not None
    assert np.abs(picture.alpha / unit - 100).max() < 0.01


@pytest.mark.parametrize(("photometric", "colors"), [(2, PIXELS), (5, CMYK)])
def test_selections_beside_alpha(tmp_path: Path, photometric: int, colors: np.ndarray) -> None:
    """Of several extra samples the one that is declared as alpha counts, wherever it stands."""
    pixels = np.dstack([colors, EXTRA, 2 * EXTRA, 3 * EXTRA])
    picture = read(tmp_path, tiff(pixels, photometric, {338: (SHORT, [0, 2, 0])}))
    assert picture.alpha is not None
    assert (picture.alpha == 80).all()
    assert np.array_equal(picture.pixels, read(tmp_path, tiff(colors, photometric)).pixels)


def test_gray_with_many_channels_is_refused(tmp_path: Path) -> None:
    """Nobody says which one of a microscope's channels is meant."""
    pixels = np.dstack([PIXELS, PIXELS])
    assert "6 channels" in incompatibility(tmp_path, tiff(pixels, 1, {338: (SHORT, [0] * 5)}))


# ------------------------------------------------------------------------------------------------------------ colors


def ycbcr(rgb: np.ndarray) -> np.ndarray:
    """Luma and color differences of 8 or 16 bits, full range, ITU-R BT.601."""
    full = np.iinfo(rgb.dtype).max
    matrix = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    found = rgb @ matrix.T + [0, (full + 1) / 2, (full + 1) / 2]
    return np.rint(found).clip(0, full).astype(rgb.dtype)


@pytest.mark.parametrize("pixels", [PIXELS, DEEP], ids=["8 bit", "16 bit"])
def test_ycbcr_without_jpeg(tmp_path: Path, pixels: np.ndarray) -> None:
    """Luma and color differences are no red, green and blue."""
    picture = read(tmp_path, tiff(ycbcr(pixels), 6, {530: (SHORT, [1, 1])}))
    assert picture.pixels.dtype == pixels.dtype
    assert np.abs(picture.pixels.astype(int) - pixels).max() <= 2


@pytest.mark.parametrize("reference", [None, [16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1]])
@pytest.mark.parametrize("coefficients", [None, [2125, 10000, 7154, 10000, 721, 10000]])
def test_ycbcr_as_pillow_reads_it(tmp_path: Path, reference: Any, coefficients: Any) -> None:
    """Other coefficients, and video's black and white, are taken into account as libtiff does."""
    pixels = (ycbcr(PIXELS) * 0.8 + 20).astype(np.uint8)
    tags: dict[int, Value | None] = {
        530: (SHORT, [1, 1]),
        529: coefficients and (RATIONAL, coefficients),
        532: reference and (RATIONAL, reference),
    }
    picture = read(tmp_path, tiff(pixels, 6, tags))
    # Pillow leaves it to libtiff if the file is compressed
    compressed_tags = {**tags, 259: (SHORT, [8]), 279: (LONG, [len(packed := zlib_of(pixels))])}
    (tmp_path / "b.tif").write_bytes(tiff(pixels, 6, compressed_tags, data=packed))
    with Image.open(tmp_path / "b.tif") as image:
        wanted = np.asarray(image.convert("RGB"))
    assert np.abs(picture.pixels.astype(int) - wanted).max() <= 3


def zlib_of(pixels: np.ndarray) -> bytes:
    """Deflated samples."""
    return zlib.compress(pixels.tobytes())


def test_ycbcr_with_subsampling_and_alpha(tmp_path: Path) -> None:
    """What libvips converts itself comes without the transparency that it makes up."""
    gray = np.full((48, 64, 3), 128, np.uint8)
    packed = np.full((48 // 2) * (64 // 2) * 6, 128, np.uint8).tobytes()
    picture = read(tmp_path, tiff(gray, 6, {279: (LONG, [len(packed)])}, data=packed))
    assert picture.alpha is None
    assert np.abs(picture.pixels.astype(int) - 128).max() <= 1


def lab_bytes(photometric: int, dtype: type) -> np.ndarray:
    """Colors in CIE L*a*b* as TIFF stores them, (48, 64, 3)."""
    light = np.linspace(35, 75, 64)[None, :].repeat(48, 0)
    a = np.linspace(-20, 25, 48)[:, None].repeat(64, 1)
    b = np.linspace(25, -25, 64)[None, :].repeat(48, 0)
    deep = dtype is np.uint16
    if photometric == 8:
        chroma = [np.rint(v * (256 if deep else 1)).astype(np.int16 if deep else np.int8).view(dtype) for v in (a, b)]
        white = 65535 if deep else 255
    else:
        chroma = [np.rint((v + 128) * (256 if deep else 1)).astype(dtype) for v in (a, b)]
        white = 65280 if deep else 255
    return np.dstack([np.rint(light * white / 100).astype(dtype), *chroma])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("photometric", [8, 9])
def test_lab(tmp_path: Path, photometric: int, dtype: type) -> None:
    """L*a*b*, as Photoshop saves it, has the colors that Pillow's LittleCMS finds."""
    picture = read(tmp_path, tiff(lab_bytes(photometric, dtype), photometric))
    assert picture.pixels.dtype == dtype
    lab = Image.frombytes("LAB", (64, 48), lab_bytes(8, np.uint8).tobytes())
    lab_profile, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(lab_profile, srgb, "LAB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
    wanted = np.asarray(ImageCms.applyTransform(lab, transform)).astype(float)
    found = picture.pixels / (257 if dtype is np.uint16 else 1)
    assert np.abs(found - wanted).max() < 4


def test_white_in_lab_is_white(tmp_path: Path) -> None:
    """The lightest L*a*b* is white and opaque, also where a selection lies beside it."""
    pixels = np.dstack([np.full((8, 8), 255), np.zeros((8, 8)), np.zeros((8, 8)), np.zeros((8, 8))]).astype(np.uint8)
    picture = read(tmp_path, tiff(pixels, 8))
    assert picture.pixels.min() >= 254
    assert picture.alpha is None
    assert picture.icc is None


# ------------------------------------------------------------------------------------------------- refused by its name


def packed(bits: int, samples: int = 1) -> bytes:
    """The bytes of 48 x 64 pixels."""
    return bytes(48 * 64 * bits * samples // 8)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (tiff(PIXELS[:, :, :1], 1, {258: (SHORT, [12])}, data=packed(12)), "12 bits per sample"),
        (tiff(PIXELS, 2, {258: (SHORT, [5, 6, 5])}, data=packed(16)), "5 and 6 bits per sample"),
        (tiff(PIXELS, 2, {258: (SHORT, [4, 4, 4])}, data=packed(12)), "4 bits per sample"),
        (tiff(PIXELS, 2, {259: (SHORT, [34925])}), "LZMA compression"),
        (tiff(PIXELS, 2, {259: (SHORT, [5])}, data=b"\0\1" + bytes(99)), "old-style LZW compression"),
        (tiff(PIXELS, 6, {259: (SHORT, [6])}), "old-style JPEG compression"),
        (tiff(PIXELS, 2, {259: (SHORT, [50002])}), "JPEGXL compression"),
        (tiff(PIXELS, 2, {259: (SHORT, [12345])}), "number 12345 compression"),
        (tiff(PIXELS, 10), "ITULAB"),
        (tiff(PIXELS[:, :, :1], 32844), "LOGL"),
        (tiff(PIXELS[:, :, :1], 999), "number 999"),
        (tiff(np.dstack([PIXELS, PIXELS]), 5, {332: (SHORT, [2])}), "inks other than CMYK"),
        (tiff(PIXELS.astype(np.float32), 8), "32 bits per sample"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, content: bytes, name: str) -> None:
    """A sound file of a kind that is not read is not called damaged, and the way out is told."""
    message = incompatibility(tmp_path, content)
    assert name in message
    assert "damaged" not in message
    assert "convert" in message


def test_tiles_of_planes(tmp_path: Path) -> None:
    """A plane of tiles for each channel is named."""
    file = io.BytesIO()
    tifffile.imwrite(file, np.moveaxis(PIXELS, 2, 0), photometric="rgb", planarconfig="separate", tile=(16, 16))
    assert "a plane of tiles for each channel" in incompatibility(tmp_path, file.getvalue())


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_read(tmp_path: Path, bits: int) -> None:
    """Gray of less than eight bits is spread over all of them."""
    packed_bits = np.full(48 * 64 * bits // 8, 255, np.uint8).tobytes()
    tags: dict[int, Value | None] = {258: (SHORT, [bits]), 279: (LONG, [len(packed_bits)])}
    assert (read(tmp_path, tiff(PIXELS[:, :, :1], 1, tags, data=packed_bits)).pixels == 255).all()


# ------------------------------------------------------------------------------------------------- what decoding takes


def saved(folder: Path, **options: Any) -> Path:
    """A file as libvips saves it."""
    image = pyvips.Image.new_from_array(PIXELS, interpretation="srgb")
    image.tiffsave(str(folder / "a.tif"), **options)
    return folder / "a.tif"


def in_planes(folder: Path) -> Path:
    """A file of a strip for each channel."""
    planes = np.ascontiguousarray(PIXELS.transpose(2, 0, 1))
    tifffile.imwrite(folder / "a.tif", planes, photometric="rgb", planarconfig="separate", compression="zlib")
    return folder / "a.tif"


@pytest.mark.parametrize(
    ("made", "rows"),
    [
        (partial(saved, tile_height=16, compression="deflate"), 16),
        (partial(saved, tile=True, tile_width=64, tile_height=32, compression="deflate"), 32),
        (partial(saved, tile=True, tile_width=64, tile_height=32, compression="jpeg"), 32),
        (partial(saved, tile_height=32, compression="jpeg"), 32),
        (in_planes, 48),
    ],
    ids=["strips", "tiles", "JPEG in tiles", "JPEG in strips", "planes"],
)
def test_large_parts_are_limited(tmp_path: Path, made: Any, rows: int) -> None:
    """What is decoded at once is refused by the directory if it takes more than there is, as decoded and as stored."""
    path = made(tmp_path)
    with tifffile.TiffFile(path) as file:
        held = 2 * (rows * PIXELS.shape[1] * 3 + max(file.pages[0].databytecounts))
    assert read_picture(path, ReadLimits(decoder_memory=held)).height == PIXELS.shape[0]
    with pytest.raises(PictureError, match=r"64 x 48 px .*TIFF.*--memory"):
        read_picture(path, ReadLimits(decoder_memory=held - 1))


def test_a_large_sound_strip_is_read(tmp_path: Path) -> None:
    """One of more than the 50 MB that libtiff takes by itself is no damage."""
    noise = np.random.default_rng(0).integers(0, 256, (4200, 4200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.tif", compression="packbits", tiffinfo={278: 4200})
    assert np.array_equal(read_picture(tmp_path / "a.tif").pixels, noise)
