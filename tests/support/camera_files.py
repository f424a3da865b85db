"""Files as phones, cameras and Photoshop write them: by encoders that are not muralist's, or by hand where none is."""

import io
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
from handmade import ASCII, BYTE, LONG, RATIONAL, SHORT, SIGNED_RATIONAL, Value, tiff
from PIL import Image

RGGB = (0, 1, 1, 2)
_XYZ_TO_SRGB = (3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.2040, 1.0570)


def heic(pixels: np.ndarray, *, quality: int = 100, **about: Any) -> bytes:
    """A HEIC file of pixels (height, width, 3 or 4); uint16 becomes 10 bits. `about` are exif, xmp, icc_profile."""
    mode = "RGB" if pixels.shape[2] == 3 else "RGBA"
    file = io.BytesIO()
    height, width = pixels.shape[:2]
    found = pillow_heif.from_bytes(
        mode + (";16" if pixels.dtype == np.uint16 else ""), (width, height), pixels.tobytes()
    )
    found.save(file, quality=quality, chroma=444, **about)
    return file.getvalue()


def avif(pixels: np.ndarray, **about: Any) -> bytes:
    """An AVIF file of 8 bits, by Pillow."""
    return saved("AVIF", pixels, quality=98, subsampling="4:4:4", **about)


def saved(form: str, pixels: np.ndarray, **options: Any) -> bytes:
    """A file by Pillow."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def jpeg_xl(pixels: np.ndarray) -> bytes:
    """A lossless JPEG XL file."""
    return bytes(imagecodecs.jpegxl_encode(pixels, lossless=True))


def jpeg_xl_boxes(*contents: tuple[bytes, bytes]) -> bytes:
    """A JPEG XL file of boxes, each a name and a content."""
    every = ((b"JXL ", b"\r\n\x87\n"), (b"ftyp", b"jxl \0\0\0\0jxl "), *contents)
    return b"".join(struct.pack(">I4s", 8 + len(content), name) + content for name, content in every)


def jpeg_2000(pixels: np.ndarray, icc: bytes | None = None) -> bytes:
    """A lossless JPEG 2000 file, with a color profile if there is one."""
    found = bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="jp2"))
    if icc is None:
        return found
    at = found.index(b"colr")
    (size,) = struct.unpack_from(">I", found, at - 4)
    (head,) = struct.unpack_from(">I", found, start := found.index(b"jp2h") - 4)
    colors = struct.pack(">I", len(icc) + 11) + b"colr\2\0\0" + icc
    grown = struct.pack(">I", head + len(colors) - size)
    return found[:start] + grown + found[start + 4 : at - 4] + colors + found[at - 4 + size :]


def jpeg_2000_planes(planes: Sequence[np.ndarray]) -> bytes:
    """A bare JPEG 2000 codestream of planes, uint8, of which all but the first may have half the width and height.

    It is put together from a codestream for each.
    """
    options = {"no_jp2": True, "progression": "CPRL", "num_resolutions": 2, "mct": 0}
    streams = [saved("JPEG2000", np.ascontiguousarray(plane), **options) for plane in planes]
    first, bodies = streams[0], [stream[stream.index(b"\xff\x93") + 2 : -2] for stream in streams]
    kinds = b"".join(
        struct.pack("BBB", 7, *(-(-a // b) for a, b in zip(planes[0].shape, p.shape, strict=True))) for p in planes
    )
    after = 4 + int.from_bytes(first[4:6], "big")
    size = struct.pack(">H", 38 + len(kinds)) + first[6:40] + struct.pack(">H", len(planes)) + kinds
    tile = first.index(b"\xff\x90")
    part = first[tile : tile + 6] + struct.pack(">I", 14 + sum(map(len, bodies))) + first[tile + 10 : tile + 12]
    return first[:4] + size + first[after:tile] + part + b"\xff\x93" + b"".join(bodies) + b"\xff\xd9"


def jpeg_2000_boxes(stream: bytes, height: int, width: int, channels: int, colors: int) -> bytes:
    """A JPEG 2000 file of a codestream and the number of its colors: 16 sRGB, 17 gray, 18 YCbCr."""
    box = lambda name, content: struct.pack(">I4s", 8 + len(content), name) + content  # noqa: E731
    head = box(b"ihdr", struct.pack(">IIHBBBB", height, width, channels, 7, 7, 0, 0))
    head += box(b"colr", struct.pack(">BBBI", 1, 0, 0, colors))
    parts = (box(b"jP  ", b"\r\n\x87\n"), box(b"ftyp", b"jp2 \0\0\0\0jp2 "), box(b"jp2h", head), box(b"jp2c", stream))
    return b"".join(parts)


def dng(samples: np.ndarray, tags: Mapping[int, Value | None] | None = None) -> bytes:
    """A raw photograph: (height, width) uint16 behind red, green, green and blue filters of sRGB's own primaries."""
    matrix = [part for number in _XYZ_TO_SRGB for part in (round(number * 10000), 10000)]
    about: dict[int, Value] = {
        254: (LONG, [0]),
        271: (ASCII, b"Handmade\0"),
        272: (ASCII, b"Camera One\0"),
        33421: (SHORT, [2, 2]),
        33422: (BYTE, RGGB),
        50706: (BYTE, [1, 4, 0, 0]),
        50708: (ASCII, b"Handmade Camera One\0"),
        50714: (SHORT, [0]),
        50717: (LONG, [65535]),
        50721: (SIGNED_RATIONAL, matrix),
        50728: (RATIONAL, [1, 1, 1, 1, 1, 1]),
        50778: (SHORT, [21]),
    }
    return tiff(samples[:, :, None], 32803, {**about, **(tags or {})})


def mosaic(pixels: np.ndarray) -> np.ndarray:
    """What a sensor sees of linear colors (height, width, 3): one of them at every place."""
    rows, cols = np.mgrid[0 : pixels.shape[0], 0 : pixels.shape[1]]
    return np.take_along_axis(pixels, np.take(RGGB, 2 * (rows % 2) + cols % 2)[:, :, None], axis=2)[:, :, 0]


def psd(
    planes: np.ndarray,
    mode: int = 3,
    *,
    packed: bool = True,
    large: bool = False,
    layers: int = 0,
    resources: Mapping[int, bytes] | None = None,
    palette: Sequence[int] = (),
) -> bytes:
    """A Photoshop file without layers: (channels, height, width), uint8 or uint16; `layers` is the number it claims."""
    channels, height, width = planes.shape
    depth = 8 * planes.dtype.itemsize
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 2 if large else 1, channels, height, width, depth, mode)
    about = b"".join(
        b"8BIM" + struct.pack(">HHI", number, 0, len(content)) + content + bytes(len(content) % 2)
        for number, content in (resources or {}).items()
    )
    long = "Q" if large else "I"
    layer = struct.pack(">" + long + "h", 2, layers) if layers else b""
    lines = [line.tobytes() for line in planes.astype(planes.dtype.newbyteorder(">")).reshape(-1, width)]
    if packed:
        lines = [bytes(imagecodecs.packbits_encode(line)) for line in lines]
    sizes = struct.pack(f">{len(lines)}{'I' if large else 'H'}", *map(len, lines)) if packed else b""
    return b"".join(
        (
            head,
            struct.pack(">I", len(palette)) + bytes(palette),
            struct.pack(">I", len(about)) + about,
            struct.pack(">" + long, len(layer)) + layer,
            struct.pack(">H", packed) + sizes,
            *lines,
        )
    )
