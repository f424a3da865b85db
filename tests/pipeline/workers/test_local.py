"""How many workers a machine gets, and with what."""

import os
from typing import Any

import pytest

from muralist.pipeline.errors import DeviceError, SettingsError
from muralist.pipeline.settings import Settings
from muralist.pipeline.workers import local as module
from muralist.pipeline.workers.local import WorkerLayout, local_shape
from muralist.pipeline.workers.machine import gpu_memory, visible_gpus


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that sets the cores and GPUs of this machine."""

    def equip(cores: int, gpus: list[str] | None = None, memory: int | None = None, metal: bool = False) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
        monkeypatch.setattr(module, "visible_gpus", lambda: gpus or [])
        monkeypatch.setattr(module, "gpu_memory", lambda gpus: memory)
        monkeypatch.setattr(module, "has_metal", lambda: metal)

    return equip


@pytest.mark.parametrize(
    ("cores", "tiles", "settings", "shape"),
    [
        (1, 9, {}, WorkerLayout(1, 1)),
        (2, 9, {}, WorkerLayout(2, 1)),
        (4, 9, {}, WorkerLayout(4, 1)),
        (8, 9, {}, WorkerLayout(4, 2)),
        (16, 9, {}, WorkerLayout(4, 4)),
        (30, 9, {}, WorkerLayout(7, 4)),
        (8, 1, {}, WorkerLayout(1, 8)),
        (8, 2, {}, WorkerLayout(2, 4)),
        (8, 9, {"workers": 1}, WorkerLayout(1, 8)),
        (8, 9, {"workers": 3}, WorkerLayout(3, 2)),
        (2, 9, {"workers": 5}, WorkerLayout(5, 1)),
        (8, 9, {"threads": 1}, WorkerLayout(8, 1)),
        (8, 9, {"threads": 3}, WorkerLayout(2, 3)),
        (2, 9, {"threads": 16}, WorkerLayout(1, 16)),
        (8, 1, {"workers": 2, "threads": 3}, WorkerLayout(2, 3)),
        (8, 9, {"device": "cpu"}, WorkerLayout(4, 2)),
        (8, 9, {"device": "mps"}, WorkerLayout(1, 8)),
        (8, 9, {"device": "cuda:1", "threads": 2}, WorkerLayout(1, 2)),
    ],
)
def test_cores_are_shared_out(machine, cores, tiles, settings, shape):
    """Without a GPU the cores go to the tiles, then to threads; what is asked for is what one gets."""
    machine(cores)
    assert local_shape(Settings(**settings), tiles) == shape


@pytest.mark.parametrize("name", ["workers", "threads"])
@pytest.mark.parametrize(("cores", "most"), [(1, 16), (2, 16), (32, 128)])
def test_a_machine_is_not_flooded(machine, name, cores, most):
    """Many more workers or threads than cores are refused before one is started; of any machine, 100,000."""
    machine(cores)
    assert getattr(local_shape(Settings(**{name: most}), 9), name) == most
    wanted = rf"{name}: got {most + 1}, .*\b{most} .*\b{cores} cores; .*--{name} "
    with pytest.raises(SettingsError, match=wanted):
        local_shape(Settings(**{name: most + 1}), 9)
    with pytest.raises(ValueError, match=r"\b1024\b"):
        Settings(**{name: 100_000})


@pytest.mark.parametrize(
    ("tiles", "settings", "shape"),
    [
        (9, {}, WorkerLayout(3, 2, ("0", "1", "4"))),
        (9, {"device": "cuda"}, WorkerLayout(3, 2, ("0", "1", "4"))),
        (9, {"workers": 2}, WorkerLayout(2, 2, ("0", "1"))),
        (1, {}, WorkerLayout(1, 2, ("0",))),
        (9, {"threads": 1}, WorkerLayout(3, 1, ("0", "1", "4"))),
        (9, {"workers": 5, "threads": 5}, WorkerLayout(5, 5, ("0", "1", "4", "0", "1"))),
        (9, {"device": "cpu"}, WorkerLayout(4, 2)),
        (9, {"device": "cuda:1"}, WorkerLayout(1, 8)),
    ],
)
def test_every_gpu_gets_a_worker(machine, tiles, settings, shape):
    """A GPU whose memory is not known gets one worker, no more than tiles; none where another device is asked for."""
    machine(8, ["0", "1", "4"])
    assert local_shape(Settings(**settings), tiles) == shape


@pytest.mark.parametrize(
    ("cores", "gib", "settings", "workers", "threads"),
    [
        (16, 80, {}, 4, 2),
        (8, 80, {}, 2, 2),
        (4, 80, {}, 1, 2),
        (2, 80, {}, 1, 2),
        (64, 500, {}, 4, 2),
        (64, 15, {}, 3, 2),
        (64, 3, {}, 1, 2),
        (64, 80, {"tile": 2048}, 4, 2),
        (64, 80, {"tile": 4096}, 1, 2),
        (64, 80, {"workers": 2}, 1, 2),
        (64, 80, {"threads": 1}, 8, 1),
        (64, 80, {"threads": 8}, 1, 8),
        (64, 80, {"threads": 9}, 1, 9),
    ],
)
def test_several_workers_share_a_gpu(machine, cores, gib, settings, workers, threads):
    """Eight tiles under way at most, as the GPU has cores and memory for, the GPUs in turn; what is asked for counts.

    A GPU's worker computes on one core beside it, however many tiles it has under way.
    """
    machine(cores, ["0", "1"], gib << 30)
    shape = local_shape(Settings(**settings), 99)
    assert shape == WorkerLayout(2 * workers, threads, ("0", "1") * workers)
    assert (shape.tiles, shape.cores) == (threads, 1)


def test_a_mac_has_one_gpu(machine):
    """Where torch computes on Apple's GPU, one worker has it, unless the CPU is asked for."""
    machine(8, metal=True)
    assert local_shape(Settings(), 9) == WorkerLayout(1, 8)
    assert local_shape(Settings(device="cpu"), 9) == WorkerLayout(4, 2)
    assert (WorkerLayout(1, 8).tiles, WorkerLayout(1, 8).cores) == (1, 8)


