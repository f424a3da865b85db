"""What the command line says without painting: plans, speeds, presets, help."""

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from commands import assert_refused, run
from pictures import TINY, assignments

from muralist.pipeline.presets import load_settings, preset_names, preset_text
from muralist.pipeline.settings import Settings
from muralist.pipeline.speeds import Speed, conditions, usual_speeds
from muralist.pipeline.workers.local import WorkerLayout
from muralist.pipeline.workers.machine import cpu_name


def test_plan_foretells_and_does_nothing(folder, painted, monkeypatch):
    """`plan` prints a table, or JSON with the same rows as the sidecar's, and leaves no file."""
    measured = {"device": "cpu", "precision": "float32", "pixel_step_seconds": 1e-6, "measured_on": None, "busy": None}
    monkeypatch.setattr("muralist.pipeline.estimate.speed_here", lambda *_: measured)
    options = ["photo.png", "-s", "style.png", "-o", "out.png", *assignments(TINY)]
    found = json.loads(run("plan", *options, "--json").stdout)
    for key in ("height", "width", "tiles", "rounds", "steps"):
        assert [row[key] for row in found["levels"]] == [row[key] for row in painted.sidecar["levels"]]
    assert {"worker_bytes", "driver_bytes", "disk_bytes", "operations", "seconds"} <= set(found)
    painting = ["--report", "--restart", "--keep-run", "--live", "--loss-lines", "--loss-plot", "loss.png"]
    table = run("plan", *options, *painting)
    assert (table.exit_code, table.stderr) == (0, "")
    assert "128 x 96" in table.stdout
    unnamed = run("plan", *(option for option in options if option not in ("-o", "out.png")), "--report")
    assert (unnamed.stdout, unnamed.stderr) == (table.stdout, "")
    assert sorted(os.listdir(folder)) == ["photo.png", "style.png"]


WITHOUT_TORCH = """
import sys
from muralist.cli import main
try:
    main(sys.argv[1:])
finally:
    assert "torch" not in sys.modules
"""


@pytest.mark.integration
def test_a_machine_that_was_measured_is_planned_for_without_torch(folder, monkeypatch, tmp_path):
    """Where a speed was kept, `plan` says when it was measured, and waits neither for that nor for torch."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    here = conditions(load_settings(overrides=TINY), WorkerLayout(1, 1), "cpu", cpu_name())
    assert usual_speeds().keep(Speed(here, "float32", True, 96, 2.0, "2026-11-21"))
    options = ["photo.png", "-s", "style.png", "-o", "out.png", *assignments(TINY)]
    command = [sys.executable, "-c", WITHOUT_TORCH, "plan", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2.00 microseconds per pixel and step (measured on 2026-11-21)" in done.stdout


def test_bench_measures_what_plan_goes_by(machine, tmp_path):
    """`bench` prints a table, or the same as JSON, and keeps the speeds in the cache folder."""
    options = ["bench", "--network", "compact", "--tile", "512", "--device", "cpu", "--workers", "2", "--threads", "3"]
    found = json.loads(run(*options, "--json").stdout)
    assert (found["workers"], found["threads"], len(found["rows"])) == (2, 3, 2)
    shown = run(*options)
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert "2 workers with 3 threads" in shown.stdout
    assert str(tmp_path / "cache" / "muralist" / "speeds.json") in shown.stdout.splitlines()[-1]


def test_bench_by_default(machine):
    """Two networks, the precision that suits the device and float32, two sides."""
    assert run("bench").exit_code == 0
    combinations = {(n, p, s) for n in ("compact", "vgg19") for p in ("bfloat16", "float32") for s in (512, 1024)}
    assert set(machine.measured) == combinations


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--network", "compct"], ("unknown network 'compct'", "did you mean 'compact'?", "vgg19")),
        (["--precision", "float16"], ("precision: got 'float16'", "'bfloat16'")),
        (["--tile", "8"], ("tile: got '8'", "64")),
        (["--tile", "512", "--tile", "1e99"], ("tile: got '1e99'", "wanted")),
        (["--tile", "200000"], ("a tile of 200000 x 200000 px takes more than", "GiB are free", "smaller --tile")),
        (["--device", "tpu"], ("device: got 'tpu'", "'cpu'")),
        (["--workers", "0"], ("workers: got '0'", "wanted")),
        (["--threads", "many"], ("threads: got 'many'", "whole number")),
    ],
)
def test_bench_refuses_what_makes_no_sense(machine, options, words):
    """Every bad value is one line, before anything is measured."""
    assert_refused(run("bench", *options), *words)
    assert machine.asked == []


def test_presets_are_listed_and_shown():
    """Every preset has its line; with a name its text is shown, or with --json all settings it results in."""
    listed = run("presets").stdout.splitlines()
    assert [line.partition(":")[0] for line in listed] == preset_names()
    assert json.loads(run("presets", "--json").stdout) == preset_names()
    assert run("presets", "poster").stdout == preset_text("poster").rstrip() + "\n"
    shown = json.loads(run("presets", "poster", "--json").stdout)
    assert Settings.model_validate(shown) == load_settings("poster")
    assert_refused(run("presets", "postr"), "unknown preset 'postr'", "did you mean 'poster'?")


HELP = """
import sys
from muralist.cli import main
try:
    main(sys.argv[1:])
finally:
    slow = {"torch", "distributed", "dask", "pyvips", "numpy", "tifffile", "safetensors"} & set(sys.modules)
    assert not slow, slow
"""


COMMANDS = [[], ["render"], ["batch"], ["plan"], ["bench"], ["presets"], ["networks"], ["networks", "convert"]]


@pytest.mark.integration
@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_instant(command):
    """Help of every command loads nothing that is slow to load."""
    done = subprocess.run([sys.executable, "-c", HELP, *command, "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: {' '.join(['-c', *command])}")


def test_the_version_is_told():
    """`--version` is the installed package's."""
    assert run("--version").stdout.strip().endswith(metadata.version("muralist"))


@pytest.mark.integration
def test_the_script_is_installed():
    """The command `muralist` is on the path of the environment and tells its help."""
    script = shutil.which("muralist", path=str(Path(sys.executable).parent))
    assert script is not None
    done = subprocess.run([script, "-h"], capture_output=True, text=True, check=True)
    assert "render" in done.stdout
