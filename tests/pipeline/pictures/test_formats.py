"""Tests of files from phones, cameras and Photoshop: what is read of them, and what is refused in which words."""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brotli
import imagecodecs
import numpy as np
import OpenImageIO
import pillow_heif
import pytest
import pyvips
from camera_files import (
    avif,
    dng,
    heic,
    jpeg_2000,
    jpeg_2000_boxes,
    jpeg_2000_planes,
    jpeg_xl,
    jpeg_xl_boxes,
    mosaic,
    psd,
    saved,
)
from facts import having
from handmade import ASCII, LONG, RATIONAL, SHORT, directory, tiff, tiff_tags
from pictures import deep, photograph, with_alpha
from PIL import ExifTags, Image

from muralist.pipeline.errors import PictureError
from muralist.pipeline.pictures.exif import text_tags
from muralist.pipeline.pictures.formats import INPUT_FORMATS, UNSUPPORTED_EXTENSIONS
from muralist.pipeline.pictures.heif_items import coded_colors, is_narrow_gray
from muralist.pipeline.pictures.images import Picture
from muralist.pipeline.pictures.limits import ReadLimits
from muralist.pipeline.pictures.reading import read_picture, read_size

PIXELS = photograph(48, 64)
SIZES = (48, 64)
P3 = bytes(pyvips.Image.profile_load("p3"))
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>'


def exif(orientation: int = 1) -> bytes:
    """An EXIF block of a maker, 300 dpi and an orientation."""
    block = Image.Exif()
    block[ExifTags.Base.Make], block[ExifTags.Base.Orientation] = "Maker", orientation
    block[ExifTags.Base.XResolution] = block[ExifTags.Base.YResolution] = 300.0
    return block.tobytes()


def read(where: Path, name: str, content: bytes, **options: Any) -> Picture:
    """Read a file of this content."""
    (where / name).write_bytes(content)
    return read_picture(where / name, **options)


def refused(folder: Path, name: str, content: bytes, *words: str, **options: Any) -> None:
    """Reading fails with one line that names the file and has these words."""
    with pytest.raises(PictureError) as caught:
        read(folder, name, content, **options)
    assert "\n" not in str(caught.value)
    for each in (str(folder / name), *words):
        assert each in str(caught.value)


EVERY: dict[str, Callable[[], bytes]] = {
    "a.heic": lambda: heic(PIXELS),
    "a.avif": lambda: avif(PIXELS),
    "a.jxl": lambda: jpeg_xl(PIXELS),
    "a.jp2": lambda: jpeg_2000(PIXELS),
    "a.bmp": lambda: saved("BMP", PIXELS),
    "a.psd": lambda: psd(PIXELS.transpose(2, 0, 1)),
    "a.jfif": lambda: saved("JPEG", PIXELS, quality=98, subsampling=0),
    "a.gif": lambda: saved("GIF", PIXELS),
}
LOSSLESS = ("a.jxl", "a.jp2", "a.bmp", "a.psd")
WHOLE = ("a.heic", "a.avif", "a.jxl", "a.jp2", "a.bmp", "a.gif")


def test_the_table_of_inputs_names_the_formats() -> None:
    """The table that messages are computed from lists exactly the supported formats, and no extension twice."""
    assert [kind.name for kind in INPUT_FORMATS] == [
        *("JPEG", "PNG", "TIFF", "WebP", "HEIC", "AVIF", "JPEG XL", "JPEG 2000", "GIF", "BMP", "PSD", "raw"),
    ]
    extensions = [extension for kind in INPUT_FORMATS for extension in kind.extensions]
    assert len(set(extensions)) == len(extensions)
    assert not UNSUPPORTED_EXTENSIONS & set(extensions)


@pytest.mark.parametrize("name", EVERY)
def test_pixels_are_the_encoders(tmp_path: Path, name: str) -> None:
    """Every format gives the pixels that another program put into it, and its size from the header alone."""
    picture = read(tmp_path, name, EVERY[name]())
    assert picture.pixels.shape == (*SIZES, 3)
    assert read_size(tmp_path / name) == SIZES
    assert (picture.bit_depth, picture.alpha, picture.exif, picture.notices) == (8, None, None, ())
    difference = np.abs(picture.pixels[:].astype(int) - PIXELS)
    if name == "a.gif":  # of 256 colors
        assert difference.mean() < 8
    else:
        assert difference.max() <= (0 if name in LOSSLESS else 8)


def test_heic_as_another_decoder_reads_it(tmp_path: Path) -> None:
    """A compressed HEIC has the pixels that pillow-heif finds in it."""
    content = heic(PIXELS, quality=40)
    wanted = np.asarray(pillow_heif.open_heif(io.BytesIO(content)))
    assert np.array_equal(read(tmp_path, "a.heic", content).pixels, wanted)


@pytest.mark.parametrize("name", ["a.avif", "a.jp2"])
def test_compressed_files_as_pillow_reads_them(tmp_path: Path, name: str) -> None:
    """A compressed AVIF and JPEG 2000 have the pixels that Pillow finds in them."""
    form = {"a.avif": "AVIF", "a.jp2": "JPEG2000"}[name]
    options: dict[str, Any] = {
        "a.avif": {"quality": 50, "subsampling": "4:4:4"},
        "a.jp2": {"quality_layers": [20], "irreversible": True},
    }
    content = saved(form, PIXELS, **options[name])
    wanted = np.asarray(Image.open(io.BytesIO(content))).astype(int)
    assert np.abs(read(tmp_path, name, content).pixels[:].astype(int) - wanted).max() <= 2


