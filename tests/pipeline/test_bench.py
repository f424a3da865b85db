"""How fast this machine is: when it is measured, what follows from it, what is kept, and what is refused."""

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from machines import FACTS, Machine

from muralist.model.architecture import architecture
from muralist.model.errors import UnknownNetworkError
from muralist.pipeline import bench as module
from muralist.pipeline.bench import bench, speed_here, table
from muralist.pipeline.errors import DeviceError, SettingsError
from muralist.pipeline.presets import load_settings
from muralist.pipeline.speeds import Speed, conditions, today, usual_speeds
from muralist.pipeline.workers.local import WorkerLayout

SHAPE = WorkerLayout(2, 1)
DEFAULT = load_settings()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Machine:
    """A machine of a known speed that has never been measured."""
    machine = Machine()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "bench_workers", machine.crew)
    monkeypatch.setattr(module, "cpu_name", lambda: FACTS["name"])
    monkeypatch.setattr(module, "local_shape", lambda settings, tiles: SHAPE)
    monkeypatch.setattr(module, "_computed", lambda: (0.0, 0.0, 0.0))
    return machine


def test_a_machine_is_measured_once(machine):
    """What was measured serves the next time, with its date; the mean of the workers counts."""
    found = speed_here(DEFAULT, SHAPE, 2000)
    speed = {"device": "cpu", "precision": "bfloat16", "pixel_step_seconds": 2e-6, "busy": None}
    assert found == speed | {"measured_on": None}
    assert machine.measured == [("compact", "bfloat16", 512)]
    (kept,) = usual_speeds()._read()
    assert speed_here(DEFAULT, SHAPE, 600) == speed | {"measured_on": kept.date}
    assert len(machine.measured) == 1
    assert speed_here(DEFAULT, SHAPE, 100)["measured_on"] is None
    assert speed_here(DEFAULT.model_copy(update={"precision": "float32"}), SHAPE, 512)["precision"] == "float32"
    assert machine.measured[1:] == [("compact", "bfloat16", 100), ("compact", "float32", 512)]


def test_a_busy_machine_is_not_believed_for_ever(machine, monkeypatch):
    """What is measured beside other programs serves once and says so; when they are gone, it is measured again."""
    computed = iter([(50.0, 20.0, 7.0), (70.0, 38.0, 9.0)])  # of 20 s, 18 were used, 2 of them by us
    monkeypatch.setattr(module, "_computed", lambda: next(computed))
    assert speed_here(DEFAULT, SHAPE, 512)["busy"] == 0.8
    assert usual_speeds()._read() == []
    computed = iter([(50.0, 20.0, 7.0), (70.0, 38.0, 23.0)])
    assert speed_here(DEFAULT, SHAPE, 512)["busy"] is None
    assert speed_here(DEFAULT, SHAPE, 512)["measured_on"] is not None
    assert len(machine.measured) == 2


