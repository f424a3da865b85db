"""Limits on what reading a picture may take of the machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True)
class ReadLimits:
    """Limits of reading one picture.

    Attributes
    ----------
    max_pixels : int
        Refuse larger pictures by their header, before decoding anything.
    memory : int, optional
        Bytes that pixels and alpha may take; larger ones are filed in `folder` and become `ArrayFile`s. None: no limit.
    folder : Path, optional
        Where to file them, under names that follow from the picture's hash.
    decoder_memory : int, optional
        Bytes that a decoder may take that has to hold all or much of a picture. What it would take follows from the
        header, so a small file that claims to be huge is refused before it takes any. None: no limit.
    """

    max_pixels: int = 2_000_000_000
    memory: int | None = None
    folder: Path | None = None
    decoder_memory: int | None = None


DEFAULT_LIMITS: Final = ReadLimits()