def test_compressed_jpeg_xl_as_another_decoder_reads_it(tmp_path: Path) -> None:
    """A lossy JPEG XL has the pixels that imagecodecs finds in it."""
    content = bytes(imagecodecs.jpegxl_encode(PIXELS, level=80))
    found = read(tmp_path, "a.jxl", content).pixels[:].astype(int)
    assert np.abs(found - imagecodecs.jpegxl_decode(content)).max() <= 1


@pytest.mark.parametrize("name", ["a.jxl", "a.jp2", "a.psd"])
def test_sixteen_bits_stay_sixteen(tmp_path: Path, name: str) -> None:
    """Nothing is lost of 16 bits."""
    pixels = deep(PIXELS)
    made = {"a.jxl": jpeg_xl(pixels), "a.jp2": jpeg_2000(pixels), "a.psd": psd(pixels.transpose(2, 0, 1))}
    found = read(tmp_path, name, made[name]).pixels
    if name == "a.jxl":  # which imagecodecs declares as linear light
        found = np.rint(linear(found[:]) * 65535)
    assert np.abs(found[:].astype(int) - pixels).max() <= (40 if name == "a.jxl" else 0)


@pytest.mark.parametrize("name", ["a.heic", "a.avif"])
def test_ten_bits_become_sixteen(tmp_path: Path, name: str) -> None:
    """10 bits are kept, over the full scale: white is 65535, and a ramp has steps that 8 bits have not."""
    ramp = np.repeat(np.linspace(0, 65535, 512).astype(np.uint16)[None, :, None], 64, 0).repeat(3, 2)
    ramp[:, -64:] = 65535
    image = pyvips.Image.new_from_array(ramp, interpretation="rgb16")
    options = {"compression": "av1", "bitdepth": 10, "lossless": True, "effort": 0}
    content = heic(ramp) if name == "a.heic" else image.heifsave_buffer(**options)
    found = read(tmp_path, name, content).pixels
    assert found.dtype == np.uint16
    assert (found[10:50, -20:] == 65535).all()
    assert np.abs(found[:].astype(int) - ramp).max() < 700
    assert len(np.unique(found[32, :, 1])) > 380


@pytest.mark.parametrize("name", ["a.heic", "a.avif", "a.jxl", "a.jp2", "a.gif", "a.psd"])
def test_alpha(tmp_path: Path, name: str) -> None:
    """Alpha is kept aside, and not multiplied into the colors."""
    pixels = with_alpha(PIXELS)
    pixels[:, :, 3] = np.where(np.arange(64) < 32, 255, 0)
    planes = pixels.transpose(2, 0, 1).copy()
    planes[:3] = np.where(planes[3] == 0, 255, planes[:3])  # as Photoshop lays it on white
    made: dict[str, Callable[[], bytes]] = {
        "a.heic": lambda: heic(pixels),
        "a.avif": lambda: avif(pixels),
        "a.jxl": lambda: jpeg_xl(pixels),
        "a.jp2": lambda: jpeg_2000(pixels),
        "a.gif": lambda: saved("GIF", pixels),
        "a.psd": lambda: psd(planes, layers=-1),
    }
    picture = read(tmp_path, name, made[name]())
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, pixels[:, :, 3])
    difference = np.abs(picture.pixels[:].astype(int) - PIXELS)[:, :32]
    assert difference.mean() < 8 if name == "a.gif" else difference.max() <= (0 if name in LOSSLESS else 8)


@pytest.mark.parametrize("name", ["a.heic", "a.avif"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_orientation_is_applied_once(tmp_path: Path, name: str, orientation: int) -> None:
    """Phones state the orientation twice, in HEIF and in EXIF; pixels are turned once, and the size is theirs."""
    content = (heic if name == "a.heic" else avif)(PIXELS, exif=exif(orientation))
    picture = read(tmp_path, name, content)
    wanted = np.rot90(PIXELS, {1: 0, 3: 2, 6: 3, 8: 1}[orientation])
    assert picture.pixels.shape == wanted.shape
    assert read_size(tmp_path / name) == wanted.shape[:2]
    assert np.abs(picture.pixels[:].astype(int) - wanted).max() <= 8
    assert text_tags(picture.exif) == {ExifTags.Base.Make: b"Maker"}
    assert picture.dpi == (300, 300)


@pytest.mark.parametrize("name", ["a.heic", "a.avif", "a.jp2", "a.psd"])
def test_profiles_are_applied(tmp_path: Path, name: str) -> None:
    """Display P3 becomes sRGB, and the profile is kept for the painting."""
    wanted = np.full((*SIZES, 3), (200, 60, 60), np.uint8)
    made: dict[str, Callable[[], bytes]] = {
        "a.heic": lambda: heic(wanted, icc_profile=P3),
        "a.avif": lambda: avif(wanted, icc_profile=P3),
        "a.jp2": lambda: jpeg_2000(wanted, icc=P3),
        "a.psd": lambda: psd(wanted.transpose(2, 0, 1), resources={1039: P3}),
    }
    picture = read(tmp_path, name, made[name]())
    assert picture.icc == P3
    assert np.abs(picture.pixels[24, 32].astype(int) - (217, 42, 53)).max() <= 4  # by littlecms, below


def test_the_number_of_the_test_above() -> None:
    """What littlecms makes of that red, by Pillow."""
    from PIL import ImageCms

    image = Image.new("RGB", (1, 1), (200, 60, 60))
    found = ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(P3)), ImageCms.createProfile("sRGB"))
    assert found is not None
    assert np.abs(np.asarray(found)[0, 0].astype(int) - (217, 42, 53)).max() <= 2


