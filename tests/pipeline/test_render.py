"""One photograph becomes one painting: what comes out, what is kept, and what is left when something goes wrong."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import pyvips
from dask_processes import ENVIRONMENT
from pictures import TINY, contents, deep, painting, photograph, save, with_alpha
from PIL import ExifTags, Image
from rendering import render

from muralist.pipeline import export
from muralist.pipeline import render as module
from muralist.pipeline.errors import OutputError, PictureError, SettingsError
from muralist.pipeline.levels import Level
from muralist.pipeline.painting import RenderDriver
from muralist.pipeline.pictures.colors import recoloring, with_chroma_of
from muralist.pipeline.pictures.images import resize
from muralist.pipeline.pictures.reading import read_picture
from muralist.pipeline.progress import Progress, level_work
from muralist.pipeline.records.losses import LossRecord
from muralist.pipeline.records.sidecar import Sidecar
from muralist.pipeline.styles import Style

pytestmark = pytest.mark.integration

Render = Callable[..., Sidecar]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a photograph and a style picture."""
    save(tmp_path / "photo.png", photograph())
    save(tmp_path / "style.png", painting())
    return tmp_path


@pytest.fixture
def paint(folder: Path, scheduler: str) -> Render:
    """A function that renders the folder's photograph, on workers that run already."""

    def call(
        output: str = "out.png", *, content: str = "photo.png", style: str | list[str] = "style.png", **changes: Any
    ) -> Sidecar:
        styles = folder / style if isinstance(style, str) else [folder / name for name in style]
        return render(folder / content, styles, folder / output, **TINY | {"scheduler": scheduler} | changes)

    return call


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(os.listdir(folder))


def test_a_painting_and_its_sidecar(paint, folder):
    """The painting has the photograph's size, the call returns the sidecar, and nothing else is left."""
    sidecar = paint()
    with Image.open(folder / "out.png") as image:
        assert (image.mode, image.size) == ("RGB", (128, 96))
        change = np.abs(np.asarray(image, int) - photograph()).mean()
    assert 1 < change < 60
    assert json.loads((folder / "out.png.json").read_text()) == sidecar
    assert names(folder) == ["out.png", "out.png.json", "photo.png", "style.png"]


def test_the_painting_is_the_finished_canvas(paint, folder, monkeypatch):
    """The pixels of the file are the last canvas without its bleed, rounded, whatever bands it is read in."""
    paint("whole.png")
    monkeypatch.setattr(export, "BLOCK_ROWS", 7)
    paint("bands.png")
    assert (folder / "whole.png").read_bytes() == (folder / "bands.png").read_bytes()


def test_memory_makes_no_difference_to_the_bytes(paint, folder):
    """A photograph on disk and canvases that are read again give the painting of those held in memory."""
    save(folder / "large.png", photograph(480, 640))
    for name, memory in (("disk.png", "1MiB"), ("memory.png", "1GiB")):
        sidecar = paint(name, content="large.png", size=128, memory=memory)
        assert sidecar["settings"]["memory"] == {"1MiB": 1 << 20, "1GiB": 1 << 30}[memory]
    assert (folder / "disk.png").read_bytes() == (folder / "memory.png").read_bytes()


def test_canvases_may_lie_in_an_object_store(paint, folder, painted, object_store):
    """Painted by workers of this machine through S3, the bytes are the same, and the bucket is empty afterwards."""
    paint("s3.png", scratch=object_store, scheduler=None)
    assert (folder / "s3.png").read_bytes() == painted.output.read_bytes()
    system, bucket = fsspec.url_to_fs(object_store, use_listings_cache=False)
    assert system.find(bucket) == []
    assert names(folder) == ["photo.png", "s3.png", "s3.png.json", "style.png"]


def test_several_tiles_come_near_one(paint):
    """A picture in four tiles ends with nearly the losses of the picture in one tile."""
    settings = {"base_size": 128, "steps": [12], "steps_per_round": 2, "style_weight": 30, "optimizer": "adam"}
    tiled = paint("tiled.png", **settings)["levels"][-1]
    whole = paint("whole.png", **settings | {"tile": 512})["levels"][-1]
    assert (tiled["tiles"], whole["tiles"]) == (4, 1)
    assert tiled["losses_first"]["style"] == pytest.approx(whole["losses_first"]["style"], rel=0.1)
    assert tiled["losses_last"]["style"] == pytest.approx(whole["losses_last"]["style"], rel=0.1)
    assert tiled["losses_last"]["content"] == pytest.approx(whole["losses_last"]["content"], rel=0.1)


