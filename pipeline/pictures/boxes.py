"""Boxes, which HEIF, AVIF, JPEG XL and MP4 files are made of, and what their heads say. Nothing is believed."""

import struct
from collections.abc import Callable, Iterator
from itertools import islice
from typing import BinaryIO, NamedTuple

import brotli

_MOST_BOXES = 4096  # within one
_MOST_BYTES = 1 << 24  # of a box whose content is read
_MOST_ITEMS = 1 << 16
_OF_FULL_BOX = 4  # bytes of version and flags that some boxes begin with
_OF_AV1, _AV1_GRAY = 4, 0x10  # bytes of AV1's configuration before its header, and a bit of the third one
_SEQUENCE_HEADER = b"\x0a"
_BY_PROFILE = b"\2"  # how JPEG 2000 states colors: by a profile that is there
_BY_UUID = {b"JpgTiffExif->JP2": "exif-data", bytes.fromhex("be7acfcb97a942e89c71999491e3afac"): "xmp-data"}
_SIGNATURE_OF_JPEG_2000 = b"\xff\x4f\xff\x51"
_SIGNATURE_OF_JXL = b"\xff\x0a"
_JXL_HEAD = 4096  # bytes in which a stream says how it is coded
_SPOT_COLOR, _OF_A_SENSOR = 2, 5  # kinds of channels in JPEG XL
_FIXED_SIDES = {1: (1, 1), 2: (6, 5), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}  # width to height


class Box(NamedTuple):
    """A box of a file: its name, and where its content lies, in bytes."""

    name: bytes
    start: int
    stop: int


class CodedColors(NamedTuple):
    """Colors by the numbers of ITU-T H.273, and whether black and white are the least and the greatest sample."""

    primaries: int
    transfer: int
    is_full: bool


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
    """What is in a box, at most 16 MiB of it."""
    file.seek(box.start)
    return file.read(min(box.stop - box.start, _MOST_BYTES))


def brands(file: BinaryIO) -> tuple[bytes, ...]:
    """What a file says it is, first its own kind, then those that it can be taken for."""
    for box in boxes(file):
        if box.name == b"ftyp":
            found = content(file, box)
            return (found[:4], *(found[at : at + 4] for at in range(8, len(found) - 3, 4)))
    return ()


def has_stills(file: BinaryIO) -> bool:
    """Whether a HEIF or AVIF file holds pictures, and not a film alone."""
    return any(box.name == b"meta" for box in boxes(file))


def coded_colors(file: BinaryIO) -> CodedColors | None:
    """The colors that the main picture of a HEIF or AVIF file states by numbers; None if it does not."""
    return _coded(main_properties(file))


def _coded(properties: list[tuple[bytes, bytes]]) -> CodedColors | None:
    stated = next(
        (held for name, held in properties if name == b"colr" and held[:4] == b"nclx" and len(held) > 10), None
    )
    if stated is None:
        return None
    primaries, transfer, _, is_full = struct.unpack_from(">HHHB", stated, 4)
    return CodedColors(primaries, transfer, bool(is_full))


def is_narrow_gray(file: BinaryIO) -> bool:
    """Whether the main picture of an AVIF file is gray, with black at 16 and white at 235 of 255."""
    properties = main_properties(file)
    configuration = next((held for name, held in properties if name == b"av1C" and len(held) > 2), bytes(3))
    if not configuration[2] & _AV1_GRAY:
        return False
    colors = _coded(properties)
    return not (_is_full_in_av1(configuration[_OF_AV1:]) if colors is None else colors.is_full)


def _is_full_in_av1(header: bytes) -> bool:
    """Whether gray is of the full range, by the sequence header of a still (AV1, section 5.5), or if it is another."""
    bits = iter("".join(f"{byte:08b}" for byte in header[2:]))  # behind kind and length

    def take(count: int) -> int:
        return int("".join(islice(bits, count)) or "0", 2)

    profile, is_reduced = take(3), take(2) == 3
    if header[:1] != _SEQUENCE_HEADER or not is_reduced:
        return True
    take(5)
    take(take(4) + 1 + take(4) + 1)  # width and height
    take(6)
    if take(1) and profile == 2:
        take(1)
    take(1)
    if take(1):
        take(24)
    return take(1) == 1


