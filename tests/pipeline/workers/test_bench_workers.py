"""Processes that measure side by side: what they are given, that they answer, and that none is left."""

import os
import signal
import threading
from multiprocessing import Pipe, get_context

import psutil
import pytest
import torch

from muralist.pipeline.errors import ClusterError, DeviceError
from muralist.pipeline.workers import bench_workers as module
from muralist.pipeline.workers.bench_workers import bench_workers
from muralist.pipeline.workers.local import WorkerLayout, environment

pytestmark = pytest.mark.integration


def members() -> list[psutil.Process]:
    """The processes of this one's benchmark."""
    return [process for process in psutil.Process().children() if "spawn_main" in " ".join(process.cmdline())]


def test_bench_workers_are_like_the_workers(monkeypatch):
    """Every process has a worker's environment and answers; a lost one is noticed while the other waits for it."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    others, shape, before = members(), WorkerLayout(2, 1), dict(os.environ)
    with bench_workers(shape, "cpu") as ask:
        started = [process for process in members() if process not in others]
        for process in started:
            assert environment(shape).items() <= process.environ().items()
        assert dict(os.environ) == before
        os.kill(started[0].pid, signal.SIGINT)
        first, second = ask("facts")
        assert first == second
        started[1].kill()
        with pytest.raises(ClusterError, match=r"--tile .*--workers"):
            ask("copy_rate")
        with pytest.raises(ClusterError, match=r"--tile .*--workers"):
            ask("facts")
    assert len(started) == 2
    assert not any(process.is_running() for process in started)


def test_what_is_raised_there_is_raised_here():
    """An expected error of a process is told as if it had happened here, and the process goes on."""
    near, far = Pipe()
    threads = torch.get_num_threads()
    arguments = (far, get_context("spawn").Barrier(1), "cuda:999", threads)
    serving = threading.Thread(target=module._serve, args=arguments)
    serving.start()
    for _ in range(2):
        with pytest.raises(DeviceError, match="cuda:999 "):
            module._call_all([near], "facts")
    near.close()
    serving.join(30)
    assert not serving.is_alive()


def test_every_gpu_has_a_process(monkeypatch):
    """A process sees the GPU that is its own, and no variable stays behind."""
    seen, names = [], ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUBLAS_WORKSPACE_CONFIG")

    class Recorded:
        def __init__(self, **_: object) -> None:
            pass

        def start(self) -> None:
            seen.append(tuple(os.environ[name] for name in names))

        def kill(self) -> None:
            pass

        def join(self) -> None:
            pass

    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module.SPAWN, "Process", Recorded)
    with bench_workers(WorkerLayout(2, 2, ("1", "GPU-5a")), "auto"):
        assert not os.environ.keys() & names
    assert seen == [("1", "PCI_BUS_ID", ":4096:8"), ("GPU-5a", "PCI_BUS_ID", ":4096:8")]
