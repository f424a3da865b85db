"""What the user sees while a picture is painted: one bar for the picture, one for the level. The only user of tqdm.

Progress goes to standard error, and never stops work: what cannot be written there is dropped.
"""

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Never, TypeVar

from tqdm import tqdm

from ..model.errors import printable
from .levels import Level
from .records.losses import LossRow, loss_line
from .records.report import Result
from .streams import standard_error

T = TypeVar("T")


def level_work(level: Level) -> int:
    """Work of a level, in pixel-steps."""
    return level.tile_pixels * level.steps


def counted(number: int, noun: str) -> str:
    """Say how many there are.

    >>> counted(1, "tile"), counted(6, "tile")
    ('1 tile', '6 tiles')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def watched(things: Sequence[T], told: Callable[[T], str]) -> Iterator[T]:
    """Go through things that take long, each told behind a bar while it lasts; on a terminal only, standard error."""
    form = "{desc} {percentage:3.0f}% |{bar}| {elapsed} passed"
    with _bar(total=len(things), bar_format=form, leave=False) as bar:
        for thing in things:
            bar.set_description_str(told(thing))
            yield thing
            bar.update()


def _bar(*, hidden: bool = False, **options: Any) -> "tqdm[Never]":
    """A bar on standard error, where that is a terminal."""
    stream = standard_error()
    return tqdm(file=stream, dynamic_ncols=True, disable=hidden or not stream.isatty(), **options)


def write_line(line: str) -> None:
    """Write a line to standard error, above the bars if there are any. What would steer a terminal is written out."""
    stream = standard_error()
    tqdm.write(printable(line), file=stream)
    stream.flush()


class Progress:
    """What the pipeline reports while it paints. This one shows nothing but the lines asked for, on standard error.

    Parameters
    ----------
    levels : sequence of Level
    loss_lines : bool
        Whether to write a line per look at the losses.
    """

    def __init__(self, levels: Sequence[Level] = (), *, loss_lines: bool = False) -> None:
        self._levels, self._loss_lines = levels, loss_lines

    def start_level(self, level: Level) -> None:
        """Begin a level."""

    def advance(self, work: int) -> None:
        """Count some pixel-steps as done."""

    def skip(self, work: int) -> None:
        """Count some pixel-steps as done that take no time: an earlier run made them, or they are left out."""
        self.advance(work)

    def watch(self, look: Callable[[Level, int], Any], losses: Sequence[LossRow]) -> None:
        """Be told, before all, how a canvas after some rounds of a level is read, and the losses until now."""

    def show_canvas(self, level: Level, made: int) -> None:
        """Tell that the canvas of a level after `made` rounds is filed."""

    def ends_level(self, level: Level) -> bool:
        """Whether somebody asked to leave the rest of a level's rounds out."""
        return False

    def show_losses(self, row: LossRow) -> None:
        """Tell the whole picture's losses, at the start of a level and after every round."""
        if self._loss_lines:
            write_line(loss_line(row, len(self._levels)))


class Bars(Progress):
    """Two tqdm bars on a terminal; elsewhere (a log file) one line per level. Writes to standard error."""

    def __init__(self, levels: Sequence[Level], title: str, *, loss_lines: bool = False) -> None:
        super().__init__(levels, loss_lines=loss_lines)
        work = sum(level_work(level) for level in levels)
        form = "{desc} {percentage:3.0f}% |{bar}| {elapsed} passed, {remaining} left"
        self._picture = _bar(total=work, desc=printable(title), bar_format=form, position=0)
        self._level: tqdm[Never] | None = None
        self._name = ""

    def __enter__(self) -> "Bars":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bar in (self._level, self._picture):
            if bar is not None:
                bar.close()

    def start_level(self, level: Level) -> None:
        """Open the bar of a level in place of the last one."""
        if self._level is not None:
            self._level.close()
        self._name = f"level {level.index + 1}/{len(self._levels)}, {level.width} x {level.height} px"
        form = "{desc} {percentage:3.0f}% |{bar}| {elapsed}{postfix}"  # tqdm begins a postfix with a comma
        total = level_work(level)
        self._level = _bar(total=total, desc=self._name, bar_format=form, position=1, leave=False)
        if self._level.disable:
            write_line(f"{self._name}: {counted(len(level.grid), 'tile')}, {counted(level.steps, 'step')}")

    def advance(self, work: int) -> None:
        """Move both bars."""
        for bar in (self._picture, self._level):
            if bar is not None:
                bar.update(work)

    def skip(self, work: int) -> None:
        """Move both bars, without the rate that their time left follows from."""
        for bar in (self._picture, self._level):
            if bar is not None and not bar.disable:
                bar.n += work
                bar.initial += work
                bar.last_print_n += work
                bar.refresh()

    def show_losses(self, row: LossRow) -> None:
        """Show the losses behind the level's bar, and as a line if asked for."""
        super().show_losses(row)
        if self._level is not None:
            self._level.set_postfix_str(", ".join(f"{name} {value:.3g}" for name, value in row.named().items()))


class BatchBar:
    """One tqdm bar over the pictures of a batch; elsewhere than on a terminal a line per picture. Standard error.

    Parameters
    ----------
    total : int
        Pictures.
    quiet : bool
        Whether to show nothing.
    """

    def __init__(self, total: int, *, quiet: bool = False) -> None:
        self._total, self._ended, self._quiet = total, 0, quiet
        form = "{desc} {percentage:3.0f}% |{bar}| {elapsed} passed, {remaining} left"
        self._bar = _bar(
            total=total, desc=f"0/{total}", bar_format=form, hidden=quiet
        )  # a file gets a line per picture

    def __enter__(self) -> "BatchBar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, result: Result) -> None:
        """Count a picture that ended. A failure gets a line on a terminal too."""
        self._ended += 1
        self._bar.set_description_str(f"{self._ended}/{self._total}")
        self._bar.update()
        if self._bar.disable or result.status == "failed":
            self.note(f"{self._ended}/{self._total} {result.status}: {result.told}")

    def note(self, line: str) -> None:
        """Write a line above the bar."""
        if not self._quiet:
            write_line(line)