@pytest.mark.parametrize(
    ("value", "gpus"),
    [("0,1", ["0", "1"]), ("3", ["3"]), (" 1 , GPU-5a ", ["1", "GPU-5a"]), ("", []), ("-1", []), ("MIG-a,", ["MIG-a"])],
)
def test_the_visible_gpus_are_those_of_the_environment(monkeypatch, value, gpus):
    """CUDA_VISIBLE_DEVICES is taken at its word: indices or names, none if it is empty or -1."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert visible_gpus() == gpus


def test_torch_without_cuda_has_no_gpus(monkeypatch):
    """Or the processor would be painted on as if it were a GPU, by few cores."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    for release, gpus in (("2.15.0+cpu", []), ("2.15.0+cu132", ["0", "1"]), ("2.15.0", ["0", "1"])):
        monkeypatch.setattr("muralist.pipeline.workers.machine.version", {"torch": release}.__getitem__)
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


def test_a_driver_that_hangs_is_told(monkeypatch, tmp_path):
    """Painting on the processor instead would look as if the GPUs were slow."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("muralist.pipeline.workers.machine.SMI_SECONDS", 0.1)
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nexec sleep 10\n")
    tool.chmod(0o755)
    with pytest.raises(DeviceError, match=r"nvidia-smi .*--device cpu"):
        visible_gpus()


@pytest.mark.parametrize(
    ("script", "free"),
    [("echo 4000; echo 3000", 3000 << 20), ("echo '[N/A]'", None), ("exit 6", None), ("exit 0", None)],
)
def test_the_driver_tells_the_memory(monkeypatch, tmp_path, script, free):
    """The GPU with the least counts; where a part of one, or another driver, has nothing to say, it is not known."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n[ $1 = --id=2,GPU-5a ] || exit 9\n{script}\n")
    tool.chmod(0o755)
    assert gpu_memory(["2", "GPU-5a"]) == free
    assert gpu_memory([]) is None
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert gpu_memory(["0"]) is None
