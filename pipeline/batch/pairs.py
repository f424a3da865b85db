"""Shots that a camera saved twice, as a raw photograph and as a JPEG or HEIC beside it: each is painted once."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Literal

from ..pictures.raw import RAW_EXTENSIONS

RawPairs = Literal["jpeg", "raw", "both"]
"""Which of the two is painted."""

_BESIDE_RAW: Final = (".jpg", ".jpeg", ".jpe", ".jfif", ".heic", ".heif", ".hif")


def doubles(pictures: Iterable[Path], pairs: RawPairs) -> set[Path]:
    """Pictures that are left out because the other one of the shot is painted.

    >>> sorted(map(str, doubles(map(Path, ["a/1.NEF", "a/1.jpg", "b/1.nef", "a/2.jpg"]), "jpeg")))
    ['a/1.NEF']
    """
    shots: dict[tuple[Path, str], dict[bool, list[Path]]] = defaultdict(lambda: {True: [], False: []})
    for path in pictures:
        suffix = path.suffix.lower()
        if suffix in RAW_EXTENSIONS or suffix in _BESIDE_RAW:
            shots[path.parent, path.stem.lower()][suffix in RAW_EXTENSIONS].append(path)
    if pairs == "both":
        return set()
    return {path for shot in shots.values() if all(shot.values()) for path in shot[pairs == "jpeg"]}


def told_doubles(left: Sequence[Path], pairs: RawPairs) -> str:
    """Say in one line what is left out.

    >>> told_doubles([Path("a.NEF")], "jpeg")
    'left out: 1 raw photograph beside the same shot as JPEG or HEIC; --raw-pairs raw paints it instead, both as well'
    """
    one = len(left) == 1
    what = "raw photograph" if pairs == "jpeg" else "JPEG or HEIC"
    beside = "as JPEG or HEIC" if pairs == "jpeg" else "as a raw photograph"
    other = "raw" if pairs == "jpeg" else "jpeg"
    what += "" if one or pairs == "raw" else "s"
    return (
        f"left out: {len(left)} {what} beside the same shot {beside}; --raw-pairs {other} paints "
        f"{'it' if one else 'them'} instead, both as well"
    )
