"""The order of a painting: levels coarse to fine, rounds within a level, tiles within a round.

The driver only keeps time here: it names tasks and receives a few numbers. Pixels, features and Gram
matrices go from task to task through the run folder.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np

from muralist.pipeline.cluster import Cluster
from muralist.pipeline.job import Job
from muralist.pipeline.levels import Level
from muralist.pipeline.progress import Progress
from muralist.pipeline.run_folder import write_array
from muralist.pipeline.style_cache import StyleCache

Losses = dict[str, float]


@dataclass(frozen=True)
class Sources:
    """What is painted, and after what.

    Attributes
    ----------
    content : callable (height, width) -> ndarray (height, width, 3), float32
        The photograph at any size.
    style : callable (long side) -> ndarray (h, w, 3), float32
        The style picture at any size up to its own.
    style_cache : StyleCache
    """

    content: Callable[[int, int], np.ndarray]
    style: Callable[[int], np.ndarray]
    style_cache: StyleCache


@dataclass(frozen=True)
class LevelReport:
    """One row of the sidecar's level table; losses are of the whole picture, unweighted."""

    height: int
    width: int
    tiles: int
    rounds: int
    steps: int
    seconds: float
    style_loss_first: float
    style_loss_last: float
    content_loss_first: float
    content_loss_last: float
    tv_loss_first: float
    tv_loss_last: float

    @classmethod
    def of(cls, level: Level, seconds: float, first: Losses, last: Losses) -> "LevelReport":
        """Put a row together."""
        losses = {f"{name}_loss_{when}": d[name] for when, d in (("first", first), ("last", last)) for name in d}
        return cls(
            level.height, level.width, len(level.grid), len(level.rounds), level.steps, round(seconds, 3), **losses
        )

    def as_dict(self) -> dict[str, Any]:
        """Give the row as plain values."""
        return asdict(self)


def paint(job: Job, cluster: Cluster, sources: Sources, progress: Progress) -> list[LevelReport]:
    """Paint all levels. The finished canvas is the last level's, after its last round."""
    return [_paint_level(job, cluster, sources, progress, level) for level in job.levels]


def _paint_level(job: Job, cluster: Cluster, sources: Sources, progress: Progress, level: Level) -> LevelReport:
    began = time.perf_counter()
    progress.start_level(level)
    _lay_out(job, cluster, sources, level)
    first = losses = _everywhere(job, cluster, level, "prepare_tile", 0)
    if level.index:
        job.folder.remove_level(level.index - 1)
    for made, steps in enumerate(level.rounds):
        progress.show_losses(losses)
        losses = _everywhere(job, cluster, level, "paint_tile", made + 1, made, advance=progress.advance, steps=steps)
        job.folder.remove_round(level.index, made)
    last = _everywhere(job, cluster, level, "measure_tile", level.finished)
    progress.show_losses(last)
    return LevelReport.of(level, time.perf_counter() - began, first, last)


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
    """File what the tasks of a level read: the photograph on its canvas, and the style picture's statistics."""
    write_array(job.folder.content(level.index), with_bleed(sources.content(level.height, level.width), level))
    targets = job.folder.targets(level.index)
    if not sources.style_cache.fetch(level.style_side, targets):
        write_array(job.folder.style(level.index), sources.style(level.style_side))
        cluster.call("style_targets", job, level.index)
        sources.style_cache.keep(level.style_side, targets)


def with_bleed(pixels: np.ndarray, level: Level) -> np.ndarray:
    """Mirror a picture (height, width, 3) at its edges until it fills the level's canvas."""
    spans = zip(level.picture_box, (level.grid.height, level.grid.width), strict=True)
    return np.pad(pixels, [*((span.start, n - span.stop) for span, n in spans), (0, 0)], mode="reflect")