# ------------------------------------------------------------------------------------------------------ HEIF and AVIF


def with_coded_colors(content: bytes, primaries: int, transfer: int) -> bytes:
    """The file with other numbers for its colors."""
    at = content.index(b"colrnclx") + 8
    return content[:at] + struct.pack(">HH", primaries, transfer) + content[at + 4 :]


@pytest.mark.parametrize("name", ["a.heic", "a.avif"])
def test_display_p3_by_numbers(tmp_path: Path, name: str) -> None:
    """Colors that are stated by numbers instead of a profile count too."""
    pixels = np.full((*SIZES, 3), (200, 60, 60), np.uint8)
    content = with_coded_colors((heic if name == "a.heic" else avif)(pixels), 12, 13)
    picture = read(tmp_path, name, content)
    assert picture.icc == P3
    assert np.abs(picture.pixels[24, 32].astype(int) - (217, 42, 53)).max() <= 4


@pytest.mark.parametrize("name", ["a.heic", "a.avif"])
def test_colors_that_are_refused(tmp_path: Path, name: str) -> None:
    """HDR has no way onto paper yet, and unusual primaries are named."""
    content = (heic if name == "a.heic" else avif)(PIXELS)
    refused(tmp_path, name, with_coded_colors(content, 9, 16), "HDR picture (PQ)", "export it without HDR")
    refused(tmp_path, name, with_coded_colors(content, 9, 18), "HDR picture (HLG)")
    refused(tmp_path, name, with_coded_colors(content, 9, 1), "primaries number 9", "Display P3")


def box(name: bytes, *parts: bytes) -> bytes:
    """A box of these parts."""
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), name) + content


def catalog(
    main: int, properties: dict[int, list[int]], tiles: list[int], *, is_wide: bool = False, av1: bytes = bytes(8)
) -> bytes:
    """The head of a HEIF file: which item is the main one, properties of items, and the tiles of item 1.

    The properties are the colors PQ, sRGB and HLG, and AV1's configuration. Numbers have 32 bits if `is_wide`,
    else 16.
    """
    item, number, head = ("I", "H", b"\1\0\0\1") if is_wide else ("H", "B", bytes(4))
    colors = [box(b"colr", b"nclx" + struct.pack(">HHHB", 9, transfer, 9, 128)) for transfer in (16, 13, 18)]
    table = struct.pack(">I", len(properties)) + b"".join(
        struct.pack(f">{item}B{len(each)}{number}", key, len(each), *each) for key, each in properties.items()
    )
    dimg = box(b"dimg", struct.pack(f">{item}H{len(tiles)}{item}", 1, len(tiles), *tiles))
    kinds = box(b"ipco", *colors, box(b"av1C", av1))
    return box(
        b"meta",
        bytes(4),
        box(b"pitm", head[:1] + bytes(3) + struct.pack(f">{item}", main)),
        *([box(b"iref", head[:1] + bytes(3), dimg)] if tiles else []),
        box(b"iprp", kinds, box(b"ipma", head + table)),
    )


@pytest.mark.parametrize("is_wide", [False, True])
@pytest.mark.parametrize(
    ("main", "properties", "tiles", "transfer"),
    [
        (2, {1: [1], 2: [4, 2], 3: [3]}, [], 13),
        (2, {1: [1], 2: [4]}, [], None),
        (2, {1: [1]}, [], None),
        (1, {1: [4], 7: [1], 8: [3]}, [8, 7], 18),
        (1, {1: [2], 7: [1]}, [7], 13),
        (2, {1: [1], 2: [4], 7: [1]}, [7], None),
        (1, {1: [0, 99]}, [], None),
    ],
)
def test_colors_are_the_main_pictures(
    main: int, properties: dict[int, list[int]], tiles: list[int], transfer: int | None, is_wide: bool
) -> None:
    """Colors of other pictures in the file do not count, such as gain maps; of tiles they do if the whole has none."""
    content = catalog(main, properties, tiles, is_wide=is_wide)
    found = coded_colors(io.BytesIO(content))
    assert (found and found.transfer) == transfer
    for stop in range(len(content)):  # cut short anywhere, it says nothing
        assert coded_colors(io.BytesIO(content[:stop])) is None


@pytest.mark.parametrize(
    ("header", "is_narrow"),
    [
        ("000 1 1 00000 0101 0011 000000 0000 000000 0 1 0 0", True),
        ("000 1 1 00000 0101 0011 111111 1111 111111 0 1 0 1", False),
        ("010 1 1 00000 0001 0001 11 11 000000 1 1 1 1 11111111 11111111 11111111 0", True),
        ("010 1 1 00000 0001 0001 11 11 000000 1 1 1 1 00000000 00000000 00000000 1", False),
        ("000 1 0 00000 0101 0011 000000 0000 000000 0 1 0 0", False),  # with more in it than a still needs
        ("", True),  # cut short
    ],
)
def test_gray_of_television_by_av1(header: str, is_narrow: bool) -> None:
    """Where no colors are stated, AV1's own header says how far its gray goes; numbers for colors come first."""
    bits = header.replace(" ", "").ljust(128, "0")
    held = int(bits, 2).to_bytes(16, "big") if header else b"\x18"
    for kind, properties, wanted in ((0x10, [4], is_narrow), (0, [4], False), (0x10, [4, 2], False)):
        av1 = bytes([0x81, 0, kind, 0, 0x0A, 0x0A]) + held
        assert is_narrow_gray(io.BytesIO(catalog(1, {1: properties}, [], av1=av1))) == wanted


