"""Workers on this machine: chooses how many there are, and starts them with the environment they need."""

import asyncio
import logging
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import cycle, islice
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import dask
from distributed import Nanny, Scheduler, Security, SpecCluster, Status, Worker
from distributed.comm import CommClosedError

from ..errors import ClusterError, SettingsError
from ..settings import Settings
from .machine import CUBLAS, SAME_PRODUCTS, gpu_memory, has_metal, visible_gpus

# More are slower, and far too many make a machine unresponsive.
MOST_PER_CORE = 4
MOST_ON_FEW_CORES = 16
STARTS = 3  # of all workers, if one dies in it
MAIN = 'if __name__ == "__main__":'  # what keeps a worker from running the script that it imports
# A GPU paints a tile sooner than a process reads, blends and files it, so it has several tiles under way: two in every
# process, one computed while the other is copied, and several processes, since in each one thread of Python runs.
TILES_PER_GPU = 8
GPU_THREADS = 2
GPU_BYTES_PER_PIXEL = 4 << 10  # of a tile, that a worker takes of a GPU's memory at most, with the largest network

# glibc gives large blocks back to the system at once and fetches them anew every step: twice the time with dask's own
# settings, a sixth more with the system's. Like the number of threads, this is read when a process starts.
ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(4 << 30), "MALLOC_TOP_PAD_": str(64 << 20)}
# OpenMP's threads spin while they wait for each other, which takes time from those waited for on a busy machine.
THREADING = {"OMP_WAIT_POLICY": "PASSIVE"}


@dataclass(frozen=True)
class WorkerLayout:
    """How many workers, how many threads each, and the GPU of each (none on CPU); several may have the same."""

    workers: int
    threads: int
    gpus: tuple[str, ...] = ()

    @property
    def tiles(self) -> int:
        """Tiles that a worker has under way at a time: on a GPU, one in every thread."""
        return self.threads if self.gpus else 1

    @property
    def cores(self) -> int:
        """Threads that torch computes with on the processor."""
        return 1 if self.gpus else self.threads


def local_shape(settings: Settings, tiles: int) -> WorkerLayout:
    """Choose workers and threads for this machine: some per GPU, or the cores shared out, never more than tiles.

    Tiles side by side use cores better than threads within a tile, but every worker takes memory: so one thread each
    for up to four workers, then up to four threads each. A GPU has a tile under way for each of its share of the cores,
    up to eight, two in every worker, if its memory is large enough; where that is not known, one worker.

    Raises `SettingsError` if more workers or threads are asked for than make sense on so many cores.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    _check_asked(settings, cores)
    gpus = visible_gpus() if settings.device in ("auto", "cuda") else []
    if gpus:
        threads = settings.threads or GPU_THREADS
        workers = settings.workers or min(tiles, len(gpus) * _workers_per_gpu(settings, gpus, cores, threads))
        return WorkerLayout(workers, threads, tuple(islice(cycle(gpus), workers)))
    if settings.device not in ("cpu", "auto") or (settings.device == "auto" and has_metal()):
        return WorkerLayout(1, settings.threads or cores)
    workers = settings.workers or min(tiles, max(1, cores // (settings.threads or min(4, max(1, cores // 4)))))
    return WorkerLayout(workers, settings.threads or max(1, cores // workers))


def _workers_per_gpu(settings: Settings, gpus: Sequence[str], cores: int, threads: int) -> int:
    fitting = (gpu_memory(gpus) or 0) // (GPU_BYTES_PER_PIXEL * settings.tile**2)
    return max(1, min(min(TILES_PER_GPU, cores // len(gpus)) // threads, fitting))


def _check_asked(settings: Settings, cores: int) -> None:
    most = max(MOST_ON_FEW_CORES, MOST_PER_CORE * cores)
    for name, asked in (("workers", settings.workers), ("threads", settings.threads)):
        if asked is not None and asked > most:
            raise SettingsError(
                f"{name}: got {asked}, wanted at most {most} on this machine, which has {cores} cores; leave --{name} "
                "out for a number that suits the machine"
            )


def lost_gpus(shape: WorkerLayout, device: str) -> str:
    """Say that workers laid out for GPUs compute on the processor, which is slow; "" if they do not."""
    if not shape.gpus or device != "cpu":
        return ""
    gpus = ", ".join(dict.fromkeys(shape.gpus))
    return (
        f"nvidia-smi or CUDA_VISIBLE_DEVICES names GPUs ({gpus}), but torch {version('torch')} can use none of them, "
        "so only a few cores paint; update NVIDIA's driver, or install a build of torch for these GPUs; --device cpu "
        "paints on all cores"
    )


def environment(shape: WorkerLayout) -> dict[str, str]:
    """Environment variables that a worker process needs when it starts."""
    return {name: str(shape.cores) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")} | ALLOCATOR | THREADING


def gpu_of(shape: WorkerLayout, number: int) -> dict[str, str]:
    """Environment variables that give a worker, counted from 0, its own GPU; needed before it loads torch."""
    if not shape.gpus:
        return {}
    # Torch looks once, at the first product, whether products can be the same every time.
    products = {CUBLAS: os.environ.get(CUBLAS, SAME_PRODUCTS)}
    return {"CUDA_VISIBLE_DEVICES": shape.gpus[number], "CUDA_DEVICE_ORDER": "PCI_BUS_ID"} | products


@contextmanager
def block_sigint() -> Iterator[None]:
    """Keep Ctrl-C from threads and processes that are started in this block; it is handled after the block."""
    resource_tracker.ensure_running()  # otherwise the first process starts it, and that lets the signal through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _NoHTTP:
    """Mixin that keeps dask's servers from starting their HTTP server, which lets everybody in."""

    def start_http_server(self, *_: object, **__: object) -> None:
        pass


