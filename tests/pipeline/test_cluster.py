"""Workers: how many, that all paint the same, and what happens when one dies, is missing or does not suit."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import psutil
import pytest
from pictures import TINY

from muralist.model.errors import DivergedError
from muralist.pipeline import cluster as module
from muralist.pipeline import render as render_module
from muralist.pipeline.cluster import Shape, local_shape, open_cluster, visible_gpus
from muralist.pipeline.errors import ClusterError, DeviceError
from muralist.pipeline.levels import Level
from muralist.pipeline.progress import Progress
from muralist.pipeline.render import render
from muralist.pipeline.settings import Settings

# ------------------------------------------------------------------------------------------------- workers and threads


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that sets the cores and GPUs of this machine."""

    def equip(cores: int, gpus: list[str] | None = None) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
        monkeypatch.setattr(module, "visible_gpus", lambda: gpus or [])

    return equip


@pytest.mark.parametrize(
    ("cores", "tiles", "settings", "shape"),
    [
        (1, 9, {}, Shape(1, 1)),
        (2, 9, {}, Shape(2, 1)),
        (4, 9, {}, Shape(4, 1)),
        (8, 9, {}, Shape(4, 2)),
        (16, 9, {}, Shape(4, 4)),
        (30, 9, {}, Shape(7, 4)),
        (8, 1, {}, Shape(1, 8)),
        (8, 2, {}, Shape(2, 4)),
        (8, 9, {"workers": 1}, Shape(1, 8)),
        (8, 9, {"workers": 3}, Shape(3, 2)),
        (2, 9, {"workers": 5}, Shape(5, 1)),
        (8, 9, {"threads": 1}, Shape(8, 1)),
        (8, 9, {"threads": 3}, Shape(2, 3)),
        (2, 9, {"threads": 16}, Shape(1, 16)),
        (8, 1, {"workers": 2, "threads": 3}, Shape(2, 3)),
        (8, 9, {"device": "cpu"}, Shape(4, 2)),
        (8, 9, {"device": "mps"}, Shape(1, 8)),
        (8, 9, {"device": "cuda:1", "threads": 2}, Shape(1, 2)),
    ],
)
def test_cores_are_shared_out(machine, cores, tiles, settings, shape):
    """Without a GPU the cores go to the tiles, then to threads; what is asked for is what one gets."""
    machine(cores)
    assert local_shape(Settings(**settings), tiles) == shape


@pytest.mark.parametrize(
    ("tiles", "settings", "shape"),
    [
        (9, {}, Shape(3, 2, ("0", "1", "4"))),
        (9, {"device": "cuda"}, Shape(3, 2, ("0", "1", "4"))),
        (9, {"workers": 2}, Shape(2, 2, ("0", "1"))),
        (1, {}, Shape(1, 2, ("0",))),
        (9, {"workers": 9, "threads": 5}, Shape(3, 5, ("0", "1", "4"))),
        (9, {"device": "cpu"}, Shape(4, 2)),
        (9, {"device": "cuda:1"}, Shape(1, 8)),
    ],
)
def test_every_gpu_gets_a_worker(machine, tiles, settings, shape):
    """There is one worker per GPU, no more than tiles, and none where another device is asked for."""
    machine(8, ["0", "1", "4"])
    assert local_shape(Settings(**settings), tiles) == shape


@pytest.mark.parametrize(
    ("value", "gpus"),
    [("0,1", ["0", "1"]), ("3", ["3"]), (" 1 , GPU-5a ", ["1", "GPU-5a"]), ("", []), ("-1", []), ("MIG-a,", ["MIG-a"])],
)
def test_the_visible_gpus_are_those_of_the_environment(monkeypatch, value, gpus):
    """CUDA_VISIBLE_DEVICES is taken at its word: indices or names, none if it is empty or -1."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert visible_gpus() == gpus


@pytest.mark.parametrize(("script", "gpus"), [("echo 0; echo 1", ["0", "1"]), ("echo no driver; exit 9", [])])
def test_the_driver_tells_the_gpus(monkeypatch, tmp_path, script, gpus):
    """Otherwise nvidia-smi is asked; where it fails, or is not installed, there are no GPUs."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    assert visible_gpus() == gpus
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert visible_gpus() == []


# ------------------------------------------------------------------------------------------------- workers that suit


