"""The order of a painting: levels coarse to fine, rounds within a level, tiles within a round.

The driver only keeps time here: it names tasks and receives a few numbers. Pixels, features and Gram
matrices go from task to task through the run folder.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

import numpy as np

from muralist.model.architecture import architecture
from muralist.pipeline.cluster import Cluster
from muralist.pipeline.job import Job
from muralist.pipeline.levels import Level
from muralist.pipeline.losses import TERMS, LossRow, best, has_levelled_off
from muralist.pipeline.progress import Progress
from muralist.pipeline.run_folder import FINISHED, write_array
from muralist.pipeline.start import is_photograph, start_canvas
from muralist.pipeline.style_cache import StyleCache

Losses = dict[str, float]


@dataclass(frozen=True)
class StyleSource:
    """One style picture.

    Attributes
    ----------
    pixels : callable (long side) -> ndarray (h, w, 3), float32
        The picture at any size up to its own.
    cache : StyleCache
    """

    pixels: Callable[[int], np.ndarray]
    cache: StyleCache


@dataclass(frozen=True)
class Sources:
    """What is painted, from what, and after what.

    Attributes
    ----------
    content : callable (height, width) -> ndarray (height, width, 3), float32
        The photograph at any size.
    init : callable (height, width) -> ndarray (height, width, 3), float32
        What the coarsest level starts from, but for noise, at any size.
    styles : tuple of StyleSource
    """

    content: Callable[[int, int], np.ndarray]
    init: Callable[[int, int], np.ndarray]
    styles: tuple[StyleSource, ...]


@dataclass(frozen=True)
class LevelReport:
    """One row of the sidecar's level table.

    Attributes
    ----------
    height, width : int
        Picture, px.
    tiles : int
    rounds, steps : int
        Made; fewer than planned where a level ended early.
    ended : {"steps", "plateau"}
        Whether all steps were made, or more of them no longer helped.
    kept : int
        The round whose canvas counts; 0 is what the level started from.
    seconds : float
    style_loss_first, ... : float or None
        Of the whole picture, unweighted, before the first step and of the canvas that counts. None where a term does
        not count.
    """

    height: int
    width: int
    tiles: int
    rounds: int
    steps: int
    ended: str
    kept: int
    seconds: float
    style_loss_first: float | None
    style_loss_last: float | None
    content_loss_first: float | None
    content_loss_last: float | None
    tv_loss_first: float | None
    tv_loss_last: float | None

    @classmethod
    def of(cls, level: Level, rounds: int, kept: int, seconds: float, first: Losses, last: Losses) -> "LevelReport":
        """Put a row together."""
        looks = {"first": first, "last": last}
        losses = {f"{name}_loss_{when}": terms.get(name) for when, terms in looks.items() for name in TERMS}
        return cls(
            height=level.height,
            width=level.width,
            tiles=len(level.grid),
            rounds=rounds,
            steps=level.steps_after(rounds),
            ended="steps" if rounds == len(level.rounds) else "plateau",
            kept=kept,
            seconds=round(seconds, 3),
            **losses,
        )

    def as_dict(self) -> dict[str, Any]:
        """Give the row as plain values."""
        return asdict(self)


@dataclass
class Course:
    """How a painting went: a report per level, and a row per look at the losses."""

    levels: list[LevelReport] = field(default_factory=list)
    losses: list[LossRow] = field(default_factory=list)


def paint(
    job: Job,
    cluster: Cluster,
    sources: Sources,
    progress: Progress,
    save: Callable[[Level, int], object],
) -> Course:
    """Paint all levels. The painting is the last level's canvas that is filed as `FINISHED`.

    Parameters
    ----------
    job, cluster, sources, progress
    save : callable (level, rounds made)
        Called where a checkpoint is due.
    """
    course = Course()
    for level in job.levels:
        began = time.perf_counter()
        progress.start_level(level)
        _lay_out(job, cluster, sources, level)
        first = _everywhere(job, cluster, level, "prepare_tile", 0)
        if level.index:
            job.folder.remove_level(level.index - 1)
        rows = _paint_rounds(job, cluster, progress, level, first, save)
        kept = _finish(job, progress, level, rows)
        last = _everywhere(job, cluster, level, "measure_tile", FINISHED)
        course.levels.append(LevelReport.of(level, len(rows) - 1, kept, time.perf_counter() - began, first, last))
        course.losses += rows
    return course


def _paint_rounds(
    job: Job, cluster: Cluster, progress: Progress, level: Level, first: Losses, save: Callable[[Level, int], object]
) -> list[LossRow]:
    """Paint round after round until all are made or more do not help; the losses at the start and after each."""
    rows = [LossRow.of(level, 0, first)]
    progress.show_losses(rows[0])
    for made, steps in enumerate(level.rounds, 1):
        losses = _everywhere(job, cluster, level, "paint_tile", made, made - 1, advance=progress.advance, steps=steps)
        rows.append(LossRow.of(level, made, losses))
        progress.show_losses(rows[-1])
        if level.steps_after(made) in level.saves:
            save(level, made)
        for superseded in _needed(job, rows[:-1]) - _needed(job, rows):
            job.folder.remove_round(level.index, superseded)
        if has_levelled_off([row.total for row in rows], job.settings.plateau):
            break
    return rows


def _finish(job: Job, progress: Progress, level: Level, rows: list[LossRow]) -> int:
    """File the canvas that counts as finished, count the steps left out as done, and return the canvas's round."""
    kept, made = _kept(job, rows), len(rows) - 1
    for other in _needed(job, rows) - {kept}:
        job.folder.remove_round(level.index, other)
    job.folder.finish(level.index, kept)
    progress.advance((level.steps - level.steps_after(made)) * level.tile_pixels)
    return kept


