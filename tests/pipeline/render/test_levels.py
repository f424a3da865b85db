"""Sizes, grids of tiles, which round counts, and what is told of every round."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from pictures import MANY_LAYERS, contents, deep, photograph, save
from rendering import names

from muralist.pipeline import render as module
from muralist.pipeline.errors import OutputError
from muralist.pipeline.levels import Level
from muralist.pipeline.pictures.images import resize
from muralist.pipeline.pictures.reading import read_picture
from muralist.pipeline.progress import Progress, level_work

pytestmark = pytest.mark.integration


def test_a_width_and_a_height_crop_around_the_center(paint, folder):
    """The painting has just the size asked for and shows the middle of the photograph."""
    paint("wide.png", width=64, height=32, steps=[0], base_size=128)
    middle = photograph()[16:80].astype(np.float32) / 255
    np.testing.assert_allclose(read_picture(folder / "wide.png").pixels, resize(middle, 32, 64) * 255, atol=1)
    paint("square.png", aspect="1:1", steps=[0], base_size=128)
    np.testing.assert_array_equal(read_picture(folder / "square.png").pixels, photograph()[:, 16:112])


def test_an_aspect_is_cropped_before_the_paper_is_filled(paint, folder):
    """A photograph cropped to a tall shape fills a paper that stands upright."""
    sidecar = paint(aspect="2:3", print_size="3x2in", dpi=30, fit="crop", steps=[0], base_size=128)
    assert (sidecar["height"], sidecar["width"]) == (90, 60)
    tall = photograph()[:, 32:96].astype(np.float32) / 255
    np.testing.assert_allclose(read_picture(folder / "out.png").pixels, resize(tall, 90, 60) * 255, atol=2)


def test_chunks_are_painted_alone_and_stitched(paint, folder):
    """Every level is cut into so many rectangles; without steps, they give the photograph back."""
    alone = MANY_LAYERS | {"tile_grid": [2, 3], "overlap": 0, "consensus": False}
    sidecar = paint("chunks.png", **alone, steps=[1])
    assert [row["tiles"] for row in sidecar["levels"]] == [2, 6]  # 64 x 48 px has no room for three rows of 32 px
    assert [row["rounds"] for row in sidecar["levels"]] == [1, 1]
    paint("none.png", **alone, steps=[0], base_size=128)
    np.testing.assert_array_equal(read_picture(folder / "none.png").pixels, photograph())


def test_the_best_canvas_counts(paint, folder):
    """Of rounds that get worse and worse the best one is kept: the painting of just so many steps."""
    settings = {"base_size": 128, "tile": 512, "ema_decay": 0, "learning_rate": 0.9, "steps_per_round": 1}
    settings["optimizer"] = "adam"
    sidecar = paint("best.png", iterate="best", steps=8, **settings)
    (level,), totals = sidecar["levels"], [row["total"] for row in sidecar["losses"]]
    assert totals[level["kept"]] == min(totals) < totals[-1]
    assert (level["rounds"], level["steps"], level["ended"]) == (8, 8, "steps")
    assert level["losses_last"]["style"] == pytest.approx(sidecar["losses"][level["kept"]]["losses"]["style"], rel=1e-3)
    paint("short.png", steps=level["kept"], **settings)
    assert (folder / "best.png").read_bytes() == (folder / "short.png").read_bytes()


def test_the_best_canvas_starts_the_next_level(paint):
    """A level whose later rounds are worse hands its best canvas on."""
    settings = {"ema_decay": 0, "learning_rate": [0.9, 1e-6], "steps": [8, 1], "steps_per_round": 1}
    settings["optimizer"] = "adam"
    best, last = (paint(f"{keep}.png", iterate=keep, **settings) for keep in ("best", "last"))
    assert best["levels"][0]["kept"] < last["levels"][0]["kept"] == 8
    assert best["levels"][1]["losses_first"]["style"] < last["levels"][1]["losses_first"]["style"]


class Counting(Progress):
    """Counts the work of every level down to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.work, self.planned, self.skipped = [0], [0], 0

    def start_level(self, level: Level) -> None:
        self.work.append(-level_work(level))
        self.planned.append(level_work(level))

    def skip(self, work: int) -> None:
        self.skipped += work
        super().skip(work)

    def advance(self, work: int) -> None:
        self.work[-1] += work


