"""Damage to files: gentle enough that some are read all the same, and deep enough to get past checksums."""

import io
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable

Damage = Callable[[bytes, random.Random, bytes], bytes]

# Sizes, counts and offsets that a careless reader believes.
HUGE = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
HOSTILE = (
    *("../../up", "/etc/passwd", "~/x", "a\0b", "\x1b[2J", "\u202e", "{stem.__class__}", "{0}", "|", "&a", "*a"),
    *("!!python/object/apply:os.system", "%", "[[[[[[[[[[", "{{{{", "1e999", "nan", "-1", "9" * 5000, '"', "'", "\n"),
    *("null", "true", "1", "0.5", "[]", "{}", "#", ":", ",", "- ", "\t", "\r", "\ufeff", "ß", "\\ud800"),
)


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    """One bit to eight of them somewhere."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[_somewhere(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def replace_run(data: bytes, rng: random.Random) -> bytes:
    """A few bytes by noise, or by one value."""
    at, length = _somewhere(data, rng), rng.choice((1, 2, 4, 16))
    run = rng.randbytes(length) if rng.random() < 0.5 else bytes([rng.choice((0, 255, rng.randrange(256)))]) * length
    return data[:at] + run + data[at + length :]


def put_huge_number(data: bytes, rng: random.Random) -> bytes:
    """A number as long as a field of two, four or eight bytes, in either order."""
    at, size = _somewhere(data, rng), rng.choice((2, 4, 4, 8))
    number = (rng.choice(HUGE) & (2 ** (8 * size) - 1)).to_bytes(size, rng.choice(("little", "big")))
    return data[:at] + number + data[at + size :]


def truncate(data: bytes, rng: random.Random) -> bytes:
    """The end is missing, mostly not much of it."""
    return data[: -rng.choice((1, 4, rng.randrange(1, len(data))))]


def repeat(data: bytes, rng: random.Random) -> bytes:
    """A part is there twice."""
    at = _somewhere(data, rng)
    return data[: at + rng.choice((1, 4, 64, 1024))] + data[at:]


def leave_out(data: bytes, rng: random.Random) -> bytes:
    """A part is not there."""
    at = _somewhere(data, rng)
    return data[:at] + data[at + rng.choice((1, 2, 12, 64)) :]


def append(data: bytes, rng: random.Random) -> bytes:
    """Something stands behind the end."""
    return data + rng.randbytes(rng.choice((1, 16, 1000)))


def splice(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """The head of one file and the tail of another."""
    at = rng.randrange(len(data))
    return data[:at] + other[min(at, len(other)) :]


DAMAGE = (flip_bits, flip_bits, flip_bits, replace_run, put_huge_number, put_huge_number, truncate, repeat, leave_out)


def damaged(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """One mutation, or a few."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        change = rng.choice((*DAMAGE, append, None))
        data = (change(data, rng) if change else splice(data, other, rng)) or b"\0"
    return data


def _somewhere(data: bytes, rng: random.Random) -> int:
    """A place, more often near the beginning or the end, where heads and directories are."""
    at = rng.randrange(min(len(data), 400))
    return rng.choice((at, at, len(data) - 1 - at, rng.randrange(len(data))))


# ------------------------------------------------------------------------------------------- behind texts and checksums


def damaged_text(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Half of the time a word or a number is changed, else bytes."""
    if rng.random() < 0.5:
        return damaged(data, rng, other)
    text = data.decode()
    what, words = rng.choice(((r"\d", "0123456789"), (r"[a-z]", "aeiou"), (r"[\w.]+|[^\w\s]", HOSTILE)))
    start, end = rng.choice([match.span() for match in re.finditer(what, text)])
    return (text[:start] + rng.choice(words) + text[rng.choice((start, end)) :]).encode()


def damaged_png(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Half of the time with checksums that are right again."""
    found = damaged(data, rng, other)
    return found if rng.random() < 0.5 else _checked(found)


def _checked(data: bytes) -> bytes:
    """A PNG with the checksum of every chunk put right, as far as chunks can be told."""
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if at + 12 + length > len(data):
            break
        body = data[at + 4 : at + 8 + length]
        parts += [data[at : at + 4], body, struct.pack(">I", zlib.crc32(body))]
        at += 12 + length
    return b"".join(parts) + data[at:]


def damaged_zip(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Half of the time one of its members before it is packed."""
    if rng.random() < 0.5:
        return damaged(data, rng, other)
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(file, "w") as target:
        members = {name: source.read(name) for name in source.namelist()}
        chosen = rng.choice([name for name in members if name.endswith(("data.pkl", ".npy"))])
        for name, content in members.items():
            packed = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
            target.writestr(name, damaged(content, rng, content) if name == chosen else content, packed)
    return file.getvalue()


def damaged_mat(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Half of the time what is in its first compressed variable, before that is packed."""
    kind, size = struct.unpack_from("<II", data, 128)
    if kind != 15 or rng.random() < 0.5:
        return damaged(data, rng, other)
    content = zlib.decompress(data[136 : 136 + size])
    packed = zlib.compress(damaged(content, rng, content))
    return data[:128] + struct.pack("<II", 15, len(packed)) + packed + data[136 + size :]
