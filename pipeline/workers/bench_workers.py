"""Benchmark processes, as many as there would be workers: all measure at the same time, as workers would paint.

They end with the block that started them, and leave Ctrl-C to the parent process.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Barrier
from typing import Any

from muralist.errors import MuralistError

from ..errors import ClusterError
from .local import WorkerLayout, block_sigint, environment, gpu_of

CallAll = Callable[..., list[Any]]
SPAWN = get_context("spawn")


@contextmanager
def bench_workers(shape: WorkerLayout, device: str) -> Iterator[CallAll]:
    """Start as many processes as there would be workers, each with what a worker has.

    Parameters
    ----------
    device : str
        As in the settings.

    Yields
    ------
    callable
        Given the name of a method of `muralist.pipeline.calibration.Calibration` and its arguments, calls it in all
        processes and returns what each said. Raises what one of them raised, if it is an expected error, and
        `ClusterError` if one is gone.
    """
    barrier = SPAWN.Barrier(shape.workers)
    with ExitStack() as stack:
        workers = [stack.enter_context(_worker(shape, n, barrier, device)) for n in range(shape.workers)]
        yield partial(_call_all, workers)


@contextmanager
def _worker(shape: WorkerLayout, number: int, barrier: Barrier, device: str) -> Iterator[Connection]:
    near, far = Pipe()
    process = SPAWN.Process(target=_serve, args=(far, barrier, device, shape.cores), daemon=True)
    with block_sigint(), _environment(environment(shape) | gpu_of(shape, number)):
        process.start()
    try:
        far.close()  # otherwise a dead process would go unnoticed
        yield near
    finally:
        process.kill()
        process.join()
        near.close()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables for what is started here."""
    before = {name: os.environ[name] for name in values if name in os.environ}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]
        os.environ.update(before)


def _serve(caller: Connection, barrier: Barrier, device: str, threads: int) -> None:
    """Do what is asked for until the caller is gone. Runs in the processes."""
    from ..calibration import Calibration  # loads torch, so not for the driver
    from .devices import use_threads

    use_threads(threads)
    calibration = Calibration(device, barrier.wait)
    with suppress(EOFError, ConnectionError):
        while True:
            name, arguments = caller.recv()
            caller.send(_result(getattr(calibration, name), *arguments))


def _result(measure: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return measure(*arguments)
    except MuralistError as error:
        return error


def _call_all(workers: list[Connection], name: str, *arguments: Any) -> list[Any]:
    with _loss_told():
        for worker in workers:
            worker.send((name, arguments))
    waiting, results = list(workers), []
    while waiting:
        ready = wait(waiting)
        results += [_received(worker) for worker in waiting if worker in ready]
        waiting = [worker for worker in waiting if worker not in ready]
    return results


def _received(worker: Connection) -> Any:
    with _loss_told():
        result = worker.recv()
    if isinstance(result, Exception):
        raise result
    return result


@contextmanager
def _loss_told() -> Iterator[None]:
    """Say what is behind it if nobody is at the other end."""
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise ClusterError(
            "a benchmark process has died, possibly out of memory; use a smaller --tile or fewer --workers"
        ) from error
