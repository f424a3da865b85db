"""What an interrupted run leaves, how it is resumed, and when it is refused."""

import json
from typing import Any

import pytest
from facts import having
from pictures import TINY, contents, photograph, save
from rendering import Render, names

from muralist.pipeline import estimate
from muralist.pipeline import render as module
from muralist.pipeline.errors import DeviceError, OutputError
from muralist.pipeline.painting import RenderDriver
from muralist.pipeline.presets import load_settings
from muralist.pipeline.records.losses import LossRecord
from muralist.pipeline.storage.run_folder import RunFolder

pytestmark = pytest.mark.integration


def test_a_failure_before_the_first_look_leaves_nothing(paint, folder, monkeypatch):
    """When painting fails before there is anything to go on with, the run folder goes, and an old output stays."""
    (folder / "out.png").write_bytes(b"precious")
    before = contents(folder)

    def fail(*_: object) -> None:
        assert (folder / ".out.png.muralist").is_dir()
        raise ZeroDivisionError

    monkeypatch.setattr(RenderDriver, "paint", fail)
    with pytest.raises(ZeroDivisionError):
        paint(overwrite=True)
    assert contents(folder) == before


def interrupt(*_: object) -> None:
    """Press Ctrl-C."""
    raise KeyboardInterrupt


def failing(monkeypatch: pytest.MonkeyPatch, paint: Render, error: BaseException, **changes: Any) -> None:
    """Paint, but fail at the last moment."""

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(module, "score_seams", fail)
        with pytest.raises(type(error)):
            paint(**changes)


def test_what_was_painted_is_kept_and_gone_on_with(paint, folder, monkeypatch):
    """After an interruption the same call, without `overwrite`, ends with the same bytes and paints nothing again."""
    paint("whole.png", steps=[2, 1])
    failing(monkeypatch, paint, KeyboardInterrupt(), steps=[2, 1])
    assert (folder / ".out.png.muralist" / "journal.json").is_file()
    ran = []
    with monkeypatch.context() as patch:
        everywhere = RenderDriver._everywhere
        patch.setattr(RenderDriver, "_everywhere", lambda *a, **k: ran.append(a[2]) or everywhere(*a, **k))
        sidecar = paint(steps=[2, 1])
    assert ran == []
    assert sidecar["resumed"] == 1
    assert (folder / "out.png").read_bytes() == (folder / "whole.png").read_bytes()
    whole = json.loads((folder / "whole.png.json").read_text())
    assert [LossRecord(**row) for row in sidecar["losses"]] == [LossRecord(**row) for row in whole["losses"]]
    assert not (folder / ".out.png.muralist").exists()


def test_changed_settings_and_pictures_are_refused(paint, folder, monkeypatch):
    """What was interrupted goes on only as it was begun; what differs is named, and nothing is lost."""
    failing(monkeypatch, paint, KeyboardInterrupt(), steps=[1])
    for change, told in (({"seed": 5}, "seed was 0, is 5"), ({"color": "luminance"}, "color was style, is luminance")):
        with pytest.raises(OutputError, match=rf"out\.png: .*: {told}; .*original command .*--restart"):
            paint(**change, steps=[1])
    for name, told in (("photo.png", "the photograph changed"), ("style.png", "the style pictures changed")):
        kept = (folder / name).read_bytes()
        save(folder / name, photograph(seed=8))
        with pytest.raises(OutputError, match=f"{told}; .*--restart", check=having(path=folder / "out.png")):
            paint(steps=[1], overwrite=True)
        (folder / name).write_bytes(kept)
    assert paint(workers=3, memory="64MiB", steps=[1])["resumed"] == 1


def test_how_it_is_written_may_change(paint, folder):
    """A painting that does not fit into `max_file` is not lost: with another quality it is only written."""
    with pytest.raises(OutputError, match=r"max_file .*--max-file"):
        paint("out.jpg", steps=[2, 1], max_file=1024)
    sidecar = paint("out.jpg", steps=[2, 1], quality=80, metadata="none")
    assert (sidecar["resumed"], sidecar["settings"]["quality"], sidecar["settings"]["max_file"]) == (1, 80, None)
    paint("whole.jpg", steps=[2, 1], quality=80, metadata="none")
    assert (folder / "out.jpg").read_bytes() == (folder / "whole.jpg").read_bytes()


def test_restart_begins_anew(paint, folder, monkeypatch):
    """With `restart`, what was interrupted is given up; an existing output needs `overwrite` again."""
    failing(monkeypatch, paint, KeyboardInterrupt(), steps=[1])
    (folder / "out.png").write_bytes(b"precious")
    with pytest.raises(OutputError, match="--overwrite"):
        paint(seed=5, steps=[1], restart=True)
    assert (folder / "out.png").read_bytes() == b"precious"
    assert (folder / ".out.png.muralist" / "journal.json").is_file()
    sidecar = paint(seed=5, steps=[1], restart=True, overwrite=True)
    assert (sidecar["resumed"], sidecar["settings"]["seed"]) == (0, 5)