class LocalScheduler(_NoHTTP, Scheduler):  # type: ignore[misc]
    """A scheduler without a dashboard."""


class LocalWorker(_NoHTTP, Worker):  # type: ignore[misc]
    """A worker without a dashboard."""


def check_main() -> None:
    """Refuse to work while this process is a worker that imports the caller's script again, to get ready.

    Raises `ClusterError`.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ClusterError(
            "muralist was called while a worker was importing this script; workers import it before they start: put "
            f"the call under `{MAIN}`"
        )


async def start_workers(stack: AsyncExitStack, shape: WorkerLayout, folder: Path, security: Security) -> str:
    """Start a scheduler and workers until the stack is closed; return the scheduler's address.

    All listen on 127.0.0.1 and run code for whoever connects, so they require the certificate in `security`.
    If a worker dies while it starts, all are started again.

    Raises `ClusterError` if workers do not start again and again.
    """
    stack.enter_context(dask.config.set({"distributed.nanny.pre-spawn-environ": environment(shape)}))
    common = {"host": "127.0.0.1", "protocol": "tls://", "security": security, "local_directory": str(folder)}
    for attempt in range(1, STARTS + 1):
        cluster = SpecCluster(_workers(shape, common), _scheduler(common), security=security, asynchronous=True)
        starting = asyncio.ensure_future(cluster)
        try:
            async with AsyncExitStack() as own:
                own.push_async_callback(_stop_workers, cluster, starting)
                await asyncio.shield(starting)
                stack.push_async_exit(own.pop_all())
            return str(cluster.scheduler_address)
        except Exception as error:  # dask raises what it finds, mostly a RuntimeError
            if attempt == STARTS:
                raise ClusterError(
                    f"the workers on this machine did not start, {STARTS} times ({type(error).__name__}: {error}), "
                    "possibly out of memory; use fewer --workers, or look for what kills them "
                    f"(in a Python script, a call that is not under `{MAIN}` does)"
                ) from error
    raise AssertionError("every attempt returns or raises")


async def _stop_workers(cluster: SpecCluster, starting: asyncio.Future[Any]) -> None:
    await asyncio.wait({starting})  # dask cannot stop a cluster that is half started
    try:
        await cluster.close()
    except CommClosedError:  # after a failed start dask has closed the scheduler, but still tries to message it
        cluster.status = Status.closed


def _scheduler(common: dict[str, Any]) -> dict[str, Any]:
    return {"cls": LocalScheduler, "options": common | {"dashboard": False}}


def _workers(shape: WorkerLayout, common: dict[str, Any]) -> dict[str, Any]:
    options = common | {"worker_class": LocalWorker, "nthreads": shape.tiles, "memory_limit": 0}
    options["silence_logs"] = logging.CRITICAL
    return {
        f"painter-{number}": {"cls": Nanny, "options": options | {"env": gpu_of(shape, number)}}
        for number in range(shape.workers)
    }
