"""Ctrl-C, and what is to be left of a run that nothing interrupts."""

import json
import os
import shutil
import signal
import subprocess
import time
from types import SimpleNamespace

import psutil
import pytest
from commands import STOPPED, render
from pictures import MURALIST, TINY, assignments, contents


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


@pytest.mark.parametrize(
    ("flag", "said"),
    [("--keep-run", ""), ("--keep", "muralist: --keep is called --keep-run now; write --keep-run\n")],
)
def test_the_run_folder_is_kept_by_either_flag(monkeypatch, flag, said):
    """The old one is told of the new one."""
    asked = []
    done = SimpleNamespace(sidecar={})
    monkeypatch.setattr("muralist.pipeline.render.render", lambda **how: asked.append(how["keep_run"]) or done)
    result = render("--quiet", flag)
    assert (result.exit_code, result.stderr, asked) == (0, said, [True])
