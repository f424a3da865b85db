"""Directories of TIFF files: their tags and values. Nothing that a file claims is trusted."""

import io
import math
import os
import struct
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

_TYPES = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d"}
_TYPES |= {13: "I", 16: "Q", 17: "q", 18: "Q"}  # of values, as `struct` spells them
_RATIONAL, _FLOAT = (5, 10), (11, 12)
_SHORT, _LONG8 = 3, 16

_SUB_DIRECTORIES = 330
_MOST_ENTRIES = 4096  # in a directory, as in libtiff
_MOST_DIRECTORIES = 1024
_MOST_BYTES = 1 << 26  # in a value


class Form(NamedTuple):
    """How a file spells its numbers, for `struct`: the byte order, an offset, and how many entries a directory has."""

    order: str
    offset: str
    entries: str

    @property
    def entry_size(self) -> int:
        """Bytes of an entry: tag, type, number of values, and the values or where they lie."""
        return 4 + 2 * self.offset_size

    @property
    def offset_size(self) -> int:
        """Bytes of an offset."""
        return struct.calcsize(self.offset)

    def pack(self, code: str, *numbers: int) -> bytes:
        """Bytes of numbers."""
        return struct.pack(self.order + code, *numbers)

    def unpack(self, code: str, content: bytes, start: int = 0) -> tuple[float, ...]:
        """Numbers of bytes, from `start` on."""
        return struct.unpack_from(self.order + code, content, start)


