"""Ctrl-C, and the same command again."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from commands import STOPPED, assert_refused, render
from pictures import MURALIST, TINY, assignments, contents, painting, save


@pytest.mark.integration
def test_ctrl_c_stops_everything(folder):
    """Ctrl-C while tiles are painted: exit 130, one line, no process and no output left, but what was painted."""
    before = contents(folder)
    options = [*assignments(TINY | {"steps": [1, 10_000], "base_size": 64})]
    command = [*MURALIST, "render", "photo.png", "-s", "style.png", "-o", "out.png", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("level 1/2")
        assert process.stderr.readline().startswith("level 2/2")  # so the first level has been painted
        started = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        output, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert (output, error) == ("", STOPPED)
    assert started
    _, left = psutil.wait_procs(started, timeout=30)
    assert left == []
    journal = json.loads((folder / ".out.png.muralist" / "journal.json").read_text())
    assert (journal["finished"], len(journal["course"]["levels"])) == (False, 1)
    shutil.rmtree(folder / ".out.png.muralist")
    assert contents(folder) == before


@pytest.mark.integration
def test_ctrl_c_stops_a_bench(tmp_path, monkeypatch):
    """Ctrl-C while the machine is measured: exit 130, one line, no process left."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    command = [*MURALIST, "bench", "--network", "vgg19", "--tile", "1024", "--workers", "2", "--device", "cpu"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        started = wait_for_children(process.pid, 3)  # two that measure, and multiprocessing's own
        os.killpg(process.pid, signal.SIGINT)
        output, error = process.communicate(timeout=60)
    assert (process.returncode, output, error) == (130, "", "muralist: interrupted\n")
    _, left = psutil.wait_procs(started, timeout=30)
    assert left == []


def wait_for_children(pid: int, count: int) -> list[psutil.Process]:
    """The processes that one started, once there are so many."""
    for _ in range(600):
        children = psutil.Process(pid).children(recursive=True)
        if len(children) == count:
            return children
        time.sleep(0.1)
    pytest.fail(f"wanted {count} processes, found {len(children)}")


def test_ctrl_c_before_anything_is_painted_leaves_nothing(folder, monkeypatch):
    """Interrupted before workers are there, an existing painting stays as it was, and the exit code is 130."""
    (folder / "out.png").write_bytes(b"precious")
    before = contents(folder)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("muralist.pipeline.render.open_cluster", interrupt)
    result = render("--overwrite")
    assert (result.exit_code, result.stderr) == (130, STOPPED)
    assert contents(folder) == before


@pytest.fixture
def interrupted(folder: Path, scheduler: str) -> list[str]:
    """The options of a painting that was interrupted just before it was written."""
    options = ["--scheduler", scheduler, "--quiet"]

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("muralist.pipeline.render.write_painting", interrupt)
        result = render(*options)
    assert (result.exit_code, result.output) == (130, STOPPED)
    assert sorted(os.listdir(folder)) == [".out.png.muralist", "photo.png", "style.png"]
    return options


def resumed(folder: Path) -> int:
    """How often a painting was resumed, as its sidecar tells, of which nothing else is left."""
    assert sorted(os.listdir(folder)) == ["out.png", "out.png.json", "photo.png", "style.png"]
    return int(json.loads((folder / "out.png.json").read_text())["resumed"])


def test_the_same_command_alone_goes_on(folder, interrupted, painted):
    """Changed settings or pictures are named in one line with both ways out; nothing is lost.

    What was interrupted then ends as if it had not been, byte by byte; where it is painted does not matter.
    """
    before = contents(folder)
    words = (
        "out.png: an interrupted run of this painting had other inputs or settings: ",
        "rerun the original command",
        "--restart",
    )
    assert_refused(render(*interrupted, "--seed", "7"), *words, "seed was 0, is 7;")
    assert_refused(render(*interrupted, "--color", "luminance"), *words, "color was style, is luminance;")
    shutil.copy(folder / "style.png", folder / "kept.png")
    save(folder / "style.png", painting(seed=9))
    assert_refused(render(*interrupted, "--overwrite"), *words, "the style pictures changed;")
    os.replace(folder / "kept.png", folder / "style.png")
    assert contents(folder).keys() == before.keys()
    assert render(*interrupted, "--memory", "64MiB").exit_code == 0
    assert resumed(folder) == 1
    assert (folder / "out.png").read_bytes() == painted.output.read_bytes()


def test_keep_leaves_the_run_folder(folder, scheduler):
    """With --keep-run intermediate canvases stay beside the painting; they are not resumed."""
    options = ["--scheduler", scheduler, "--quiet"]
    assert render(*options, "--keep-run").exit_code == 0
    kept = folder / ".out.png.muralist"
    assert list(kept.glob("*/level_01/cut_0/round_*/*.state"))
    again = render(*options, "--overwrite", "--keep")
    assert (again.exit_code, again.stderr) == (0, "muralist: --keep is called --keep-run now; write --keep-run\n")
    assert kept.exists()
    assert json.loads((folder / "out.png.json").read_text())["resumed"] == 0
