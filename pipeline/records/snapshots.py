"""Pictures of a painting as it is on the way: when they are written, and under which names."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..levels import Level


@dataclass(frozen=True)
class Snapshot:
    """A picture that was written after `step` steps of the whole run; size in pixels."""

    path: str
    step: int
    height: int
    width: int


def snapshot_path(output: Path, step: int) -> Path:
    """Name the snapshot of an output after some steps.

    >>> snapshot_path(Path("poster.tif"), 100).name
    'poster-000100.tif'
    """
    return output.with_name(f"{output.stem}-{step:06}{output.suffix}")


def snapshot_of(path: Path) -> tuple[Path, int] | None:
    """Say of which output, and after how many steps, a file would be the snapshot; None if of none.

    >>> snapshot_of(Path("a/poster-000100.tif"))
    (PosixPath('a/poster.tif'), 100)
    """
    stem, dash, digits = path.stem.rpartition("-")
    output = path.with_name(f"{stem}{path.suffix}") if stem and dash else path
    if not (digits.isascii() and digits.isdigit()) or snapshot_path(output, int(digits)) != path:
        return None
    return output, int(digits)


def snapshot_paths(output: Path, levels: Iterable[Level]) -> list[Path]:
    """Name all snapshots that will be written if no level ends early."""
    return [snapshot_path(output, level.first_step + step) for level in levels for step in level.saves]