@pytest.mark.parametrize("name", ["a.heic", "a.avif"])
@pytest.mark.parametrize("is_full", [False, True])
def test_gray_of_television(tmp_path: Path, name: str, is_full: bool) -> None:
    """Gray whose black is 16 and white 235 is spread; where it is 0 and 255 already, it stays."""
    stored = np.repeat(np.arange(256, dtype=np.uint8)[None], 64, 0)
    if name == "a.heic":
        file = io.BytesIO()
        pillow_heif.from_bytes("L", (256, 64), stored.tobytes()).save(file, quality=100)
        at = file.getvalue().index(b"colrnclx") + 14
        content = file.getvalue()[:at] + (b"\x80" if is_full else b"\0") + file.getvalue()[at + 1 :]
        wanted = stored if is_full else np.clip((stored.astype(float) - 16) * 255 / 219, 0, 255)
    else:
        content = saved("AVIF", stored, quality=100, subsampling="4:0:0", range="full" if is_full else "limited")
        wanted = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
    found = read(tmp_path, name, content).pixels[:]
    assert np.abs(found[:, :, 1].astype(float) - wanted).max() <= 2


def test_names_of_boxes_that_are_no_text(tmp_path: Path) -> None:
    """What libvips says of a file may have its bytes; that is one error, and none of files that are read afterwards."""
    content = bytearray(avif(PIXELS).replace(b"pixi", b"\xffixi"))
    count = content.index(b"ipma") + 14
    for place in range(count + 1, count + 1 + content[count]):
        content[place] |= 0x80  # the property has to be understood
    refused(tmp_path, "a.avif", bytes(content), "damaged", "copy or export it again")
    refused(tmp_path, "a.png", saved("PNG", PIXELS)[:300], "damaged")
    assert read(tmp_path, "a.avif", avif(PIXELS)).pixels.shape == (*SIZES, 3)


def test_a_sequence_without_a_still(tmp_path: Path) -> None:
    """A burst that is a film and nothing else is called so."""
    content = struct.pack(">I4s4sI4s", 20, b"ftyp", b"msf1", 0, b"hevc") + struct.pack(">I4s", 16, b"moov") + bytes(8)
    refused(tmp_path, "a.heic", content, "a sequence (a film or a burst) without a still picture", "export one")


# ------------------------------------------------------------------------------------------------- JPEG XL, JPEG 2000


def test_jpeg_xl_sizes(tmp_path: Path) -> None:
    """Every way of spelling a size in a header is understood: small, large, and by a ratio."""
    for height, width in ((8, 8), (48, 64), (9, 13), (300, 513), (5, 9000), (16, 9), (3000, 7)):
        (tmp_path / "a.jxl").write_bytes(jpeg_xl(np.zeros((height, width, 3), np.uint8)))
        assert read_size(tmp_path / "a.jxl") == (height, width)


@pytest.mark.parametrize("name", ["a.jxl", "a.jp2"])
def test_a_misleading_name(tmp_path: Path, name: str) -> None:
    """OpenImageIO goes by extensions, so a wrong one is told."""
    refused(tmp_path, "a.png", EVERY[name](), f"rename it to one that ends in {name[1:]}")


@pytest.mark.parametrize("is_packed", [False, True])
def test_metadata_of_jpeg_xl(tmp_path: Path, is_packed: bool) -> None:
    """EXIF and XMP lie in boxes, which most encoders pack with Brotli."""
    about = ((b"Exif", bytes(4) + exif().removeprefix(b"Exif\0\0")), (b"xml ", XMP))
    if is_packed:
        about = tuple((b"brob", name + brotli.compress(content)) for name, content in about)
    picture = read(tmp_path, "a.jxl", jpeg_xl_boxes((b"jxlc", jpeg_xl(PIXELS)), *about))
    assert text_tags(picture.exif) == {ExifTags.Base.Make: b"Maker"}
    assert (picture.xmp, picture.dpi) == (XMP, (300, 300))


def test_broken_or_endless_metadata_of_jpeg_xl(tmp_path: Path) -> None:
    """What Brotli cannot unpack is no metadata, and of what unpacks to 4 GiB only 16 MiB are looked at."""
    stream = (b"jxlc", jpeg_xl(PIXELS))
    broken = (b"brob", b"xml " + b"\xff" * 40)
    assert read(tmp_path, "a.jxl", jpeg_xl_boxes(stream, broken)).xmp is None
    bomb = (b"brob", b"xml " + brotli.compress(bytes(1 << 26), quality=1))
    picture = read(tmp_path, "a.jxl", jpeg_xl_boxes(stream, bomb))
    assert picture.xmp == bytes(1 << 24)