def test_a_level_ends_on_a_plateau(paint, monkeypatch):
    """With a share that nothing reaches, levels end after three rounds; their bars are full all the same."""
    progress = Counting()
    monkeypatch.setattr(module, "Bars", lambda *_, **__: nullcontext(progress))
    rows = paint(steps=[11, 5], early_stop=1, quiet=False)["levels"]
    assert [(row["rounds"], row["steps"], row["ended"], row["kept"]) for row in rows] == [
        (3, 6, "plateau", 3),
        (3, 5, "steps", 3),
    ]
    assert progress.work == [0, 0, 0]
    assert progress.skipped == progress.planned[1] * 5 // 11  # which says nothing of how fast it is


def test_losses_are_told_for_every_look(paint, folder, logged):
    """The sidecar has a row for the start of every level and for every round; lines and plot show the same."""
    sidecar = paint(loss_lines=True, loss_plot=folder / "loss.svg", content_weight=0)
    looks = [(row["level"], row["step"]) for row in sidecar["losses"]]
    assert looks == [(1, 0), (1, 2), (1, 4), (2, 4), (2, 6), (2, 7)]
    clock = [row["seconds"] for row in sidecar["losses"]]
    assert 0 < clock[0] < clock[-1]
    assert clock == sorted(clock)
    assert clock[-1] <= sidecar["seconds"]
    for row in sidecar["losses"]:
        assert row["losses"].keys() == {"style", "tv"}
        assert row["total"] == pytest.approx(1000 * row["losses"]["style"] + 60 * row["losses"]["tv"])
    lines = [record.getMessage() for record in logged if record.name == "muralist.losses"]
    assert [line.split()[:4] for line in lines] == [["step", str(s), "level", f"{level}/2"] for level, s in looks]
    assert names(folder) == ["loss.svg", "out.png", "out.png.json", "photo.png", "style.png"]


def test_snapshots_are_written_on_the_way(paint, folder):
    """After every two steps of the run there is a picture of the level's size and the output's form."""
    save(folder / "deep.tif", deep(photograph()))
    sidecar = paint("out.tif", content="deep.tif", snapshot_every=2, steps=[4, 4], dpi=50)
    found = [(Path(row["path"]).name, row["step"], row["height"], row["width"]) for row in sidecar["snapshots"]]
    assert found == [
        ("out-000002.tif", 2, 48, 64),
        ("out-000004.tif", 4, 48, 64),
        ("out-000006.tif", 6, 96, 128),
        ("out-000008.tif", 8, 96, 128),
    ]
    for name, _, height, width in found:
        picture = read_picture(folder / name)
        assert picture.pixels.shape == (height, width, 3)
        assert (picture.bit_depth, picture.dpi) == (16, (50, 50))
    assert (folder / "out-000008.tif").read_bytes() == (folder / "out.tif").read_bytes()
    assert (folder / "out-000006.tif").read_bytes() != (folder / "out.tif").read_bytes()


def test_snapshots_have_the_colors_of_the_output(paint, folder):
    """Where only light is painted, the pictures on the way have the photograph's colors too."""
    paint(snapshot_every=4, steps=[4], base_size=128, color="luminance")
    assert (folder / "out-000004.png").read_bytes() == (folder / "out.png").read_bytes()


def test_an_existing_snapshot_stops_before_any_work(paint, folder):
    """What lies under the name of a snapshot stays; with `overwrite` it is replaced."""
    (folder / "out-000006.png").write_bytes(b"precious")
    before = contents(folder)
    with pytest.raises(OutputError, match=r"out-000006\.png: .*--overwrite"):
        paint(snapshot_every=3)
    assert contents(folder) == before
    paint(snapshot_every=3, overwrite=True)
    assert read_picture(folder / "out-000006.png").pixels.shape == (96, 128, 3)


def test_notices_are_logged_beforehand(paint, folder, logged, capfd):
    """What the sidecar keeps is logged as warnings, before anything is painted."""
    sidecar = paint(style_weight=0, noise_ratio=1, steps=[1])
    told = [record.getMessage() for record in logged if record.levelname == "WARNING"]
    assert told == sidecar["notices"] != []
    assert [record.name for record in logged] == ["muralist"] * len(told) + ["muralist.progress"] * 2
    assert capfd.readouterr().err == ""
