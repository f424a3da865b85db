"""One photograph becomes one painting: tiles, canvases and the sidecar."""

import json

import fsspec
import numpy as np
import pytest
from pictures import MANY_LAYERS, photograph, save
from PIL import Image
from rendering import names

from muralist.pipeline import export
from muralist.pipeline.pictures.reading import read_picture

pytestmark = pytest.mark.integration


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
    """The pixels of the file are the last canvas without its margin, rounded, whatever row blocks it is read in."""
    paint("whole.png", steps=[1])
    monkeypatch.setattr(export, "BLOCK_ROWS", 7)
    paint("blocks.png", steps=[1])
    assert (folder / "whole.png").read_bytes() == (folder / "blocks.png").read_bytes()


def test_memory_makes_no_difference_to_the_bytes(paint, folder):
    """A photograph on disk and canvases that are read again give the painting of those held in memory."""
    save(folder / "large.png", photograph(480, 640))
    for name, memory in (("disk.png", "1MiB"), ("memory.png", "1GiB")):
        sidecar = paint(name, content="large.png", size=128, memory=memory, steps=[4, 3], steps_per_round=2)
        assert sidecar["settings"]["memory"] == {"1MiB": 1 << 20, "1GiB": 1 << 30}[memory]
    assert (folder / "disk.png").read_bytes() == (folder / "memory.png").read_bytes()


def test_canvases_may_lie_in_an_object_store(paint, folder, painted, object_store):
    """Painted by workers of this machine through S3, the bytes are the same, and the bucket is empty afterwards."""
    paint("s3.png", scratch=object_store, scheduler=None)
    assert (folder / "s3.png").read_bytes() == painted.output.read_bytes()
    system, bucket = fsspec.url_to_fs(object_store, use_listings_cache=False)
    assert system.find(bucket) == []
    assert names(folder) == ["photo.png", "s3.png", "s3.png.json", "style.png"]


@pytest.mark.parametrize(("style_loss", "steps"), [("relative", 12), ("gram-w2", 24)])
def test_several_tiles_come_near_one(paint, style_loss, steps):
    """A picture in four tiles ends with nearly the losses of the picture in one tile."""
    settings = MANY_LAYERS | {"base_size": 128, "steps": [steps], "style_weight": 30, "optimizer": "adam"}
    settings["style_loss"] = style_loss
    tiled = paint("tiled.png", **settings)["levels"][-1]
    whole = paint("whole.png", **settings | {"tile": 512})["levels"][-1]
    assert (tiled["tiles"], whole["tiles"]) == (4, 1)
    assert tiled["losses_first"]["style"] == pytest.approx(whole["losses_first"]["style"], rel=0.1)
    assert tiled["losses_last"]["style"] == pytest.approx(whole["losses_last"]["style"], rel=0.1)
    assert tiled["losses_last"]["content"] == pytest.approx(whole["losses_last"]["content"], rel=0.1)


@pytest.mark.parametrize(("style_loss", "steps", "rate"), [("relative", 8, 0.08), ("gram-w2", 16, 0.03)])
def test_independent_tiles_miss_the_style_of_the_whole(paint, style_loss, steps, rate):
    """Without consensus every tile is a painting of its own, and the whole picture's style loss says so."""
    settings = MANY_LAYERS | {"base_size": 144, "size": 144, "steps": [steps], "optimizer": "adam"}
    settings |= {"style_loss": style_loss, "learning_rate": [rate]}
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


def test_a_margin_and_tiles_that_are_odd(paint, folder):
    """Odd sizes, a margin of no whole stride and a small tile still give every pixel."""
    save(folder / "odd.png", photograph(71, 133))
    sidecar = paint(content="odd.png", edge_margin=9, tile=64, overlap=20, steps=[1])
    assert read_picture(folder / "out.png").pixels.shape == (71, 133, 3)
    assert sidecar["levels"][-1]["tiles"] > 4
