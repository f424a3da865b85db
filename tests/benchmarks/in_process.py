"""A render without dask: its tasks one after the other in this process, with a clock on each part."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from muralist.pipeline import render as rendering
from muralist.pipeline.run_folder import RunFolder

INSIDE = {"painter": "optimiser steps", "blend": "read and blend tiles", "write": "write tiles"}
TASKS = {"prepare_tile": "prepare tiles", "measure_tile": "measure losses", "add_up": "add up Grams"}


class Here:
    """Stands in for the cluster: calls every task in this process and notes its seconds, and those of its parts."""

    workers = 1

    def __init__(self, settings: Any, folder: str) -> None:
        import torch

        from muralist.pipeline import devices, tasks

        torch.set_num_threads(settings.threads)
        facts = devices.worker_facts(folder, settings.device)
        self.device, self.device_name, self.threads = facts["device"], facts["device_name"], facts["threads"]
        self.precision = facts["precision"] if settings.precision == "auto" else settings.precision
        self.tasks, self.task = tasks, ""
        self.seconds: dict[str, float] = defaultdict(float)
        self._watch_parts()

    def _watch_parts(self) -> None:
        tasks = self.tasks
        open_canvas = RunFolder.canvas
        RunFolder.canvas = lambda *arguments: self._timed("blend", open_canvas(*arguments))
        tasks.Painter.paint = self._timed("painter", tasks.Painter.paint)
        tasks.write_array = self._timed("write", tasks.write_array)

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            began = time.perf_counter()
            result = function(*arguments)
            self.seconds[f"{self.task}.{name}"] += time.perf_counter() - began
            return result

        return call

    def call(self, task: str, *arguments: Any) -> Any:
        """Run a task."""
        self.task = task
        began = time.perf_counter()
        result = getattr(self.tasks, task)(*arguments)
        self.seconds[task] += time.perf_counter() - began
        return result

    def map(self, task: str, arguments: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        """Run a task for each tuple of arguments."""
        return (self.call(task, *item) for item in arguments)

    def peak_rss(self) -> int:
        """Not measured here."""
        return 0


def seconds_here(paths: tuple[Path, ...], settings: dict[str, Any]) -> dict[str, float]:
    """Render without dask and say how long each part of the level took; to be called in a process of its own."""
    clusters: list[Here] = []

    def open_here(resolved: Any, folder: str, tiles: int) -> Any:
        clusters.append(Here(resolved, folder))
        return nullcontext(clusters[0])

    rendering.open_cluster = open_here
    level = rendering.render(*paths, overwrite=True, **settings)["levels"][0]["seconds"]
    took = clusters[0].seconds
    parts = {label: took[f"paint_tile.{name}"] for name, label in INSIDE.items()}
    parts["other in paint_tile"] = took["paint_tile"] - sum(parts.values())
    parts |= {label: took[name] for name, label in TASKS.items()}
    return {**parts, "driver": level - sum(parts.values())}
