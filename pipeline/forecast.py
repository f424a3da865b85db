"""Estimates how long a painting will take from cached speeds, and caches the speed of each painting for later ones."""

from math import isqrt
from typing import Any

from .levels import Level
from .records.run_state import RunState
from .render_plan import RenderPlan
from .settings import Settings
from .space import largest_tile
from .speeds import EVALUATION_STEPS, Conditions, Speed, conditions, today, usual_speeds
from .workers.cluster import Cluster
from .workers.local import WorkerLayout

LEARNED_SECONDS = 5  # of workers on a level, below which what it took is mostly their start


def level_seconds(level: Level, settings: Settings, workers: int, pixel_step_seconds: float) -> float:
    """Estimate the seconds of a level: as many waves of its largest tile as the workers need, losses included."""
    steps = level.steps + EVALUATION_STEPS * len(level.rounds)
    return _waves(level, workers) * largest_tile(level) * steps * pixel_step_seconds


def _waves(level: Level, workers: int) -> int:
    """How many tiles one worker paints, one after the other, in a round."""
    return -(-len(level.grid) // workers)


def planned_by(plan: RenderPlan, cluster: Cluster, precision: str) -> dict[str, Any] | None:
    """Estimate the seconds of every level, if workers like these are in the cache: no benchmark is run now.

    Returns
    -------
    dict or None
        "seconds", a list, and "measured_on", a date.
    """
    settings = plan.settings
    if settings.scheduler is not None:
        return None
    side = isqrt(max(largest_tile(level) for level in plan.levels))
    speed = usual_speeds().find(_conditions(settings, cluster), precision, side)
    if speed is None:
        return None
    pixel_step = speed.microseconds / 1e6
    seconds = [level_seconds(level, settings, cluster.workers, pixel_step) for level in plan.levels]
    return {"seconds": [round(each, 3) for each in seconds], "measured_on": speed.date}


def learn_speed_of(plan: RenderPlan, state: RunState, cluster: Cluster, precision: str) -> None:
    """Cache how fast the finest level was painted, if workers of this machine did it undisturbed and long enough."""
    settings, level, report = plan.settings, plan.final, state.levels[-1]
    disturbed = cluster.lost or cluster.again or state.resumed or report.halvings
    disturbed = disturbed or plan.regions is not None  # tiles may not be painted, and regions cost more
    if settings.scheduler is not None or settings.precision != "auto" or disturbed:
        return
    if report.busy_seconds < LEARNED_SECONDS:
        return
    steps = report.steps + EVALUATION_STEPS * report.rounds
    seconds = report.busy_seconds / cluster.tiles / (level.tile_pixels * steps)
    usual_speeds().keep(
        Speed(
            _conditions(settings, cluster),
            precision,
            usual=True,
            side=isqrt(largest_tile(level)),
            microseconds=seconds * 1e6,
            date=f"{today():%Y-%m-%d}",
        )
    )


def _conditions(settings: Settings, cluster: Cluster) -> Conditions:
    shape = WorkerLayout(cluster.workers, cluster.threads)
    return conditions(settings, shape, cluster.device, cluster.device_name)
