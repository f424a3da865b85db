"""One photograph becomes one painting: what comes out, what is kept, and what is left when something goes wrong."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from pictures import TINY, contents, deep, painting, photograph, save, with_alpha
from PIL import ExifTags, Image

from muralist.pipeline import render as module
from muralist.pipeline.errors import OutputError, PictureError
from muralist.pipeline.reading import read_picture
from muralist.pipeline.render import render
from muralist.pipeline.sidecar import Sidecar

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

    def call(output: str = "out.png", *, content: str = "photo.png", **changes: Any) -> Sidecar:
        return render(
            folder / content, folder / "style.png", folder / output, **TINY | {"scheduler": scheduler} | changes
        )

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
    monkeypatch.setattr(module, "BAND_ROWS", 7)
    paint("bands.png")
    assert (folder / "whole.png").read_bytes() == (folder / "bands.png").read_bytes()


def test_several_tiles_come_near_one(paint):
    """A picture in four tiles ends with nearly the losses of the picture in one tile."""
    settings = {"coarse": 128, "steps": [12], "steps_per_round": 2, "style_weight": 30}
    tiled = paint("tiled.png", **settings)["levels"][-1]
    whole = paint("whole.png", **settings | {"tile": 512})["levels"][-1]
    assert (tiled["tiles"], whole["tiles"]) == (4, 1)
    assert tiled["style_loss_first"] == pytest.approx(whole["style_loss_first"], rel=0.1)
    assert tiled["style_loss_last"] == pytest.approx(whole["style_loss_last"], rel=0.1)
    assert tiled["content_loss_last"] == pytest.approx(whole["content_loss_last"], rel=0.1)


def test_independent_tiles_miss_the_style_of_the_whole(paint):
    """Without consensus every tile is a painting of its own, and the whole picture's style loss says so."""
    settings = {"coarse": 160, "size": 160, "steps": [12], "steps_per_round": 2, "learning_rate": [0.05]}
    agreed = paint("agreed.png", **settings)
    alone = paint("alone.png", consensus=False, **settings)
    assert alone["settings"]["consensus"] is False
    assert alone["levels"][-1]["rounds"] == 1
    assert alone["levels"][-1]["tiles"] == agreed["levels"][-1]["tiles"] > 4
    assert alone["levels"][-1]["style_loss_last"] > 1.2 * agreed["levels"][-1]["style_loss_last"]


def test_no_steps_give_the_photograph_back(paint, folder):
    """With no steps at all the painting is the photograph, so reading, resizing and writing lose nothing."""
    sidecar = paint(steps=[0], coarse=128)
    assert [row["rounds"] for row in sidecar["levels"]] == [0]
    np.testing.assert_array_equal(read_picture(folder / "out.png").pixels, photograph())


def test_a_bleed_and_tiles_that_are_odd(paint, folder):
    """Odd sizes, a bleed of no whole stride and a small tile still give every pixel."""
    save(folder / "odd.png", photograph(71, 133))
    sidecar = paint(content="odd.png", bleed=9, tile=64, overlap=20, steps=[1])
    assert read_picture(folder / "out.png").pixels.shape == (71, 133, 3)
    assert sidecar["levels"][-1]["tiles"] > 4


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
    """What the photograph's file says of itself, and its colour profile, are in the painting's file."""
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "Box Brownie"
    p3 = bytes(pyvips.Image.profile_load("p3"))
    save(folder / "photo.jpg", photograph(), dpi=(240, 240), exif=exif, icc_profile=p3)
    paint("out.jpg", content="photo.jpg", steps=[0], coarse=128)
    found = read_picture(folder / "out.jpg")
    assert found.icc == p3
    assert found.dpi == (240, 240)
    with Image.open(folder / "out.jpg") as image:
        assert image.getexif()[ExifTags.Base.Model] == "Box Brownie"
    original = read_picture(folder / "photo.jpg").pixels.astype(int)
    assert np.abs(found.pixels - original).mean() < 2  # the same colours, not only the same numbers


def test_the_profile_can_be_left_behind(paint, folder):
    """With `profile: srgb` the painting is sRGB and looks the same."""
    p3 = bytes(pyvips.Image.profile_load("p3"))
    save(folder / "photo.jpg", photograph(), icc_profile=p3)
    paint("out.png", content="photo.jpg", steps=[0], coarse=128, profile="srgb")
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


@pytest.mark.parametrize("picture", ["photo.png", "style.png"])
def test_an_input_is_never_overwritten(paint, folder, picture):
    """Not even with `overwrite` may the output be one of the pictures that are read."""
    before = (folder / picture).read_bytes()
    with pytest.raises(OutputError, match="one of the pictures to be read"):
        paint(picture, overwrite=True)
    assert (folder / picture).read_bytes() == before


def test_a_failure_leaves_nothing(paint, folder, monkeypatch):
    """When painting fails, the run folder goes, no output appears, and an old one stays."""
    (folder / "out.png").write_bytes(b"precious")
    before = contents(folder)

    def fail(*_: object) -> None:
        assert len(list(folder.glob(".out.png.muralist-*"))) == 1
        raise ZeroDivisionError

    monkeypatch.setattr(module, "paint", fail)
    with pytest.raises(ZeroDivisionError):
        paint(overwrite=True)
    assert contents(folder) == before


def test_the_run_folder_can_be_elsewhere(paint, folder, tmp_path_factory):
    """`scratch` names the folder for what lies on the disk meanwhile; nothing is left there."""
    scratch = tmp_path_factory.mktemp("scratch")
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        finished = module._finished
        patch.setattr(module, "_finished", lambda *a: seen.extend([*names(scratch), *names(folder)]) or finished(*a))
        paint(scratch=str(scratch), steps=[1])
    assert seen[0].startswith(".out.png.muralist-")
    assert seen[1:] == ["photo.png", "style.png"]
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
from muralist.pipeline.render import render

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
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_disk_that_fills_up_meanwhile(folder, scheduler):
    """When the driver cannot write a canvas any more, one line says so and nothing is left."""
    said = limited(20_000, folder, TINY | {"scheduler": scheduler})
    assert said.count("\n") == 1
    assert ".out.png.muralist-" in said
    assert "the disk is full; free some space, or name another folder with --scratch" in said
    assert names(folder) == ["photo.png", "style.png"]


def test_a_disk_that_fills_up_at_the_end(paint, folder, monkeypatch):
    """When the painting itself does not fit, one line says so, an old one stays and nothing is left."""
    (folder / "out.png").write_bytes(b"precious")
    before = contents(folder)

    def fail(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match=r"out\.png: could not be written \(No space left on device\)"):
        paint(overwrite=True, steps=[0])
    assert contents(folder) == before


@pytest.mark.parametrize("number", [28, 122])
def test_a_worker_whose_disk_is_full(paint, folder, monkeypatch, number):
    """A task's error about a full disk, or a full quota, becomes the same clean error."""

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, "paint", fail)
    with pytest.raises(OutputError, match="the disk is full"):
        paint()
    assert names(folder) == ["photo.png", "style.png"]


def test_other_errors_of_the_system_are_bugs(paint, folder, monkeypatch):
    """What is no full disk is not called one."""

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module, "paint", fail)
    with pytest.raises(OSError, match="Input/output error") as caught:
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
    assert paint(steps=[1])["levels"][0]["style_loss_last"] > 0
