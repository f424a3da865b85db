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
from .decoders import (
    JPEG_2000_EXTENSIONS,
    JXL_EXTENSIONS,
    open_bmp,
    open_jpeg_2000,
    open_jpeg_xl,
)
from .heif import AVIF_BRANDS, HEIC_BRANDS, open_avif, open_heic
from .opened import Asked, Opened
from .png import open_png
from .psd import open_psd
from .raw import RAW_EXTENSIONS, RAW_SIGNATURE, open_raw
from .samples import source_of
from .tiff import is_raw, open_tiff

UNSUPPORTED_EXTENSIONS = frozenset(
    (".eps", ".exr", ".hdr", ".ico", ".jxr", ".pbm", ".pcx", ".pgm", ".pnm", ".ppm", ".svg", ".tga", ".xcf")
)
"""What other pictures are called, which are not looked for in a folder."""

_HEAD = 32  # bytes that tell most kinds
_GIF_BYTES = 8  # a pixel, that decoding was seen to take at most
_NOBODYS = re.compile(rb"(?!)")


@dataclass(frozen=True)
class InputFormat:
    """A kind of file that can be read: recognised by its first bytes; extensions say what to look for in a folder."""

    name: str
    extensions: tuple[str, ...]
    signature: re.Pattern[bytes]
    open: Callable[[BinaryIO, Path, Asked], AbstractContextManager[Opened]]


def supported_inputs() -> tuple[InputFormat, ...]:
    """The kinds of file that `read_picture` reads."""
    return _INPUTS


def names_of_inputs() -> str:
    """Their names, in one line."""
    return ", ".join(kind.name for kind in _INPUTS)


def kind_of(file: BinaryIO, path: Path) -> InputFormat:
    """The kind of an open file.

    Raises
    ------
    PictureError
        If it is empty, or of none.
    """
    file.seek(0)
    head = file.read(_HEAD)
    if not head:
        raise PictureError(f"{path}: the file is empty; copy or export it again", path=path)
    kind = next((kind for kind in _INPUTS if kind.signature.match(head)), None) or _by_brand(file)
    if kind is _TIFF and (is_raw(file) or path.suffix.lower() in RAW_EXTENSIONS):
        kind = _RAW
    if kind is None:
        raise PictureError(
            f"{path}: not a picture of a supported kind ({names_of_inputs()}); convert it to JPEG, PNG or TIFF",
            path=path,
        )
    return kind


def _by_brand(file: BinaryIO) -> InputFormat | None:
    """HEIC, AVIF and CR3 begin with the same box, and say in it what they are."""
    for brand in brands(file):
        if brand in _BY_BRAND:
            return _BY_BRAND[brand]
    return None


@contextmanager
def _open_jpeg(file: BinaryIO, path: Path, asked: Asked) -> Iterator[Opened]:
    with source_of(file) as source:
        yield Opened(pyvips.Image.jpegload_source(source, access="sequential", fail_on="error"))


@contextmanager
def _open_webp(file: BinaryIO, path: Path, asked: Asked) -> Iterator[Opened]:
    with source_of(file) as source:
        yield Opened(pyvips.Image.webpload_source(source, access="sequential", fail_on="error"))


@contextmanager
def _open_gif(file: BinaryIO, path: Path, asked: Asked) -> Iterator[Opened]:
    """The first frame of a GIF."""
    with source_of(file) as source:
        image: Any = pyvips.Image.gifload_source(source, access="sequential", fail_on="error")
        yield Opened(image, None, image.width * image.height * _GIF_BYTES)


@contextmanager
def _open_png(file: BinaryIO, path: Path, asked: Asked) -> Iterator[Opened]:
    with open_png(file, path) as image:
        yield Opened(image)


@contextmanager
def _open_tiff(file: BinaryIO, path: Path, asked: Asked) -> Iterator[Opened]:
    with open_tiff(file, path, asked.page) as opened:
        yield opened


_TIFF = InputFormat("TIFF", (".tif", ".tiff"), re.compile(rb"II[*+]\0|MM\0[*+]"), _open_tiff)
_HEIC = InputFormat("HEIC", (".heic", ".heif", ".hif"), _NOBODYS, open_heic)
_AVIF = InputFormat("AVIF", (".avif",), _NOBODYS, open_avif)
_RAW = InputFormat("raw", RAW_EXTENSIONS, RAW_SIGNATURE, open_raw)
_BY_BRAND = {b"crx ": _RAW} | dict.fromkeys(AVIF_BRANDS, _AVIF) | dict.fromkeys(HEIC_BRANDS, _HEIC)
_INPUTS = (
    InputFormat("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), re.compile(rb"\xff\xd8\xff"), _open_jpeg),
    InputFormat("PNG", (".png",), re.compile(rb"\x89PNG\r\n\x1a\n"), _open_png),
    _TIFF,
    InputFormat("WebP", (".webp",), re.compile(rb"RIFF.{4}WEBP", re.DOTALL), _open_webp),
    _HEIC,
    _AVIF,
    InputFormat("JPEG XL", JXL_EXTENSIONS, re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", re.DOTALL), open_jpeg_xl),
    InputFormat(
        "JPEG 2000",
        JPEG_2000_EXTENSIONS,
        re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n", re.DOTALL),
        open_jpeg_2000,
    ),
    InputFormat("GIF", (".gif",), re.compile(rb"GIF8[79]a"), _open_gif),
    InputFormat("BMP", (".bmp", ".dib"), re.compile(rb"BM"), open_bmp),
    InputFormat("PSD", (".psd", ".psb"), re.compile(rb"8BPS\0[\1\2]"), open_psd),
    _RAW,
)
