"""What a process measures: that it is done as workers do it, which runs count, and what is said where it cannot be."""

from collections.abc import Callable

import pytest
import torch

from muralist.model.architecture import architecture
from muralist.pipeline import calibration as module
from muralist.pipeline.calibration import Calibration, random_network
from muralist.pipeline.errors import DeviceError, DeviceMemoryError
from muralist.pipeline.presets import load_settings


def alone() -> None:
    """Wait for nobody."""


@pytest.fixture
def here() -> Calibration:
    """Measures this machine's processor, on its own."""
    return Calibration("cpu", alone)


def ticking(*seconds: float) -> Callable[[], float]:
    """A clock by which runs take so long, one after the other."""
    times = [0.0, *(time for run in seconds for time in (run, 0.0))]
    return lambda: times.pop(0)


def test_the_first_run_does_not_count(here, monkeypatch):
    """The fastest of the others does; before every run all processes meet, and only the run is timed."""
    did: list[str] = []
    monkeypatch.setattr(module.time, "perf_counter", ticking(1, 5, 3, 4))
    together = Calibration("cpu", lambda: did.append("meet"))
    assert together._fastest(lambda: did.append("run"), 3) == 3
    assert did == ["meet", "run"] * 4


@pytest.mark.parametrize("changes", [{}, {"optimizer": "lbfgs", "lbfgs_history": 2}, {"network": "alexnet"}])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_takes_time(here, monkeypatch, changes, precision):
    """Whatever paints can be measured, on a side that is no multiple of the network's stride as well."""
    monkeypatch.setattr(module, "RUNS", 1)
    settings = load_settings(overrides=changes)
    assert 0 < here.pixel_step_seconds(settings, precision, 75) < 1


def test_no_weights_are_read(here, monkeypatch):
    """A network that is not installed is measured all the same."""
    monkeypatch.setattr(module, "RUNS", 1)
    monkeypatch.setattr("muralist.model.loading.read", lambda *_: pytest.fail("a weight file was read"))
    assert here.pixel_step_seconds(load_settings(overrides={"network": "vgg19"}), "float32", 32) > 0


def test_a_run_is_counted_as_steps_and_a_look(here, monkeypatch):
    """Seconds are shared out among the pixels of some steps and a look at the losses, which is half a step."""
    monkeypatch.setattr(module, "round_of_noise", lambda *_: lambda: None)
    monkeypatch.setattr(module.time, "perf_counter", ticking(9, 5, 5, 5))
    assert here.pixel_step_seconds(load_settings(), "float32", 10) == 5 / (8.5 * 100)
    monkeypatch.setattr(module.time, "perf_counter", ticking(9, 5, 5, 5))
    adam = load_settings(overrides={"optimizer": "adam"})
    assert here.pixel_step_seconds(adam, "float32", 10) == 5 / (2.5 * 100)


def test_what_takes_long_is_run_less_often(monkeypatch):
    """Beyond so many operations one run counts, and one does not."""
    met: list[None] = []
    here = Calibration("cpu", lambda: met.append(None))
    monkeypatch.setattr(module, "round_of_noise", lambda *_: lambda: None)
    for limit, runs in ((1e15, 3), (1e3, 1)):
        monkeypatch.setattr(module, "RUN_OPERATIONS", limit)
        met.clear()
        here.pixel_step_seconds(load_settings(), "float32", 64)
        assert len(met) == 1 + runs


def test_the_weights_keep_features_as_large_as_they_are():
    """Features neither vanish nor grow out of range on their way to the deepest layer; the weights never change."""
    settings = load_settings(overrides={"network": "vgg16"})
    network, again = random_network(settings), random_network(settings)
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    deepest = network(picture, ["relu5_1"])["relu5_1"]
    assert 0.1 < float(deepest.square().mean().sqrt()) < 10
    assert torch.equal(deepest, again(picture, ["relu5_1"])["relu5_1"])


def test_the_network_is_as_the_settings_want_it():
    """Pooling, padding and rescaling are part of what a step costs."""
    ways = {"pooling": "l2", "padding": "replicate", "pool_rescale": True}
    changed = random_network(load_settings(overrides=ways))
    assert (changed.pooling, changed.padding, changed.pool_scale) == ("l2", "replicate", 0.78)
    usual, row = random_network(load_settings()), architecture("compact")
    assert (usual.pooling, usual.padding, usual.pool_scale) == (row.pooling, row.padding, 1)


def test_products_and_copies_take_time(here, monkeypatch):
    """The fastest of several sides of a matrix counts; what a copy reads and what it writes do."""
    monkeypatch.setattr(module, "MATRICES", {"cpu": (16, 64)})
    monkeypatch.setattr(module, "BLOCK_BYTES", 1 << 16)
    assert here.matmul_rate("float32") > 0
    assert here.matmul_rate("bfloat16") > 0
    assert here.copy_rate() > 0
    monkeypatch.setattr(Calibration, "_fastest", lambda self, run, runs: 2.0 if run().numel() == 256 else 4.0)
    assert here.matmul_rate("float32") == max(16**3, 64**3 / 2)
    assert here.copy_rate() == 2 * (1 << 16) / 4


def test_the_facts_are_those_of_the_device(here):
    """A device says its kind, its name and which precision suits it; one that is not there is refused."""
    facts = here.facts()
    assert facts["device"] == "cpu"
    assert facts["name"]
    assert facts["precision"] in ("float32", "bfloat16")
    with pytest.raises(DeviceError, match="cuda:999 "):
        Calibration("cuda:999", alone).facts()


def test_a_tile_that_does_not_fit_is_told(here, monkeypatch):
    """Where memory runs out, the tile is named."""

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(module, "round_of_noise", full)
    with pytest.raises(DeviceMemoryError, match=r"memory .*\bcpu .*\b64 x 64 px"):
        here.pixel_step_seconds(load_settings(), "float32", 64)


def test_the_gpu_that_computes_is_waited_for(monkeypatch):
    """Not torch's current one."""
    waited = []
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    second = Calibration("cuda:1", alone)
    monkeypatch.setattr(Calibration, "_device", "cuda:1")
    assert second._seconds(lambda: None) >= 0
    assert waited == ["cuda:1"]


@pytest.mark.gpu
def test_a_gpu_is_measured():
    """A GPU paints, multiplies and copies, and is known by its own name."""
    gpu = Calibration("cuda", alone)
    assert gpu.facts()["name"] == torch.cuda.get_device_name()
    assert 0 < gpu.pixel_step_seconds(load_settings(), "float32", 256) < 1e-5
    assert gpu.matmul_rate("bfloat16") > 1e12
    assert gpu.copy_rate() > 1e10
