"""Where tasks run: the only module that knows dask.

A task is named, not sent: the worker imports `muralist.pipeline.tasks` and calls the function of that name, so the
driver never loads torch. At most two tasks per worker are under way at a time, so a worker that dies takes
few others with it; dask runs those again elsewhere, or when the worker is back.
"""

import logging
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from multiprocessing import resource_tracker
from typing import Any

import dask
from distributed import Client, Nanny, Scheduler, SpecCluster, WorkerPlugin, as_completed
from distributed.scheduler import KilledWorker

from muralist.pipeline.errors import ClusterError
from muralist.pipeline.memory import peak_rss
from muralist.pipeline.settings import Settings

CONNECT_SECONDS = 15
LOST_WORKERS_ALLOWED = 10  # per task; dask's own 3 gives up on a tile that was merely queued on bad machines
IN_FLIGHT = 2  # tasks per worker: one at work, one waiting
# glibc gives large blocks back to the system at once and fetches them anew every step: twice the time with dask's own
# settings, a sixth more with the system's. Like the number of threads, this is read when a process starts.
ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(4 << 30), "MALLOC_TOP_PAD_": str(64 << 20)}
QUIET = {
    "distributed.scheduler.allowed-failures": LOST_WORKERS_ALLOWED,
    "distributed.scheduler.no-workers-timeout": "10 minutes",
    "distributed.admin.low-level-log-length": 100,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
}


class Prepare(WorkerPlugin):  # type: ignore[misc]
    """Give torch its threads (dask starts workers with one); in workers of `ours`, leave Ctrl-C to the driver."""

    name = "muralist-prepare"

    def __init__(self, threads: int | None, *, ours: bool) -> None:
        self.threads, self.ours = threads, ours

    def setup(self, worker: Any) -> None:
        """Run once in every worker, also in one that dask restarted."""
        import torch

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        if self.ours:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def run_task(name: str, *arguments: Any) -> Any:
    """Call a function of `muralist.pipeline.tasks` by name."""
    from muralist.pipeline import tasks

    return getattr(tasks, name)(*arguments)


def worker_facts(folder: str, device: str) -> dict[str, Any]:
    """Ask a worker what it is, see `muralist.pipeline.devices`, which loads torch and so is not for the driver."""
    from muralist.pipeline import devices

    return devices.worker_facts(folder, device)


@dataclass(frozen=True)
class Shape:
    """How many workers, how many threads each, and the GPU of each (none on CPU)."""

    workers: int
    threads: int
    gpus: tuple[str, ...] = ()


