"""TIFF and PNG files with any tags and chunks, and small color profiles: what libraries would not write."""

import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SIGNED_RATIONAL = 1, 2, 3, 4, 5, 7, 10
_CODES = {BYTE: "B", ASCII: "B", SHORT: "H", LONG: "I", RATIONAL: "II", UNDEFINED: "B", SIGNED_RATIONAL: "ii"}

Value = tuple[int, Sequence[int] | bytes]
"""Type and values of a tag."""


def tiff_tags(pixels: np.ndarray, photometric: int = 2) -> dict[int, Value]:
    """The tags of an uncompressed picture (height, width, samples) in one strip, but for where that lies."""
    height, width, samples = pixels.shape
    return {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [8 * pixels.dtype.itemsize] * samples),
        259: (SHORT, [1]),
        262: (SHORT, [photometric]),
        273: (LONG, [0]),
        277: (SHORT, [samples]),
        278: (LONG, [height]),
        279: (LONG, [pixels.nbytes]),
    }


def tiff(
    pixels: np.ndarray,
    photometric: int = 2,
    tags: Mapping[int, Value | None] | None = None,
    *,
    order: str = "<",
    data: bytes | None = None,
    by_number: bool = True,
    behind: bytes = b"",
) -> bytes:
    """An uncompressed TIFF of one strip, with these tags added or put in place of its own; None leaves a tag out.

    `data` is what the strip holds instead; without `by_number` the tags stand in the wrong order; `behind` is a second
    directory, with offsets that count from its own beginning (see `directory`).
    """
    found = {**tiff_tags(pixels, photometric), **(tags or {})}
    held = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes() if data is None else data
    first = directory(found, order, place=8, strip=0, by_number=by_number)
    strip = 8 + len(first)
    following = strip + len(held) + len(held) % 2 if behind else 0
    first = directory(found, order, place=8, strip=strip, following=following, by_number=by_number)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return head + first + held + bytes(len(held) % 2 if behind else 0) + behind


def directory(
    tags: Mapping[int, Value | None],
    order: str = "<",
    *,
    place: int,
    strip: int,
    following: int = 0,
    by_number: bool = True,
) -> bytes:
    """A directory to lie at `place`, with its values behind it; a StripOffsets of one 0 becomes `strip`."""
    kept = sorted(((tag, value) for tag, value in tags.items() if value), reverse=not by_number)
    behind = place + 2 + 12 * len(kept) + 4
    entries, values = b"", b""
    for tag, (kind, numbers) in kept:
        if tag == 273 and list(numbers) == [0]:
            numbers = [strip]
        code = _CODES[kind][0] * len(numbers)
        stored = numbers if isinstance(numbers, bytes) else struct.pack(order + code, *numbers)
        count = len(stored) // struct.calcsize("=" + _CODES[kind])
        inline = len(stored) <= 4
        entries += struct.pack(order + "HHI", tag, kind, count)
        entries += stored.ljust(4, b"\0") if inline else struct.pack(order + "I", behind + len(values))
        values += b"" if inline else stored + bytes(len(stored) % 2)
    return struct.pack(order + "H", len(kept)) + entries + struct.pack(order + "I", following) + values


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG, with its checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(pixels: np.ndarray, before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG of 8 bits, (height, width) or (height, width, 3), with chunks before and after the pixels."""
    height, width = pixels.shape[:2]
    lines = np.pad(pixels.reshape(height, -1), ((0, 0), (1, 0))).tobytes()  # every line begins with its filter
    head = struct.pack(">IIBBBBB", width, height, 8, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    parts = [chunk(b"IHDR", head), before, chunk(b"IDAT", zlib.compress(lines)), after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def profile_chunk(profile: bytes) -> bytes:
    """The chunk that holds a color profile."""
    return chunk(b"iCCP", b"name\0\0" + zlib.compress(profile))


def gray_profile(gamma: float, *, intent: int = 0, device: bytes = b"mntr") -> bytes:
    """A color profile for gray with a gamma; `intent` is its rendering intent, `device` what it is for."""
    white = _xyz(0.9642, 1.0, 0.8249)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    return profile({b"wtpt": b"XYZ " + bytes(4) + white, b"kTRC": curve}, b"GRAY", intent=intent, device=device)


def profile(
    tags: Mapping[bytes, bytes], space: bytes, *, intent: int = 0, device: bytes = b"mntr", pcs: bytes = b"XYZ "
) -> bytes:
    """A color profile, version 2, of these tags; for numbers in this color space."""
    name = b"handmade\0"
    about = b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(8 + 2 + 1 + 67)
    tags = {b"desc": about, b"cprt": b"text" + bytes(4) + b"none\0", **tags}
    table, body, place = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        table += struct.pack(">4sII", tag, place + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", place + len(body), b"none", 0x02400000, device, space, pcs)
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(24) + struct.pack(">I", intent)
    head += _xyz(0.9642, 1.0, 0.8249) + bytes(48)
    assert len(head) == 128
    return head + struct.pack(">I", len(tags)) + table + body


def _xyz(*numbers: float) -> bytes:
    return struct.pack(">3i", *(round(number * 65536) for number in numbers))
