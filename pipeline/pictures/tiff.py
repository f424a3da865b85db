"""TIFF files: refuses unsupported kinds by name, and prepares the others for libvips.

libtiff gives the same kind of warning for an unusual text tag and for damaged pixels. So libvips sees the file with a
directory that holds only the tags about how pixels are stored, in valid order: then a warning means damage. Everything
else is read here and set on the image, and colors that libvips misinterprets are converted.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO

import pyvips
from PIL import Image
from PIL.ExifTags import Base as Tag
from tifffile import COMPRESSION, PHOTOMETRIC

from ..errors import PictureError
from .directories import Directory, View, pages, read_directories
from .exif import dpi_of_tags
from .metadata import with_blob, with_dpi
from .opened import Asked, Opened
from .vips import DTYPE, VIPS_SCALE, source_of, tripled

_OF_YCBCR = {Tag.YCbCrCoefficients, Tag.YCbCrSubSampling, Tag.YCbCrPositioning, Tag.ReferenceBlackWhite}
_OF_PIXELS = _OF_YCBCR | {
    *(Tag.ImageWidth, Tag.ImageLength, Tag.BitsPerSample, Tag.Compression, Tag.PhotometricInterpretation),
    *(Tag.FillOrder, Tag.StripOffsets, Tag.SamplesPerPixel, Tag.RowsPerStrip, Tag.StripByteCounts),
    *(Tag.PlanarConfiguration, Tag.T4Options, Tag.T6Options, Tag.Predictor, Tag.ColorMap, Tag.TileWidth),
    *(Tag.TileLength, Tag.TileOffsets, Tag.TileByteCounts, Tag.InkSet, Tag.ExtraSamples, Tag.SampleFormat),
    Tag.JPEGTables,
}

_COLORS: dict[int, int] = {
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.SEPARATED: 4,
    PHOTOMETRIC.YCBCR: 3,
    PHOTOMETRIC.CIELAB: 3,
    PHOTOMETRIC.ICCLAB: 3,
}
"""Samples that are colors, by photometric interpretation; all others are extra ones."""
_GRAY = (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK)
_LAB = (PHOTOMETRIC.CIELAB, PHOTOMETRIC.ICCLAB)
_OF_A_SENSOR = (PHOTOMETRIC.CFA, PHOTOMETRIC.LINEAR_RAW)
_DEFLATE = (COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE)
_FAX = (COMPRESSION.CCITTRLE, COMPRESSION.CCITTFAX3, COMPRESSION.CCITTFAX4, COMPRESSION.CCIRLEW)
_USUAL = (COMPRESSION.NONE, *_DEFLATE, *_FAX, COMPRESSION.LZW, COMPRESSION.PACKBITS, COMPRESSION.JPEG)
_PREMULTIPLIED, _ALPHA = 1, (1, 2)  # of ExtraSamples; 0 is anything else
_CMYK_INKS = 1
_SEPARATE_PLANES = 2
_REDUCED, _OLD_REDUCED = 1, 2  # a bit of the subfile type; the old subfile type
_MOST_SAMPLES = 64
_LUMA = (0.299, 0.587, 0.114)
_JPEG_HEAD = 1 << 16  # bytes in which a JPEG says how it is sampled
_JPEG_END, _JPEG_TAIL = b"\xff\xd9", 16  # padding may follow
_ROW_BY_ROW = 128  # rows, of which libvips reads a taller strip one by one, unless each channel has its own or JPEG's


@contextmanager
def open_tiff(file: BinaryIO, path: Path, asked: Asked) -> Iterator[Opened]:
    """A page of a TIFF file.

    Raises
    ------
    PictureError
        If there is no such page, it is of a kind that cannot be read, or its directory is damaged; `path` is for the
        message.
    """
    try:
        directories = read_directories(file)
        first = _page(directories, asked.page, path)
        if asked.page == 1:
            _check_purpose(directories, path)
        _check_storage(first, path)
        view = View(file, _magic(file), first.form, _shown(first))
    except struct.error as error:
        raise PictureError(f"{path}: damaged: it has no directory; copy or export it again", path=path) from error
    try:
        with source_of(view) as source:
            # For "error", a broken tile is black, and so are LZW, PackBits and JPEG where they break off.
            fail_on = "error" if _is_strict(first) else "warning"
            # Its own limit is that of a strip of 50 MB; ours is the caller's, who knows what will be held.
            image = pyvips.Image.tiffload_source(source, access="sequential", fail_on=fail_on, unlimited=True)
            yield Opened(_described(_colors(image, first), first), needs=_held_bytes(first))
    except pyvips.Error as error:
        if first.number(Tag.Compression, 1) in _USUAL:
            raise
        raise _unsupported(path, f"{_compression(first)} compression") from error


def _page(directories: list[Directory], page: int, path: Path) -> Directory:
    found = pages(directories)
    if not 1 <= page <= len(found):
        raise PictureError(f"{path}: got page {page}, wanted 1 to {len(found)}, which this file has", path=path)
    return found[page - 1]


def is_raw(file: BinaryIO) -> bool:
    """Whether a TIFF file is a raw photograph: what a sensor saw, besides thumbnails."""
    try:
        directories = read_directories(file)
    except struct.error:
        return False
    file.seek(8)
    return file.read(2) == b"CR" or any(_photometric(each) in _OF_A_SENSOR for each in directories)


def _photometric(directory: Directory) -> int:
    return directory.number(Tag.PhotometricInterpretation, PHOTOMETRIC.MINISBLACK)


def _bits(directory: Directory) -> tuple[float, ...]:
    return directory.numbers(Tag.BitsPerSample) or (1,)


def _is_tiled(directory: Directory) -> bool:
    return Tag.TileWidth in directory.entries


def _is_strict(directory: Directory) -> bool:
    """Whether libtiff gives up where its pixels are damaged, instead of warning."""
    return directory.number(Tag.Compression, 1) in (COMPRESSION.NONE, *_DEFLATE) and not _is_tiled(directory)


def _extras(directory: Directory) -> tuple[int, ...]:
    """What the file declares each extra sample as; 0 where it says nothing."""
    count = directory.number(Tag.SamplesPerPixel, 1) - _COLORS.get(_photometric(directory), 1)
    stated = (*map(int, directory.numbers(Tag.ExtraSamples)), *[0] * max(0, count))
    return stated[: max(0, count)]


def _is_converted_here(directory: Directory) -> bool:
    """Whether libvips would take the colors for RGB, or for something that it cannot read."""
    if _photometric(directory) != PHOTOMETRIC.YCBCR:
        return _photometric(directory) in _LAB
    whole = directory.numbers(Tag.YCbCrSubSampling) == (1, 1)
    return whole and directory.number(Tag.Compression, 1) != COMPRESSION.JPEG


# ---------------------------------------------------------------------------------------------------- what is refused


def _check_purpose(directories: list[Directory], path: Path) -> None:
    """Refuse files whose first picture stands for a larger one."""
    first = directories[0]
    reduced = first.number(Tag.NewSubfileType, 0) & _REDUCED
    if reduced or first.number(Tag.SubfileType, 0) == _OLD_REDUCED:
        (width, height), *others = ((d.number(Tag.ImageWidth, 0), d.number(Tag.ImageLength, 0)) for d in directories)
        largest = max(others, key=lambda size: size[0] * size[1], default=(0, 0))
        if largest[0] * largest[1] > width * height:
            raise PictureError(
                f"{path}: the first picture in this TIFF is a thumbnail of {width} x {height} pixels, another has "
                f"{largest[0]} x {largest[1]}; export that alone, as TIFF, PNG or JPEG",
                path=path,
            )


def _check_storage(directory: Directory, path: Path) -> None:
    """Refuse what libvips cannot read, and files that leave out pixels."""
    photometric, samples = _photometric(directory), directory.number(Tag.SamplesPerPixel, 1)
    bits = sorted({int(number) for number in _bits(directory)})
    if photometric not in _COLORS:
        raise _unsupported(path, f"the colors {_name(PHOTOMETRIC, photometric)}")
    if samples > _MOST_SAMPLES:
        raise _unsupported(path, f"{samples} samples per pixel")
    if photometric == PHOTOMETRIC.SEPARATED and directory.number(Tag.InkSet, _CMYK_INKS) != _CMYK_INKS:
        raise _unsupported(path, "inks other than CMYK")
    allowed = (8, 16) if photometric in (PHOTOMETRIC.YCBCR, *_LAB) else (8, 16, 32, 64)
    if bits[1:] or bits[0] not in (allowed if samples > 1 else (1, 2, 4, *allowed)):
        raise _unsupported(path, f"{' and '.join(map(str, bits))} bits per sample")
    if _is_tiled(directory) and samples > 1 and directory.number(Tag.PlanarConfiguration, 1) == _SEPARATE_PLANES:
        raise _unsupported(path, "a plane of tiles for each channel")
    if _is_old_lzw(directory):
        raise _unsupported(path, "old-style LZW compression")
    if _leaves_out_pixels(directory):
        raise PictureError(f"{path}: damaged: some of its pixels are missing; copy or export it again", path=path)


def _is_old_lzw(directory: Directory) -> bool:
    """Whether LZW is as of before 1990, of which libtiff warns; today it begins with a bit that is set."""
    if directory.number(Tag.Compression, 1) != COMPRESSION.LZW:
        return False
    begin = directory.bytes_before(directory.number(_where(directory), 0) + 2, 2)
    return len(begin) == 2 and begin[0] == 0 and begin[1] & 1 == 1


def _where(directory: Directory) -> int:
    """The tag that says where strips or tiles lie."""
    return Tag.TileOffsets if _is_tiled(directory) else Tag.StripOffsets


def _leaves_out_pixels(directory: Directory) -> bool:
    """Whether a strip or tile is nowhere, or a tile is empty or a JPEG without an end, all of which libvips accepts."""
    if not _is_tiled(directory):
        return 0 in directory.numbers(Tag.StripOffsets)
    places, sizes = directory.numbers(Tag.TileOffsets), directory.numbers(Tag.TileByteCounts)
    if 0 in places or 0 in sizes:
        return True
    is_jpeg = directory.number(Tag.Compression, 1) == COMPRESSION.JPEG
    ends = (int(place + size) for place, size in zip(places, sizes, strict=False)) if is_jpeg else ()
    return not all(_JPEG_END in directory.bytes_before(end, _JPEG_TAIL) for end in ends)


def _held_bytes(directory: Directory) -> int:
    """What is held while the file is decoded, bytes: twice a row of tiles or a strip, as it is stored and decoded."""
    width, height = directory.number(Tag.ImageWidth, 0), directory.number(Tag.ImageLength, 0)
    if _is_tiled(directory):
        rows = directory.number(Tag.TileLength, height)
    else:
        rows = min(height, directory.number(Tag.RowsPerStrip, height))
        if not _is_read_whole(directory):
            rows = min(rows, _ROW_BY_ROW)
    size = directory.file.seek(0, io.SEEK_END)
    stored = max(directory.numbers(Tag.TileByteCounts if _is_tiled(directory) else Tag.StripByteCounts), default=0)
    samples = directory.number(Tag.SamplesPerPixel, 1)
    return 2 * (rows * width * samples * -(-int(max(_bits(directory))) // 8) + int(min(size, stored)))


def _is_read_whole(directory: Directory) -> bool:
    """Whether a strip is decoded at once, however tall it is."""
    is_jpeg = directory.number(Tag.Compression, 1) == COMPRESSION.JPEG
    separate = directory.number(Tag.PlanarConfiguration, 1) == _SEPARATE_PLANES
    return is_jpeg or separate or _photometric(directory) == PHOTOMETRIC.YCBCR


def _unsupported(path: Path, what: str) -> PictureError:
    return PictureError(
        f"{path}: a TIFF with {what} is not supported; export it with an image editor as RGB in 8 or 16 bits, without "
        "compression or with LZW or Deflate, or convert it: magick IN.tif OUT.png",
        path=path,
    )


def _compression(directory: Directory) -> str:
    found = directory.number(Tag.Compression, 1)
    return "old-style JPEG" if found == COMPRESSION.OJPEG else _name(COMPRESSION, found)


def _name(known: type[IntEnum], number: int) -> str:
    return known(number).name if number in set(known) else f"number {number}"


# ------------------------------------------------------------------------------------------------ what libvips is given


def _magic(file: BinaryIO) -> bytes:
    """The file's head, up to the place of its first directory."""
    file.seek(0)
    head = file.read(8)
    return head if b"+" in head[2:4] else head[:4]