def test_jpeg_xl_in_parts(tmp_path: Path) -> None:
    """The stream may be cut anywhere, within its head as well."""
    stream = jpeg_xl(PIXELS)
    parts = ((b"jxlp", struct.pack(">I", 0) + stream[:5]), (b"jxlp", struct.pack(">I", 1 << 31 | 1) + stream[5:]))
    assert np.array_equal(read(tmp_path, "a.jxl", jpeg_xl_boxes(*parts)).pixels, PIXELS)


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_in_jpeg_xl(tmp_path: Path, transfer: int, name: str) -> None:
    """HDR is refused as in HEIF."""
    spec = OpenImageIO.ImageSpec(64, 48, 3, OpenImageIO.UINT16)
    spec.attribute("CICP", OpenImageIO.TypeDesc("int[4]"), (9, transfer, 0, 1))
    output = OpenImageIO.ImageOutput.create(str(tmp_path / "made.jxl"))
    assert output.open(str(tmp_path / "made.jxl"), spec)
    assert output.write_image(deep(PIXELS))
    output.close()
    refused(tmp_path, "a.jxl", (tmp_path / "made.jxl").read_bytes(), f"HDR picture ({name})", "without HDR")


def test_multiplied_alpha_in_jpeg_xl(tmp_path: Path) -> None:
    """Colors that are declared as multiplied by alpha are divided by it."""
    pixels = deep(with_alpha(PIXELS))
    pixels[:, :, :3] = (pixels[:, :, :3].astype(float) * pixels[:, :, 3:] / 65535).round()
    content = bytearray(jpeg_xl(pixels))
    content[content.index(b"\xff\x0a") + 6] |= 0x80  # in a head of this size and depth
    plain, divided = (read(tmp_path, "a.jxl", each) for each in (jpeg_xl(pixels), bytes(content)))
    assert plain.alpha is not None
    assert divided.alpha is not None
    assert np.array_equal(plain.alpha, divided.alpha)
    opaque = pixels[:, :, 3] > 20000
    light = linear(plain.pixels[:]) / np.maximum(1, plain.alpha[:])[:, :, None] * 65535  # declared as linear, as above
    assert np.abs(linear(divided.pixels[:]) - light.clip(0, 1))[opaque].max() < 0.001


def jxl_head(*fields: tuple[int, int]) -> bytes:
    """The beginning of a JPEG XL stream of 8 x 8 pixels: numbers, each with how many bits it takes."""
    bits = length = 0
    for number, size in ((1, 1), (0, 5), (1, 3), *fields):
        bits |= number << length
        length += size
    return b"\xff\x0a" + bits.to_bytes(99, "little")


PLAIN_DEPTH = ((0, 1), (0, 2))
NO_NAME = ((0, 2), (0, 2))


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        (((0, 1), *PLAIN_DEPTH, (1, 1), (1, 2), (0, 1), (2, 2), (2, 4), *PLAIN_DEPTH, *NO_NAME), "CMYK"),
        (
            ((0, 1), *PLAIN_DEPTH, (1, 1), (2, 2), (0, 4), (1, 1), (0, 1), (2, 2), (0, 4), *PLAIN_DEPTH, *NO_NAME),
            "spot colors",
        ),
        (  # behind an orientation, another size, a preview and the times of an animation
            (
                *((1, 1), (4, 3), (1, 1), (1, 1), (0, 5), (1, 3), (1, 1), (1, 1), (0, 2), (1, 3)),
                *((1, 1), (0, 2), (0, 2), (0, 2), (0, 1)),
                *(*PLAIN_DEPTH, (1, 1), (1, 2), (0, 1), (1, 2), *PLAIN_DEPTH, *NO_NAME),
            ),
            "depth",
        ),
        (  # a spot color with a name before the ink
            (
                *((0, 1), (1, 1), (0, 2), (7, 4), (1, 1), (2, 2), (0, 4)),
                *((0, 1), (2, 2), (0, 4), *PLAIN_DEPTH, (0, 2), (1, 2), (3, 4), (0, 24), (0, 64)),
                *((0, 1), (2, 2), (2, 4), *PLAIN_DEPTH, *NO_NAME),
            ),
            "spot colors and CMYK",
        ),
    ],
)
def test_channels_of_jpeg_xl(tmp_path: Path, fields: tuple[tuple[int, int], ...], kind: str) -> None:
    """Inks and other channels are named by the head alone, wherever they stand in it."""
    refused(tmp_path, "a.jxl", jxl_head((0, 1), *fields), f"with {kind} is not supported", "export it in RGB")


def test_floats_in_jpeg_xl(tmp_path: Path) -> None:
    """JPEG XL may hold floats, which are not read."""
    refused(tmp_path, "a.jxl", jpeg_xl(PIXELS.astype(np.float32) / 255), "float32", "export it in 8 or 16 bits")


@pytest.mark.parametrize("shape", [(48, 64), (47, 63), (33, 33)])
@pytest.mark.parametrize("is_bare", [False, True])
def test_smaller_color_differences_in_jpeg_2000(tmp_path: Path, shape: tuple[int, int], is_bare: bool) -> None:
    """Luma with color differences of half the size is read as such, declared or not, and has its own size."""
    stored = np.asarray(Image.fromarray(photograph(*shape)).convert("YCbCr"))
    spread = stored[::2, ::2].repeat(2, 0).repeat(2, 1)[: shape[0], : shape[1]].copy()
    spread[:, :, 0] = stored[:, :, 0]
    wanted = np.asarray(Image.fromarray(spread, "YCbCr").convert("RGB"))
    content = jpeg_2000_planes([stored[:, :, 0], stored[::2, ::2, 1], stored[::2, ::2, 2]])
    if not is_bare:
        content = jpeg_2000_boxes(content, *shape, 3, 18)
    name = "a.j2k" if is_bare else "a.jp2"
    found = read(tmp_path, name, content).pixels[:]
    assert read_size(tmp_path / name) == found.shape[:2] == shape
    assert np.abs(found.astype(int) - wanted).max() <= 2


