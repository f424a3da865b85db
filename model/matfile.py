"""Reads variables of MATLAB files, version 5: numbers, texts, cells and structs, and nothing else.

scipy reads more, but a crafted file can crash it by nested cells, or take all memory by claiming a huge size. Here
nothing becomes larger than the bytes that exist, and nesting and the number of axes are limited to `DEEPEST`. (Format:
MathWorks, "MAT-File Level 5 File Format".)

A file is a head of 128 bytes and elements: a tag of type and size, then data, padded to 8 bytes. A variable is an
element of type `MATRIX`, whose data are elements in turn; or one of type `COMPRESSED`, which unpacks to one.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

HEAD = 128
MATRIX, COMPRESSED = 14, 15
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
TEXTS = {1: "utf-8", 2: "utf-8", 16: "utf-8", 4: "utf-16", 17: "utf-16"}
CELL, STRUCT, CHAR, DOUBLE, SINGLE, INTEGERS = 1, 2, 4, 6, 7, range(8, 16)
DEEPEST = 16


def unpacked_size(content: bytes) -> int:
    """Return how many bytes the compressed variables of a file say they unpack to.

    Raises `ValueError`, `EOFError`, `struct.error`, `zlib.error` if the file is broken.
    """
    return sum(_whole(content, start, stop) for kind, start, stop in _variables(content) if kind == COMPRESSED)


def read_mat(content: bytes) -> dict[str, Any]:
    """Read all variables of a file, by name.

    Returns
    -------
    dict str -> value
        Numbers are arrays, texts str, cells lists; a struct is a dict, an array of structs a list of them. What else a
        file may hold is None.

    Raises
    ------
    ValueError, EOFError, LookupError, struct.error, zlib.error
        If the file is broken.
    """
    found = {}
    for kind, start, stop in _variables(content):
        if kind == COMPRESSED:
            part = _unpacked(content[start:stop], 8 + _whole(content, start, stop))
        else:
            part = content[start - 8 : stop]
        name, value = _Reader(memoryview(part), _order(content)).matrix()
        found[name] = value
    return found


def _order(content: bytes) -> str:
    return "<" if content[126:128] == b"IM" else ">"


def _variables(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Type, start and stop of the data of every variable."""
    at = HEAD
    while at < len(content):
        kind, size = struct.unpack_from(f"{_order(content)}II", content, at)
        if at + 8 + size > len(content):
            raise EOFError("ends too early")
        yield kind, at + 8, at + 8 + size
        at += 8 + size


def _whole(content: bytes, start: int, stop: int) -> int:
    """Size of the data that a compressed variable says it unpacks to."""
    head = zlib.decompressobj().decompress(content[start:stop], 8)
    kind, size = struct.unpack(f"{_order(content)}II", head)
    if kind != MATRIX:
        raise ValueError(f"a compressed variable holds an element of type {kind}, wanted a matrix")
    return int(size)


def _unpacked(packed: bytes, size: int) -> bytes:
    """Unpack as many bytes as there are to be, with their checksum, and make sure that there are no more."""
    stream = zlib.decompressobj()
    found = stream.decompress(packed, size)
    if stream.decompress(stream.unconsumed_tail, 1) or not stream.eof or len(found) < size:
        raise ValueError("a compressed variable is not as long as it says")
    return found


@dataclass
class _Reader:
    """Goes through elements, one after the other."""

    content: memoryview
    order: str
    at: int = 0
    depth: int = 0

    def element(self) -> tuple[int, memoryview]:
        """Type and data of the next element; up to four bytes of data share a tag of eight with type and size."""
        kind, size = struct.unpack_from(f"{self.order}II", self.content, self.at)
        small = kind >> 16
        start = self.at + (4 if small else 8)
        kind, size = (kind & 0xFFFF, small) if small else (kind, size)
        if start + size > len(self.content):
            raise EOFError("ends too early")
        self.at = self.at + 8 if small else start + size + -size % 8
        return kind, self.content[start : start + size]

    def matrix(self) -> tuple[str, Any]:
        """Name and value of the next element, which is to be a matrix."""
        kind, data = self.element()
        if kind != MATRIX:
            raise ValueError(f"an element of type {kind}, wanted a matrix")
        if not data:
            return "", None
        if self.depth == DEEPEST:
            raise ValueError(f"cells in cells, more than {DEEPEST} deep")
        return _Reader(data, self.order, depth=self.depth + 1).body()

    def body(self) -> tuple[str, Any]:
        """Name and value of a matrix, inside of it."""
        _, flags = self.element()
        (kind,) = struct.unpack_from(f"{self.order}I", flags)
        shape = self.shape()
        name = bytes(self.element()[1]).decode("latin1")
        return name, self.value(kind & 0xFF, shape)

    def value(self, kind: int, shape: tuple[int, ...]) -> Any:
        """Value of a matrix, behind its name."""
        if kind == CELL:
            return [self.matrix()[1] for _ in range(prod(shape))]
        if kind == STRUCT:
            return self.structs(prod(shape))
        if kind == CHAR:
            return self.text()
        found = self.numbers().reshape(shape, order="F") if kind in (DOUBLE, SINGLE, *INTEGERS) else None
        if kind in (DOUBLE, SINGLE) and found is not None and found.dtype.kind in "iu":
            return found.astype("f4")  # stored in few bytes, and not to take more than it has to
        return found

    def shape(self) -> tuple[int, ...]:
        """Shape of a matrix, before its name."""
        sides = self.numbers()
        if len(sides) > DEEPEST:
            raise ValueError(f"a matrix of {len(sides)} axes, more than {DEEPEST}")
        return tuple(int(n) for n in sides)

    def structs(self, count: int) -> Any:
        """A struct, or several."""
        (length,) = self.numbers()
        names = bytes(self.element()[1])
        fields = [names[at : at + length].rstrip(b"\0").decode("latin1") for at in range(0, len(names), int(length))]
        found = [{name: self.matrix()[1] for name in fields} for _ in range(count if fields else 1)]
        return found[0] if len(found) == 1 else found

    def numbers(self) -> np.ndarray:
        """Numbers of the next element, in a row."""
        kind, data = self.element()
        return np.frombuffer(data, np.dtype(self.order + NUMBERS[kind]))

    def text(self) -> str:
        """Text of the next element."""
        kind, data = self.element()
        wide = "-le" if self.order == "<" else "-be"
        return bytes(data).decode(TEXTS[kind] + (wide if TEXTS[kind] == "utf-16" else ""))