def test_independent_tiles_miss_the_style_of_the_whole(paint):
    """Without consensus every tile is a painting of its own, and the whole picture's style loss says so."""
    settings = {"base_size": 160, "size": 160, "steps": [12], "steps_per_round": 2, "optimizer": "adam"}
    settings["learning_rate"] = [0.05]
    agreed = paint("agreed.png", **settings)
    alone = paint("alone.png", consensus=False, **settings)
    assert alone["settings"]["consensus"] is False
    assert alone["levels"][-1]["rounds"] == 1
    assert alone["levels"][-1]["tiles"] == agreed["levels"][-1]["tiles"] > 4
    assert alone["levels"][-1]["losses_last"]["style"] > 1.2 * agreed["levels"][-1]["losses_last"]["style"]


def test_no_steps_give_the_photograph_back(paint, folder):
    """With no steps at all the painting is the photograph, so reading, resizing and writing lose nothing."""
    sidecar = paint(steps=[0], base_size=128)
    assert [row["rounds"] for row in sidecar["levels"]] == [0]
    np.testing.assert_array_equal(read_picture(folder / "out.png").pixels, photograph())


def test_a_bleed_and_tiles_that_are_odd(paint, folder):
    """Odd sizes, a bleed of no whole stride and a small tile still give every pixel."""
    save(folder / "odd.png", photograph(71, 133))
    sidecar = paint(content="odd.png", edge_margin=9, tile=64, overlap=20, steps=[1])
    assert read_picture(folder / "out.png").pixels.shape == (71, 133, 3)
    assert sidecar["levels"][-1]["tiles"] > 4


# --------------------------------------------------------------------------------------- styles, starts and colors


def test_a_style_blended_with_itself_is_that_style(paint, folder):
    """Twice the same style, or a folder of two copies, gives the painting of one, and the sidecar lists them all."""
    (folder / "both").mkdir()
    for name in ("a.png", "b.png"):
        shutil.copy(folder / "style.png", folder / "both" / name)
    paint("one.png")
    twice = paint("twice.png", style=["style.png", "style.png"], style_blend=[3, 1])
    paint("folder.png", style="both")
    for name in ("twice.png", "folder.png"):
        change = np.abs(read_picture(folder / name).pixels.astype(int) - read_picture(folder / "one.png").pixels)
        assert change.max() <= 2
    shown = [(Path(entry["path"]).name, entry["share"], entry["scale"]) for entry in twice["inputs"]["styles"]]
    assert shown == [("style.png", 0.75, 1), ("style.png", 0.25, 1)]


def test_a_blend_lies_between_its_styles(paint, folder):
    """The painting after two styles is neither's, and shares of 1 and 0 give the first one's alone."""
    save(folder / "other.png", painting(seed=7))
    pair = ["style.png", "other.png"]
    paint("one.png")
    paint("both.png", style=pair)
    paint("first.png", style=pair, style_blend="1,0")
    one, both, first = (read_picture(folder / f"{name}.png").pixels for name in ("one", "both", "first"))
    assert (both != one).mean() > 0.5
    np.testing.assert_array_equal(first, one)


def test_statistics_of_styles_are_cached_one_by_one(paint, folder, monkeypatch):
    """A style picture that was painted after before is not measured again, alone or among others."""
    save(folder / "new.png", painting(seed=11))
    measured = []
    pixels = Style.pixels
    monkeypatch.setattr(
        Style, "pixels", lambda style, side: measured.append(style.picture.path.name) or pixels(style, side)
    )
    paint("one.png", steps=[1])
    measured.clear()
    paint("both.png", style=["style.png", "new.png"], steps=[1])
    assert measured == ["new.png", "new.png"]  # at two levels
    measured.clear()
    paint("statistics.png", style=["style.png", "new.png"], steps=[1], color="statistics")
    assert sorted(measured) == ["new.png", "new.png", "style.png", "style.png"]
    measured.clear()
    paint("again.png", style="new.png", steps=[1], color="statistics")
    assert measured == []