def _shown(directory: Directory) -> dict[int, bytes | tuple[int, ...]]:
    """The entries that libvips is to see."""
    hidden = {Tag.ExtraSamples} | (_OF_YCBCR if _is_converted_here(directory) else set())
    shown: dict[int, bytes | tuple[int, ...]] = {
        tag: entry for tag, entry in directory.entries.items() if tag in _OF_PIXELS - hidden
    }
    if extras := _extras(directory):
        shown[Tag.ExtraSamples] = (0,) * len(extras)  # libvips would multiply, and not always by the right number
    if _is_converted_here(directory):
        shown[Tag.PhotometricInterpretation] = (PHOTOMETRIC.RGB,)
        shown.pop(Tag.SampleFormat, None)
    elif _photometric(directory) == PHOTOMETRIC.YCBCR and (sampling := _jpeg_sampling(directory)):
        shown[Tag.YCbCrSubSampling] = sampling
    return shown


def _jpeg_sampling(directory: Directory) -> tuple[int, int] | None:
    """How a JPEG within the file is sampled, which its tags often get wrong; None if it cannot be found out."""
    if directory.number(Tag.Compression, 1) != COMPRESSION.JPEG:
        return None
    directory.file.seek(min(directory.number(_where(directory), 0), directory.file.seek(0, io.SEEK_END)))
    try:
        with Image.open(io.BytesIO(directory.file.read(_JPEG_HEAD)), formats=["JPEG"]) as jpeg:
            _, across, down, _ = jpeg.layer[0]  # type: ignore[attr-defined]
    except (OSError, SyntaxError, ValueError, IndexError, struct.error):
        return None
    return across, down


