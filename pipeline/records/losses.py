"""The losses of a painting over its steps: sidecar rows, log lines, a plot. Only this module uses matplotlib."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..context import Losses
from ..errors import OutputError
from ..levels import Level
from ..output_files import check_place, write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOT_FORMATS: Final = (".png", ".svg", ".pdf")
PATIENCE: Final = 3  # rounds that must lower the loss together, or the level ends


@dataclass(frozen=True)
class LossRecord:
    """Losses of the whole picture at the start of a level or after one of its rounds.

    Attributes
    ----------
    level : int
        Counted from 1, the coarsest.
    step : int
        Steps made before, over all levels; the steps of a level that ended early are left out of the count.
    losses : dict str -> float
        The terms that count, by name, unweighted.
    weights : dict str -> float
        Of the terms in the total.
    total : float
        What is minimized.
    seconds : float
        Spent on the painting before; no part of what makes two rows equal.
    """

    level: int
    step: int
    losses: dict[str, float]
    weights: dict[str, float]
    total: float
    seconds: float = field(default=0.0, compare=False)

    @classmethod
    def of(cls, level: Level, rounds: int, losses: Losses, seconds: float) -> "LossRecord":
        """Put a row together from what the workers added up after some rounds."""
        step = level.first_step + level.steps_after(rounds)
        return cls(level.index + 1, step, losses.terms, losses.weights, losses.total, round(seconds, 3))

    def total_by(self, weights: Mapping[str, float]) -> float:
        """Compute the total with other weights: `strength` changes them from round to round."""
        return sum(weight * self.losses[name] for name, weight in weights.items())

    def named(self) -> dict[str, float]:
        """Give the losses by name, the total last."""
        return {**self.losses, "total": self.total}

    def weighted(self) -> dict[str, float]:
        """Give the losses times their weights by name, the total last."""
        terms = {name: self.weights[name] * loss for name, loss in self.losses.items() if name in self.weights}
        return {**terms, "total": self.total}


def loss_line(row: LossRecord, levels: int) -> str:
    """Lay a row out as a line of a log.

    >>> loss_line(LossRecord(2, 120, {"style": 0.0123, "content": 0.456}, {"style": 1000, "content": 6}, total=12.3), 4)
    'step    120  level 2/4  style 0.0123  content 0.456  total 12.3'
    """
    terms = "  ".join(f"{name} {value:.4g}" for name, value in row.named().items())
    return f"step {row.step:>6}  level {row.level}/{levels}  {terms}"


def best(rows: Sequence[LossRecord]) -> int:
    """Return the round with the lowest total loss (the first of equal ones), compared by the later round's weights.

    The canvas that loses a comparison is deleted, so it cannot become the best under later weights.
    """
    found = 0
    for number, row in enumerate(rows):
        if row.total_by(row.weights) < rows[found].total_by(row.weights):
            found = number
    return found


def has_levelled_off(rows: Sequence[LossRecord], share: float) -> bool:
    """Say whether the last three rounds lowered the best total, by the current weights, by less than a share."""
    if len(rows) <= PATIENCE:
        return False
    totals = [row.total_by(rows[-1].weights) for row in rows]
    before = min(totals[:-PATIENCE])
    return before - min(totals) < share * before


def check_plot(path: Path, *, overwrite: bool) -> None:
    """Find out before any work whether a loss plot can be written.

    Raises
    ------
    OutputError
        Says what is in the way and what to do.
    """
    if path.suffix.lower() not in PLOT_FORMATS:
        found = f"extension {path.suffix!r}" if path.suffix else "no extension"
        raise OutputError(f"{path}: {found}; a loss plot needs one of {' '.join(PLOT_FORMATS)}", path=path)
    check_place(path, overwrite=overwrite)


def write_plot(path: Path, rows: Sequence[LossRecord]) -> None:
    """Draw the terms with their weights, and the total, over the steps, and write the plot, whole.

    Parameters
    ----------
    path : Path
        PNG, SVG or PDF by extension.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from matplotlib.figure import Figure  # slow to import; without pyplot, which keeps figures and picks a window

    figure, file = Figure(figsize=(8, 5), layout="constrained"), BytesIO()
    _draw(figure.subplots(), rows)
    figure.savefig(file, format=path.suffix.lstrip(".").lower(), dpi=150)
    try:
        write_file(path, file.getvalue())
    except OutputError as error:
        raise OutputError(f"{error}; the painting itself is done", path=path) from error


def _draw(axes: "Axes", rows: Sequence[LossRecord]) -> None:
    for term, weight in rows[-1].weights.items():
        if weight:
            axes.plot(*_curve(rows, term), marker=".", linewidth=1, label=f"{term}, weight {weight:.4g}")
    axes.plot(*_curve(rows, "total"), marker=".", color="black", label="total")
    for row, after in pairwise(rows):
        if after.level > row.level:
            axes.axvline(after.step, color="0.8", linewidth=1, zorder=0)
    axes.set(yscale="log", xlabel="step", ylabel="loss, weighted")
    axes.legend()


def _curve(rows: Sequence[LossRecord], term: str) -> tuple[list[float], list[float]]:
    """Steps and weighted losses; NaN, which leaves a gap, between levels and where a log axis shows nothing."""
    steps: list[float] = []
    losses: list[float] = []
    for number, row in enumerate(rows):
        if number and row.level > rows[number - 1].level:
            steps.append(row.step)
            losses.append(float("nan"))
        steps.append(row.step)
        losses.append(row.weighted().get(term, 0.0) or float("nan"))
    return steps, losses
