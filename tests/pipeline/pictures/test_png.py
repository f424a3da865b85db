"""What PNG files say in places where libvips does not look: EXIF, orientation and color profiles."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import pyvips
from handmade import chunk, gray_profile, png, profile_chunk
from PIL import ExifTags, Image, ImageCms
from snapshots import MODEL, camera_exif, exif_of, photograph

from muralist.pipeline.errors import PictureError
from muralist.pipeline.pictures.images import Picture
from muralist.pipeline.pictures.reading import read_picture, read_size
from muralist.pipeline.pictures.writing import write_picture

PIXELS = photograph()
EXIF = camera_exif(orientation=6).removeprefix(b"Exif\0\0")
UPRIGHT = np.rot90(PIXELS, -1)


def hexadecimal(name: bytes, content: bytes) -> bytes:
    """A profile as ImageMagick puts it into a text."""
    digits = content.hex().encode()
    lines = b"\n".join(digits[start : start + 72] for start in range(0, len(digits), 72))
    return b"\n%s\n%8d\n%s\n" % (name, len(content), lines)


def xmp(orientation: str) -> bytes:
    """A packet of XMP."""
    return b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description %s</x:xmpmeta>' % orientation.encode()


IN_HEX = hexadecimal(b"exif", b"Exif\0\0" + EXIF)
WITH_EXIF = {
    "eXIf": chunk(b"eXIf", EXIF),
    "text": chunk(b"tEXt", b"Raw profile type exif\0" + IN_HEX),
    "packed text": chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(IN_HEX)),
    "text of APP1": chunk(b"tEXt", b"Raw profile type APP1\0" + hexadecimal(b"generic", b"Exif\0\0" + EXIF)),
    "international text": chunk(b"iTXt", b"Raw profile type exif\0\0\0en\0name\0" + IN_HEX),
}
PACKET = xmp('tiff:Orientation="6"/>')
WITH_XMP = {
    "attribute": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + PACKET),
    "element": chunk(
        b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp("><tiff:Orientation>6</tiff:Orientation></rdf:Description>")
    ),
    "packed": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(PACKET)),
    "hexadecimal": chunk(b"tEXt", b"Raw profile type xmp\0" + hexadecimal(b"xmp", PACKET)),
}


def read(folder: Path, content: bytes) -> Picture:
    """The picture that a file of these bytes holds."""
    (folder / "a.png").write_bytes(content)
    return read_picture(folder / "a.png")


@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("name", list(WITH_EXIF))
def test_exif_wherever_it_is(tmp_path: Path, name: str, behind: bool) -> None:
    """EXIF before or behind the pixels, as such or as text, turns the picture and comes into the painting."""
    picture = read(tmp_path, png(PIXELS, **{"after" if behind else "before": WITH_EXIF[name]}))
    assert np.array_equal(picture.pixels, UPRIGHT)
    assert read_size(tmp_path / "a.png") == UPRIGHT.shape[:2]
    write_picture(tmp_path / "b.png", picture.pixels, exif=picture.exif)
    assert exif_of(tmp_path / "b.png")[MODEL] == "Box Brownie"
    assert exif_of(tmp_path / "b.png").get(ExifTags.Base.Orientation, 1) == 1


@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("name", list(WITH_XMP))
def test_orientation_in_xmp(tmp_path: Path, name: str, behind: bool) -> None:
    """A picture that is turned by XMP alone comes upright."""
    picture = read(tmp_path, png(PIXELS, **{"after" if behind else "before": WITH_XMP[name]}))
    assert np.array_equal(picture.pixels, UPRIGHT)
    assert read_size(tmp_path / "a.png") == UPRIGHT.shape[:2]
    assert picture.exif is None


@pytest.mark.parametrize("extension", [".jpg", ".webp", ".tif"])
def test_orientation_in_xmp_elsewhere(tmp_path: Path, extension: str) -> None:
    """Other files are turned by XMP as well."""
    options = {"tiffinfo": {700: PACKET}} if extension == ".tif" else {"xmp": PACKET}
    Image.fromarray(PIXELS).save(tmp_path / f"a{extension}", **options)
    assert read_picture(tmp_path / f"a{extension}").pixels.shape == UPRIGHT.shape
    assert read_size(tmp_path / f"a{extension}") == UPRIGHT.shape[:2]


def coded(primaries: int, transfer: int) -> bytes:
    """The chunk that states colors by numbers."""
    return chunk(b"cICP", bytes([primaries, transfer, 0, 1]))


def test_display_p3_by_numbers(tmp_path: Path) -> None:
    """Colors that are stated by numbers count as those of a profile; those of sRGB change nothing."""
    p3 = bytes(pyvips.Image.profile_load("p3"))
    found, wanted = read(tmp_path, png(PIXELS, coded(12, 13))), read(tmp_path, png(PIXELS, profile_chunk(p3)))
    assert found.icc == p3
    assert np.array_equal(found.pixels, wanted.pixels)
    assert np.array_equal(read(tmp_path, png(PIXELS, coded(1, 13))).pixels, PIXELS)
    assert np.array_equal(read(tmp_path, png(PIXELS, chunk(b"cICP", b"\x0c"))).pixels, PIXELS)
    assert np.array_equal(read(tmp_path, png(PIXELS, after=coded(12, 13))).pixels, PIXELS)


@pytest.mark.parametrize(("numbers", "name"), [((9, 16), "PQ"), ((9, 18), "HLG"), ((9, 1), "primaries number 9")])
def test_colors_by_numbers_that_are_refused(tmp_path: Path, numbers: tuple[int, int], name: str) -> None:
    """HDR and unusual primaries are named, as in HEIC."""
    with pytest.raises(PictureError, match=name):
        read(tmp_path, png(PIXELS, coded(*numbers)))


@pytest.mark.parametrize(
    ("stated", "dpi"), [((11811, 11811, 1), (300, 300)), ((1, 1, 0), None), ((300, 300, 0), None), ((0, 0, 1), None)]
)
def test_an_aspect_is_no_resolution(tmp_path: Path, stated: tuple[int, int, int], dpi: tuple[int, int] | None) -> None:
    """Frames of films state how long pixels are beside each other, not how long on paper; none are endless."""
    picture = read(tmp_path, png(PIXELS, before=chunk(b"pHYs", struct.pack(">IIB", *stated))))
    assert picture.dpi == dpi


def test_exif_comes_before_xmp(tmp_path: Path) -> None:
    """Where both state an orientation EXIF counts."""
    upright = chunk(b"eXIf", camera_exif(orientation=1).removeprefix(b"Exif\0\0"))
    assert np.array_equal(read(tmp_path, png(PIXELS, WITH_XMP["attribute"], upright)).pixels, PIXELS)


def test_the_first_exif_counts(tmp_path: Path) -> None:
    """Of several blocks the first is taken, as libvips and Pillow do."""
    other = chunk(b"eXIf", camera_exif(orientation=3).removeprefix(b"Exif\0\0"))
    assert np.array_equal(read(tmp_path, png(PIXELS, WITH_EXIF["eXIf"], other)).pixels, UPRIGHT)


@pytest.mark.parametrize(
    "broken",
    [
        chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 4\nxyzw\n"),
        chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 4\n456\n"),
        chunk(b"tEXt", b"Raw profile type exif"),
        chunk(b"zTXt", b"Raw profile type exif\0\0no deflate"),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(1 << 26))),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0"),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0"),
        chunk(b"eXIf", b""),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp('tiff:Orientation="9"/>')),
        chunk(b"eXIf", b"II*\0nothing"),
    ],
)
def test_broken_metadata_reads_as_absent(tmp_path: Path, broken: bytes) -> None:
    """What cannot be understood, or is too large, never stops a picture."""
    assert np.array_equal(read(tmp_path, png(PIXELS, after=broken)).pixels, PIXELS)
    assert np.array_equal(read(tmp_path, png(PIXELS, before=broken)).pixels, PIXELS)


def test_a_wrong_checksum(tmp_path: Path) -> None:
    """Metadata behind the pixels whose checksum is wrong reads as absent, too."""
    assert np.array_equal(read(tmp_path, png(PIXELS, after=chunk(b"eXIf", EXIF)[:-4] + bytes(4))).pixels, PIXELS)


@pytest.mark.parametrize("intent", [0, 1, 1 << 24, 77])
@pytest.mark.parametrize("device", [b"mntr", b"prtr"])
def test_a_gray_profile_is_applied(tmp_path: Path, intent: int, device: bytes) -> None:
    """A gray profile counts, also where libpng drops it for its rendering intent: gamma 1.8 makes 119 of 100."""
    gray = np.arange(256, dtype=np.uint8)[None].repeat(8, 0)
    profile = gray_profile(1.8, intent=intent, device=device)
    picture = read(tmp_path, png(gray, profile_chunk(profile)))
    assert picture.icc == profile
    assert abs(int(picture.pixels[0, 100, 0]) - 119) <= 1
    Image.fromarray(gray).save(tmp_path / "a.tif", icc_profile=profile)
    assert np.abs(picture.pixels.astype(int) - read_picture(tmp_path / "a.tif").pixels).max() <= 1


def test_pillow_agrees_on_the_gamma(tmp_path: Path) -> None:
    """The expected number above is LittleCMS' own, by way of Pillow."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(gray_profile(1.8)))
    image = Image.fromarray(np.full((1, 1), 100, np.uint8))
    found = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert found is not None
    assert found.getpixel((0, 0)) == (119, 119, 119)
