"""Batches: what is painted, copied, skipped, tried again and left, and what is told of it."""

import errno
import json
import logging
import os
import shlex
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from commands import settings_of
from crews import another_worker, until
from dask.distributed import Client
from facts import having
from filelock import Timeout
from pictures import TINY, contents, painting, photograph, save
from rendering import render

from muralist.cli import main
from muralist.errors import MuralistError
from muralist.model.errors import UnknownNetworkError, WeightsError
from muralist.pipeline import output_files
from muralist.pipeline.batch import driver as module
from muralist.pipeline.batch.driver import BatchOptions
from muralist.pipeline.batch.items import Item
from muralist.pipeline.batch.run import run_batch
from muralist.pipeline.console import LOG, LOSSES
from muralist.pipeline.errors import ClusterError, DeviceMemoryError, OutputError, PictureError, SettingsError
from muralist.pipeline.pictures.masks import Mask
from muralist.pipeline.records.batch_report import Report
from muralist.pipeline.records.losses import LossRecord, loss_line
from muralist.pipeline.storage import run_folder

pytestmark = pytest.mark.integration

SMALL = TINY | {"steps": [2, 1], "steps_per_round": 1, "optimizer": "adam"}


@dataclass
class Archive:
    """A folder with photographs, and batches that paint them.

    Attributes
    ----------
    folder : Path
        With the folders `photos` and `out`, and the style picture.
    scheduler : str
    """

    folder: Path
    scheduler: str
    report: Report = field(init=False)

    def add(self, name: str, seed: int = 0) -> Path:
        """A photograph; those of the same seed are the same."""
        path = self.photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return save(path, photograph(48, 64, seed))

    def paint(self, *inputs: str, styles: Sequence[str] = ("style.png",), **options: Any) -> dict[str, str]:
        """Paint inputs, all photographs unless named; status by output. Settings and options are told apart by name."""
        own = {name: options.pop(name) for name in ("overwrite", "restart", "keep_run", "report") if name in options}
        how = {name: options.pop(name) for name in ("name", "each_style", "max_hours", "quiet") if name in options}
        flags = SMALL | {"scheduler": self.scheduler} | options
        self.report = run_batch(
            [str(self.folder / name) for name in inputs or ["photos"]],
            [self.folder / style for style in styles],
            self.out,
            BatchOptions(flags=flags, **own),
            **how,
        )
        return {name: row["status"] for name, row in self.rows.items()}

    @property
    def photos(self) -> Path:
        """Folder of the photographs."""
        return self.folder / "photos"

    @property
    def out(self) -> Path:
        """Folder of the paintings."""
        return self.folder / "out"

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """The report, by output, in the order of its lines."""
        lines = (self.out / "report.jsonl").read_text().splitlines()
        return {row["output"]: row for row in map(json.loads, lines)}

    @property
    def names(self) -> set[str]:
        """Files in the output folder, but for the report and sidecars of paintings that are there."""
        files = {name for name, content in contents(self.out).items() if content is not None}
        return {name for name in files if name.removesuffix(".json") not in files - {name}} - {"report.jsonl"}

    def sidecar(self, name: str) -> dict[str, Any]:
        """What lies beside a painting."""
        return dict(json.loads((self.out / f"{name}.json").read_text()))


@pytest.fixture
def archive(tmp_path: Path, scheduler: str) -> Archive:
    """Two photographs, one in a subfolder, and a style picture."""
    save(tmp_path / "style.png", painting())
    archive = Archive(tmp_path, scheduler)
    archive.add("a.png", 1)
    archive.add("sub/b.png", 2)
    return archive


def test_pictures_of_other_formats_are_told_and_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A line counts them by extension, the report lists them, and the summary has their number."""
    for name in ("broken.png", "c.tga", "sub/d.TGA", "e.exr"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(b"no picture")
    out, style = tmp_path / "out", save(tmp_path / "s.png", painting())
    report = run_batch([str(tmp_path / "photos")], [style], out, BatchOptions(flags=SMALL))
    assert "left out: 2 .tga, 1 .exr; convert them to JPEG, PNG or TIFF" in caplog.messages
    rows = [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]
    found = [(row["status"], Path(row["input"]).name) for row in rows]
    assert found == [("failed", "broken.png"), *(("unsupported", name) for name in ("c.tga", "e.exr", "d.TGA"))]
    assert "1 failed, 3 not supported" in report.summary()


@pytest.fixture
def before_painting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., object]], None]:
    """Have something done with (name of the output, cluster, priority) before each attempt to paint a picture."""

    def install(act: Callable[..., object]) -> None:
        paint = module.paint_picture

        def wrapped(plan: Any, journal: Any, state: Any, cluster: Any, progress: Any, priority: int) -> Any:
            act(plan.output.name, cluster, priority)
            return paint(plan, journal, state, cluster, progress, priority)

        monkeypatch.setattr(module, "paint_picture", wrapped)

    return install


def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts workers from now on has something to paint."""
    monkeypatch.setattr(module, "open_cluster", lambda *_: pytest.fail("workers were started"))