def test_noise_comes_from_the_seed(paint, folder):
    """The same seed paints the same bytes from noise, in one tile or several alike; another seed paints others."""
    for name, seed in (("a.png", 0), ("b.png", 0), ("c.png", 1)):
        sidecar = paint(name, noise_ratio=0.8, seed=seed)
        assert sidecar["levels"][0]["losses_first"]["content"] > 0
    first, again, other = ((folder / f"{name}.png").read_bytes() for name in "abc")
    assert first == again != other


def test_no_steps_give_the_start_back(paint, folder):
    """With no steps the painting is what it started from: a file as it is, or the network's mean color."""
    save(folder / "init.png", photograph(seed=9))
    sidecar = paint("file.png", init=str(folder / "init.png"), steps=[0], base_size=128)
    np.testing.assert_allclose(read_picture(folder / "file.png").pixels, photograph(seed=9), atol=1)
    assert sidecar["inputs"]["init"]["path"] == str(folder / "init.png")
    assert sidecar["notices"] == []
    paint("blank.png", init="blank", steps=[0], base_size=128)
    assert (read_picture(folder / "blank.png").pixels == round(0.45 * 255)).all()


def test_an_init_of_another_shape_is_stretched_and_said_so(paint, folder):
    """A picture to start from is resized to fit exactly; the sidecar keeps the notice."""
    save(folder / "init.png", photograph(100, 60))
    sidecar = paint(init=str(folder / "init.png"), steps=[0], base_size=128)
    (notice,) = sidecar["notices"]
    assert "init.png" in notice
    assert "60 x 100 px, another shape than the painting of 128 x 96 px; it is resized to fit exactly" in notice
    wanted = resize(photograph(100, 60), 96, 128) * 255
    np.testing.assert_allclose(read_picture(folder / "out.png").pixels, wanted, atol=1)


def test_style_alone_is_texture_on_a_blank_canvas(paint, folder):
    """With content_weight 0 the photograph gives no more than the size; it has no loss."""
    settings = {"content_weight": 0, "init": "blank", "noise_ratio": 1, "style_layers": {"relu1_1": 1}}
    sidecar = paint("one.png", **settings)
    save(folder / "photo.png", photograph(seed=3))
    paint("two.png", **settings)
    assert (folder / "one.png").read_bytes() == (folder / "two.png").read_bytes()
    assert "content" not in sidecar["levels"][-1]["losses_last"]
    assert sidecar["levels"][-1]["losses_last"]["style"] < sidecar["levels"][0]["losses_first"]["style"]


def test_content_alone_comes_back_from_noise(paint):
    """With style_weight 0 no style picture is needed; one that is named anyway is not read, and that is said."""
    settings = {"style_weight": 0, "noise_ratio": 1, "steps": [30], "base_size": 128, "tv_weight": 0}
    sidecar = paint("one.png", style=[], **settings)
    row = sidecar["levels"][0]
    assert row["losses_last"]["content"] < 0.8 * row["losses_first"]["content"]
    assert "style" not in row["losses_last"]
    assert sidecar["inputs"]["styles"] == sidecar["notices"] == []
    (notice,) = paint("two.png", style="none.png", **settings | {"steps": [1]})["notices"]
    assert notice == "style_weight is 0: the style pictures do not count and are not read"


def test_nothing_to_paint_is_refused(paint, folder):
    """With both weights 0 there is nothing to do, and that is said before anything is read."""
    with pytest.raises(SettingsError, match="got style_weight 0 and content_weight 0, so there is nothing to paint"):
        paint(style_weight=0, content_weight=0, content="none.png")
    assert names(folder) == ["photo.png", "style.png"]


def test_luminance_keeps_the_photographs_chroma(paint, folder, monkeypatch):
    """With `color: luminance` light is the painting's, and chroma is the photograph's wherever there is room.

    What the painting was before it was rounded to 16 bits lies within half a step, and so does what is compared.
    """
    half = 0.5 / 65535 + 1e-6
    paint("style.tif", bit_depth=16)
    paint("light.tif", bit_depth=16, color="luminance")
    style, light = (read_picture(folder / f"{name}.tif").pixels / 65535 for name in ("style", "light"))
    nearly = [with_chroma_of(photograph() / 255, style + slip) for slip in (-half, 0, half)]
    assert (np.min(nearly, axis=0) - half <= light).all()
    assert (light <= np.max(nearly, axis=0) + half).all()
    monkeypatch.setattr(export, "BLOCK_ROWS", 7)
    paint("bands.tif", bit_depth=16, color="luminance")
    assert (folder / "bands.tif").read_bytes() == (folder / "light.tif").read_bytes()


