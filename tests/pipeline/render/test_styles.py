"""Blends of styles, pictures to start from, and colors."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from pictures import MANY_LAYERS, painting, photograph, save
from rendering import names

from muralist.pipeline import export
from muralist.pipeline.errors import PictureError, SettingsError
from muralist.pipeline.pictures.colors import recoloring, with_chroma_of
from muralist.pipeline.pictures.images import resize
from muralist.pipeline.pictures.reading import read_picture
from muralist.pipeline.styles import Style

pytestmark = pytest.mark.integration


def test_a_style_blended_with_itself_is_that_style(paint, folder):
    """Twice the same style, or a folder of two copies, gives the painting of one, and the sidecar lists them all."""
    (folder / "both").mkdir()
    for name in ("a.png", "b.png"):
        shutil.copy(folder / "style.png", folder / "both" / name)
    paint("one.png", steps=[2, 1])
    twice = paint("twice.png", style=["style.png", "style.png"], style_blend=[3, 1], steps=[2, 1])
    paint("folder.png", style="both", steps=[2, 1])
    for name in ("twice.png", "folder.png"):
        change = np.abs(read_picture(folder / name).pixels.astype(int) - read_picture(folder / "one.png").pixels)
        assert change.max() <= 2
    shown = [(Path(entry["path"]).name, entry["share"], entry["scale"]) for entry in twice["inputs"]["styles"]]
    assert shown == [("style.png", 0.75, 1), ("style.png", 0.25, 1)]


def test_a_blend_lies_between_its_styles(paint, folder):
    """The painting after two styles is neither's, and shares of 1 and 0 give the first one's alone."""
    save(folder / "other.png", painting(seed=7))
    pair = ["style.png", "other.png"]
    paint("one.png", steps=[1])
    paint("both.png", style=pair, steps=[1])
    paint("first.png", style=pair, style_blend="1,0", steps=[1])
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
        sidecar = paint(name, noise_ratio=0.8, seed=seed, steps=[1])
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
    """A starting picture is stretched to fit; the sidecar keeps the notice."""
    save(folder / "init.png", photograph(100, 60))
    sidecar = paint(init=str(folder / "init.png"), steps=[0], base_size=128)
    (notice,) = sidecar["notices"]
    assert "init.png" in notice
    assert "60 x 100 px, another aspect ratio than the painting of 128 x 96 px; it is stretched to fit" in notice
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
    settings = {"style_weight": 0, "noise_ratio": 1, "steps": [12], "base_size": 128, "tv_weight": 0}
    sidecar = paint("one.png", style=[], **settings)
    row = sidecar["levels"][0]
    assert row["losses_last"]["content"] < 0.8 * row["losses_first"]["content"]
    assert "style" not in row["losses_last"]
    assert sidecar["inputs"]["styles"] == sidecar["notices"] == []
    (notice,) = paint("two.png", style="none.png", **settings | {"steps": [1]})["notices"]
    assert notice == "style_weight is 0: the style pictures do not count and are not read"


def test_nothing_to_paint_is_refused(paint, folder):
    """With both weights 0 there is nothing to do, and that is said before anything is read."""
    with pytest.raises(SettingsError, match=r"style_weight 0\b.*content_weight 0\b"):
        paint(style_weight=0, content_weight=0, content="none.png")
    assert names(folder) == ["photo.png", "style.png"]


def test_luminance_keeps_the_photographs_chroma(paint, folder, monkeypatch):
    """With `color: luminance` light is the painting's, and chroma is the photograph's wherever there is room.

    What the painting was before it was rounded to 16 bits lies within half a step, and so does what is compared.
    """
    half = 0.5 / 65535 + 1e-6
    paint("style.tif", bit_depth=16, steps=[1])
    paint("light.tif", bit_depth=16, steps=[1], color="luminance")
    style, light = (read_picture(folder / f"{name}.tif").pixels / 65535 for name in ("style", "light"))
    nearly = [with_chroma_of(photograph() / 255, style + slip) for slip in (-half, 0, half)]
    assert (np.min(nearly, axis=0) - half <= light).all()
    assert (light <= np.max(nearly, axis=0) + half).all()
    monkeypatch.setattr(export, "BLOCK_ROWS", 7)
    paint("blocks.tif", bit_depth=16, steps=[1], color="luminance")
    assert (folder / "blocks.tif").read_bytes() == (folder / "light.tif").read_bytes()


def test_statistics_are_a_recolored_style_picture(paint, folder):
    """With `color: statistics` the painting is that after a style file recolored beforehand."""
    recolored = recoloring(painting(), photograph())(painting() / 255)
    save(folder / "recolored.png", np.round(recolored * 65535).astype(np.uint16))
    paint("matched.png", color="statistics", steps=[2, 1])
    paint("wanted.png", style="recolored.png", steps=[2, 1])
    paint("own.png", steps=[2, 1])
    matched, wanted, own = (read_picture(folder / f"{n}.png").pixels.astype(int) for n in ("matched", "wanted", "own"))
    assert np.abs(matched - wanted).mean() < 0.2 * np.abs(matched - own).mean()


def test_a_style_picture_below_the_minimum_is_refused(paint, folder):
    """A style picture too small for the network is told with its size."""
    save(folder / "style.png", painting(20, 200))
    with pytest.raises(PictureError, match=r"style\.png: .*200 x 20 px.*32 px"):
        paint(**MANY_LAYERS)


def test_a_long_style_picture_keeps_the_minimum(paint, folder):
    """A style picture that is scaled down to the level keeps the short side the network needs."""
    save(folder / "style.png", painting(40, 900))
    assert paint(steps=[1])["levels"][0]["losses_last"]["style"] > 0
