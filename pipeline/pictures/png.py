"""PNG files, and metadata that libvips misses: EXIF after the pixels or in text chunks, profiles that libpng drops."""

import binascii
import io
import re
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate, takewhile
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyvips

from .metadata import with_blob, with_dpi
from .opened import Asked, Opened, damaged, with_coded_colors
from .vips import source_of

_SIGNATURE = 8  # bytes
_MOST_CHUNKS = 1 << 16  # without those of the pixels
_MOST_BYTES = 1 << 24  # of a chunk, stored or unpacked
_MOST_BROKEN = 16  # chunks of broken metadata, each of which takes time
_PIXELS = b"IDAT"
_METER = 1  # a unit of resolution; the other is none
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")

# As ImageMagick writes them: a line with the name, one with the length, then hexadecimal digits.
_HEX_PROFILE = re.compile(rb"\s*\w+\s+\d+\s([0-9a-fA-F\s]+)")
_BY_KIND = {b"eXIf": "exif-data", b"iCCP": "icc-profile-data"}
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
    """A PNG file. libvips does not see its texts, of which it would unpack and keep any number."""
    if (chunks := _chunks(file)) is None:
        raise damaged(path, f"more than {_MOST_CHUNKS} chunks beside the pixels")
    found = _blobs(file, chunks)
    with source_of(_Parts(file, _between_texts(file, chunks))) as source:
        image = pyvips.Image.pngload_source(source, access="sequential", fail_on="error")
        for name, content in found.items():
            if content and not image.get_typeof(name):
                image = with_blob(image, name, content)
        if _states_only_aspect(file, chunks):
            image = with_dpi(image, None)
        if len(colors := _coded_colors(file, chunks)) == 4:
            image = with_coded_colors(image, colors[0], colors[1], path)
        yield Opened(image)


class _Chunk(NamedTuple):
    """A whole chunk: its kind, and where it lies with its head and its checksum, in bytes."""

    kind: bytes
    start: int
    stop: int


def _chunks(file: BinaryIO) -> list[_Chunk] | None:
    """All whole chunks, of the pixels' only the first in a row; None if there are more than any file needs."""
    found: list[_Chunk] = []
    at, size = _SIGNATURE, file.seek(0, io.SEEK_END)
    while at + 12 <= size:
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        stop = at + 12 + length
        if stop > size:
            break
        if kind != _PIXELS or not found or found[-1].kind != _PIXELS:
            found.append(_Chunk(kind, at, stop))
        if len(found) > _MOST_CHUNKS:
            return None
        at = stop
    return found


def _between_texts(file: BinaryIO, chunks: list[_Chunk]) -> list[tuple[int, int]]:
    """The parts of the file that are no texts."""
    parts, start = [], 0
    for chunk in chunks:
        if chunk.kind in _TEXTS:
            if start < chunk.start:
                parts.append((start, chunk.start))
            start = chunk.stop
    return [*parts, (start, file.seek(0, io.SEEK_END))]


class _Parts(io.RawIOBase):
    """Parts of a file, each from one place to another, as if they were all of it."""

    def __init__(self, file: BinaryIO, parts: list[tuple[int, int]]) -> None:
        self._file, self._parts = file, parts
        self._starts = [*accumulate((stop - start for start, stop in parts), initial=0)]
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go somewhere."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence, self._starts[-1])
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read what is left of the part that is reached."""
        if self._at >= self._starts[-1]:
            return 0
        number = bisect_right(self._starts, self._at) - 1
        place = self._parts[number][0] + self._at - self._starts[number]
        self._file.seek(place)
        left = self._parts[number][1] - place
        count: int = self._file.readinto(memoryview(buffer)[:left])  # type: ignore[attr-defined]
        self._at += count
        return count


def _blobs(file: BinaryIO, chunks: list[_Chunk]) -> dict[str, bytes]:
    """EXIF, XMP and the color profile wherever they are, the first of each, by libvips' names."""
    found: dict[str, bytes] = {}
    broken = 0
    for chunk in chunks:
        content = _content(file, chunk) if chunk.kind in (*_BY_KIND, *_TEXTS) else b""
        keyword, _, rest = content.partition(b"\0")
        name = _BY_KIND.get(chunk.kind) or _BY_KEYWORD.get(keyword)
        if not content or name is None or name in found:
            continue
        try:
            found[name] = content if chunk.kind == b"eXIf" else _profile_or_text(chunk.kind, keyword, rest)
        except (zlib.error, ValueError):  # reads as absent
            broken += 1
            if broken == _MOST_BROKEN:
                break
    return found


def _states_only_aspect(file: BinaryIO, chunks: list[_Chunk]) -> bool:
    """Whether its numbers of pixels are for no length, as in frames of films; libvips takes them for a resolution."""
    stated = next((_content(file, chunk) for chunk in chunks if chunk.kind == b"pHYs"), b"")
    return len(stated) == 9 and stated[8] != _METER


def _coded_colors(file: BinaryIO, chunks: list[_Chunk]) -> bytes:
    """The numbers that the colors have: primaries, transfer and others; none where nothing is stated."""
    before_pixels = takewhile(lambda chunk: chunk.kind != _PIXELS, chunks)
    return next((_content(file, chunk) for chunk in before_pixels if chunk.kind == b"cICP"), b"")


def _content(file: BinaryIO, chunk: _Chunk) -> bytes:
    """What is in a chunk; nothing if it is not sound or too long."""
    if chunk.stop - chunk.start > _MOST_BYTES:
        return b""
    file.seek(chunk.start + 4)
    content = file.read(chunk.stop - chunk.start - 4)
    return content[4:-4] if content[-4:] == struct.pack(">I", zlib.crc32(content[:-4])) else b""


def _profile_or_text(kind: bytes, keyword: bytes, rest: bytes) -> bytes:
    """What a chunk holds behind its keyword, unpacked."""
    if kind == b"iCCP":
        return _unpacked(rest[1:])
    text = _text(kind, rest)
    return _of_hex(text) if keyword.startswith(b"Raw") else text


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