@dataclass(frozen=True)
class Directory:
    """A directory of an open file.

    Attributes
    ----------
    file
        The file.
    place
        Where it lies in the file.
    form
        How it spells numbers.
    entries
        As stored, by tag; of a tag that is there twice, the first.
    following
        Where the next directory lies; 0 for none.
    """

    file: BinaryIO
    place: int
    form: Form
    entries: Mapping[int, bytes]
    following: int

    def content(self, tag: int, most: int = _MOST_BYTES) -> bytes:
        """The bytes of a tag's value; none if there is no such tag, or if it is broken or longer than `most`."""
        if tag not in self.entries:
            return b""
        entry, inline = self.entries[tag], self.form.offset_size
        _, kind, count, place = (int(n) for n in self.form.unpack("HH" + 2 * self.form.offset, entry))
        size = _size(_TYPES.get(kind, "")) * count
        if size <= inline:
            return entry[-inline:][:size]
        if size > most or place + size > _length(self.file):
            return b""
        self.file.seek(place)
        return self.file.read(size)

    def bytes_before(self, place: int, count: int) -> bytes:
        """The last bytes of the file before a place in it, fewer where it has no more."""
        start = max(0, min(place, _length(self.file)) - count)
        self.file.seek(start)
        return self.file.read(min(count, max(0, place - start)))

    def numbers(self, tag: int, most: int = _MOST_BYTES) -> tuple[float, ...]:
        """The numbers of a tag's value, none where `content` has none. What is divided by 0 or not finite is 0."""
        if not (content := self.content(tag, most)):
            return ()
        kind = int(self.form.unpack("H", self.entries[tag], 2)[0])
        code = _TYPES[kind]
        numbers = self.form.unpack(len(content) // _size(code) * code, content)
        if kind in _RATIONAL:
            return tuple(
                above / below if below else 0 for above, below in zip(numbers[::2], numbers[1::2], strict=True)
            )
        return tuple(n if math.isfinite(n) else 0 for n in numbers) if kind in _FLOAT else numbers

    def number(self, tag: int, default: int) -> int:
        """The first number of a tag's value."""
        return int(next(iter(self.numbers(tag)), default))


def read_directories(file: BinaryIO) -> list[Directory]:
    """The first directory of a TIFF file, then those that follow it or lie below it, as far as they can be read.

    Raises `struct.error` if the first one is broken.
    """
    file.seek(0)
    head = file.read(16)
    order = "<" if head.startswith(b"II") else ">"
    big = b"+" in head[2:4]
    form = Form(order, "Q", "Q") if big else Form(order, "I", "H")
    waiting = deque([int(form.unpack(form.offset, head, 8 if big else 4)[0])])
    found: dict[int, Directory] = {}
    while waiting and len(found) < _MOST_DIRECTORIES:
        place = waiting.popleft()
        if place and place not in found:
            try:
                found[place] = _directory(file, form, place)
            except struct.error:
                break
            below = found[place].numbers(_SUB_DIRECTORIES, form.offset_size * _MOST_DIRECTORIES)
            waiting += [found[place].following, *map(int, below)]
    if not found:
        raise struct.error("no directory")
    return list(found.values())


def pages(directories: list[Directory]) -> list[Directory]:
    """Of the directories of a file, those that follow each other, the first first: its pages."""
    by_place = {each.place: each for each in directories}
    found = [directories[0]]
    while (following := by_place.pop(found[-1].following, None)) is not None:
        found.append(following)
    return found


def _directory(file: BinaryIO, form: Form, place: int) -> Directory:
    if place > _length(file):
        raise struct.error("a directory behind the end")
    file.seek(place)
    count = int(form.unpack(form.entries, file.read(_size(form.entries)))[0])
    if count > _MOST_ENTRIES:
        raise struct.error(f"{count} entries")
    stored = file.read(count * form.entry_size + form.offset_size)
    entries: dict[int, bytes] = {}
    for start in range(0, count * form.entry_size, form.entry_size):
        entries.setdefault(int(form.unpack("H", stored, start)[0]), stored[start : start + form.entry_size])
    return Directory(file, place, form, entries, int(form.unpack(form.offset, stored, count * form.entry_size)[0]))


def written(form: Form, entries: Mapping[int, bytes | tuple[int, ...]], place: int) -> bytes:
    """A directory to lie at `place`, with its values behind it: of entries as stored, and of numbers.

    Numbers of more than 16 bits are for BigTIFF alone.

    Raises `struct.error` if that is beyond what the file's offsets reach.
    """
    behind = place + _size(form.entries) + len(entries) * form.entry_size + form.offset_size
    lines, values = b"", b""
    for tag, value in sorted(entries.items()):
        if isinstance(value, tuple):
            kind = _SHORT if max(value) < 1 << 16 else _LONG8
            content = form.pack(f"{len(value)}{_TYPES[kind]}", *value)
            inline = len(content) <= form.offset_size
            stored = content.ljust(form.offset_size, b"\0") if inline else form.pack(form.offset, behind + len(values))
            values += b"" if inline else content
            value = form.pack("HH" + form.offset, tag, kind, len(value)) + stored
        lines += value
    return form.pack(form.entries, len(entries)) + lines + form.pack(form.offset, 0) + values


class View(io.RawIOBase):
    """A file as libvips sees it: as a TIFF with our own header, which points to a directory behind the end of the file.

    Between the file and that directory is a gap that cannot be read, so that a truncated strip does not continue into
    the directory.

    Parameters
    ----------
    file
        Where the pixels lie; only read.
    magic
        First bytes of a TIFF of this form, up to the offset of its first directory.
    form
        How numbers are spelled.
    entries
        The directory, as for `written`.
    """

    def __init__(
        self, file: BinaryIO, magic: bytes, form: Form, entries: Mapping[int, bytes | tuple[int, ...]]
    ) -> None:
        self._file = file
        self._size = self._file.seek(0, io.SEEK_END)
        self._place = self._size + 2 - self._size % 2
        self._head = magic + form.pack(form.offset, self._place)
        self._tail = written(form, entries, self._place)
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go somewhere."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence, self._place + len(self._tail))
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read the head, the file, or what lies behind it, whichever begins here."""
        if len(self._head) <= self._at < self._size:
            self._file.seek(self._at)
            count = self._file.readinto(memoryview(buffer)[: self._size - self._at])  # type: ignore[attr-defined]
        else:
            before, part = (0, self._head) if self._at < self._size else (self._place, self._tail)
            piece = part[self._at - before :][: len(buffer)] if self._at >= before else b""
            count = len(piece)
            buffer[:count] = piece
        self._at += count
        return int(count)


def _size(code: str) -> int:
    return struct.calcsize("=" + code)


def _length(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