def visible_gpus() -> list[str]:
    """List the CUDA devices this process may use, without loading torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    found = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    return found.stdout.split() if found.returncode == 0 else []


def local_shape(settings: Settings, tiles: int) -> Shape:
    """Choose workers and threads for this machine: a worker per GPU, or the cores shared out, never more than tiles.

    Tiles side by side use cores better than threads within a tile, but every worker takes memory: so one thread each
    for up to four workers, then up to four threads each.
    """
    gpus = visible_gpus() if settings.device in ("auto", "cuda") else []
    if gpus:
        workers = min(settings.workers or tiles, len(gpus))
        return Shape(workers, settings.threads or 2, tuple(gpus[:workers]))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if settings.device != "cpu" and settings.device != "auto":
        return Shape(1, settings.threads or cores)
    workers = settings.workers or min(tiles, max(1, cores // (settings.threads or min(4, max(1, cores // 4)))))
    return Shape(workers, settings.threads or max(1, cores // workers))


class Cluster:
    """A running set of workers that suit one render.

    Attributes
    ----------
    workers : int
    device, precision : str
        What all of them compute on and in.
    """

    def __init__(self, client: Client, settings: Settings, folder: str) -> None:
        self._client = client
        facts: dict[str, dict[str, Any]] = client.run(worker_facts, folder, settings.device)
        _check_alike(facts, folder)
        self.workers = len(facts)
        first = next(iter(facts.values()))
        self.device: str = first["device"]
        self.device_name: str = first["device_name"]
        self.threads: int = first["threads"]
        automatic = "bfloat16" if all(fact["precision"] == "bfloat16" for fact in facts.values()) else "float32"
        self.precision: str = automatic if settings.precision == "auto" else settings.precision

    def peak_rss(self) -> int:
        """Largest resident memory of the workers so far, added up, bytes."""
        return sum(self._client.run(peak_rss).values())

    def call(self, task: str, *arguments: Any) -> Any:
        """Run one task and return its result."""
        return next(self.map(task, [arguments]))

    def map(self, task: str, arguments: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        """Run a task once per tuple of arguments; yield results as they come, in no particular order.

        Raises
        ------
        ClusterError
            If workers keep dying on a task.
        Exception
            Whatever a task raised; the tasks under way are cancelled.
        """
        waiting = iter(arguments)
        first = [self._submit(task, item) for item in islice(waiting, IN_FLIGHT * self.workers)]
        running = as_completed(first, with_results=True)
        try:
            for _, result in running:
                running.update([self._submit(task, item) for item in islice(waiting, 1)])
                yield result
        except KilledWorker as error:
            raise ClusterError(
                f"task {task} took down {LOST_WORKERS_ALLOWED} workers, probably out of memory: "
                "use a smaller --tile or fewer --workers"
            ) from error

    def _submit(self, task: str, arguments: tuple[Any, ...]) -> Any:
        return self._client.submit(run_task, task, *arguments, pure=False)


@contextmanager
def open_cluster(settings: Settings, folder: str, tiles: int) -> Iterator[Cluster]:
    """Start workers on this machine, or connect to a running scheduler; stop what was started.

    Parameters
    ----------
    settings : Settings
        `scheduler`, `workers`, `threads` and `device` count.
    folder : str
        The run folder; every worker must see it.
    tiles : int
        Most tiles that a level has.

    Raises
    ------
    ClusterError
        If the scheduler cannot be reached, has no workers, or a worker does not suit.
    """
    with dask.config.set(QUIET), _client(settings, tiles) as client:
        workers = len(client.scheduler_info(n_workers=-1)["workers"])
        if not workers:
            raise ClusterError(f"scheduler {settings.scheduler} has no workers; start some with `dask worker`")
        yield Cluster(client, settings, folder)


def _check_alike(facts: dict[str, dict[str, Any]], folder: str) -> None:
    """Refuse workers that would not paint the same picture, or cannot reach the run folder."""
    here = version("muralist")
    for address, fact in facts.items():
        who = f"worker {address} on {fact['host']}"
        if not fact["sees_folder"]:
            raise ClusterError(f"{who} does not see {folder}; name a folder that all workers share with --scratch")
        if fact["muralist"] != here:
            raise ClusterError(f"{who} has muralist {fact['muralist']}, this is {here}; install the same on both")
    devices = {fact["device"] for fact in facts.values()}
    if len(devices) > 1:
        raise ClusterError(f"the workers compute on different devices ({', '.join(sorted(devices))}); use --device")


@contextmanager
def _client(settings: Settings, tiles: int) -> Iterator[Client]:
    if settings.scheduler is not None:
        with _connected(settings.scheduler) as client:
            client.register_plugin(Prepare(settings.threads, ours=False))
            yield client
        return
    shape = local_shape(settings, tiles)
    threads = {name: str(shape.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with dask.config.set({"distributed.nanny.pre-spawn-environ": threads | ALLOCATOR}), ExitStack() as stack:
        with _interrupts_held():
            cluster = SpecCluster(_workers(shape), _scheduler(), silence_logs=logging.CRITICAL)
            stack.enter_context(cluster)
        client = stack.enter_context(Client(cluster))
        client.register_plugin(Prepare(shape.threads, ours=True))
        client.wait_for_workers(shape.workers)
        yield client


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let Ctrl-C wait, for dask cannot stop a cluster that is half started. Processes begun meanwhile never see it."""
    if threading.current_thread() is not threading.main_thread():  # there is no Ctrl-C here
        yield
        return
    resource_tracker.ensure_running()  # otherwise the first worker starts it, and that lets the signal through
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited by dask's thread, and by workers from it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, before)
    if held:
        raise KeyboardInterrupt


def _scheduler() -> dict[str, Any]:
    # SpecCluster would listen on every network address, and whoever connects may run code.
    return {"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"}}


def _workers(shape: Shape) -> dict[str, Any]:
    specs = {}
    for number in range(shape.workers):
        gpu = {"CUDA_VISIBLE_DEVICES": shape.gpus[number], "CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if shape.gpus else {}
        options = {
            "nthreads": 1,
            "memory_limit": 0,
            "dashboard": False,
            "env": gpu,
            "host": "127.0.0.1",
            "silence_logs": logging.CRITICAL,
        }
        specs[f"painter-{number}"] = {"cls": Nanny, "options": options}
    return specs


def _connected(address: str) -> Client:
    try:
        return Client(address, timeout=CONNECT_SECONDS)
    except TypeError as error:  # dask's way to say that TLS is not set up
        raise ClusterError(f"scheduler {address} cannot be used ({error}); set dask up for TLS or use tcp") from error
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"no dask scheduler answers at {address} within {CONNECT_SECONDS} s; check the address, or leave "
            "--scheduler out to paint on this machine"
        ) from error