def main_properties(file: BinaryIO) -> list[tuple[bytes, bytes]]:
    """Properties of the main picture of a HEIF or AVIF file, and of its first tile if it has any: names and beginnings.

    Those of other pictures in the file, such as maps of depth or gain, may state other colors.
    """
    meta = next((box for box in boxes(file) if box.name == b"meta"), None)
    if meta is None:
        return []
    within = {box.name: box for box in reversed([*boxes(file, meta.start + _OF_FULL_BOX, meta.stop)])}  # first of each
    try:
        main = _number(content(file, within[b"pitm"]), _OF_FULL_BOX)[0]
        items = [main, *(_first_tile(file, within[b"iref"], main) if b"iref" in within else ())]
        parts = [*boxes(file, within[b"iprp"].start, within[b"iprp"].stop)]
        stored = [box for part in parts if part.name == b"ipco" for box in boxes(file, part.start, part.stop)]
        tables = [content(file, part) for part in parts if part.name == b"ipma"]
        numbers = [number for item in items for table in tables for number in _properties_of(table, item)]
    except (KeyError, IndexError, struct.error):
        return []
    found = (stored[number - 1] for number in numbers if 0 < number <= len(stored))
    return [(box.name, content(file, box._replace(stop=min(box.stop, box.start + 32)))) for box in found]


def _number(held: bytes, at: int) -> tuple[int, int]:
    """An item's number in a box, as its version spells it, and where it ends."""
    code = ">I" if held[0] else ">H"
    return struct.unpack_from(code, held, at)[0], at + struct.calcsize(code)


def _first_tile(file: BinaryIO, references: Box, item: int) -> list[int]:
    """The number of the first tile of an item, if it is made of tiles."""
    version = content(file, references)[:1]
    for box in boxes(file, references.start + _OF_FULL_BOX, references.stop):
        if box.name == b"dimg":
            held = version + content(file, box)
            whole, at = _number(held, 1)
            if whole == item:
                return [_number(held, at + 2)[0]]  # behind how many there are
    return []


def _properties_of(table: bytes, item: int) -> list[int]:
    """The numbers, from 1, of an item's properties."""
    code, bits = ("H", 0x7FFF) if table[3] & 1 else ("B", 0x7F)  # above them, whether they have to be understood
    (count,) = struct.unpack_from(">I", table, _OF_FULL_BOX)
    at = 2 * _OF_FULL_BOX
    for _ in range(min(count, _MOST_ITEMS)):
        number, at = _number(table, at)
        found = struct.unpack_from(f">{table[at]}{code}", table, at + 1)
        if number == item:
            return [each & bits for each in found]
        at += 1 + len(found) * struct.calcsize(code)
    return []


def blobs_in_boxes(file: BinaryIO) -> dict[str, bytes]:
    """EXIF, XMP and the color profile that lie in boxes of a JPEG XL or JPEG 2000 file, packed or not.

    They have libvips' names."""
    found: dict[str, bytes] = {}
    for box in boxes(file):
        name, held = box.name, b""
        if name in (b"Exif", b"xml ", b"brob"):
            held = content(file, box)
        if name == b"brob":
            name, held = held[:4], _unpacked(held[4:])
        if name == b"Exif":
            found["exif-data"] = held[4 + int.from_bytes(held[:4], "big") :]
        elif name == b"xml ":
            found["xmp-data"] = held
        elif box.name == b"uuid" and (known := _BY_UUID.get((held := content(file, box))[:16])):
            found[known] = held[16:]
        elif box.name == b"jp2h":
            held = next((content(file, each) for each in boxes(file, box.start, box.stop) if each.name == b"colr"), b"")
            if held[:1] == _BY_PROFILE:
                found["icc-profile-data"] = held[3:]
    return {name: blob for name, blob in found.items() if blob}


def _unpacked(packed: bytes) -> bytes:
    """What Brotli has packed, at most 16 MiB of it; none if it is broken."""
    try:
        unpacked: bytes = brotli.Decompressor().process(packed, output_buffer_limit=_MOST_BYTES)
        return unpacked[:_MOST_BYTES]
    except brotli.error:
        return b""


class Jpeg2000Head(NamedTuple):
    """What the first bytes of a JPEG 2000 codestream say.

    Attributes
    ----------
    height, width
        Px.
    depth
        The most bits that a sample has.
    channels
        How many there are.
    is_signed
        Whether samples may be negative.
    is_ycbcr
        Whether it has luma and smaller color differences that nothing else declares.
    """

    height: int
    width: int
    depth: int
    channels: int
    is_signed: bool
    is_ycbcr: bool


def jpeg_2000_head(file: BinaryIO) -> Jpeg2000Head:
    """Read the head of a JPEG 2000 codestream (ISO/IEC 15444-1, annex A.5.1), in boxes or not.

    Raises `struct.error` if it is not there.
    """
    file.seek(0)
    before, signature, stream = file.read(_MOST_BYTES).partition(
        _SIGNATURE_OF_JPEG_2000
    )  # lengths of boxes may be wrong
    if not signature:
        raise struct.error("no JPEG 2000 codestream")
    right, bottom, left, top = struct.unpack_from(">4I", stream, 4)
    (channels,) = struct.unpack_from(">H", stream, 36)
    kinds = [struct.unpack_from(">3B", stream, 38 + 3 * number) for number in range(channels)]
    return Jpeg2000Head(
        height=bottom - top,
        width=right - left,
        depth=max((kind & 127 for kind, *_ in kinds), default=0) + 1,
        channels=channels,
        is_signed=any(kind & 128 for kind, *_ in kinds),
        is_ycbcr=not before and channels >= 3 and kinds[0][1:] == (1, 1) and kinds[1][1:] == kinds[2][1:] != (1, 1),
    )


