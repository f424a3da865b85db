"""Headers of HEIF and AVIF files: whether they hold pictures or a film, and their colors. All values are checked.

Files that would crash the decoder are detected before it sees them.
"""

import struct
from itertools import islice
from typing import BinaryIO, NamedTuple

from .boxes import Box, boxes, content

_MOST_ITEMS = 1 << 16
_OF_FULL_BOX = 4  # bytes of version and flags that some boxes begin with
_OF_AV1, _AV1_GRAY = 4, 0x10  # bytes of AV1's configuration before its header, and a bit of the third one
_SEQUENCE_HEADER = b"\x0a"


class CodedColors(NamedTuple):
    """Colors by the numbers of ITU-T H.273, and whether black and white are the least and the greatest sample."""

    primaries: int
    transfer: int
    is_full: bool


def has_stills(file: BinaryIO) -> bool:
    """Whether a HEIF or AVIF file holds pictures, and not a film alone."""
    return any(box.name == b"meta" for box in boxes(file))


def has_sound_kinds(file: BinaryIO) -> bool:
    """Whether the kinds of all items are in ASCII: otherwise pi-heif crashes the process."""
    found = [
        box for meta in boxes(file) if meta.name == b"meta" for box in boxes(file, meta.start + _OF_FULL_BOX, meta.stop)
    ]
    return all(_is_sound(file, box) for box in found if box.name == b"iinf")


def _is_sound(file: BinaryIO, items: Box) -> bool:
    counted = 4 if content(file, items)[:1] > b"\0" else 2
    reached = start = items.start + _OF_FULL_BOX + counted
    for box in boxes(file, start, items.stop):
        held, reached = content(file, box), box.stop
        version = held[0] if held else 0
        at = 10 if version > 2 else 8  # after the item's number
        kind, texts = (held[at : at + 4], held[at + 4 :]) if version > 1 else (b"", held[at:])
        if not (kind + b"".join(texts.split(b"\0")[1:])).isascii():  # after a name, which may be in any script
            return False
    return reached == items.stop


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
    bits = iter("".join(f"{byte:08b}" for byte in header[2:]))  # after type and length

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
                return [_number(held, at + 2)[0]]  # after their number
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