def test_statistics_are_a_recolored_style_picture(paint, folder):
    """With `color: statistics` the painting is that after a style file recolored beforehand."""
    recolored = recoloring(painting(), photograph())(painting() / 255)
    save(folder / "recolored.png", np.round(recolored * 65535).astype(np.uint16))
    paint("matched.png", color="statistics")
    paint("wanted.png", style="recolored.png")
    paint("own.png")
    matched, wanted, own = (read_picture(folder / f"{n}.png").pixels.astype(int) for n in ("matched", "wanted", "own"))
    assert np.abs(matched - wanted).mean() < 0.2 * np.abs(matched - own).mean()


# ------------------------------------------------------------------------- sizes, chunks, looks and pictures on the way


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
    alone = {"tile_grid": [2, 3], "overlap": 0, "consensus": False}
    sidecar = paint("chunks.png", **alone)
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
        assert row["total"] == pytest.approx(1000 * row["losses"]["style"] + 50 * row["losses"]["tv"])
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
    with pytest.raises(OutputError, match=r"out-000006\.png: exists already; use --overwrite"):
        paint(snapshot_every=3)
    assert contents(folder) == before
    paint(snapshot_every=3, overwrite=True)
    assert read_picture(folder / "out-000006.png").pixels.shape == (96, 128, 3)


# ---------------------------------------------------------------------------------------------------- what is kept


def test_alpha_is_put_back(paint, folder):
    """Transparency is not painted but comes back as it was, at the painting's size."""
    save(folder / "clear.png", with_alpha(photograph()))
    paint(content="clear.png", size=64, steps=[1])
    with Image.open(folder / "out.png") as image:
        assert (image.mode, image.size) == ("RGBA", (64, 48))
        alpha = np.asarray(image, int)[:, :, 3]
    np.testing.assert_allclose(alpha[20], np.linspace(0, 255, 64), atol=3)
    paint("opaque.jpg", content="clear.png", steps=[1])
    assert read_picture(folder / "opaque.jpg").alpha is None


@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_sixteen_bits_stay_sixteen(paint, folder, extension):
    """A photograph of 16 bits gives a painting of 16, with more than 256 values, and 8 bits if asked for."""
    save(folder / "deep.tif", deep(photograph()))
    sidecar = paint(f"out{extension}", content="deep.tif", steps=[1])
    found = read_picture(folder / f"out{extension}").pixels
    assert found.dtype == np.uint16
    assert len(np.unique(found)) > 1000
    assert sidecar["bit_depth"] == 16
    assert paint(f"eight{extension}", content="deep.tif", steps=[0], bit_depth=8)["bit_depth"] == 8
    assert read_picture(folder / f"eight{extension}").pixels.dtype == np.uint8


def test_formats_of_eight_bits_get_eight(paint, folder):
    """A photograph of 16 bits still becomes a JPEG without being asked."""
    save(folder / "deep.tif", deep(photograph()))
    assert paint("out.jpg", content="deep.tif", steps=[0])["bit_depth"] == 8


def test_a_print_has_its_size_and_resolution(paint, folder):
    """`print_size` at a resolution gives so many pixels, cut to the paper's shape, and the file says so."""
    sidecar = paint("out.tif", print_size="3x2in", dpi=50, fit="crop", steps=[1])
    found = read_picture(folder / "out.tif")
    assert found.pixels.shape == (100, 150, 3)
    assert found.dpi == (50, 50)
    assert (sidecar["levels"][-1]["height"], sidecar["levels"][-1]["width"]) == (100, 150)


def test_resolution_exif_and_profile_are_kept(paint, folder):
    """What the photograph's file says of itself, and its color profile, are in the painting's file."""
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "Box Brownie"
    p3 = bytes(pyvips.Image.profile_load("p3"))
    save(folder / "photo.jpg", photograph(), dpi=(240, 240), exif=exif, icc_profile=p3)
    paint("out.jpg", content="photo.jpg", steps=[0], base_size=128)
    found = read_picture(folder / "out.jpg")
    assert found.icc == p3
    assert found.dpi == (240, 240)
    with Image.open(folder / "out.jpg") as image:
        assert image.getexif()[ExifTags.Base.Model] == "Box Brownie"
    original = read_picture(folder / "photo.jpg").pixels.astype(int)
    assert np.abs(found.pixels - original).mean() < 2  # the same colors, not only the same numbers


