"""Scratch folders, full disks and files that vanish."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dask_processes import ENVIRONMENT
from facts import having
from pictures import TINY, contents, photograph, save
from rendering import names

from muralist.pipeline import render as module
from muralist.pipeline.errors import OutputError
from muralist.pipeline.painting import RenderDriver
from muralist.pipeline.presets import load_settings
from muralist.pipeline.render_plan import plan_render
from muralist.pipeline.space import canvas_bytes

pytestmark = pytest.mark.integration


def test_the_run_folder_can_be_elsewhere(paint, folder, tmp_path_factory, monkeypatch):
    """`scratch` names the folder for what lies on the disk meanwhile; nothing is left there."""
    scratch = tmp_path_factory.mktemp("scratch")
    seen = []
    score = module.score_seams
    monkeypatch.setattr(module, "score_seams", lambda *a: seen.extend([*names(scratch), *names(folder)]) or score(*a))
    paint(scratch=str(scratch), steps=[1])
    assert seen[0].startswith("out.png-")
    assert not [name for name in seen[2:] if name.startswith(".")]
    assert names(scratch) == []


def test_a_scratch_folder_that_is_not_there(paint, folder):
    """A missing scratch folder is one clean error."""
    with pytest.raises(OutputError, match=r"nowhere: .*--scratch"):
        paint(scratch=str(folder / "nowhere"))
    assert names(folder) == ["photo.png", "style.png"]


def test_too_little_room_is_found_out_before_any_work(paint, folder, monkeypatch):
    """The free space is compared with what painting will need; the message tells both."""
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(OutputError, match=r" [GM]iB .* 1\.0 KiB .*--scratch"):
        paint()
    assert names(folder) == ["photo.png", "style.png"]


def test_a_photograph_that_is_filed_already_needs_no_more_room(paint, folder, monkeypatch):
    """What is free is looked at when pictures that do not fit into memory are on the disk."""
    save(folder / "photo.png", photograph(600, 800))
    small = {"size": 128, "memory": "1MiB", "steps": [0]}
    settings = load_settings(overrides=TINY | small)
    needed = canvas_bytes(plan_render(*(folder / name for name in ("photo.png", "style.png", "out.png")), settings))
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed))
    assert paint(**small)["width"] == 128


RENDER_WITH_A_LIMIT = """
import json, resource, signal, sys
from muralist.pipeline.errors import OutputError
from rendering import render

limit, arguments, settings = json.loads(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    render(*arguments, **settings)
except OutputError as error:
    print(error)
"""


def limited(limit: int, folder: Path, settings: dict[str, Any]) -> str:
    """Render in a process that can write no file larger than a limit; its error message."""
    arguments = [str(folder / name) for name in ("photo.png", "style.png", "out.png")]
    command = [sys.executable, "-c", RENDER_WITH_A_LIMIT, json.dumps([limit, arguments, settings])]
    done = subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_disk_that_fills_up_meanwhile(folder, scheduler):
    """When the driver cannot write a canvas any more, one line says so and nothing is left."""
    said = limited(20_000, folder, TINY | {"scheduler": scheduler})
    assert said.count("\n") == 1
    assert ".out.png.muralist" in said
    assert "the disk is full; free some space and rerun the command to resume, or name another folder with" in said
    assert names(folder) == ["photo.png", "style.png"]


def test_a_folder_that_vanishes_is_said(paint, folder, monkeypatch):
    """One line says what is gone, and nothing is left but the pictures."""

    def vanish(painting: RenderDriver) -> None:
        shutil.rmtree(folder / "out")
        ended(painting)

    ended = RenderDriver._paint_round
    monkeypatch.setattr(RenderDriver, "_paint_round", vanish)
    (folder / "out").mkdir()
    with pytest.raises(OutputError, match=r"out/.*--restart", check=having(FileNotFoundError)):
        paint("out/out.png", steps=[1])
    assert names(folder) == ["photo.png", "style.png"]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOTCONN, errno.ENODEV, errno.ETIMEDOUT])
def test_a_file_system_that_goes_away_for_a_while(paint, folder, monkeypatch, number):
    """One line says what to see to; then the same command resumes."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "run")

    with monkeypatch.context() as patch:
        patch.setattr(module, "score_seams", fail)
        with pytest.raises(OutputError, match=rf"run: {os.strerror(number)}, .*rerun the command to resume"):
            paint(steps=[1])
    assert paint(steps=[1])["resumed"] == 1


def test_a_disk_that_fills_up_at_the_end(paint, folder, monkeypatch):
    """When the painting itself does not fit, one line says so and an old one stays; with room, the same call ends."""
    (folder / "out.png").write_bytes(b"precious")
    before = contents(folder)

    def fail(part: Path, target: Path, replace: Callable[[Path, Path], None] = os.replace) -> None:
        if target.name == "out.png":
            raise OSError(28, os.strerror(28))
        replace(part, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OutputError, check=having(OSError, path=folder / "out.png")):
            paint(overwrite=True, steps=[1])
    assert {name: found for name, found in contents(folder).items() if not name.startswith(".")} == before
    assert paint(overwrite=True, steps=[1])["resumed"] == 1


@pytest.mark.parametrize("number", [28, 122])
def test_a_worker_whose_disk_is_full(paint, folder, monkeypatch, number):
    """A task's error about a full disk, or a full quota, becomes the same clean error."""

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(RenderDriver, "paint", fail)
    with pytest.raises(OutputError, match="--scratch", check=lambda error: error.__cause__.errno == number):
        paint()
    assert names(folder) == ["photo.png", "style.png"]


def test_other_errors_of_the_system_are_bugs(paint, folder, monkeypatch):
    """What is neither a full disk nor a file that is gone is not called so."""

    def fail(*_: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(RenderDriver, "paint", fail)
    with pytest.raises(OSError, check=lambda error: type(error) is OSError and error.errno == 22):
        paint()
    assert names(folder) == ["photo.png", "style.png"]