# ---------------------------------------------------------------------------------------------------- what is painted


def test_folders_are_mirrored(archive, capfd):
    """Every photograph below a folder has its painting, as `render` makes it, its sidecar and a line; nothing else."""
    assert archive.paint() == {"a.png": "done", "sub/b.png": "done"}
    assert archive.names == {"a.png", "sub/b.png"}
    alone = archive.folder / "alone.png"
    sidecar = render(
        archive.photos / "a.png", archive.folder / "style.png", alone, scheduler=archive.scheduler, **SMALL
    )
    assert (archive.out / "a.png").read_bytes() == alone.read_bytes()
    row, last = archive.rows["a.png"], sidecar["levels"][-1]
    assert (row["input"], row["attempts"], row["error"]) == (str(archive.photos / "a.png"), 1, None)
    assert (row["width"], row["height"], row["seam_score"]) == (64, 48, sidecar["seam_score"])
    assert row["seam_threshold"] == sidecar["seam_threshold"]
    assert (row["style_loss"], row["content_loss"]) == (last["losses_last"]["style"], last["losses_last"]["content"])
    assert row["seconds"] == archive.sidecar("a.png")["seconds"] > 0
    assert archive.report.exit_code == 0
    assert archive.report.summary().startswith("2 painted, ")
    assert capfd.readouterr() == ("", "")


def test_a_record_for_each_picture(archive, logged):
    """The log says what became of each as it ends; a failure is a warning. Losses are details, behind a name."""
    LOG.setLevel(logging.DEBUG)
    archive.photos.joinpath("a.png").write_bytes(b"no picture")
    archive.paint()
    ends = [record for record in logged if record.levelno > logging.DEBUG]
    assert [record.levelname for record in ends] == ["WARNING", "INFO"]
    first, second = (record.getMessage() for record in ends)
    assert first.startswith(f"1/2 failed: {archive.photos}/a.png: ")
    assert second == f"2/2 done: {archive.photos}/sub/b.png as {archive.out}/sub/b.png"
    sidecar = archive.sidecar("sub/b.png")
    rows = [LossRecord(**row) for row in sidecar["losses"]]
    wanted = [f"b.png: {loss_line(row, len(sidecar['levels']))}" for row in rows]
    assert [record.getMessage() for record in logged if record.name == LOSSES.name] == wanted


def test_each_style_and_names(archive):
    """A picture in every style, named after a template."""
    save(archive.folder / "other.png", painting(seed=7))
    wanted = {"1/a style.jpg": "style.png", "2/a other.jpg": "other.png"}
    styles = tuple(wanted.values())
    done = archive.paint("photos/a.png", styles=styles, each_style=True, name="{number}/{stem} {style}.jpg")
    assert done == dict.fromkeys(wanted, "done")  # in the order in which they ended
    assert {name: archive.sidecar(name)["inputs"]["styles"][0]["path"] for name in wanted} == {
        name: str(archive.folder / style) for name, style in wanted.items()
    }