def test_the_place_is_left_out_unless_asked_for(paint, folder):
    """GPS is dropped from the painting's EXIF, and the rest is kept; with `gps` all is."""
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "Box Brownie"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    save(folder / "photo.jpg", photograph(), exif=exif)
    for name, gps in (("without.jpg", False), ("with.jpg", True)):
        paint(name, content="photo.jpg", steps=[0], base_size=128, gps=gps)
        with Image.open(folder / name) as image:
            found = image.getexif()
        assert found[ExifTags.Base.Model] == "Box Brownie"
        assert bool(found.get_ifd(ExifTags.IFD.GPSInfo)) == gps


def test_file_times_are_kept_on_request(paint, folder):
    """With `keep_times` the painting is as old as the photograph."""
    os.utime(folder / "photo.png", (10**9, 10**9 + 5))
    paint("old.png", steps=[0], base_size=128, keep_times=True)
    paint("new.png", steps=[0], base_size=128)
    assert (folder / "old.png").stat().st_mtime == 10**9 + 5
    assert (folder / "new.png").stat().st_mtime > 10**9 + 5


def test_the_profile_can_be_left_behind(paint, folder):
    """With `profile: srgb` the painting is sRGB and looks the same."""
    p3 = bytes(pyvips.Image.profile_load("p3"))
    save(folder / "photo.jpg", photograph(), icc_profile=p3)
    paint("out.png", content="photo.jpg", steps=[0], base_size=128, profile="srgb")
    found = read_picture(folder / "out.png")
    assert found.icc == bytes(pyvips.Image.profile_load("srgb"))
    np.testing.assert_allclose(found.pixels, read_picture(folder / "photo.jpg").pixels, atol=1)


# ------------------------------------------------------------------------------------------- when something goes wrong


def test_an_existing_output_is_not_touched(paint, folder):
    """Without `overwrite` an existing file stays as it is; with it, it is replaced."""
    (folder / "out.png").write_bytes(b"precious")
    before = contents(folder)
    with pytest.raises(OutputError, match="exists already; use --overwrite"):
        paint()
    assert contents(folder) == before
    paint(overwrite=True, steps=[0])
    assert read_picture(folder / "out.png").pixels.shape == (96, 128, 3)


def test_a_sidecar_of_another_painting_is_not_touched(paint, folder):
    """Without `overwrite` a sidecar that lies there already stays as it is, even where its painting is gone."""
    (folder / "out.png.json").write_text("precious")
    with pytest.raises(OutputError, match=r"out\.png\.json: exists already; use --overwrite"):
        paint()
    assert (folder / "out.png.json").read_text() == "precious"
    assert not (folder / "out.png").exists()


@pytest.mark.parametrize("picture", ["photo.png", "style.png", "several/one.png", "init.png"])
def test_an_input_is_never_overwritten(paint, folder, picture):
    """Not even with `overwrite` may the output be one of the pictures that are read."""
    (folder / "several").mkdir()
    for name in ("several/one.png", "init.png"):
        save(folder / name, painting())
    before = (folder / picture).read_bytes()
    with pytest.raises(OutputError, match="one of the files to be read"):
        paint(picture, style=["style.png", "several"], init=str(folder / "init.png"), overwrite=True)
    assert (folder / picture).read_bytes() == before


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
    paint("whole.png")
    failing(monkeypatch, paint, KeyboardInterrupt())
    assert (folder / ".out.png.muralist" / "journal.json").is_file()
    ran = []
    with monkeypatch.context() as patch:
        everywhere = RenderDriver._everywhere
        patch.setattr(RenderDriver, "_everywhere", lambda *a, **k: ran.append(a[2]) or everywhere(*a, **k))
        sidecar = paint()
    assert ran == []
    assert sidecar["resumed"] == 1
    assert (folder / "out.png").read_bytes() == (folder / "whole.png").read_bytes()
    whole = json.loads((folder / "whole.png.json").read_text())
    assert [LossRecord(**row) for row in sidecar["losses"]] == [LossRecord(**row) for row in whole["losses"]]
    assert not (folder / ".out.png.muralist").exists()


