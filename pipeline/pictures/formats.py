"""The kinds of picture files that can be read, how each is recognised, and how each is opened."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyvips

from ..errors import PictureError
from .boxes import brands
from .decoders import JPEG_2000_EXTENSIONS, JXL_EXTENSIONS, open_bmp, open_jpeg_2000, open_jpeg_xl
from .heif import AVIF_BRANDS, HEIC_BRANDS, open_avif, open_heic
from .opened import Asked, Opened
from .png import open_png
from .psd import open_psd
from .raw import RAW_EXTENSIONS, RAW_SIGNATURE, open_raw
from .tiff import is_raw, open_tiff
from .vips import source_of

UNSUPPORTED_EXTENSIONS = frozenset(
    (".eps", ".exr", ".hdr", ".ico", ".jxr", ".pbm", ".pcx", ".pgm", ".pnm", ".ppm", ".svg", ".tga", ".xcf")
)
"""What other pictures are called, which are not looked for in a folder."""

_HEAD = 32  # bytes that tell most kinds
_GIF_BYTES = 8  # a pixel, that decoding was seen to take at most
_NOBODYS = rb"(?!)"


@dataclass(frozen=True)
class InputFormat:
    """A kind of file that can be read.

    Attributes
    ----------
    extensions
        What to look for in a folder.
    signature
        Pattern of its first bytes, which tell it from others.
    """

    name: str
    extensions: tuple[str, ...]
    signature: bytes
    open: Callable[[BinaryIO, Path, Asked], AbstractContextManager[Opened]]


def kind_of(file: BinaryIO, path: Path) -> InputFormat:
    """The kind of an open file. Raises `PictureError` if it is empty, or of none."""
    file.seek(0)
    head = file.read(_HEAD)
    if not head:
        raise PictureError(f"{path}: the file is empty; copy or export it again", path=path)
    kind = next((kind for kind in INPUT_FORMATS if re.match(kind.signature, head, re.DOTALL)), None) or _by_brand(file)
    if kind is _TIFF and (is_raw(file) or path.suffix.lower() in RAW_EXTENSIONS):
        kind = _RAW
    if kind is None and head.startswith(b"%PDF"):
        raise PictureError(
            f"{path}: PDFs are written, but not read; paint a .tif instead, or export the picture from it", path=path
        )
    if kind is None:
        raise PictureError(
            f"{path}: not a picture of a supported kind ({INPUT_NAMES}); convert it to JPEG, PNG or TIFF", path=path
        )
    return kind


def _by_brand(file: BinaryIO) -> InputFormat | None:
    """HEIC, AVIF and CR3 begin with the same box, and say in it what they are."""
    for brand in brands(file):
        if brand in _BY_BRAND:
            return _BY_BRAND[brand]
    return None


def _by_libvips(loader: str, pixel_bytes: int = 0) -> Callable[..., AbstractContextManager[Opened]]:
    """What opens files by one of libvips' loaders, which holds so many bytes a pixel; 0 where its header tells."""

    @contextmanager
    def open_file(file: BinaryIO, path: Path, asked: Asked) -> Iterator[Opened]:
        with source_of(file) as source:
            image: Any = getattr(pyvips.Image, loader)(source, access="sequential", fail_on="error")
            yield Opened(image, None, image.width * image.height * pixel_bytes)

    return open_file


_TIFF = InputFormat("TIFF", (".tif", ".tiff"), rb"II[*+]\0|MM\0[*+]", open_tiff)
_HEIC = InputFormat("HEIC", (".heic", ".heif", ".hif"), _NOBODYS, open_heic)
_AVIF = InputFormat("AVIF", (".avif",), _NOBODYS, open_avif)
RAW = "raw"  # the name of all kinds of raw photographs
_RAW = InputFormat(RAW, RAW_EXTENSIONS, RAW_SIGNATURE, open_raw)
_BY_BRAND = {b"crx ": _RAW} | dict.fromkeys(AVIF_BRANDS, _AVIF) | dict.fromkeys(HEIC_BRANDS, _HEIC)
INPUT_FORMATS = (
    InputFormat("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), rb"\xff\xd8\xff", _by_libvips("jpegload_source")),
    InputFormat("PNG", (".png",), rb"\x89PNG\r\n\x1a\n", open_png),
    _TIFF,
    InputFormat("WebP", (".webp",), rb"RIFF.{4}WEBP", _by_libvips("webpload_source")),
    _HEIC,
    _AVIF,
    InputFormat("JPEG XL", JXL_EXTENSIONS, rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", open_jpeg_xl),
    InputFormat("JPEG 2000", JPEG_2000_EXTENSIONS, rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n", open_jpeg_2000),
    InputFormat("GIF", (".gif",), rb"GIF8[79]a", _by_libvips("gifload_source", _GIF_BYTES)),
    InputFormat("BMP", (".bmp", ".dib"), rb"BM", open_bmp),
    InputFormat("PSD", (".psd", ".psb"), rb"8BPS\0[\1\2]", open_psd),
    _RAW,
)
"""The kinds of file that `read_picture` reads."""

INPUT_NAMES = ", ".join(kind.name for kind in INPUT_FORMATS)
INPUT_EXTENSIONS = tuple(extension for kind in INPUT_FORMATS for extension in kind.extensions)
