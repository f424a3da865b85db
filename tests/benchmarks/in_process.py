"""A render without dask: its tasks one after the other in this process, with a clock on each part of the whole job."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from machine import render

from muralist.pipeline import painting
from muralist.pipeline import render as rendering
from muralist.pipeline.storage.canvas import Canvas

INSIDE = {"paint": "optimizer steps", "blend": "read and blend tiles", "write": "write tiles"}
TASKS = {"prepare_tile": "prepare tiles", "measure_tile": "measure losses", "add_up": "add up Grams"}
# What the driver does, by the module that calls it.
DRIVER = {
    "plan_render": (rendering, "read and decode"),
    "prepare_level": (painting, "lay out levels"),
    "write_painting": (rendering, "blend and encode"),
    "score_seams": (rendering, "score seams"),
}


BESIDE = ("read and decode", "blend and encode", "score seams")  # of the levels


class InProcess:
    """Stands in for the cluster: calls every task in this process and notes its seconds, and those of its parts."""

    workers, tiles, lost, again = 1, 1, 0, 0
    notices: tuple[str, ...] = ()

    def __init__(self, settings: Any) -> None:
        import torch

        from muralist.pipeline import tasks
        from muralist.pipeline.workers import devices

        torch.set_num_threads(settings.threads)
        self.threads, self.device = settings.threads, devices.resolve_device(settings.device)
        self.device_name = devices.cpu_name()
        automatic = devices.best_precision(self.device)
        self.precision = automatic if settings.precision == "auto" else settings.precision
        self.tasks, self.task = tasks, ""
        self.seconds: dict[str, float] = defaultdict(float)
        Canvas.read = self._timed("blend", Canvas.read)
        Canvas.write = self._timed("write", Canvas.write)
        tasks.TileOptimizer.paint = self._timed("paint", tasks.TileOptimizer.paint)

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            began = time.perf_counter()
            result = function(*arguments)
            self.seconds[f"{self.task}.{name}"] += time.perf_counter() - began
            return result

        return call

    def call(self, task: str, *arguments: Any, priority: int = 0, limit: float = 0) -> Any:
        """Run a task."""
        self.task = task
        began = time.perf_counter()
        result = getattr(self.tasks, task)(*arguments)
        self.seconds[task] += time.perf_counter() - began
        self.task = "driver"
        return result

    def map(self, task: str, calls: Sequence[tuple[Any, ...]], **_: Any) -> Iterator[Any]:
        """Run a task for each tuple of arguments."""
        return (self.call(task, *arguments) for arguments in calls)

    def peak_rss(self) -> int:
        """Not measured here."""
        return 0


def without_dask() -> list[InProcess]:
    """Have all renders of this process run their tasks here; give what they work with, the first one for all."""
    clusters: list[InProcess] = []

    def open_here(resolved: Any, *_: object) -> Any:
        clusters.append(InProcess(resolved))
        return nullcontext(clusters[0])

    rendering.open_cluster = open_here
    return clusters


def seconds_here(paths: tuple[Path, ...], settings: dict[str, Any]) -> dict[str, float]:
    """Render without dask and say how long each part of the levels took; to be called in a process of its own."""
    return _within_levels(profile_here(paths, settings)["parts"])


def _within_levels(parts: dict[str, float]) -> dict[str, float]:
    return {label: seconds for label, seconds in parts.items() if label not in BESIDE}


def profile_here(paths: tuple[Path, ...], settings: dict[str, Any]) -> dict[str, Any]:
    """Render without dask; return seconds of the whole job and of its parts. To be called in a process of its own."""
    clusters = without_dask()
    outside = _watched_driver()
    began = time.perf_counter()
    sidecar = render(*paths, overwrite=True, **settings)
    total, took = time.perf_counter() - began, clusters[0].seconds
    parts = {label: took[f"paint_tile.{name}"] for name, label in INSIDE.items()}
    parts["other in paint_tile"] = took["paint_tile"] - sum(parts.values())
    parts |= {label: took[name] for name, label in TASKS.items()}
    parts["style statistics"] = took["style_targets"]
    parts |= outside
    parts["lay out levels"] -= took["style_targets"]  # which is called in there
    levels = sum(level["seconds"] for level in sidecar["levels"])
    parts["driver"] = levels - sum(_within_levels(parts).values())
    return {"total": total, "parts": parts, "sidecar": sidecar}


def _watched_driver() -> dict[str, float]:
    """Seconds of what the driver does itself, which fill as it works."""
    seconds = dict.fromkeys((label for _, label in DRIVER.values()), 0.0)

    def watched(function: Callable[..., Any], label: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            began = time.perf_counter()
            result = function(*arguments, **options)
            seconds[label] += time.perf_counter() - began
            return result

        return call

    for name, (module, label) in DRIVER.items():
        setattr(module, name, watched(getattr(module, name), label))
    return seconds
