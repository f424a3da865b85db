"""IPTC-IIM: captions and keywords as newspapers' programs write them, in JPEG, TIFF and Photoshop files.

A block is a chain of datasets, each with a record, a number and a value. JPEG files wrap it into Photoshop's image
resources.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

_MARKER = 0x1C
_EDITORIAL = 2  # the record that says something about the picture
_CHARSET, _UTF_8 = (1, 90), b"\x1b%G"
_WRAPPED, _RESOURCE = b"Photoshop 3.0\0", b"8BIM"
IPTC_RESOURCE = 1028  # the number of an image resource that is such a block
_OF_PLACES = (26, 27, 90, 92, 95, 100, 101)  # city, country and their like
_OF_RIGHTS = (80, 85, 110, 115, 116)  # creator, their title, credit, source, copyright
_OF_FILES = (200, 201, 202)  # a preview
_MOST_SETS = 10_000

_TITLE, _HEADLINE, _CAPTION, _KEYWORD, _CREATOR, _CREDIT, _COPYRIGHT = 5, 105, 120, 25, 80, 110, 116
NAMES = {
    _TITLE: "title",
    _CAPTION: "description",
    _KEYWORD: "subject",
    _CREATOR: "creator",
    _COPYRIGHT: "rights",
    _HEADLINE: "Headline",
    _CREDIT: "Credit",
}
"""What XMP calls some datasets of the editorial record."""


class DataSet(NamedTuple):
    """A dataset, and all its bytes."""

    record: int
    number: int
    value: bytes
    stored: bytes


def image_resources(section: bytes) -> dict[int, bytes]:
    """What Photoshop says of a picture, by number, up to what is broken; of a number that is there twice, the first."""
    found: dict[int, bytes] = {}
    at = 0
    while section[at : at + 4] == _RESOURCE and at + 7 <= len(section):
        (number,) = struct.unpack_from(">H", section, at + 4)
        at += 6 + (section[at + 6] + 2) // 2 * 2  # a name, and its length
        if at + 4 > len(section):
            break
        (length,) = struct.unpack_from(">I", section, at)
        found.setdefault(number, section[at + 4 : at + 4 + length])
        at += 4 + length + length % 2
    return found


def unwrapped(block: bytes) -> bytes:
    """A block without Photoshop's wrapping; empty if there is none in it."""
    if block.startswith(_WRAPPED):
        block = image_resources(block[len(_WRAPPED) :]).get(IPTC_RESOURCE, b"")
    return block if block[:1] == bytes([_MARKER]) else b""


def wrapped(block: bytes) -> bytes:
    """A block as JPEG files have it."""
    return _WRAPPED + _RESOURCE + struct.pack(">HHI", IPTC_RESOURCE, 0, len(block)) + block + bytes(len(block) % 2)


def datasets(block: bytes) -> Iterator[DataSet]:
    """The datasets of a block, up to the first that is broken."""
    at = 0
    for _ in range(_MOST_SETS):
        if block[at : at + 1] != bytes([_MARKER]) or at + 5 > len(block):
            return
        record, number, length = struct.unpack_from(">BBH", block, at + 1)
        stop = at + 5 + length
        if length & 0x8000 or stop > len(block):  # a longer length, which nobody writes
            return
        yield DataSet(record, number, block[at + 5 : stop], block[at:stop])
        at = stop


def chosen(block: bytes, *, places: bool, rights_only: bool = False) -> bytes:
    """A block of the datasets that a painting is to keep: without places, or of nothing but names and rights."""
    dropped = _OF_FILES + (() if places else _OF_PLACES)
    kept = (
        each
        for each in datasets(block)
        if each.record != _EDITORIAL or (each.number in (0, *_OF_RIGHTS) if rights_only else each.number not in dropped)
    )
    return b"".join(each.stored for each in kept)


def texts(block: bytes) -> dict[str, list[str]]:
    """What the block says under the names of `NAMES`."""
    found: dict[str, list[str]] = {}
    is_utf_8 = any((each.record, each.number) == _CHARSET and each.value == _UTF_8 for each in datasets(block))
    for each in datasets(block):
        if each.record == _EDITORIAL and each.number in NAMES:
            found.setdefault(NAMES[each.number], []).append(_text(each.value, is_utf_8=is_utf_8))
    return found


def _text(value: bytes, *, is_utf_8: bool) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode(errors="replace") if is_utf_8 else value.decode("latin-1")