def facts(**changes: Any) -> dict[str, Any]:
    """What a worker says of itself that suits."""
    usual = {"host": "node7", "muralist": module.version("muralist"), "device": "cpu", "sees_folder": True}
    return usual | changes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sees_folder": False}, r"worker tcp://b on node7 does not see /scratch/run; .* --scratch"),
        ({"muralist": "0.0.1"}, r"worker tcp://b on node7 has muralist 0\.0\.1, this is .*; install the same"),
        ({"device": "cuda"}, r"different devices \(cpu, cuda\); use --device"),
    ],
)
def test_a_worker_that_does_not_suit_is_refused(changes, words):
    """A worker elsewhere that sees no run folder, or would paint another picture, is named with the way out."""
    with pytest.raises(ClusterError, match=words):
        module._check_alike({"tcp://a": facts(), "tcp://b": facts(**changes)}, "/scratch/run")


def test_workers_that_suit_pass():
    """Any number of workers that are alike is fine."""
    module._check_alike({name: facts() for name in ("tcp://a", "tcp://b", "tcp://c")}, "/scratch/run")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask tries again until the time is up; let that be soon."""
    monkeypatch.setattr(module, "CONNECT_SECONDS", 1)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "tcp://no-such-host.invalid:8786"])
def test_a_scheduler_that_does_not_answer_is_one_clean_error(impatient, tmp_path, capfd, address):
    """The address and both ways out are named, and dask's own complaints are not shown."""
    with (
        pytest.raises(ClusterError, match=rf"no dask scheduler answers at {address} .* leave --scheduler out"),
        open_cluster(Settings(scheduler=address), str(tmp_path), tiles=1),
    ):
        pass
    assert capfd.readouterr() == ("", "")


def test_an_encrypted_scheduler_needs_dask_to_be_set_up_for_it(tmp_path, capfd):
    """Without certificates in dask's configuration the message says what is missing."""
    with (
        pytest.raises(ClusterError, match=r"scheduler tls://127.0.0.1:9 cannot be used \(TLS expects .*\)"),
        open_cluster(Settings(scheduler="tls://127.0.0.1:9"), str(tmp_path), tiles=1),
    ):
        pass
    assert capfd.readouterr() == ("", "")


# ---------------------------------------------------------------------------------------------- the same bytes anyhow


def paint(painted: Any, folder: Path, **changes: Any) -> dict[str, Any]:
    """Paint the pictures of `painted` again into an empty folder; its bytes, and the levels without their seconds."""
    output = folder / "poster.png"
    sidecar = render(painted.content, painted.style, output, **TINY | changes)
    return {"bytes": output.read_bytes(), "levels": [row | {"seconds": 0} for row in sidecar["levels"]]} | {
        "workers": sidecar["workers"]["count"]
    }


def as_painted(painted: Any, workers: int) -> dict[str, Any]:
    """What `paint` should give."""
    rows = [row | {"seconds": 0} for row in painted.sidecar["levels"]]
    return {"bytes": painted.output.read_bytes(), "levels": rows, "workers": workers}


def children() -> list[psutil.Process]:
    """Processes that this one started and that still run."""
    return [each for each in psutil.Process().children(recursive=True) if each.status() != psutil.STATUS_ZOMBIE]


def test_two_workers_paint_the_same_as_one(painted, tmp_path, monkeypatch, capfd):
    """Picture and losses are the same, bit by bit; workers say nothing, and none is left afterwards."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # statistics are computed anew
    before = children()
    (tmp_path / "out").mkdir()
    assert paint(painted, tmp_path / "out", workers=2) == as_painted(painted, 2)
    assert [
        each for each in children() if each not in before and "resource_tracker" not in " ".join(each.cmdline())
    ] == []
    assert sorted(os.listdir(tmp_path / "out")) == ["poster.png", "poster.png.json"]
    assert capfd.readouterr() == ("", "")


def test_workers_of_a_running_scheduler_paint_the_same(painted, tmp_path, scheduler):
    """An existing cluster gives the same bytes, round after round, and stays up."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        assert paint(painted, tmp_path / name, scheduler=scheduler) == as_painted(painted, 1)


class Killer(Progress):
    """Kills the worker as soon as it has painted its first tile of the second level."""

    killed: ClassVar[list[int]] = []
    others: ClassVar[list[psutil.Process]] = []

    def __init__(self, levels: Sequence[Level], _: str, *, loss_lines: bool) -> None:
        super().__init__(levels, loss_lines=loss_lines)
        self.level = 0

    def __enter__(self) -> "Killer":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start_level(self, level: Level) -> None:
        self.level = level.index

    def advance(self, work: int) -> None:
        if self.level == 1 and not self.killed:
            with_torch = [each for each in children() if each.memory_info().rss > 150 << 20]
            self.killed.extend(each.pid for each in with_torch if each not in self.others)
            for pid in self.killed:
                os.kill(pid, signal.SIGKILL)


