"""PNG files, and what libvips does not find in them: EXIF behind the pixels or in texts, profiles that libpng drops."""

import binascii
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyvips

from .metadata import with_blob
from .opened import Asked, Opened
from .vips import source_of

_SIGNATURE = 8  # bytes
_MOST_CHUNKS = 1 << 20
_MOST_BYTES = 1 << 24  # of a chunk, stored or unpacked
_BESIDE = (b"eXIf", b"iCCP", b"tEXt", b"zTXt", b"iTXt")

# As ImageMagick writes them: a line with the name, one with the length, then hexadecimal digits.
_HEX_PROFILE = re.compile(rb"\s*\w+\s+\d+\s+([0-9a-fA-F\s]+)")
_BY_KEYWORD = {
    b"XML:com.adobe.xmp": "xmp-data",
    b"Raw profile type xmp": "xmp-data",
    b"Raw profile type exif": "exif-data",
    b"Raw profile type APP1": "exif-data",
    b"Raw profile type icc": "icc-profile-data",
    b"Raw profile type icm": "icc-profile-data",
}


@contextmanager
def open_png(file: BinaryIO, path: Path, asked: Asked) -> Iterator[Opened]:
    """A PNG file."""
    found = dict(reversed([*_blobs(file)]))  # the first of each
    file.seek(0)
    with source_of(file) as source:
        image = pyvips.Image.pngload_source(source, access="sequential", fail_on="error")
        for name, content in found.items():
            if content and not image.get_typeof(name):
                image = with_blob(image, name, content)
        yield Opened(image)


def _blobs(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """EXIF, XMP and color profiles wherever they are, by libvips' names."""
    for kind, content in _chunks(file):
        keyword, _, rest = content.partition(b"\0")
        try:
            if kind == b"eXIf":
                yield "exif-data", content
            elif kind == b"iCCP":
                yield "icc-profile-data", _unpacked(rest[1:])
            elif keyword in _BY_KEYWORD:
                text = _text(kind, rest)
                is_hex = keyword.startswith(b"Raw")
                yield _BY_KEYWORD[keyword], _of_hex(text) if is_hex else text
        except (zlib.error, ValueError):  # broken metadata reads as absent
            continue


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the whole chunks that lie beside the pixels."""
    at = _SIGNATURE
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        if kind in _BESIDE and length <= _MOST_BYTES:
            body = file.read(length + 4)
            if body[length:] == struct.pack(">I", zlib.crc32(body[:length], zlib.crc32(kind))):
                yield kind, body[:length]
        at += 12 + length


def _text(kind: bytes, rest: bytes) -> bytes:
    """The text of a chunk behind its keyword."""
    if kind == b"tEXt":
        return rest
    if kind == b"zTXt":
        return _unpacked(rest[1:])
    compressed, text = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
    return _unpacked(text) if compressed else text


def _unpacked(content: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    unpacked = unpacking.decompress(content, _MOST_BYTES)
    if not unpacking.eof:
        raise ValueError("cut short, or more than anybody needs")
    return unpacked


def _of_hex(text: bytes) -> bytes:
    if (found := _HEX_PROFILE.fullmatch(text.strip(b"\0"))) is None:
        raise ValueError("no profile in hexadecimal digits")
    return binascii.unhexlify(b"".join(found[1].split()))