def test_changed_settings_and_pictures_are_refused(paint, folder, monkeypatch):
    """What was interrupted goes on only as it was begun; what differs is named, and nothing is lost."""
    failing(monkeypatch, paint, KeyboardInterrupt())
    with pytest.raises(OutputError, match=r"out\.png: an interrupted run .*: seed was 0, is 5; rerun its command"):
        paint(seed=5)
    kept = (folder / "photo.png").read_bytes()
    save(folder / "photo.png", photograph(seed=8))
    with pytest.raises(OutputError, match=r"the photograph changed; .* or start over with --restart"):
        paint()
    (folder / "photo.png").write_bytes(kept)
    assert paint(workers=3)["resumed"] == 1


def test_restart_begins_anew(paint, folder, monkeypatch):
    """With `restart`, what was interrupted is given up; an existing output needs `overwrite` again."""
    failing(monkeypatch, paint, KeyboardInterrupt())
    (folder / "out.png").write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists already"):
        paint(seed=5, restart=True)
    assert (folder / "out.png").read_bytes() == b"precious"
    sidecar = paint(seed=5, restart=True, overwrite=True)
    assert (sidecar["resumed"], sidecar["settings"]["seed"]) == (0, 5)


def test_the_run_folder_can_be_kept(paint, folder):
    """With `keep_run` the canvases stay after a success, and the next painting of that name starts over."""
    paint(keep_run=True)
    assert names(folder) == [".out.png.muralist", "out.png", "out.png.json", "photo.png", "style.png"]
    with pytest.raises(OutputError, match="exists already"):
        paint()
    assert paint(overwrite=True, seed=3)["resumed"] == 0
    assert names(folder) == ["out.png", "out.png.json", "photo.png", "style.png"]


def test_notices_are_logged_beforehand(paint, folder, logged, capfd):
    """What the sidecar keeps is logged as warnings, before anything is painted."""
    sidecar = paint(style_weight=0, noise_ratio=1, steps=[1])
    told = [record.getMessage() for record in logged if record.levelname == "WARNING"]
    assert told == sidecar["notices"] != []
    assert [record.name for record in logged] == ["muralist"] * len(told) + ["muralist.progress"] * 2
    assert capfd.readouterr().err == ""


def test_a_profile_that_is_not_applied_is_told_once(paint, folder):
    """What was said of a picture while it was read is a notice, and one of them however often it is read."""
    for name in ("photo.png", "style.png"):
        save(folder / name, photograph(), icc_profile=b"junk" * 50)
    notices = paint(steps=[0], base_size=128, init=str(folder / "photo.png"))["notices"]
    assert [notice.partition(": ")[0] for notice in notices] == [str(folder / "photo.png"), str(folder / "style.png")]
    assert all("color profile is damaged" in notice for notice in notices)


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
    with pytest.raises(OutputError, match=r"nowhere: no folder to write to .* --scratch"):
        paint(scratch=str(folder / "nowhere"))
    assert names(folder) == ["photo.png", "style.png"]


def test_too_little_room_is_found_out_before_any_work(paint, folder, monkeypatch):
    """The free space is compared with what painting will need; the message tells both."""
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(OutputError, match=r"needs .* GiB there for a while, but 0\.0 GiB are free.* --scratch"):
        paint()
    assert names(folder) == ["photo.png", "style.png"]


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


@pytest.mark.parametrize("name", ["out.png", "out.png.json"])
@pytest.mark.parametrize("setting", ["init", "weights"])
def test_what_is_read_is_never_replaced(paint, folder, name, setting):
    """Neither by the painting nor by its record, even with `overwrite`."""
    shutil.copyfile(folder / "photo.png", folder / name)
    with pytest.raises(OutputError, match=f"{name}: this is one of the files to be read; name another output"):
        paint(overwrite=True, **{setting: str(folder / name)})


def test_a_damaged_journal_is_no_dead_end(paint, folder):
    """The command says what is damaged and names --restart, which starts over, also where a painting is there."""
    paint(steps=[1])
    run = folder / ".out.png.muralist"
    for journal in (b"", b"{}", b'{"finished": '):
        run.mkdir()
        (run / "journal.json").write_bytes(journal)
        with pytest.raises(OutputError, match=r"journal\.json: damaged, .*start over with --restart"):
            paint(steps=[1], overwrite=True)
        assert (run / "journal.json").read_bytes() == journal
        assert paint(steps=[1], overwrite=True, restart=True)["resumed"] == 0
    assert names(folder) == ["out.png", "out.png.json", "photo.png", "style.png"]