class JxlHead(NamedTuple):
    """What the first bytes of a JPEG XL stream say.

    Attributes
    ----------
    height, width
        Of the picture as it is looked at, px.
    extras
        The kinds of the channels beside the colors, as numbers; 0 is alpha.
    is_premultiplied
        Whether the colors were multiplied by alpha.
    """

    height: int
    width: int
    extras: tuple[int, ...] = ()
    is_premultiplied: bool = False


def jxl_head(file: BinaryIO) -> JxlHead:
    """Read the head of a JPEG XL stream (ISO/IEC 18181-1, annex D).

    Raises `struct.error` if it is not there.
    """
    file.seek(0)
    stream = file.read(_JXL_HEAD)
    if not stream.startswith(_SIGNATURE_OF_JXL):
        stream = b""
        for box in boxes(file):
            if len(stream) < _JXL_HEAD and box.name in (b"jxlc", b"jxlp"):
                stream += content(file, box)[4 if box.name == b"jxlp" else 0 :][:_JXL_HEAD]
    if not stream.startswith(_SIGNATURE_OF_JXL) or len(stream) < 16:
        raise struct.error("no JPEG XL stream")
    bits = _Bits(stream[2:])
    height, width = bits.size()
    if bits.take(1):  # all else is as usual
        return JxlHead(height, width)
    orientation = 1
    if bits.take(1):
        orientation += bits.take(3)
        if bits.take(1):
            bits.size()
        if bits.take(1):
            bits.size_of_preview()
        if bits.take(1):
            bits.timing()
    bits.depth()
    bits.take(1)  # whether 16 bits are enough for the decoder
    extras = [bits.extra() for _ in range(bits.number(0, 1, (4, 2), (12, 1)))]
    height, width = (width, height) if orientation > 4 else (height, width)
    return JxlHead(height, width, tuple(kind for kind, _ in extras), (0, True) in extras)


class _Bits:
    """Bits of a stream, the lowest of each byte first; zeros behind its end."""

    def __init__(self, stream: bytes) -> None:
        self._left = int.from_bytes(stream, "little")

    def take(self, count: int) -> int:
        found = self._left & ((1 << count) - 1)
        self._left >>= count
        return found

    def number(self, *ways: int | tuple[int, int]) -> int:
        """A number spelled in one of four ways: itself, or so many bits and what is added to them."""
        way = ways[self.take(2)]
        return way if isinstance(way, int) else self.take(way[0]) + way[1]

    def size(self) -> tuple[int, int]:
        """Height and width."""
        is_small = self.take(1)
        side = lambda: 8 * (self.take(5) + 1) if is_small else self.number((9, 1), (13, 1), (18, 1), (30, 1))  # noqa: E731
        return self._sides(side)

    def size_of_preview(self) -> tuple[int, int]:
        in_eights = self.take(1)
        side = lambda: (  # noqa: E731
            8 * self.number(16, 32, (5, 1), (9, 33))
            if in_eights
            else self.number((6, 1), (8, 65), (10, 321), (12, 1345))
        )
        return self._sides(side)

    def _sides(self, side: Callable[[], int]) -> tuple[int, int]:
        height, ratio = side(), self.take(3)
        if not ratio:
            return height, side()
        across, down = _FIXED_SIDES[ratio]
        return height, height * across // down

    def timing(self) -> None:
        """How an animation goes."""
        self.number(100, 1000, (10, 1), (30, 1))
        self.number(1, 1001, (8, 1), (10, 1))
        self.number(0, (3, 0), (16, 0), (32, 0))
        self.take(1)

    def depth(self) -> None:
        """How many bits a sample has."""
        if self.take(1):  # a float
            self.number(32, 16, 24, (6, 1))
            self.take(4)
        else:
            self.number(8, 10, 12, (6, 1))

    def extra(self) -> tuple[int, bool]:
        """The kind of a channel beside the colors, and whether they were multiplied by it."""
        if self.take(1):  # usual alpha
            return 0, False
        kind = self.number(0, 1, (4, 2), (6, 18))
        self.depth()
        self.number(0, 3, 4, (3, 1))  # how much smaller it is
        self.take(8 * self.number(0, (4, 0), (5, 16), (10, 48)))  # its name
        if kind == _SPOT_COLOR:
            self.take(64)
        elif kind == _OF_A_SENSOR:
            self.number(1, (2, 0), (4, 3), (8, 19))
        return kind, kind == 0 and bool(self.take(1))