def test_a_killed_worker_changes_nothing(painted, tmp_path, monkeypatch, capfd):
    """A worker that is killed in the middle is started again, its tasks are run again, and the bytes are the same."""
    monkeypatch.setattr(Killer, "others", children())
    monkeypatch.setattr(Killer, "killed", [])
    monkeypatch.setattr(render_module, "Bars", Killer)
    assert paint(painted, tmp_path, quiet=False) == as_painted(painted, 1)
    assert len(Killer.killed) == 1
    assert sorted(os.listdir(tmp_path)) == ["poster.png", "poster.png.json"]
    assert capfd.readouterr() == ("", "")


# --------------------------------------------------------------------------------------------------- errors of tasks


def test_errors_of_tasks_keep_their_type(scheduler, tmp_path, painted):
    """What a task raises arrives as it was raised, with its facts; the workers stay of use."""
    with open_cluster(Settings(**TINY | {"scheduler": scheduler}), str(tmp_path), tiles=1) as cluster:
        with pytest.raises(DeviceError, match=r"cuda:77 is not there .*; use --device auto"):
            cluster.call("resolve_device", "cuda:77")
        assert sorted(cluster.map("resolve_device", [("cpu",)] * 7)) == ["cpu"] * 7
        assert list(cluster.map("resolve_device", [])) == []
    with pytest.raises(DivergedError, match=r"not finite.*learning rate of 0.02") as caught:
        paint(painted, tmp_path, scheduler=scheduler, style_weight=1e38)
    assert caught.value.step == 0
    assert np.isfinite(caught.value.learning_rate)
    assert os.listdir(tmp_path) == []


def test_a_device_that_no_worker_has_is_refused(scheduler, tmp_path):
    """Asking for a GPU that is not there fails before anything is painted."""
    with (
        pytest.raises(DeviceError, match="cuda:77 is not there"),
        open_cluster(Settings(**TINY | {"scheduler": scheduler, "device": "cuda:77"}), str(tmp_path), tiles=1),
    ):
        pass


def test_a_task_that_keeps_killing_workers_is_given_up(monkeypatch):
    """When dask gives a task up, the error says what probably happened and what to do."""

    def given_up(*_: object, **__: object) -> Iterator[None]:
        raise module.KilledWorker("paint_tile", SimpleNamespace(address="tcp://a"), 10)
        yield

    cluster = object.__new__(module.Cluster)
    cluster.workers = 1
    monkeypatch.setattr(module, "as_completed", given_up)
    monkeypatch.setattr(module.Cluster, "_submit", lambda *_: None)
    with pytest.raises(ClusterError, match=r"paint_tile took down 10 workers.*smaller --tile"):
        cluster.call("paint_tile")


def test_workers_ignore_the_signal_that_is_meant_for_the_driver(monkeypatch):
    """Ctrl-C reaches every process of the terminal; a worker leaves it to the driver, and has its threads."""
    calls: dict[str, Any] = {}
    import torch

    monkeypatch.setattr(torch, "set_num_threads", lambda n: calls.update(threads=n))
    monkeypatch.setattr(signal, "signal", lambda number, action: calls.update({number: action}))
    module.Prepare(3, ours=True).setup(None)
    assert calls == {"threads": 3, signal.SIGINT: signal.SIG_IGN}
    calls.clear()
    module.Prepare(None, ours=False).setup(None)
    assert calls == {}
    module.Prepare(2, ours=False).setup(None)
    assert calls == {"threads": 2}


def test_ctrl_c_waits_until_the_workers_have_started(monkeypatch, tmp_path):
    """Pressed while dask starts workers, it stops the whole cluster afterwards; what was started never sees it."""
    said = []

    class Starting:
        def __init__(self, *_: object, **__: object) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            thread = threading.Thread(target=lambda: said.append(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
            thread.start()
            thread.join()

        def __enter__(self) -> None:
            said.append("started")

        def __exit__(self, *_: object) -> None:
            said.append("stopped")

    monkeypatch.setattr(module, "SpecCluster", Starting)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), open_cluster(Settings(**TINY), str(tmp_path), tiles=1):
        pass
    assert said == [{signal.SIGINT}, "started", "stopped"]
    assert signal.getsignal(signal.SIGINT) == before
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_workers_can_be_started_from_any_thread():
    """A program that renders in a thread of its own has no Ctrl-C there, and needs none."""
    said = []

    def hold() -> None:
        with module._interrupts_held():
            said.append("held")

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert said == ["held"]
