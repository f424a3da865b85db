"""Tasks that are no work, for tests of workers: what dask calls in a worker instead of the pipeline's tasks."""

import errno
import os
import signal
import time
from pathlib import Path
from typing import Any

from muralist.pipeline.errors import DeviceMemoryError
from muralist.pipeline.storage.store import Store
from muralist.pipeline.workers.machine import peak_rss
from muralist.pipeline.workers.requirements import WorkerRequirements


def run_fake_task(name: str, *arguments: Any) -> tuple[Any, int]:
    """Stand in for `inside.run_and_measure`."""
    return globals()[name](*arguments), peak_rss()


def echo(value: Any) -> Any:
    """The value itself."""
    return value


def pid(seconds: float = 0.0) -> int:
    """The worker's process, after some time."""
    time.sleep(seconds)
    return os.getpid()


def fail(message: str) -> None:
    """An error."""
    raise ValueError(message)


def exhaust() -> None:
    """A lack of memory, as a task says it."""
    try:
        raise MemoryError
    except MemoryError as error:
        raise DeviceMemoryError("out of memory on cpu") from error


def fill_up() -> None:
    """A disk that takes no more."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def die() -> None:
    """The worker's end."""
    os.kill(os.getpid(), signal.SIGKILL)


def mark(folder: str, number: int, seconds: float) -> int:
    """The number, after some time; a file says who began it."""
    Path(folder, f"{number}-{os.getpid()}-{time.monotonic_ns()}").touch()
    time.sleep(seconds)
    return number


def wait_for(path: str) -> None:
    """Wait until there is a file of this name, but no longer than a minute."""
    Path(f"{path}-begun").touch()
    for _ in range(1200):
        if Path(path).exists():
            return
        time.sleep(0.05)


def treasure(folder: str) -> "Treasure":
    """Something that takes the first worker that has it down when it is fetched."""
    Path(folder, f"dug-{os.getpid()}").touch()
    return Treasure(folder)


class Treasure:
    """Pickles as a word, but only in the second worker that has it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        if len(list(Path(self.folder).glob("dug-*"))) == 1:
            die()
        return str, ("found",)


def handshake(
    terms: WorkerRequirements, _: object, store: Store, device: str, threads: int | None, __: int
) -> dict[str, Any]:
    """Stand in for `handshake.handshake`, without loading torch."""
    token = store.read(terms.name).decode()
    machine = {"device": device, "device_name": "a chair", "precision": "float32", "threads": threads}
    return {"token": token, "weights": terms.weights.sha256} | machine


def handshake_late(terms: WorkerRequirements, settings: object, store: Store, *more: Any) -> dict[str, Any]:
    """Introduce a worker that needs two seconds the first time it is asked."""
    if not _trials(store):
        time.sleep(2)
    return handshake(terms, settings, store, *more)


def handshake_second(terms: WorkerRequirements, settings: object, store: Store, *more: Any) -> dict[str, Any]:
    """Introduce a worker unless it is the first that is asked, which dies of it."""
    if not _trials(store):
        die()
    return handshake(terms, settings, store, *more)


def handshake_nobody(_: WorkerRequirements, __: object, store: Store, *more: Any) -> None:
    """Have every worker that is asked die of it."""
    _trials(store)
    die()


def _trials(store: Store) -> int:
    """How many workers were asked before."""
    folder = Path(store.root)
    before = len(list(folder.glob("asked-*")))
    (folder / f"asked-{os.getpid()}-{time.monotonic_ns()}").touch()
    return before
