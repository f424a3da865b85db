"""Progress while a picture is painted: one bar for the picture, one for the level, and log records.

Bars are on standard error and never stop work: a failed write is ignored. See also `console.py`.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from ..model.errors import printable
from .console import LOSSES, PROGRESS, bar
from .levels import Level
from .records.batch_report import Result
from .records.losses import LossRecord, loss_line
from .words import counted

if TYPE_CHECKING:
    from .console import Bar

T = TypeVar("T")


def level_work(level: Level) -> int:
    """Work of a level, in pixel-steps."""
    return level.tile_pixels * level.steps


def watched(things: Sequence[T], told: Callable[[T], str]) -> Iterator[T]:
    """Go through things that take long, each told behind a bar while it lasts; on a terminal only, standard error."""
    form = "{desc} {percentage:3.0f}% |{bar}| {elapsed} passed"
    with bar(total=len(things), bar_format=form, leave=False) as shown:
        for thing in things:
            shown.set_description_str(told(thing))
            yield thing
            shown.update()


class Progress:
    """What the pipeline reports while it paints. This one shows nothing; levels and losses are logged.

    Parameters
    ----------
    levels : sequence of Level
        Of the picture; levels are not logged if there are none.
    loss_lines : bool
        Whether losses are logged as information, or as a detail.
    batch_item : str
        Name of a picture of a batch: its lines begin with it, and are details.
    """

    def __init__(self, levels: Sequence[Level] = (), *, loss_lines: bool = False, batch_item: str = "") -> None:
        self._levels, self._loss_lines = levels, loss_lines
        self._prefix = f"{batch_item}: " if batch_item else ""

    def start_level(self, level: Level) -> None:
        """Begin a level."""
        if self._levels:
            tiles, steps = counted(len(level.grid), "tile"), counted(level.steps, "step")
            kind = logging.DEBUG if self._prefix else logging.INFO
            PROGRESS.log(kind, "%s%s: %s, %s", self._prefix, self._name_of(level), tiles, steps)

    def _name_of(self, level: Level) -> str:
        return f"level {level.index + 1}/{len(self._levels)}, {level.width} x {level.height} px"

    def advance(self, work: int) -> None:
        """Count some pixel-steps as done."""

    def skip(self, work: int) -> None:
        """Count some pixel-steps as done that take no time: an earlier run made them, or they are left out."""
        self.advance(work)

    def watch(self, read_canvas: Callable[[Level, int], Any], losses: Sequence[LossRecord]) -> None:
        """Be told, before all, how a canvas after some rounds of a level is read, and the losses until now."""

    def show_canvas(self, level: Level, made: int) -> None:
        """Tell that the canvas of a level after `made` rounds is filed."""

    def ends_level(self, level: Level) -> bool:
        """Whether somebody asked to leave the rest of a level's rounds out."""
        return False

    def show_losses(self, row: LossRecord) -> None:
        """Tell the whole picture's losses, at the start of a level and after every round."""
        if self._levels:
            kind = logging.INFO if self._loss_lines else logging.DEBUG
            LOSSES.log(kind, "%s%s", self._prefix, loss_line(row, len(self._levels)))


class Bars(Progress):
    """Two bars on a terminal, on standard error."""

    def __init__(self, levels: Sequence[Level], title: str, *, loss_lines: bool = False) -> None:
        super().__init__(levels, loss_lines=loss_lines)
        work = sum(level_work(level) for level in levels)
        form = "{desc} {percentage:3.0f}% |{bar}| {elapsed} passed, {remaining} left"
        self._picture = bar(total=work, desc=printable(title), bar_format=form, position=0)
        self._level: Bar | None = None

    def __enter__(self) -> "Bars":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self._level, self._picture):
            if each is not None:
                each.close()

    def start_level(self, level: Level) -> None:
        """Open the bar of a level in place of the last one."""
        super().start_level(level)
        if self._level is not None:
            self._level.close()
        form = "{desc} {percentage:3.0f}% |{bar}| {elapsed}{postfix}"  # tqdm begins a postfix with a comma
        self._level = bar(total=level_work(level), desc=self._name_of(level), bar_format=form, position=1, leave=False)

    def advance(self, work: int) -> None:
        """Move both bars."""
        for each in (self._picture, self._level):
            if each is not None:
                each.update(work)

    def skip(self, work: int) -> None:
        """Move both bars, without the rate that their time left follows from."""
        for each in (self._picture, self._level):
            if each is not None and not each.disable:
                each.n += work
                each.initial += work
                each.last_print_n += work
                each.refresh()

    def show_losses(self, row: LossRecord) -> None:
        """Show the losses behind the level's bar, and as a line if asked for."""
        super().show_losses(row)
        if self._level is not None:
            self._level.set_postfix_str(", ".join(f"{name} {value:.3g}" for name, value in row.named().items()))


class BatchBar:
    """One bar over the pictures of a batch, on a terminal, on standard error; every picture is logged.

    Parameters
    ----------
    total : int
        Pictures.
    quiet : bool
        Whether to show no bar.
    """

    def __init__(self, total: int, *, quiet: bool = False) -> None:
        self._total, self._ended = total, 0
        form = "{desc} {percentage:3.0f}% |{bar}| {elapsed} passed, {remaining} left"
        self._bar = bar(total=total, desc=f"0/{total}", bar_format=form, hidden=quiet)

    def __enter__(self) -> "BatchBar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, result: Result) -> None:
        """Count a picture that ended. A failure is a warning, which is shown on a terminal, too."""
        self._ended += 1
        self._bar.set_description_str(f"{self._ended}/{self._total}")
        self._bar.update()
        level = logging.WARNING if result.status == "failed" else logging.INFO
        PROGRESS.log(level, "%s/%s %s: %s", self._ended, self._total, result.status, result.told)
