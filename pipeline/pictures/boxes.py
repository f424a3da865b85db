"""Boxes, which HEIF, AVIF, JPEG XL and MP4 files consist of, and their headers. All values are checked."""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import brotli

_MOST_BOXES = 4096  # within one
MOST_BYTES = 1 << 24  # of a box whose content is read
_BY_PROFILE = b"\2"  # how JPEG 2000 states colors: by a profile that is there
_JP2_HEAD = b"jp2h"
_BLOBS = {
    b"Exif": "exif-data",
    b"xml ": "xmp-data",
    _JP2_HEAD: "icc-profile-data",
    b"JpgTiffExif->JP2": "exif-data",
    bytes.fromhex("be7acfcb97a942e89c71999491e3afac"): "xmp-data",
}
"""What is in boxes, by their names or, of those of a stranger's kind, by the UUID."""


class Box(NamedTuple):
    """A box of a file: its name, and where its content lies, in bytes."""

    name: bytes
    start: int
    stop: int


def boxes(file: BinaryIO, start: int = 0, stop: int | None = None) -> Iterator[Box]:
    """Boxes that follow each other, up to the first one that is broken."""
    stop = file.seek(0, 2) if stop is None else stop
    for _ in range(_MOST_BOXES):
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            return
        size, name = struct.unpack_from(">I4s", head)
        before = 8
        if size == 1 and len(head) == 16:
            size, before = struct.unpack_from(">Q", head, 8)[0], 16
        end = stop if size == 0 else start + size
        if end > stop or end < start + before:
            return
        yield Box(name, start + before, end)
        start = end


def content(file: BinaryIO, box: Box) -> bytes:
    """The content of a box, at most 16 MiB of it."""
    file.seek(box.start)
    return file.read(min(box.stop - box.start, MOST_BYTES))


def brands(file: BinaryIO) -> tuple[bytes, ...]:
    """What a file says it is, first its own kind, then those that it can be taken for."""
    for box in boxes(file):
        if box.name == b"ftyp":
            found = content(file, box)
            return (found[:4], *(found[at : at + 4] for at in range(8, len(found) - 3, 4)))
    return ()


def blobs_in_boxes(file: BinaryIO) -> dict[str, bytes]:
    """EXIF, XMP and the color profile that lie in boxes of a JPEG XL or JPEG 2000 file, packed or not.

    They have libvips' names. Of boxes of one kind the first counts.
    """
    found: dict[bytes, bytes] = {}
    for box in boxes(file):
        begin = content(file, box._replace(stop=min(box.stop, box.start + 16)))
        kind = {b"brob": begin[:4], b"uuid": begin}.get(box.name, box.name)
        if kind in _BLOBS and kind not in found:
            found[kind] = _blob(file, box, kind)
    return {_BLOBS[kind]: blob for kind, blob in found.items() if blob}


def _blob(file: BinaryIO, box: Box, kind: bytes) -> bytes:
    if kind == _JP2_HEAD:
        held = next((content(file, each) for each in boxes(file, box.start, box.stop) if each.name == b"colr"), b"")
        return held[3:] if held[:1] == _BY_PROFILE else b""
    held = content(file, box)
    if box.name == b"brob":
        held = _unpacked(held[4:])
    if kind == b"Exif":
        return held[4 + int.from_bytes(held[:4], "big") :]
    return held[16:] if box.name == b"uuid" else held


def _unpacked(packed: bytes) -> bytes:
    """What Brotli has packed, at most 16 MiB of it; none if it is broken."""
    try:
        unpacked: bytes = brotli.Decompressor().process(packed, output_buffer_limit=MOST_BYTES)
        return unpacked[:MOST_BYTES]
    except brotli.error:
        return b""