# ------------------------------------------------------------------------------------------------ what becomes of it


def _colors(image: Any, directory: Directory) -> Any:
    """The image with RGB for the colors it has, alpha where it is declared, and no other samples."""
    extras, photometric = _extras(directory), _photometric(directory)
    if photometric == PHOTOMETRIC.PALETTE and image.bands == 1:  # its colors are all gray, its profile is for RGB
        return tripled(image)
    if photometric in _GRAY and len(extras) > 1:  # nobody says which one is meant; refused with its number of channels
        return image
    colors = 3 if photometric == PHOTOMETRIC.YCBCR else image.bands - len(extras)
    alpha = next((number for number, kind in enumerate(extras) if kind in _ALPHA), None)
    found = image if colors == image.bands else image.extract_band(0, n=colors)
    if alpha is None or colors + alpha >= image.bands:
        return _rgb(found, directory)
    transparency = image.extract_band(colors + alpha)
    if extras[alpha] == _PREMULTIPLIED:
        multiplied = found.bandjoin(transparency).unpremultiply(max_alpha=VIPS_SCALE.get(image.format, 1))
        found = _rounded(multiplied.extract_band(0, n=colors), image)
    return _rgb(found, directory).bandjoin(transparency)


def _rgb(image: Any, directory: Directory) -> Any:
    """The colors, which libvips has taken for RGB where they were none, as RGB."""
    if not _is_converted_here(directory):
        return image
    photometric = _photometric(directory)
    return _rgb_of_lab(image, photometric) if photometric in _LAB else _rgb_of_ycbcr(image, directory)


