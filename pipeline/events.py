"""Progress for Python callers: an event after every round."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .levels import Level
from .progress import Progress
from .records.losses import LossRecord
from .relay import Relay
from .viewer.overview import ReadCanvas, overview


@dataclass(frozen=True)
class Event:
    """The state of a painting in progress: when a level starts, and after each of its rounds.

    Attributes
    ----------
    name : str
        Name of the painting's file.
    level, levels : int
        Number of the current level, 1 for the coarsest, and of all levels.
    height, width : int
        Size of the level, px.
    step, steps : int
        Steps done at this level, and all of its steps.
    share : float
        Share of the whole painting that is done, 0 to 1.
    seconds_left : float or None
        Estimated time until all levels are painted; None before the first steps.
    losses : mapping
        Losses of the whole picture by name, unweighted; `total` is their weighted sum.
    """

    name: str
    level: int
    levels: int
    height: int
    width: int
    step: int
    steps: int
    share: float
    seconds_left: float | None
    losses: Mapping[str, float]
    _read: Callable[[int], np.ndarray] = field(repr=False, compare=False)

    def pixels(self, side: int = 1024) -> np.ndarray:
        """Read the latest canvas, shrunk to a long side of at most `side` px: (h, w, 3), uint8.

        Call it before the callback returns; later rounds delete the canvas.
        """
        return self._read(side)


class Events(Relay):
    """Calls a function with an `Event` for each canvas, and passes all progress on to another `Progress`.

    Painting waits until the callable returns, and what it raises ends the painting, as Ctrl-C would.

    Parameters
    ----------
    tell : callable
        Takes an `Event`.
    """

    def __init__(self, levels: Sequence[Level], name: str, inner: Progress, tell: Callable[[Event], object]) -> None:
        super().__init__(levels, inner)
        self._name, self._tell = name, tell
        self._losses: Mapping[str, float] = {}

    def watch(self, read_canvas: ReadCanvas, losses: Sequence[LossRecord]) -> None:
        """Note how canvases are read."""
        self._read_canvas = read_canvas
        super().watch(read_canvas, losses)

    def show_losses(self, row: LossRecord) -> None:
        """Note the losses."""
        self._losses = row.named()
        super().show_losses(row)

    def show_canvas(self, level: Level, made: int) -> None:
        """Tell of a canvas."""
        super().show_canvas(level, made)
        left = self.pace.left
        self._tell(
            Event(
                name=self._name,
                level=level.index + 1,
                levels=len(self.levels),
                height=level.height,
                width=level.width,
                step=level.steps_after(made),
                steps=level.steps,
                share=self.pace.share,
                seconds_left=None if left is None else sum(left),
                losses=self._losses,
                _read=lambda side: overview(self._read_canvas(level, made), side),
            )
        )
