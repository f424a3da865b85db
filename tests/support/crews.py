"""Clusters of real workers, and workers that come and go."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil
from dask_processes import dask_worker
from pictures import TINY

from muralist.model.architecture import architecture
from muralist.model.weight_files import find_weights
from muralist.pipeline.settings import Settings
from muralist.pipeline.storage.store import Store
from muralist.pipeline.workers.cluster import Cluster, open_cluster

WEIGHTS = find_weights(architecture("compact"))


def opened(folder: Path, tiles: int = 2, **settings: Any) -> AbstractContextManager[Cluster]:
    """A cluster whose store is a folder."""
    return open_cluster(Settings(**TINY | settings), Store(str(folder)), folder, tiles, WEIGHTS)


@contextmanager
def another_worker(scheduler: str, folder: Path, preload: str = "") -> Iterator[psutil.Process]:
    """One more worker at a scheduler, without a nanny, for the time of a test."""
    script = folder / "preload.py"
    script.write_text(preload)
    with dask_worker(scheduler, folder / "dask", "--no-nanny", "--preload", str(script)) as process:
        yield process


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)