def test_restart_replaces_what_the_interrupted_run_wrote(paint, folder, monkeypatch):
    """Its snapshots are in nobody's way; other files are."""
    failing(monkeypatch, paint, KeyboardInterrupt(), steps=[1], snapshot_every=1)
    (folder / "out.png").unlink()
    before = (folder / "out-000001.png").read_bytes()
    (folder / "plot.png").write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"plot\.png: exists already"):
        paint(tv_weight=7, steps=[1], snapshot_every=1, restart=True, loss_plot=folder / "plot.png")
    assert (folder / ".out.png.muralist" / "journal.json").is_file()
    paint(tv_weight=7, steps=[1], snapshot_every=1, restart=True)
    assert (folder / "out-000001.png").read_bytes() != before


def test_resuming_replaces_only_what_the_interrupted_run_wrote(paint, folder, monkeypatch):
    """Not a plot or a page that are asked for only now."""
    failing(monkeypatch, paint, KeyboardInterrupt(), steps=[1], snapshot_every=1, loss_plot=folder / "own.png")
    for name, changes in (("plot.png", {"loss_plot": folder / "plot.png"}), ("out.png.report.html", {"report": True})):
        (folder / name).write_bytes(b"precious")
        with pytest.raises(OutputError, match=rf"{name}: .*--overwrite"):
            paint(steps=[1], snapshot_every=1, **changes)
        assert (folder / name).read_bytes() == b"precious"
    assert paint(steps=[1], snapshot_every=1, loss_plot=folder / "own.png")["resumed"] == 1


def test_what_will_be_resumed_can_be_planned(paint, folder, monkeypatch):
    """What an interrupted run wrote is in nobody's way there either."""
    failing(monkeypatch, paint, KeyboardInterrupt(), steps=[1], snapshot_every=1)
    monkeypatch.setattr(estimate, "estimate", lambda plan: {"snapshot_every": plan.settings.snapshot_every})
    settings = load_settings(overrides=TINY | {"steps": [1], "snapshot_every": 1})
    found = estimate.plan(folder / "photo.png", folder / "style.png", folder / "out.png", settings)
    assert found == {"snapshot_every": 1, "notices": []}


def test_a_painting_that_was_put_there_meanwhile_stays(paint, folder, monkeypatch):
    """An interrupted run that had not come to its end wrote none."""
    with monkeypatch.context() as patch:
        patch.setattr(RenderDriver, "_finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            paint(steps=[1])
    (folder / "out.png").write_bytes(b"precious")
    with pytest.raises(OutputError, match="--overwrite", check=having(path=folder / "out.png")):
        paint(steps=[1])
    assert (folder / "out.png").read_bytes() == b"precious"
    assert paint(steps=[1], overwrite=True)["resumed"] == 1


def test_another_device_is_refused_with_what_resumes(paint, folder, monkeypatch):
    """A run goes on only on what it was begun on; the flags that the message names lead there."""
    failing(monkeypatch, paint, KeyboardInterrupt(), steps=[1])
    run = RunFolder.of(folder / "out.png", None)
    journal = run.read_journal()
    device, precision = (journal["course"][name] for name in ("device", "precision"))
    for other in ("cuda", "cuda:1"):
        run.write_journal(journal | {"course": journal["course"] | {"device": other}})
        with pytest.raises(DeviceError, match=rf"begun on {other} .*--device {other} --precision {precision}, or "):
            paint(steps=[1])
    run.write_journal(journal)
    assert paint(steps=[1], device=device, precision=precision)["resumed"] == 1


def test_the_run_folder_can_be_kept(paint, folder):
    """With `keep_run` the canvases stay after a success, and the next painting of that name starts over."""
    paint(keep_run=True, steps=[1])
    assert names(folder) == [".out.png.muralist", "out.png", "out.png.json", "photo.png", "style.png"]
    with pytest.raises(OutputError, match="--overwrite"):
        paint()
    assert paint(overwrite=True, steps=[1])["resumed"] == 0
    assert names(folder) == ["out.png", "out.png.json", "photo.png", "style.png"]


def test_a_damaged_journal_is_no_dead_end(paint, folder):
    """The command says what is damaged and names --restart, which starts over, also where a painting is there."""
    paint(steps=[0], base_size=128)
    run = folder / ".out.png.muralist"
    for journal in (b"", b"{}", b'{"finished": '):
        run.mkdir()
        (run / "journal.json").write_bytes(journal)
        with pytest.raises(OutputError, match=r"journal\.json: .*--restart"):
            paint(steps=[0], base_size=128, overwrite=True)
        assert (run / "journal.json").read_bytes() == journal
        assert paint(steps=[0], base_size=128, overwrite=True, restart=True)["resumed"] == 0
    assert names(folder) == ["out.png", "out.png.json", "photo.png", "style.png"]


def test_a_damaged_file_of_a_run_is_said(paint, folder, monkeypatch):
    """A file that somebody cut is one line that names --restart."""

    def harm(painting: RenderDriver) -> None:
        for path in folder.rglob("*.state"):
            path.write_bytes(path.read_bytes()[:10])
        ended(painting)

    ended = RenderDriver._paint_round
    monkeypatch.setattr(RenderDriver, "_paint_round", harm)
    with pytest.raises(OutputError, match=r"\.state: .*--restart"):
        paint(steps=[1])