def _rounded(image: Any, like: Any) -> Any:
    """The image in the format of another."""
    whole = image if like.format in ("float", "double") else image.rint()
    return whole.cast(like.format).copy(interpretation=like.interpretation)


def _rgb_of_ycbcr(image: Any, directory: Directory) -> Any:
    """RGB of samples of luma and two color differences, as libtiff computes it for 8 bits."""
    full = VIPS_SCALE[image.format]
    half = (full + 1) // 2
    red, green, blue = _sound(directory.numbers(Tag.YCbCrCoefficients), 3) or _LUMA
    usual = (0, full, half, full, half, full)
    black_white = _sound(directory.numbers(Tag.ReferenceBlackWhite), 6) or usual
    spans = [white - black or 1 for black, white in zip(black_white[::2], black_white[1::2], strict=True)]
    scales = [size / span for size, span in zip((full, half - 1, half - 1), spans, strict=True)]
    scaled = image.linear(scales, [-black * scale for black, scale in zip(black_white[::2], scales, strict=True)])
    to_red, to_blue = 2 - 2 * red, 2 - 2 * blue
    matrix = [[1, 0, to_red], [1, -blue * to_blue / green, -red * to_red / green], [1, to_blue, 0]]
    return _rounded(scaled.recomb(matrix), image)


def _sound(numbers: tuple[float, ...], count: int) -> tuple[float, ...] | None:
    return numbers if len(numbers) == count and any(numbers) and (count != 3 or all(numbers)) else None


def _rgb_of_lab(image: Any, photometric: int) -> Any:
    """RGB of CIE L*a*b* as TIFF stores it: under D50, with signed a* and b*, or with a half added to them."""
    depth = 8 * DTYPE[image.format].itemsize
    half = 2 ** (depth - 1)
    is_icc = photometric == PHOTOMETRIC.ICCLAB
    white = half * 2 - (2 ** (depth - 8) if is_icc and depth == 16 else 1)
    light = image.extract_band(0) * (100 / white)
    chroma = image.extract_band(1, n=2)
    chroma = (chroma if is_icc else (chroma + half) % (2 * half)) - half
    lab = light.bandjoin(chroma * (128 / half)).cast("float").copy(interpretation="lab")
    found = lab.icc_export(output_profile="srgb", pcs="lab", intent="relative", depth=depth).copy()
    found.remove("icc-profile-data")
    return found


def _described(image: Any, directory: Directory) -> Any:
    """The image with orientation, profile, XMP, IPTC and resolution as the file states them."""
    image = image.copy()
    image.remove("orientation")
    if orientation := directory.number(Tag.Orientation, 0):
        image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    if (profile := directory.content(Tag.InterColorProfile)) and _photometric(directory) not in _LAB:
        image = with_blob(image, "icc-profile-data", profile)
    if xmp := directory.content(Tag.XMLPacket):
        image = with_blob(image, "xmp-data", xmp)
    if iptc := directory.content(Tag.IPTCNAA):
        image = with_blob(image, "iptc-data", iptc)
    resolution = (Tag.XResolution, Tag.YResolution, Tag.ResolutionUnit)
    stated = {int(tag): directory.numbers(tag)[0] for tag in resolution if directory.numbers(tag)}
    return with_dpi(image, dpi_of_tags(stated))