def test_a_damaged_file_of_a_run_is_said(paint, folder, monkeypatch):
    """A file that somebody cut is one line that names --restart."""

    def harm(painting: RenderDriver) -> None:
        for path in folder.rglob("*.state"):
            path.write_bytes(path.read_bytes()[:10])
        ended(painting)

    ended = RenderDriver._paint_round
    monkeypatch.setattr(RenderDriver, "_paint_round", harm)
    with pytest.raises(OutputError, match=r"damaged.*start over with --restart"):
        paint(steps=[1])


def test_a_folder_that_vanishes_is_said(paint, folder, monkeypatch):
    """One line says what is gone, and nothing is left but the pictures."""

    def vanish(painting: RenderDriver) -> None:
        shutil.rmtree(folder / "out")
        ended(painting)

    ended = RenderDriver._paint_round
    monkeypatch.setattr(RenderDriver, "_paint_round", vanish)
    (folder / "out").mkdir()
    with pytest.raises(OutputError, match=r"out/.*: No such file or directory, wanted a file of this run; somebody"):
        paint("out/out.png", steps=[1])
    assert names(folder) == ["photo.png", "style.png"]


def test_links_planted_beside_the_output_are_not_followed(paint, folder):
    """Names that files had while they were written lead a painter's other files into the painting's place no more."""
    precious = folder / "precious"
    precious.write_bytes(b"mine")
    for name in ("out.png", "out.png.json", "out-000001.png", "losses.png"):
        (folder / f".{name}.part").symlink_to(precious)
    paint(steps=[1], snapshot_every=1, loss_plot=folder / "losses.png")
    assert precious.read_bytes() == b"mine"


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
        with pytest.raises(OutputError, match=r"out\.png: could not be written \(No space left on device\)"):
            paint(overwrite=True, steps=[1])
    assert {name: found for name, found in contents(folder).items() if not name.startswith(".")} == before
    assert paint(overwrite=True, steps=[1])["resumed"] == 1


@pytest.mark.parametrize("number", [28, 122])
def test_a_worker_whose_disk_is_full(paint, folder, monkeypatch, number):
    """A task's error about a full disk, or a full quota, becomes the same clean error."""

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(RenderDriver, "paint", fail)
    with pytest.raises(OutputError, match="the disk is full"):
        paint()
    assert names(folder) == ["photo.png", "style.png"]


def test_other_errors_of_the_system_are_bugs(paint, folder, monkeypatch):
    """What is neither a full disk nor a file that is gone is not called so."""

    def fail(*_: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(RenderDriver, "paint", fail)
    with pytest.raises(OSError, match="Invalid argument") as caught:
        paint()
    assert type(caught.value) is OSError
    assert names(folder) == ["photo.png", "style.png"]


def test_a_style_picture_below_the_minimum_is_refused(paint, folder):
    """A style picture too small for the network is told with its size."""
    save(folder / "style.png", painting(20, 200))
    with pytest.raises(PictureError, match=r"style.png: got a style picture of 200 x 20 px, wanted at least 32 px"):
        paint()


def test_a_long_style_picture_keeps_the_minimum(paint, folder):
    """A style picture that is scaled down to the level keeps the short side the network needs."""
    save(folder / "style.png", painting(40, 900))
    assert paint(steps=[1])["levels"][0]["losses_last"]["style"] > 0


def test_a_page_is_written_with_the_painting(paint, folder):
    """With `report` the painting has its page; a page that is there stops everything before it begins."""
    paint(report=True, steps=[1, 1])
    assert {"out.report", "out.report.html"} <= set(names(folder))
    assert "Seam score" in (folder / "out.report.html").read_text()
    for name in ("out.png", "out.png.json"):
        (folder / name).unlink()
    with pytest.raises(OutputError, match=r"out\.report\.html: exists already; use --overwrite"):
        paint(report=True)
    assert not (folder / "out.png").exists()


def test_a_page_that_fails_leaves_the_painting(paint, folder, monkeypatch):
    """Where the page cannot be written, that is said, and that the painting is done."""

    def fail(*_, **__):
        raise OutputError("the disk is full")

    monkeypatch.setattr("muralist.pipeline.viewer.report.write_report", fail)
    with pytest.raises(OutputError, match="the disk is full; the painting itself is done, and `muralist report` makes"):
        paint(report=True, steps=[1, 1])
    assert (folder / "out.png.json").exists()