def test_rows_of_a_manifest(archive):
    """Style, preset and settings of a row count for it; where is computed is the same for all."""
    save(archive.folder / "other.png", painting(seed=7))
    (archive.folder / "mine.yaml").write_text("tv_weight: 7\n")
    rows = [
        {"content": "photos/a.png", "style": "other.png", "preset": "mine.yaml"},
        {"content": "photos/a.png", "output": "b.png", "content_weight": 9},
    ]
    (archive.folder / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert archive.paint("list.jsonl") == {"photos/a.png": "done", "b.png": "done"}
    first, second = archive.sidecar("photos/a.png"), archive.sidecar("b.png")
    assert [each["inputs"]["styles"][0]["path"] for each in (first, second)] == [
        str(archive.folder / name) for name in ("other.png", "style.png")
    ]
    assert (first["settings"]["tv_weight"], second["settings"]["content_weight"]) == (7, 9)
    assert second["settings"]["tv_weight"] != 7
    assert (first["settings"]["workers"], first["settings"]["threads"]) == (1, 1)


# -------------------------------------------------------------------------------------------------------- side by side


def test_pictures_are_painted_side_by_side(archive, monkeypatch):
    """One for every worker, and one that is being read or written; who was named first has the lowest priority."""
    for number in range(4):
        archive.add(f"c{number}.png", 10 + number)
    paint, meet, priorities, under_way, most = module.paint_picture, threading.Barrier(2), {}, set(), []

    def watched(plan: Any, journal: Any, state: Any, cluster: Any, progress: Any, priority: int) -> Any:
        priorities[priority] = plan.output.name
        under_way.add(priority)
        meet.wait(120)  # in pairs, or never
        most.append(len(under_way))
        try:
            return paint(plan, journal, state, cluster, progress, priority)
        finally:
            under_way.remove(priority)

    monkeypatch.setattr(module, "paint_picture", watched)
    assert set(archive.paint().values()) == {"done"}
    assert [priorities[priority] for priority in sorted(priorities)] == [
        "a.png",
        "c0.png",
        "c1.png",
        "c2.png",
        "c3.png",
        "b.png",
    ]
    assert max(most) == 2


def test_all_workers_are_used(archive, before_painting):
    """Also where every picture is a single tile."""
    clusters = []
    before_painting(lambda name, cluster, priority: clusters.append(cluster))
    archive.add("c.png", 3)
    with another_worker(archive.scheduler, archive.folder):
        assert set(archive.paint().values()) == {"done"}
    assert len({id(cluster) for cluster in clusters}) == 1
    assert (clusters[0].workers, len(clusters[0]._peaks)) == (2, 2)


def test_the_network_is_loaded_once(archive):
    """A worker loads it for the first picture and has it for all others."""
    loaded = "__import__('muralist.pipeline.tasks', fromlist=['_load'])._load.__wrapped__.cache_info().misses"
    with Client(archive.scheduler, set_as_default=False) as client:
        (before,) = client.run(eval, loaded).values()
        assert set(archive.paint(pool_rescale=True, pooling="average").values()) == {"done"}
        (after,) = client.run(eval, loaded).values()
    assert after == before + 1


# ---------------------------------------------------------------------------------------------------- what goes wrong


def test_a_bad_file_stops_no_other(archive):
    """It is reported with its reason, and again the next time, when the others are skipped."""
    archive.photos.joinpath("a.png").write_bytes((archive.photos / "a.png").read_bytes()[:400])
    assert archive.paint() == {"a.png": "failed", "sub/b.png": "done"}
    row = archive.rows["a.png"]
    assert (row["error"], row["attempts"]) == ("PictureError", 1)
    assert "a.png: " in row["reason"]
    assert archive.report.exit_code == 1
    assert f"  failed: {row['reason']}" in archive.report.summary()
    assert archive.names == {"sub/b.png"}
    assert archive.paint() == {"a.png": "failed", "sub/b.png": "skipped"}


def test_a_file_that_is_no_picture_at_all(archive, monkeypatch):
    """What can be seen without painting is told without workers."""
    shutil.rmtree(archive.photos / "sub")
    archive.photos.joinpath("a.png").write_bytes(b"no picture")
    no_workers(monkeypatch)
    assert archive.paint() == {"a.png": "failed"}


@pytest.mark.parametrize("error", [ClusterError("a worker died"), DeviceMemoryError("a tile does not fit")])
def test_what_may_pass_is_tried_again(archive, before_painting, error):
    """Three times in all, after the others; then it has failed."""
    attempts: list[str] = []

    def act(name: str, *_: object) -> None:
        attempts.append(name)
        if (name, attempts.count(name)) in [("a.png", 1), ("a.png", 2)] or name == "b.png":
            raise error

    before_painting(act)
    archive.add("c.png", 3)
    done = archive.paint()
    assert done == {"a.png": "done", "sub/b.png": "failed", "c.png": "done"}
    assert sorted(attempts[:3]) == ["a.png", "b.png", "c.png"]
    assert {name: row["attempts"] for name, row in archive.rows.items()} == {"c.png": 1, "a.png": 3, "sub/b.png": 3}
    assert (archive.rows["sub/b.png"]["reason"], archive.rows["sub/b.png"]["error"]) == (
        str(error),
        type(error).__name__,
    )
    assert archive.names == {"a.png", "c.png"}


@pytest.mark.parametrize("where", ["paint_picture", "read_size", "copy_painting"])
def test_a_bug_stops_no_other(archive, monkeypatch, logged, where):
    """Whatever is raised where, the picture has failed; what a programmer needs is logged."""
    archive.add("sub/c.png", 1)  # a copy of a.png
    right = getattr(module, where)

    def wrong(first: Any, *arguments: Any, **options: Any) -> Any:
        if where == "copy_painting" or "sub" not in str(getattr(first, "output", first)):
            raise ZeroDivisionError
        return right(first, *arguments, **options)

    monkeypatch.setattr(module, where, wrong)
    done = archive.paint()
    assert done.keys() == {"a.png", "sub/b.png", "sub/c.png"}
    assert done["sub/b.png"] == "done"
    wanted = {"paint_picture": ["a.png", "sub/c.png"], "read_size": ["a.png"], "copy_painting": ["sub/c.png"]}[where]
    failed = [name for name, status in done.items() if status == "failed"]
    assert failed == wanted
    assert archive.rows[failed[0]]["error"] == "ZeroDivisionError"
    assert archive.rows[failed[0]]["reason"] == "ZeroDivisionError()"
    assert [record.exc_info[0] for record in logged if record.exc_info] == [ZeroDivisionError]


def test_a_cluster_that_is_gone_ends_the_batch(archive, before_painting):
    """Once, not picture by picture."""

    def act(name: str, cluster: Any, priority: int) -> None:
        if name == "b.png":
            cluster._post(cluster._fail, ClusterError("all gone"))
            until(lambda: cluster.failed)

    before_painting(act)
    archive.add("sub/c.png", 3)
    with pytest.raises(ClusterError, match="all gone"):
        archive.paint()
    assert not (archive.out / "sub" / "c.png").exists()
    assert not list(archive.out.glob(".report*"))


def test_no_scheduler_ends_the_batch(archive, impatient):
    """Nothing can be painted without workers; nothing is left."""
    with pytest.raises(ClusterError, match=r"tcp://127\.0\.0\.1:9 "):
        archive.paint(scheduler="tcp://127.0.0.1:9")
    assert contents(archive.out) == {}


def test_a_folder_that_cannot_be_made(archive):
    """A file in the place of the output folder ends the batch; in the place of a subfolder, pictures fail."""
    archive.out.write_text("mine")
    with pytest.raises(OutputError, check=having(FileExistsError, path=archive.out)):
        archive.paint()
    archive.out.unlink()
    archive.out.mkdir()
    (archive.out / "sub").write_text("mine")
    assert archive.paint() == {"sub/b.png": "failed", "a.png": "done"}
    assert "sub: the folder cannot be created" in archive.rows["sub/b.png"]["reason"]


def test_an_output_folder_that_cannot_be_written_to(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other --scratch would help."""

    def refuse(folder: Path) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    for place in (output_files, run_folder):
        monkeypatch.setattr(place, "check_writable", refuse)
    with pytest.raises(OutputError, match=r"cannot write into the folder .*out \(Permission denied\); choose another$"):
        archive.paint()


def test_one_batch_at_a_time_has_a_folder(archive, before_painting):
    """The other is refused before it does anything."""
    refused = []

    def act(*_: object) -> None:
        with pytest.raises(OutputError, check=having(Timeout, path=archive.out / "report.jsonl")) as caught:
            archive.paint()
        refused.append(caught.value)

    before_painting(act)
    assert archive.paint("photos/a.png") == {"a.png": "done"}
    assert len(refused) == 1


# ------------------------------------------------------------------------------------------------- pictures alike


def test_what_is_the_same_is_painted_once(archive):
    """Copies have the same bytes, a sidecar that names their own photograph, and the times of that if wished."""
    copies = ["c.png", "sub/d.png"]
    for number, name in enumerate(copies):
        os.utime(archive.add(name, 1), (1e9 + number, 1e9 + number))
    done = archive.paint(keep_times=True)
    assert done == {"a.png": "done", "c.png": "copied", "sub/d.png": "copied", "sub/b.png": "done"}
    first = archive.out / "a.png"
    for number, name in enumerate(copies):
        assert (archive.out / name).read_bytes() == first.read_bytes()
        assert (archive.out / name).stat().st_mtime == 1e9 + number
        sidecar = archive.sidecar(name)
        assert (sidecar["output"], sidecar["same_as"]) == (str(archive.out / name), str(first))
        assert sidecar["inputs"]["content"]["path"] == str(archive.photos / name)
        row = archive.rows[name]
        assert (row["same_as"], row["seconds"], row["attempts"]) == (first.name, 0, 0)
        assert row["style_loss"] == archive.rows["a.png"]["style_loss"]
    assert archive.names == {"a.png", "sub/b.png", *copies}
    assert set(archive.paint(keep_times=True).values()) == {"skipped"}
    (archive.out / "c.png").unlink()
    assert archive.paint(keep_times=True)["c.png"] == "copied"


def test_a_copy_has_what_its_own_line_asks_for(archive):
    """Times if its line of the manifest says so, and a proof like the first one's; snapshots are of the first alone."""
    os.utime(archive.add("c.png", 1), (1e9, 1e9))
    (archive.folder / "press.icc").write_bytes(bytes(pyvips.Image.profile_load("cmyk")))
    rows = [{"content": "photos/a.png"}, {"content": "photos/c.png", "keep_times": True}]
    (archive.folder / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = {"profile": str(archive.folder / "press.icc"), "proof": True, "snapshot_every": 1, "name": "{stem}.tif"}
    out = archive.out / "photos"
    assert archive.paint("list.jsonl", **settings) == {"photos/a.tif": "done", "photos/c.tif": "copied"}
    assert (out / "c.tif").stat().st_mtime == 1e9 != (out / "a.tif").stat().st_mtime
    first, copied = (archive.sidecar(f"photos/{name}") for name in ("a.tif", "c.tif"))
    assert copied["proof"] == {**first["proof"], "path": str(out / "c.tif.proof.png")}
    assert (out / "c.tif.proof.png").read_bytes() == (out / "a.tif.proof.png").read_bytes()
    assert first["snapshots"]
    assert copied["snapshots"] == []


def test_a_copy_has_the_mask_of_faces_beside_it(archive, monkeypatch):
    """What was protected can be given back for either."""
    face = np.zeros((48, 64), np.uint8)
    face[10:30, 20:40] = 255
    monkeypatch.setattr(
        "muralist.pipeline.regions.find_faces", lambda photo: Mask(face, photo.path, photo.sha256, "faces")
    )
    archive.add("c.png", 1)
    assert archive.paint("photos/a.png", "photos/c.png", protect="faces")["c.png"] == "copied"
    own = archive.out / "c.png.faces.png"
    assert own.read_bytes() == (archive.out / "a.png.faces.png").read_bytes()
    assert archive.sidecar("c.png")["inputs"]["masks"][-1]["path"] == str(own)


def test_a_copy_does_not_take_the_place_of_an_interrupted_painting(archive, monkeypatch):
    """What was begun with other settings is refused, as for any picture, and can still be gone on with."""
    archive.out.mkdir()
    photo, journal = archive.add("c.png", 1), archive.out / ".c.png.muralist" / "journal.json"

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("muralist.pipeline.render.score_seams", interrupt)
        with pytest.raises(KeyboardInterrupt):
            render(
                photo, archive.folder / "style.png", archive.out / "c.png", scheduler=archive.scheduler, seed=7, **SMALL
            )
    before = journal.read_bytes()
    assert archive.paint("photos/a.png", "photos/c.png") == {"a.png": "done", "c.png": "failed"}
    assert "seed was 7, is 0" in archive.rows["c.png"]["reason"]
    assert journal.read_bytes() == before


def test_an_output_that_cannot_be_written_stops_no_other(archive):
    """Of identical pictures, the next one is painted instead, and the others are copies of that."""
    for name in ("sub/c.png", "sub/d.png"):
        archive.add(name, 1)  # copies of a.png
    (archive.out / "a.png").mkdir(parents=True)
    done = archive.paint()
    assert done == {"a.png": "failed", "sub/b.png": "done", "sub/c.png": "done", "sub/d.png": "copied"}
    assert archive.paint()["a.png"] == "failed"


def test_copies_of_a_failure_fail(archive, before_painting):
    """It is not tried again for each of them."""
    attempts = []

    def act(name: str, *_: object) -> None:
        attempts.append(name)
        raise PictureError("no picture")

    before_painting(act)
    archive.add("c.png", 1)
    assert archive.paint("photos/a.png", "photos/c.png") == {"a.png": "failed", "c.png": "failed"}
    assert attempts == ["a.png"]
    row = archive.rows["c.png"]
    assert (row["input"], row["reason"], row["error"]) == (str(archive.photos / "c.png"), "no picture", "PictureError")
    assert row["same_as"] == "a.png"


# ------------------------------------------------------------------------------------------- what is not painted again


def test_what_is_painted_is_skipped(archive, monkeypatch):
    """Without workers, and what a run that was killed at its very end left is removed, unless it is to be kept."""
    archive.paint()
    before = contents(archive.out)
    left = [archive.out / ".a.png.muralist.lock", archive.out / "sub" / ".b.png.muralist.gone" / "x"]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_text("left by a kill")
    no_workers(monkeypatch)
    assert archive.paint(keep_run=True) == {"a.png": "skipped", "sub/b.png": "skipped"}
    assert all(path.exists() for path in left)
    assert archive.paint(workers=2) == {"a.png": "skipped", "sub/b.png": "skipped"}
    assert archive.rows["a.png"]["reason"] == "painted already"
    now = contents(archive.out)
    assert now.pop("report.jsonl") != before.pop("report.jsonl")
    assert now == before


def test_what_changed_is_refused(archive):
    """With what differs; with `overwrite` it is painted anew, and nothing else is."""
    archive.paint()
    archive.add("a.png", 5)
    assert archive.paint() == {"a.png": "failed", "sub/b.png": "skipped"}
    assert "the photograph changed" in archive.rows["a.png"]["reason"]
    done = archive.paint(tv_weight=7)
    assert set(done.values()) == {"failed"}
    assert "; use --overwrite" in archive.rows["sub/b.png"]["reason"]
    assert "tv_weight was 60" in archive.rows["sub/b.png"]["reason"]
    assert archive.paint(overwrite=True) == {"sub/b.png": "skipped", "a.png": "done"}
    assert set(archive.paint().values()) == {"skipped"}


def test_kept_folders_stay(archive):
    """Also when the same command finds that there is nothing to do; without `keep_run` they go."""
    archive.paint("photos/a.png", keep_run=True)
    kept = archive.out / ".a.png.muralist"
    files = contents(kept)
    assert files
    assert archive.paint("photos/a.png", keep_run=True) == {"a.png": "skipped"}
    assert contents(kept) == files
    assert archive.paint("photos/a.png") == {"a.png": "skipped"}
    assert not kept.exists()


# --------------------------------------------------------------------------------------------------------- cut short


def interrupt(archive: Archive, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    """Ctrl-C while two pictures are being painted."""

    def wait(*_: object, **__: object) -> None:
        until(lambda: len(list(archive.out.rglob("journal.json"))) == 2, 120)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "wait", wait)
        with pytest.raises(KeyboardInterrupt):
            archive.paint(**options)


def test_ctrl_c_leaves_what_can_be_gone_on_with(archive, monkeypatch):
    """The same call goes on with both pictures and ends with the same bytes; no thread is left meanwhile."""
    archive.paint()
    whole = {name: (archive.out / name).read_bytes() for name in ("a.png", "sub/b.png")}
    shutil.rmtree(archive.out)
    threads = threading.active_count()
    interrupt(archive, monkeypatch)
    assert threading.active_count() == threads
    assert not (archive.out / "report.jsonl").exists()
    assert set(archive.paint(tv_weight=7).values()) == {"failed"}
    assert archive.rows["a.png"]["reason"].endswith(
        "an interrupted run of this painting had other inputs or settings: tv_weight was 60.0, is 7.0; rerun the "
        "original command to resume it, or start over with --restart"
    )
    assert set(archive.paint().values()) == {"done"}
    assert {name: (archive.out / name).read_bytes() for name in whole} == whole
    assert [archive.sidecar(name)["resumed"] for name in whole] == [1, 1]
    assert archive.names == set(whole)


def test_restart_begins_anew(archive, monkeypatch):
    """What was interrupted is painted from the start, also with other settings, and what is painted stays."""
    interrupt(archive, monkeypatch)
    assert set(archive.paint(restart=True, tv_weight=7).values()) == {"done"}
    assert [archive.sidecar(name)["resumed"] for name in ("a.png", "sub/b.png")] == [0, 0]
    assert set(archive.paint(restart=True, tv_weight=7).values()) == {"skipped"}


def test_a_copy_that_was_cut_short_is_made_again(archive, monkeypatch):
    """Between painting and sidecar, nothing would tell from what it was painted; it is known all the same."""
    archive.add("c.png", 1)

    def fail(*_: object) -> None:
        raise OutputError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_sidecar", fail)
        assert archive.paint("photos/a.png", "photos/c.png") == {"a.png": "done", "c.png": "failed"}
    assert archive.paint("photos/a.png", "photos/c.png") == {"a.png": "skipped", "c.png": "copied"}
    assert archive.names == {"a.png", "c.png"}


# ----------------------------------------------------------------------------------------------------------- deadlines


@pytest.fixture
def night(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """What the clock shows, for a test to change."""
    night = [datetime.now()]

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return night[0]

    monkeypatch.setattr(module, "datetime", Clock)
    return night


def test_pictures_are_left_when_time_is_up(archive, before_painting, night):
    """What is under way is finished; the others are left, which is no failure, and painted another night."""

    def act(*_: object) -> None:
        night[0] += timedelta(hours=2)

    before_painting(act)
    archive.add("c.png", 3)
    done = archive.paint(max_hours=1)
    assert done["a.png"] == "done"
    assert [done[name] for name in ("c.png", "sub/b.png")].count("left") >= 1
    left = next(name for name, status in done.items() if status == "left")
    assert archive.rows[left]["reason"] == "it would not be finished in time"
    assert archive.report.exit_code == 0
    assert "left for the next run" in archive.report.summary()
    assert archive.paint()[left] == "done"


def test_what_may_pass_is_left_when_time_is_up(archive, before_painting, night):
    """A picture is not tried again after the end of the night, and what waits for it is left with it."""
    attempts = []

    def act(name: str, *_: object) -> None:
        attempts.append(name)
        night[0] += timedelta(hours=2)
        raise ClusterError("a worker died")

    before_painting(act)
    archive.add("c.png", 1)
    assert archive.paint("photos/a.png", "photos/c.png", max_hours=1) == {"a.png": "left", "c.png": "left"}
    assert attempts == ["a.png"]
    assert archive.rows["c.png"]["same_as"] == "a.png"


def test_no_such_time(archive):
    """Refused before anything is made."""
    with pytest.raises(SettingsError, match="--max-hours"):
        archive.paint(max_hours=-1)
    assert not archive.out.exists()


def test_a_snapshot_never_takes_the_place_of_a_photograph(archive):
    """Not even with --overwrite; the batch does not begin."""
    archive.out.mkdir()
    shutil.copyfile(archive.photos / "a.png", archive.out / "1-000001.png")
    precious = (archive.out / "1-000001.png").read_bytes()
    with pytest.raises(SettingsError, match=r"\S+a\.png .* 1 steps .*1-000001\.png.*--snapshot-every"):
        archive.paint("photos", "out/1-000001.png", snapshot_every=1, overwrite=True, name="{number}.png")
    assert (archive.out / "1-000001.png").read_bytes() == precious
    assert [path.name for path in archive.out.iterdir()] == ["1-000001.png"]


def test_a_damaged_journal_fails_one_picture(archive):
    """The others are painted; with --restart, it is, too."""
    run = archive.out / ".a.png.muralist"
    run.mkdir(parents=True)
    (run / "journal.json").touch()
    assert archive.paint() == {"a.png": "failed", "sub/b.png": "done"}
    assert "journal.json: damaged" in archive.rows["a.png"]["reason"]
    assert "--restart" in archive.rows["a.png"]["reason"]
    assert archive.paint(restart=True) == {"a.png": "done", "sub/b.png": "skipped"}


def test_pages_lead_from_the_batch_to_every_painting(archive: Archive) -> None:
    """With `report` every painting has a page, and the batch one; what was painted before gets its page, too."""
    archive.paint("photos/a.png")
    (archive.photos / "broken.png").write_bytes(b"no picture")
    found = archive.paint(report=True)
    assert found == {"a.png": "skipped", "sub/b.png": "done", "broken.png": "failed"}
    assert {"report.html", "a.png.report.html", "sub/b.png.report.html"} <= archive.names
    rows = json.loads((archive.out / "report.html").read_text().split('id="data">')[1].split("</script>")[0])["rows"]
    pages = {row["name"]: (row.get("page"), bool(row.get("thumbnail"))) for row in rows}
    wanted = {
        "a.png": ("a.png.report.html", True),
        "sub/b.png": ("sub/b.png.report.html", True),
        "broken.png": (None, False),
    }
    assert pages == wanted


def test_the_command_of_a_picture_paints_it_alone(archive: Archive) -> None:
    """The command in the report has the picture's own settings and those of the batch; it paints the same bytes."""
    (archive.folder / "list.jsonl").write_text(
        json.dumps({"content": "photos/a.png", "settings": {"noise_ratio": 0.5}})
    )
    archive.paint("list.jsonl", seed=3)
    (command,) = (row["command"] for row in archive.rows.values())
    first = (archive.out / "photos" / "a.png").read_bytes()
    main.main([*shlex.split(command)[1:], "--overwrite"], standalone_mode=False)
    assert (archive.out / "photos" / "a.png").read_bytes() == first


@pytest.mark.parametrize(
    ("flags", "assignments", "overrides", "words"),
    [
        ({"size": "100"}, (), {}, ["--size 100"]),
        ({"size": "100", "quality": "80"}, ["quality=70"], {"size": 200}, ["--size 200", "--quality 70"]),
        ({"size": 100}, (), {"print_size": "A4"}, ["--print A4"]),
        ({"regions": ["{stem}.png=s.png"]}, (), {"regions": None, "strength_map": None}, []),
        ({"regions": ["a.png=s.png,scale=2", "b c.png=s.png"]}, (), {}, ["--region", "a.png=s.png,scale=2"]),
        ({"gps": True}, ["crop_marks=false"], {"style_scale": [1, 0.5]}, ["--gps", "--no-crop-marks", "1,0.5"]),
        ({}, ["steps=200,100"], {"style_layers": {"relu3_1": 1}, "save_every": 5}, ["--set", "--snapshot-every 5"]),
        ({"preset": "mural"}, (), {"dpi": None}, ["-p mural", "dpi=null"]),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_command_says_each_setting_once(
    flags: dict[str, Any], assignments: Sequence[str], overrides: dict[str, Any], words: list[str]
) -> None:
    """As a flag where there is one, without what changes nothing; and it has the picture's settings."""
    preset = flags.pop("preset", "default")
    options = BatchOptions(preset, flags, assignments)
    item = Item(1, Path("a.png"), (Path("s.png"),), None, overrides, Path("/o.png"), "list")
    command = options.command(item)
    assert settings_of(command) == options.settings_of(item)
    assert all(word in command for word in words)
    given = [word for word in shlex.split(command)[3:] if word.startswith("-") and word not in ("--set", "--region")]
    assert len(given) == len(set(given))
    assert "null" not in command or overrides.get("dpi", 0) is None


def test_a_page_of_somebody_else_stops_a_batch_before_it_begins(archive: Archive) -> None:
    """A report.html that muralist did not write is refused, and nothing is painted."""
    archive.out.mkdir()
    (archive.out / "report.html").write_text("mine")
    with pytest.raises(OutputError, match=r"report\.html: .*muralist"):
        archive.paint(report=True)
    assert os.listdir(archive.out) == ["report.html"]


@pytest.mark.parametrize("content", [b'{"sales": 3}\n', b"[1]\n", b"mine\n", b"\xff\n", b"[" * 100_000])
def test_a_report_of_somebody_else_stops_a_batch_before_it_begins(archive: Archive, content: bytes) -> None:
    """The name of a report.jsonl is a usual one, and nobody was asked whether to replace it."""
    archive.out.mkdir()
    (archive.out / "report.jsonl").write_bytes(content)
    with pytest.raises(OutputError, match=r"report\.jsonl: this is not the report of a batch; move it away"):
        archive.paint()
    assert contents(archive.out) == {"report.jsonl": content}


@pytest.mark.parametrize(
    ("styles", "settings", "error", "facts"),
    [
        (["nosuch.png"], {}, PictureError, "nosuch.png"),
        (["photos"], {"regions": ["sky.png=nosuch.jpg"]}, PictureError, "nosuch.jpg"),
        (["style.png"], {"protect": "nosuch.png"}, PictureError, "nosuch.png"),
        (["style.png"], {"init": "nosuch.png"}, PictureError, "nosuch.png"),
        (["style.png"], {"profile": "nosuch.icc"}, SettingsError, "nosuch.icc"),
        (["style.png"], {"style_scale": "1,2"}, SettingsError, "style_scale"),
        (["style.png"], {"network": "compakt"}, UnknownNetworkError, "compakt"),
        (["style.png"], {"weights": "nosuch.pth"}, WeightsError, "nosuch.pth"),
        ([], {}, SettingsError, "--style"),
    ],
)
def test_what_is_wrong_with_the_command_stops_it_once(
    archive: Archive, styles: list[str], settings: dict[str, Any], error: type[MuralistError], facts: str
) -> None:
    """Not once for every photograph, and before anything is written."""
    with pytest.raises(error, match=facts):
        archive.paint(styles=styles, **settings)
    assert not archive.out.exists()


@pytest.mark.parametrize("regions", [[5], [["sky.png=style.png"]], {"sky.png": "style.png"}, 5])
def test_regions_that_are_no_text_fail_one_picture(archive: Archive, regions: object) -> None:
    """A manifest in which somebody else wrote anything stops no other picture."""
    lines = [{"content": "photos/a.png"}, {"content": "photos/sub/b.png", "regions": regions}]
    (archive.folder / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert archive.paint("list.jsonl") == {"photos/a.png": "done", "photos/sub/b.png": "failed"}
    assert "list.jsonl:2: regions: got" in archive.rows["photos/sub/b.png"]["reason"]


def test_what_a_manifest_says_fails_its_picture(archive: Archive) -> None:
    """The command need not have a style if every line has one; masks by templates belong to one photograph each."""
    lines = [{"style": "style.png"}, {"style": "nosuch.png", "output": "b.png"}]
    text = "".join(json.dumps({"content": "photos/a.png", **line}) + "\n" for line in lines)
    (archive.folder / "list.jsonl").write_text(text)
    assert archive.paint("list.jsonl", styles=()) == {"photos/a.png": "done", "b.png": "failed"}
    again = archive.paint("list.jsonl", styles=(), protect="{stem}.mask.png")
    assert again == {"photos/a.png": "skipped", "b.png": "failed"}
    unused = archive.paint("list.jsonl", styles=["gone.png"])  # for every line has another one
    assert unused == {"photos/a.png": "skipped", "b.png": "failed"}
