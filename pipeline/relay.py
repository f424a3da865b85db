"""Forwards progress from the pipeline to another `Progress`, and measures the pace."""

from collections.abc import Callable, Sequence
from typing import Any

from .levels import Level
from .pace import Pace
from .progress import Progress
from .records.losses import LossRecord


class Relay(Progress):
    """Passes the progress of a painting on to another `Progress`, and keeps its pace.

    Attributes
    ----------
    levels : sequence of Level
        Of the picture.
    inner : Progress
        What it is passed on to.
    pace : Pace
        Of the painting.
    """

    def __init__(self, levels: Sequence[Level], inner: Progress) -> None:
        super().__init__(levels)
        self.levels, self.inner, self.pace = levels, inner, Pace(levels)

    def watch(self, read_canvas: Callable[[Level, int], Any], losses: Sequence[LossRecord]) -> None:
        """Pass on how canvases are read."""
        self.inner.watch(read_canvas, losses)

    def start_level(self, level: Level) -> None:
        """Pass it on."""
        self.inner.start_level(level)

    def advance(self, work: int) -> None:
        """Count some pixel-steps as done."""
        self.pace.advance(work)
        self.inner.advance(work)

    def skip(self, work: int) -> None:
        """Count some pixel-steps as done that took no time."""
        self.pace.skip(work)
        self.inner.skip(work)

    def show_losses(self, row: LossRecord) -> None:
        """Pass them on."""
        self.inner.show_losses(row)

    def show_canvas(self, level: Level, made: int) -> None:
        """Pass it on; from the first canvas on, the rate is measured."""
        self.pace.start()
        self.inner.show_canvas(level, made)

    def ends_level(self, level: Level) -> bool:
        """Pass the question on."""
        return self.inner.ends_level(level)
