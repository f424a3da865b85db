"""Schedulers and workers as a user starts them: by the `dask` command."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import psutil

from muralist.pipeline.workers.cluster import QUIET
from muralist.pipeline.workers.local import ALLOCATOR

LOCAL = ("--host", "127.0.0.1", "--no-dashboard")
# While it waits, a scheduler with one worker takes a tenth of a core to watch itself; with this, a hundredth.
WATCHING = ("distributed.admin.", "distributed.worker.profile.")
IDLE = {
    f"DASK_{name}".upper().replace(".", "__").replace("-", "_"): str(value)
    for name, value in QUIET.items()
    if name.startswith(WATCHING)
}
ENVIRONMENT = (
    ALLOCATOR | IDLE | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
)


@contextmanager
def dask_scheduler(*options: str, port: int = 0) -> Iterator[str]:
    """A scheduler on this machine; its address."""
    with _running(["scheduler", *LOCAL, "--port", str(port), *options], "Scheduler at:") as (address, _):
        yield address


@contextmanager
def dask_worker(address: str, folder: Path, *options: str, **environment: str) -> Iterator[psutil.Process]:
    """A worker of a scheduler; its process, which is not the worker itself but its nanny, if it has one."""
    usual = ["--nthreads", "1", "--memory-limit", "0", "--local-directory", str(folder)]
    with _running(["worker", address, *LOCAL, *usual, *options], "Registered to:", **environment) as (_, process):
        yield process


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def _running(arguments: list[str], label: str, **environment: str) -> Iterator[tuple[str, psutil.Process]]:
    """What the log says behind a label, once it says so; the process ends with the block, if it has not before."""
    command = [sys.executable, "-m", "dask", *arguments]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | ENVIRONMENT | environment
    ) as process:
        assert process.stderr is not None
        try:
            found = next((line.split(label)[1].strip() for line in process.stderr if label in line), None)
            assert found, f"{arguments} ended without saying {label!r}"
            rest = Thread(target=process.stderr.read)  # a log that nobody reads would stop the process
            rest.start()
            yield found, psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(60)
            rest.join()