def test_gray_and_alpha_in_jpeg_2000(tmp_path: Path) -> None:
    """Gray with alpha is read, in eight bits; in more it is named."""
    gray = with_alpha(PIXELS)[:, :, [0, 3]]
    picture = read(tmp_path, "a.jp2", jpeg_2000(gray))
    assert np.array_equal(picture.pixels, gray[:, :, :1].repeat(3, 2))
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, gray[:, :, 1])
    refused(tmp_path, "a.jp2", jpeg_2000(deep(gray)), "gray and alpha in more than 8 bits", "export it in gray or RGB")


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_signed_jpeg_2000(tmp_path: Path, dtype: type) -> None:
    """Samples that may be negative, as in medicine, are named."""
    refused(tmp_path, "a.jp2", jpeg_2000(PIXELS[:, :, 0].astype(dtype)), "signed samples", "export it in gray or RGB")


# ----------------------------------------------------------------------------------------------------------- Photoshop


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_way_of_storing_a_psd(tmp_path: Path, packed: bool, large: bool, dtype: type) -> None:
    """Packed or not, in a PSD or PSB, with 8 or 16 bits: the same pixels; channels beside the colors do not count."""
    pixels = PIXELS.astype(dtype)
    planes = np.concatenate([pixels.transpose(2, 0, 1), pixels.transpose(2, 0, 1)[:1]])
    picture = read(tmp_path, "a.psd", psd(planes, packed=packed, large=large))
    assert np.array_equal(picture.pixels, pixels)
    assert picture.alpha is None


