"""Snapshots: pictures of an unfinished painting."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..levels import Level
from ..output_names import snapshot_path


@dataclass(frozen=True)
class Snapshot:
    """A picture that was written after `step` steps of the whole run; size in pixels."""

    path: str
    step: int
    height: int
    width: int


def snapshot_paths(output: Path, levels: Iterable[Level]) -> list[Path]:
    """Name all snapshots that will be written if no level ends early."""
    return [snapshot_path(output, level.first_step + step) for level in levels for step in level.saves]
