"""Headers of JPEG XL and JPEG 2000 codestreams, read before anything is decoded. All values are checked."""

import struct
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from .boxes import MOST_BYTES, boxes, content

_OF_JPEG_2000, _OF_JXL = b"\xff\x4f\xff\x51", b"\xff\x0a"
_JXL_HEAD = 4096  # bytes in which a stream says how it is coded
_FIXED_SIDES = {1: (1, 1), 2: (6, 5), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}  # width to height
_SPOT_COLOR, _OF_A_SENSOR = 2, 5  # kinds of channels in JPEG XL


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

    Raises `struct.error` if it is not there, or has another size than the boxes say.
    """
    file.seek(0)
    before, signature, stream = file.read(MOST_BYTES).partition(_OF_JPEG_2000)  # lengths of boxes may be wrong
    if not signature:
        raise struct.error("no JPEG 2000 codestream")
    right, bottom, left, top = struct.unpack_from(">4I", stream, 4)
    if before and (stated := _size_in_boxes(file)) != (bottom - top, right - left):
        raise struct.error(f"{stated[1]} x {stated[0]} pixels, and in its codestream {right - left} x {bottom - top}")
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


def _size_in_boxes(file: BinaryIO) -> tuple[int, int]:
    """Height and width."""
    within = (inner for box in boxes(file) if box.name == b"jp2h" for inner in boxes(file, box.start, box.stop))
    head = next((content(file, box) for box in within if box.name == b"ihdr"), b"")
    if len(head) < 8:
        raise struct.error("no size")
    return int.from_bytes(head[:4], "big"), int.from_bytes(head[4:8], "big")


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
    if not stream.startswith(_OF_JXL):
        stream = b""
        for box in boxes(file):
            if len(stream) < _JXL_HEAD and box.name in (b"jxlc", b"jxlp"):
                stream += content(file, box)[4 if box.name == b"jxlp" else 0 :][:_JXL_HEAD]
    if not stream.startswith(_OF_JXL) or len(stream) < 16:
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

        def side() -> int:
            return 8 * (self.take(5) + 1) if is_small else self.number((9, 1), (13, 1), (18, 1), (30, 1))

        return self._sides(side)

    def size_of_preview(self) -> tuple[int, int]:
        in_eights = self.take(1)

        def side() -> int:
            if in_eights:
                return 8 * self.number(16, 32, (5, 1), (9, 33))
            return self.number((6, 1), (8, 65), (10, 321), (12, 1345))

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