def _kept(job: Job, rows: list[LossRow]) -> int:
    """The round whose canvas would count if the level ended now."""
    return best([row.total for row in rows]) if job.settings.keep == "best" else len(rows) - 1


def _needed(job: Job, rows: list[LossRow]) -> set[int]:
    """The rounds whose canvases must stay: the next one starts from the last, and one counts."""
    return {_kept(job, rows), len(rows) - 1}


def _everywhere(
    job: Job,
    cluster: Cluster,
    level: Level,
    task: str,
    filed: int,
    *arguments: int,
    advance: Callable[[int], None] = lambda work: None,
    steps: int = 0,
) -> Losses:
    """Run a task on all tiles of a level, then add up what they filed and return the whole picture's losses."""
    calls = [(job, level.index, *arguments, number) for number in range(len(level.grid))]
    for number in cluster.map(task, calls):
        advance(steps * prod(level.grid[number].outer.shape))
    losses: Losses = cluster.call("add_up", job, level.index, filed)
    return losses


def _lay_out(job: Job, cluster: Cluster, sources: Sources, level: Level) -> None:
    """File what the tasks of a level read: the photograph on its canvas, what to start from, the styles' statistics."""
    write_array(job.folder.content(level.index), with_bleed(sources.content(level.height, level.width), level))
    if level.index == 0 and not is_photograph(job.settings):
        init = with_bleed(sources.init(level.height, level.width), level)
        base = architecture(job.settings.network).mean
        write_array(job.folder.start(level.index), start_canvas(init, base, job.settings))
    _lay_out_styles(job, cluster, sources.styles, level)


def _lay_out_styles(job: Job, cluster: Cluster, styles: Sequence[StyleSource], level: Level) -> None:
    files = [job.folder.targets(level.index, number) for number in range(len(styles))]
    jobs = list(zip(styles, level.style_sides, files, strict=True))
    missing = [number for number, (style, side, file) in enumerate(jobs) if not style.cache.fetch(side, file)]
    for number in missing:
        style, side, _ = jobs[number]
        write_array(job.folder.style(level.index, number), style.pixels(side))
    for number in cluster.map("style_targets", [(job, level.index, number) for number in missing]):
        style, side, file = jobs[number]
        style.cache.keep(side, file)


def with_bleed(pixels: np.ndarray, level: Level) -> np.ndarray:
    """Mirror a picture (height, width, 3) at its edges until it fills the level's canvas."""
    spans = zip(level.picture_box, (level.grid.height, level.grid.width), strict=True)
    return np.pad(pixels, [*((span.start, n - span.stop) for span, n in spans), (0, 0)], mode="reflect")