def test_what_was_started_here_is_no_other_program():
    """What a benchmark's processes compute is its own."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child:
        before, deadline = module._computed(), time.monotonic() + 60
        while module._computed()[2] < before[2] + 0.2 and time.monotonic() < deadline:
            time.sleep(0.1)
        had, used, own = (now - then for now, then in zip(module._computed(), before, strict=True))
        child.kill()
    assert 0.1 < own <= used + 0.1 <= had + 0.2


def test_a_real_painting_corrects_what_was_measured(machine):
    """How fast a painting was painted is what the next plan goes by."""
    assert speed_here(DEFAULT, SHAPE, 512)["pixel_step_seconds"] == 2e-6
    facts = conditions(DEFAULT, SHAPE, "cpu", FACTS["name"])
    usual_speeds().keep(Speed(facts, "bfloat16", usual=True, side=512, microseconds=0.5, date=f"{today():%Y-%m-%d}"))
    found = speed_here(DEFAULT, SHAPE, 512)
    assert found["pixel_step_seconds"] == pytest.approx(5e-7)
    assert found["measured_on"] is not None
    assert len(machine.measured) == 1


def test_other_workers_are_another_machine(machine):
    """A speed is that of as many workers and threads as measured it."""
    speed_here(DEFAULT, SHAPE, 512)
    assert speed_here(DEFAULT, WorkerLayout(1, 2), 512)["measured_on"] is None


def test_a_cache_that_cannot_be_written_is_no_error(machine, tmp_path):
    """Without a place to keep it, the machine is measured every time."""
    (tmp_path / "cache").write_text("in the way")
    for _ in range(2):
        assert speed_here(DEFAULT, SHAPE, 512)["measured_on"] is None
    assert len(machine.measured) == 2


def test_a_gpu_is_known_by_its_name(machine, monkeypatch):
    """What was measured on one kind of GPU does not serve another."""
    names = {"device": "cuda", "name": "Loom 3"}
    monkeypatch.setattr("muralist.pipeline.workers.devices.resolve_device", lambda device: "cuda")
    monkeypatch.setattr("muralist.pipeline.workers.devices.device_name", lambda device: names["name"])
    monkeypatch.setattr(module, "bench_workers", Machine(**names).crew)
    shape = WorkerLayout(1, 2, ("0",))
    assert speed_here(DEFAULT, shape, 512)["measured_on"] is None
    assert speed_here(DEFAULT, shape, 512)["measured_on"] is not None
    names["name"] = "Loom 4"
    assert speed_here(DEFAULT, shape, 512)["measured_on"] is None


def test_a_device_that_is_not_there_is_refused(machine):
    """Before anything is measured."""
    with pytest.raises(DeviceError, match="cuda:999 "):
        speed_here(load_settings(overrides={"device": "cuda:999"}), SHAPE, 512)
    assert machine.asked == []


def test_a_bench_measures_every_combination_once(machine):
    """Networks by precisions by sides; `auto` and the precision it means are one."""
    found = bench(["compact", "alexnet"], ["auto", "float32", "bfloat16"], ["256", 512])
    wanted = [(n, p, s) for n in ("compact", "alexnet") for p in ("bfloat16", "float32") for s in (256, 512)]
    assert machine.measured == wanted
    assert [(row["network"], row["precision"], row["tile"]) for row in found["rows"]] == wanted
    assert found["kept_in"] == str(usual_speeds().file)
    assert [question for question in machine.asked if question[0] == "matmul_rate"] == [
        ("matmul_rate", "bfloat16"),
        ("matmul_rate", "float32"),
    ]


def test_a_bench_serves_a_plan(machine):
    """What `bench` measured is what `plan` goes by, with the default preset and those that only change sizes."""
    bench(["compact", "alexnet"], ["auto"], [512, 1024])
    machine.asked.clear()
    for preset, changes in (("default", {}), ("poster", {}), ("draft", {}), ("default", {"network": "alexnet"})):
        assert speed_here(load_settings(preset, changes), SHAPE, 1000)["measured_on"] is not None
    assert machine.asked == []


def test_rates_follow_from_the_speed(machine):
    """Two workers at two microseconds make a million pixel-steps a second; shares are of what all workers can do."""
    found = bench(["compact"], ["float32"], [512])
    row, network = found["rows"][0], architecture("compact")
    layers = load_settings().layers
    assert (found["copy_rate"], found["matmul_rates"]) == (8e9, {"float32": 100e9})
    assert row["operations_rate"] == pytest.approx(1e6 * network.operations(layers))
    assert row["share_of_matmul"] == pytest.approx(row["operations_rate"] / 100e9)
    assert row["traffic_rate"] == pytest.approx(1e6 * network.traffic(layers, 4))
    assert row["share_of_copy"] == pytest.approx(row["traffic_rate"] / 8e9)
    half = bench(["compact"], ["bfloat16"], [512])["rows"][0]
    assert half["share_of_copy"] == pytest.approx(row["share_of_copy"] / 2)


def test_the_table_tells_all(machine, tmp_path):
    """The machine first, then a line per speed, then where they are kept, or that they are not."""
    lines = table(bench(["compact", "alexnet"], ["auto", "float32"], [512])).splitlines()
    assert lines[0] == "device    Abacus 9 (cpu), 2 workers with 1 thread"
    assert lines[1] == "matmul    100 GFLOP/s in bfloat16, 100 GFLOP/s in float32"
    assert lines[2] == "copy      8.0 GB/s"
    assert lines[4].split() == ["network", "precision", "tile", "us/px/step", "GFLOP/s", "matmul", "copy"]
    assert lines[5].split() == ["compact", "bfloat16", "512", "2.000", "133", "133%", "13%"]
    assert len({len(line) for line in lines[4:9]}) == 1
    assert lines[-1] == f"cached in {usual_speeds().file}, for muralist plan"
    usual_speeds().file.unlink()
    usual_speeds().file.mkdir()
    lines = table(bench(["compact"], ["auto"], [512])).splitlines()
    assert lines[-1] == "not cached, since muralist's cache folder is not writable"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((["compct"], ["auto"], [512]), UnknownNetworkError, "'compct'; .*'compact'"),
        ((["compact"], ["half"], [512]), SettingsError, "precision: got 'half'"),
        ((["compact"], ["auto"], ["8"]), SettingsError, "tile: got '8'"),
        ((["compact"], ["auto"], ["wide"]), SettingsError, "tile: got 'wide'"),
        ((["compact"], ["auto"], [10**9]), SettingsError, "tile: got 1000000000"),
    ],
)
def test_what_makes_no_sense_is_refused(machine, arguments, error, words):
    """Networks, precisions and sides are refused as settings are, before anything is measured."""
    with pytest.raises(error, match=words):
        bench(*arguments)
    assert machine.asked == []


def test_a_tile_that_cannot_fit_is_refused(machine, monkeypatch, caplog):
    """Activations of all workers count, in the precision asked for; what a GPU has is not asked here."""
    needed = 2 * 4 * 512**2 * architecture("compact").activations(DEFAULT.layers)
    free = SimpleNamespace(available=needed - 1)
    monkeypatch.setattr(module.psutil, "virtual_memory", lambda: free)
    words = r"\b512 x 512 px .*\b0\.2 GiB .*compact \(2 workers\), .*\b0\.2 GiB .*--tile"
    with pytest.raises(SettingsError, match=words):
        bench(["compact"], ["float32"], [512])
    assert machine.asked == []
    bench(["compact"], ["bfloat16", "auto"], [512])
    with monkeypatch.context() as patched:
        patched.setattr(module, "local_shape", lambda settings, tiles: WorkerLayout(2, 1, ("0", "1")))
        bench(["compact"], ["float32"], [512])
        assert "names GPUs (0, 1)" in caplog.text
        caplog.clear()
        patched.setattr(module, "bench_workers", Machine(device="cuda").crew)
        bench(["compact"], ["float32"], [512])
        assert not caplog.text
    free.available = needed
    monkeypatch.setattr(module, "local_shape", lambda settings, tiles: SHAPE)
    bench(["compact"], ["float32"], [512])


def test_a_precision_that_the_device_lacks_is_refused(machine, monkeypatch):
    """A processor that only emulates bfloat16 is not measured in it."""
    old = Machine(precision="float32")
    monkeypatch.setattr(module, "bench_workers", old.crew)
    with pytest.raises(DeviceError, match=r"Abacus 9 \(cpu\) .*bfloat16, .*--precision float32"):
        bench(["compact"], ["auto", "bfloat16"], [512])
    assert old.measured == []
    assert [row["precision"] for row in bench(["compact"], ["auto", "float32"], [512])["rows"]] == ["float32"]