def test_half_transparent_psd(tmp_path: Path) -> None:
    """Photoshop lays the merged picture on white; the color before that is read."""
    planes = np.zeros((4, 8, 8), np.uint8)
    planes[3] = 128
    planes[:3] = np.array([round(255 - (255 - n) * 128 / 255) for n in (200, 100, 0)])[:, None, None]
    picture = read(tmp_path, "a.psd", psd(planes, layers=-3))
    assert np.abs(picture.pixels[4, 4].astype(int) - (200, 100, 0)).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_half_transparent_inks_in_a_psd(tmp_path: Path, dtype: type) -> None:
    """On white paper, half of an ink is seen: the ink before that is read."""
    full, ink = np.iinfo(dtype).max, np.zeros((5, 16, 16))
    ink[1:3], ink[4] = 0.8, 0.5
    light = np.rint(full * (1 - ink * 0.5)).astype(dtype)  # as seen on white
    light[4] = full // 2 + 1
    found = read(tmp_path, "a.psd", psd(light, mode=4, layers=-1))
    opaque = read(tmp_path, "a.psd", psd(np.rint(full * (1 - ink[:4])).astype(dtype), mode=4))
    assert np.abs(found.pixels.astype(int) - opaque.pixels).max() <= full / 100
    assert found.alpha is not None
    assert (found.alpha == full // 2 + 1).all()


def test_gray_and_indexed_psd(tmp_path: Path) -> None:
    """Gray becomes RGB, and the entries of a palette are looked up."""
    gray = PIXELS[None, :, :, 0]
    assert np.array_equal(read(tmp_path, "a.psd", psd(gray, mode=1)).pixels, np.dstack([gray[0]] * 3))
    palette = [*range(256), *range(255, -1, -1), *[7] * 256]
    found = read(tmp_path, "a.psd", psd(gray, mode=2, palette=palette)).pixels
    assert np.array_equal(found, np.dstack([gray[0], 255 - gray[0], np.full_like(gray[0], 7)]))


def test_an_indexed_psd_of_grays_keeps_its_profile(tmp_path: Path) -> None:
    """A palette that is all gray is still one of RGB, as its profile says."""
    content = psd(PIXELS[None, :, :, 0], mode=2, palette=[*range(256)] * 3, resources={1039: P3})
    picture = read(tmp_path, "a.psd", content)
    assert (picture.icc, picture.notices) == (P3, ())
    assert np.array_equal(picture.pixels, PIXELS[:, :, :1].repeat(3, 2))


def test_cmyk_psd(tmp_path: Path) -> None:
    """Ink is stored upside down: what Photoshop calls full magenta and yellow is a printed red, as in a TIFF."""
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[:, :, 1:3] = 255
    found = read(tmp_path, "a.psd", psd(255 - ink.transpose(2, 0, 1), mode=4)).pixels
    Image.fromarray(ink, "CMYK").save(tmp_path / "a.tif")
    assert np.array_equal(found, read_picture(tmp_path / "a.tif").pixels)


def test_what_a_psd_says(tmp_path: Path) -> None:
    """EXIF and resolution are read."""
    resolution = struct.pack(">IHHIHH", 240 << 16, 1, 1, 240 << 16, 1, 1)
    block = exif().removeprefix(b"Exif\0\0")
    picture = read(tmp_path, "a.psd", psd(PIXELS.transpose(2, 0, 1), resources={1005: resolution}))
    assert picture.dpi == (240, 240)
    picture = read(tmp_path, "a.psd", psd(PIXELS.transpose(2, 0, 1), resources={1058: block}))
    assert text_tags(picture.exif) == {ExifTags.Base.Make: b"Maker"}


def test_psd_that_are_refused(tmp_path: Path) -> None:
    """Modes, depths and files without a merged picture are named, with a way out."""
    planes = PIXELS.transpose(2, 0, 1)
    refused(tmp_path, "a.psd", psd(planes, mode=9), "the mode Lab", "convert it to RGB")
    refused(tmp_path, "a.psd", psd(planes, mode=12), "the mode number 12")
    refused(tmp_path, "a.psd", psd(planes.astype(np.float32), packed=False), "32 bits per channel")
    no_picture = {1057: struct.pack(">IB", 1, 0)}
    refused(tmp_path, "a.psd", psd(planes, resources=no_picture), "without the merged picture", "Maximize")
    content = psd(planes, packed=False)
    refused(tmp_path, "a.psd", content[: -planes.size - 2] + b"\0\3" + content[-planes.size :], "compression number 3")
    refused(tmp_path, "a.psd", content[:20], "damaged")
    refused(tmp_path, "a.psd", content[:-5000], "damaged")
    refused(tmp_path, "a.psd", psd(planes)[:300], "damaged")
    for cut in (61, 62):  # within the table of lines, on an odd place and an even one
        refused(tmp_path, "a.psb", psd(planes, large=True)[:cut], "it ends before its pixels")


# ----------------------------------------------------------------------------------------------------- raw photographs


def sensor(height: int = 96, width: int = 128) -> np.ndarray:
    """A field of gray that grows brighter to the right, with a red square, linear, uint16."""
    colors = np.repeat(np.linspace(500, 30000, width)[None, :, None], height, 0).repeat(3, 2)
    colors[30:60, 30:60] = (20000, 4000, 4000)
    return mosaic(colors.astype(np.uint16))


def linear(pixels: np.ndarray) -> np.ndarray:
    """Light that sRGB samples of 16 bits stand for."""
    values = pixels / 65535
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def test_a_raw_photograph_is_developed(tmp_path: Path) -> None:
    """Colors stand in the relation in which the sensor saw them, in 16 bits, with one pixel in a hundred white."""
    picture = read(tmp_path, "a.dng", dng(sensor()))
    assert (picture.bit_depth, picture.alpha, picture.icc) == (16, None, None)
    assert read_size(tmp_path / "a.dng") == picture.pixels.shape[:2] == (96, 128)
    light = linear(picture.pixels[:])
    red, gray = light[45, 45], light[80, 64]
    np.testing.assert_allclose(red / red[0], (1, 0.2, 0.2), atol=0.02)
    np.testing.assert_allclose(gray / gray[0], (1, 1, 1), atol=0.02)
    assert light[80, 100, 1] / light[80, 50, 1] == pytest.approx(23728 / 12114, rel=0.03)
    assert 0.002 < (picture.pixels[:].min(2) > 65000).mean() < 0.05
    assert text_tags(picture.exif) == {ExifTags.Base.Make: b"Handmade", ExifTags.Base.Model: b"Camera One"}


def test_exposure(tmp_path: Path) -> None:
    """A stop darker is half the light."""
    usual, darker = (read(tmp_path, "a.dng", dng(sensor()), exposure=stops) for stops in (0, -1))
    ratio = linear(darker.pixels[:])[80, 20:60] / linear(usual.pixels[:])[80, 20:60]
    np.testing.assert_allclose(ratio, 0.5, atol=0.01)


def test_the_cameras_white_balance(tmp_path: Path) -> None:
    """What the camera held for gray is gray."""
    tags = {50728: (RATIONAL, [1, 2, 1, 1, 1, 1])}  # it saw half as much red
    samples = mosaic(np.broadcast_to(np.array([5000, 10000, 10000], np.uint16), (96, 128, 3)))
    gray = read(tmp_path, "a.dng", dng(samples, tags)).pixels[48, 64].astype(int)
    assert np.ptp(gray) < 300


def test_a_raw_photograph_comes_upright(tmp_path: Path) -> None:
    """The camera's orientation is applied, once."""
    (tmp_path / "plain.dng").write_bytes(dng(sensor()))
    upright = read(tmp_path, "a.dng", dng(sensor(), {274: (SHORT, [6])}))
    assert upright.pixels.shape == (128, 96, 3)
    assert read_size(tmp_path / "a.dng") == (128, 96)
    assert np.array_equal(upright.pixels, np.rot90(read_picture(tmp_path / "plain.dng").pixels[:], -1))


def test_raw_files_without_a_picture(tmp_path: Path) -> None:
    """What LibRaw cannot develop is said with its reason, whatever it begins with."""
    cut = dng(sensor())[:-9000]
    refused(tmp_path, "a.dng", cut, "a raw photograph that LibRaw cannot develop", "raw converter")
    refused(tmp_path, "a.dng", cut, f"{len(cut)} bytes are not all of 128 x 96 pixels")
    refused(tmp_path, "a.raf", b"FUJIFILMCCD-RAW " + bytes(500), "a raw photograph that LibRaw cannot develop")
    refused(tmp_path, "a.nef", tiff(PIXELS), "a raw photograph that LibRaw cannot develop")
    claimed = {256: (LONG, [4000]), 257: (LONG, [4000]), 259: (SHORT, [7])}  # a little of a JPEG, say
    refused(tmp_path, "b.dng", dng(sensor(), claimed), "not all of 4000 x 4000 pixels", "copy it again")
    boxes = struct.pack(">I4s4sI", 16, b"ftyp", b"crx ", 0)
    refused(tmp_path, "a.cr3", boxes, "a raw photograph that LibRaw cannot develop")


def test_a_raw_photograph_that_comes_out_white_is_refused(tmp_path):
    """LibRaw may take the wrong number for white, as in an 8-bit scan; no photograph has nothing else."""
    white = {50717: (LONG, [200])}
    refused(tmp_path, "a.dng", dng(np.maximum(sensor(), 300), white), "it comes out white", "raw converter")


# --------------------------------------------------------------------------------------------------------------- pages


def two_pages() -> bytes:
    """A TIFF of two pages: the photograph, then the same upside down, each with a description."""
    other = PIXELS[::-1]
    first = tiff(PIXELS, tags={270: (ASCII, b"one\0")})
    at = len(first) + len(first) % 2
    tags = {**tiff_tags(other), 270: (ASCII, b"two\0")}
    size = len(directory(tags, place=at, strip=0))
    second = directory(tags, place=at, strip=at + size) + other.tobytes()
    link = 8 + 2 + 12 * struct.unpack_from("<H", first, 8)[0]
    return (first[:link] + struct.pack("<I", at) + first[link + 4 :]).ljust(at, b"\0") + second


def test_a_page_of_a_tiff(tmp_path: Path) -> None:
    """`#2` names the second page, with its own tags and a hash of its own; without it, the first is read."""
    (tmp_path / "scan.tif").write_bytes(two_pages())
    bare, first, second = (read_picture(tmp_path / f"scan.tif{page}") for page in ("", "#1", "#2"))
    assert np.array_equal(bare.pixels, PIXELS)
    assert np.array_equal(second.pixels, PIXELS[::-1])
    assert bare.sha256 == first.sha256 != second.sha256
    assert text_tags(second.exif) == {ExifTags.Base.ImageDescription: b"two"}
    assert read_size(tmp_path / "scan.tif#2") == SIZES


def test_a_page_that_is_not_there(tmp_path: Path) -> None:
    """The number of pages is told; a file that is not there is missing with or without a page."""
    (tmp_path / "scan.tif").write_bytes(two_pages())
    for page in ("0", "3"):
        with pytest.raises(PictureError, match=f"page {page}, wanted 1 to 2,"):
            read_picture(tmp_path / f"scan.tif#{page}")
    with pytest.raises(PictureError, check=having(FileNotFoundError, path=tmp_path / "other.tif#2")):
        read_picture(tmp_path / "other.tif#2")


def test_a_file_that_is_called_so(tmp_path: Path) -> None:
    """A file with `#` in its name is itself."""
    (tmp_path / "scan.tif").write_bytes(two_pages())
    (tmp_path / "scan.tif#2").write_bytes(tiff(PIXELS[:, ::-1]))
    assert np.array_equal(read_picture(tmp_path / "scan.tif#2").pixels, PIXELS[:, ::-1])


# -------------------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("name", [*WHOLE, "a.dng"])
def test_decoders_that_hold_a_picture_are_limited(tmp_path: Path, name: str) -> None:
    """What would take more than it may is refused with both numbers before it is decoded."""
    content = dng(sensor()) if name == "a.dng" else EVERY[name]()
    refused(
        tmp_path,
        name,
        content,
        " of memory at once",
        "but 9.8 KiB may be taken",
        "--memory",
        limits=ReadLimits(decoder_memory=10_000),
    )
    read(tmp_path, name, content, limits=ReadLimits(decoder_memory=1 << 30))


@pytest.mark.parametrize("name", [*EVERY, "a.dng"])
def test_the_pixel_limit_holds(tmp_path: Path, name: str) -> None:
    """Every format is refused by its size."""
    content = dng(sensor()) if name == "a.dng" else EVERY[name]()
    refused(tmp_path, name, content, "more than max_pixels = 1000", limits=ReadLimits(1000))


@pytest.mark.parametrize("name", [*EVERY, "a.dng"])
@pytest.mark.parametrize("part", [0.4, 0.9])
def test_truncated_files(tmp_path: Path, name: str, part: float) -> None:
    """A file that was cut short is an error and no picture with an empty end."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    made: dict[str, Callable[[], bytes]] = {
        "a.heic": lambda: heic(noise),
        "a.avif": lambda: avif(noise),
        "a.jxl": lambda: jpeg_xl(noise),
        "a.jp2": lambda: jpeg_2000(noise),
        "a.bmp": lambda: saved("BMP", noise),
        "a.psd": lambda: psd(noise.transpose(2, 0, 1)),
        "a.jfif": lambda: saved("JPEG", noise),
        "a.gif": lambda: saved("GIF", noise),
        "a.dng": lambda: dng(sensor()),
    }
    content = made[name]()
    refused(tmp_path, name, content[: int(part * len(content))], "again")


def test_pictures_that_do_not_fit_are_filed(tmp_path: Path) -> None:
    """What was decoded whole lies in a file like all others."""
    picture = read(tmp_path, "a.jxl", jpeg_xl(PIXELS), limits=ReadLimits(memory=0, folder=tmp_path))
    assert not isinstance(picture.pixels, np.ndarray)
    assert np.array_equal(picture.pixels[:], PIXELS)


def test_a_pdf_is_told_from_pictures(tmp_path: Path) -> None:
    """Our own are not read again, whatever for."""
    refused(tmp_path, "poster.pdf", b"%PDF-1.6\n", "PDF", "paint a .tif")
