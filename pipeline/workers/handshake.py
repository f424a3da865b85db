"""Functions that the driver calls in workers. Tasks are sent by name, so only workers load torch."""

import signal
from typing import Any

from ..settings import Settings
from ..storage.byte_cache import set_cache_limit
from ..storage.store import Store
from .machine import budget, peak_rss
from .requirements import WorkerRequirements


def run_and_measure(name: str, *arguments: Any) -> tuple[Any, int]:
    """Call a function of `muralist.pipeline.tasks`; return its result and the worker's peak memory so far, bytes."""
    from .. import tasks

    return getattr(tasks, name)(*arguments), peak_rss()


def handshake(
    requirements: WorkerRequirements, settings: Settings, store: Store, device: str, threads: int | None, neighbors: int
) -> dict[str, Any]:
    """Make a worker ready, one of `neighbors` on its host, and let it say what it is and sees. Runs in the worker."""
    from . import devices  # loads torch, so not for the driver

    if settings.scheduler is None:  # our own processes leave Ctrl-C to the driver
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    devices.use_threads(threads)
    devices.choose_algorithms(settings.fast)
    set_cache_limit(budget(settings) // 2 // neighbors)
    facts = devices.worker_facts(store, requirements.name, str(requirements.weights.local_path), device)
    if facts["device"] is not None:
        devices.stay_near(str(facts["device"]))
    return facts
