"""Tests of prints from end to end: what is painted beyond the trim, and what is written around it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf
import pytest
import pyvips
from pictures import TINY, painting, photograph, save, with_alpha
from PIL import Image
from rendering import render

from muralist.pipeline.errors import OutputError, PipelineError, SettingsError
from muralist.pipeline.pictures.array_file import ArrayFile
from muralist.pipeline.pictures.reading import read_picture
from muralist.pipeline.presets import load_settings
from muralist.pipeline.records.identity import difference
from muralist.pipeline.records.sidecar import Sidecar
from muralist.pipeline.render_plan import RenderPlan, plan_render

pytestmark = pytest.mark.integration

CMYK = bytes(pyvips.Image.profile_load("cmyk"))
# 128 x 96 px of photograph on 128 x 96 mm, a pixel each.
PRINT = {"print_size": "128x96mm", "dpi": 25.4}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a photograph, a style picture and a press' profile."""
    save(tmp_path / "photo.png", photograph())
    save(tmp_path / "style.png", painting())
    (tmp_path / "press.icc").write_bytes(CMYK)
    return tmp_path


@pytest.fixture
def settle(folder: Path) -> Callable[..., RenderPlan]:
    """A function that settles a print of the folder's photograph."""

    def call(output: str = "out.png", *, local_dir: Path | None = None, **changes: Any) -> RenderPlan:
        settings = load_settings("default", TINY | PRINT | changes)
        return plan_render(folder / "photo.png", folder / "style.png", folder / output, settings, local_dir=local_dir)

    return call


@pytest.fixture
def paint(folder: Path, scheduler: str) -> Callable[..., Sidecar]:
    """A function that paints one."""

    def call(output: str, **changes: Any) -> Sidecar:
        paths = (folder / "photo.png", folder / "style.png", folder / output)
        return render(*paths, **TINY | PRINT | {"scheduler": scheduler, "steps": [2]} | changes)

    return call


def test_a_print_of_a_cutout(paint, folder):
    """Alpha is laid out as the painting is: mirrored round the edges, opaque where marks are."""
    save(folder / "photo.png", with_alpha(photograph()))
    paint("out.tif", wrap="12mm", wrap_edge="mirror", crop_marks=True)
    found = read_picture(folder / "out.tif")
    assert found.pixels.shape == (140, 172, 3)
    assert (found.alpha[:10] == 255).all()
    ramp = np.pad(with_alpha(photograph())[48, :, 3], 12, "symmetric")
    np.testing.assert_allclose(found.alpha[70, 10:-10].astype(int), ramp, atol=3)


def test_snapshots_of_a_print(paint, folder):
    """On the way the painting alone, at the end the sheet; the record tells the files' sizes."""
    changes = {"wrap": "12mm", "wrap_edge": "mirror", "crop_marks": True, "steps": [2, 2], "snapshot_every": 2}
    rows = paint("out.png", **changes)["snapshots"]
    shapes = [read_picture(row["path"]).pixels.shape[:2] for row in rows]
    assert shapes == [(48, 64), (140, 172)]
    assert [(row["height"], row["width"]) for row in rows] == shapes


@pytest.mark.parametrize("crop", [{}, {"print_size": "96x96mm", "fit": "crop"}])
def test_masks_go_on_beyond_the_trim(settle, folder, crop):
    """A mask of half the size is cropped, extended and mirrored as the photograph is."""
    left = np.zeros((48, 64), np.uint8)
    left[:, :20] = 255
    save(folder / "left.png", left)
    plan = settle(bleed="8mm", regions=[f"{folder}/left.png={folder}/style.png"], **crop)
    large = left.repeat(2, 0).repeat(2, 1)
    wanted = np.pad(large, ((8, 8), (0, 0)), "symmetric")[:, 8:-8] if crop else np.pad(large, 8, "symmetric")
    height, width = plan.final.height, plan.final.width
    found = plan.regions.channels(height, width, (0, height))[..., 1]
    assert abs(found - wanted / 255).mean() < 0.02


@pytest.mark.parametrize("memory", [None, "1MiB"])
def test_the_painting_goes_on_beyond_the_trim(settle, folder, memory):
    """Where all of the photograph is seen, its mirror image is painted beyond; the trim is what was asked for."""
    found = settle(bleed="8mm", local_dir=folder, memory=memory)
    assert (found.final.height, found.final.width) == (96 + 16, 128 + 16)
    assert found.sheet.trim_box == (8, 8, 104, 136)
    wanted = np.pad(photograph(), ((8, 8), (8, 8), (0, 0)), "symmetric")
    assert np.array_equal(found.content.pixels[:], wanted)


def test_pixels_in_a_file_are_extended_too(settle, folder):
    """What does not fit into memory stays in a file."""
    save(folder / "photo.png", photograph(700, 900))
    found = settle(print_size="90x70cm", bleed="8cm", local_dir=folder, memory="1MiB")
    assert isinstance(found.content.pixels, ArrayFile)
    wanted = np.pad(photograph(700, 900), ((80, 80), (80, 80), (0, 0)), "symmetric")
    assert np.array_equal(found.content.pixels[:], wanted)


def test_a_cropped_photograph_goes_on_beyond_the_trim(settle):
    """Where it is cropped, what was cut off is painted there, and mirrored only beyond its own edge."""
    found = settle(print_size="96x96mm", fit="crop", bleed="8mm")
    assert (found.final.height, found.final.width) == (112, 112)
    wanted = np.pad(photograph(), ((8, 8), (0, 0), (0, 0)), "symmetric")[:, 8:-8]
    assert np.array_equal(found.content.pixels[:], wanted)


@pytest.mark.parametrize(
    ("edge", "painted"), [("paint", (96 + 40, 128 + 40)), ("mirror", (96, 128)), ("color", (96, 128))]
)
def test_what_goes_round_a_stretcher(settle, edge, painted):
    """A wrap is painted, or made of the finished painting; the sheet is as large either way."""
    found = settle(wrap="2cm", wrap_edge=edge)
    assert (found.final.height, found.final.width) == painted
    assert (found.sheet.height, found.sheet.width) == (136, 168)


@pytest.mark.parametrize(
    ("output", "changes", "kind", "words"),
    [
        (
            "out.png",
            {"print_size": None, "dpi": None, "bleed": "3mm"},
            SettingsError,
            "got bleed '3mm' without a print",
        ),
        (
            "out.png",
            {"print_size": None, "dpi": None, "crop_marks": True},
            SettingsError,
            "got crop_marks without a print",
        ),
        ("out.png", {"wrap": "5cm"}, SettingsError, "got wrap 5cm for a picture of 12.8 x 9.6 cm"),
        ("out.png", {"profile": "press.icc"}, OutputError, "PNG cannot hold CMYK"),
        ("out.png", {"profile": "photo.png"}, SettingsError, "photo.png is not a color profile"),
        ("out.png", {"proof": True}, SettingsError, "proof needs a printer's profile: got profile keep"),
        ("press.icc", {"profile": "press.icc"}, OutputError, "unknown extension"),
        ("out.pdf", {"print_size": "128x96cm", "dpi": 2000, "wrap": "1cm"}, OutputError, "use --pdf-image lossless"),
        (
            "out.jpg",
            {"print_size": "128x96cm", "dpi": 1300, "wrap": "1cm", "wrap_edge": "mirror"},
            OutputError,
            "65500",
        ),
    ],
)
def test_prints_that_are_refused(settle, folder, monkeypatch, output, changes, kind, words):
    """Before any work, in one line."""
    monkeypatch.chdir(folder)
    with pytest.raises(PipelineError) as caught:
        settle(output, **changes)
    assert isinstance(caught.value, kind)
    assert words in str(caught.value)


def test_another_profile_of_the_same_name_is_another_painting(settle, folder):
    """What is in a profile's file counts, not its name."""
    first = settle("out.tif", profile=str(folder / "press.icc")).identity
    (folder / "press.icc").write_bytes(CMYK[:24] + bytes(12) + CMYK[36:])  # made on another day
    second = settle("out.tif", profile=str(folder / "press.icc")).identity
    assert difference(first, second) == "the color profile changed"
    (folder / "press.icc").rename(folder / "other.icc")
    assert difference(second, settle("out.tif", profile=str(folder / "other.icc")).identity) == ""


def test_a_proof_is_never_in_the_way(settle, folder):
    """A file of its name is not replaced unasked."""
    (folder / "out.tif.proof.png").touch()
    with pytest.raises(OutputError, match=r"out\.tif\.proof\.png: .*--overwrite"):
        settle("out.tif", profile=str(folder / "press.icc"), proof=True)


def test_a_poster_for_a_print_shop(paint, folder):
    """A PDF with bleed, marks, the shop's inks and a proof; the sidecar says where is what."""
    sidecar = paint("out.pdf", bleed="4mm", crop_marks=True, profile=str(folder / "press.icc"), proof=True)
    boxes = {"bleed": [10, 10, 114, 146], "trim": [14, 14, 110, 142], "front": [14, 14, 110, 142]}
    assert sidecar["sheet"] == {"height": 124, "width": 156, **boxes}
    with pikepdf.open(folder / "out.pdf") as pdf:
        page = pdf.pages[0]
        millimeters = {
            name: [round(float(n) / 72 * 25.4, 2) for n in page[f"/{name}Box"]] for name in ("Trim", "Bleed", "Media")
        }
        assert millimeters == {"Trim": [14, 14, 142, 110], "Bleed": [10, 10, 146, 114], "Media": [0, 0, 156, 124]}
        assert page.Resources.XObject.Picture.ColorSpace[1].N == 4
    assert 0 <= sidecar["proof"]["out_of_gamut"] <= 1
    with Image.open(sidecar["proof"]["path"]) as proof:
        assert proof.size == (136, 104)
    assert json.loads((folder / "out.pdf.json").read_text())["proof"] == sidecar["proof"]


def test_a_canvas_and_the_largest_file(paint, folder):
    """Edges mirror the painting; a file that may not be large says with which quality it was written."""
    sidecar = paint("out.jpg", wrap="2cm", wrap_edge="mirror", max_file=9000)
    found = read_picture(folder / "out.jpg").pixels[:].astype(int)
    assert found.shape == (136, 168, 3)
    assert np.abs(found[19, 20:-20] - found[20, 20:-20]).mean() < 6
    assert np.abs(found[10:20, 20:-20] - found[20:30, 20:-20][::-1]).mean() < 6
    assert (folder / "out.jpg").stat().st_size <= 9000
    assert [notice for notice in sidecar["notices"] if "to stay within max_file" in notice]


@pytest.mark.parametrize("changes", [{"bleed": "8mm", "crop_marks": True}, {"wrap": "12mm", "wrap_edge": "mirror"}])
def test_a_print_has_a_page(paint: Callable[..., Sidecar], folder: Path, changes: dict[str, Any]) -> None:
    """The page of a print shows the whole sheet; photograph and borders of tiles lie where the painting is on it."""
    sidecar = paint("out.png", report=True, **changes)
    data = json.loads(re.search(r'id="data">(.*?)</script>', (folder / "out.png.report.html").read_text())[1])
    assert (data["height"], data["width"]) == (sidecar["sheet"]["height"], sidecar["sheet"]["width"])
    tiles = folder / data["left"]["path"] / "0" / "0_0.jpg"
    shown = pyvips.Image.new_from_file(str(tiles)).numpy().astype(float)
    border = (data["height"] - sidecar["height"]) // 2
    assert border in (10, 12)
    assert shown[: border - 2].min() > 240  # paper
    middle = shown[data["height"] // 2 - 40 :, data["width"] // 2 - 56 :][:80, :112]
    assert abs(middle - photograph()[8:88, 8:120]).mean() < 6
    lines, edges = data["layers"][0]["lines"], (border, data["height"] - border)
    assert {(start[0], end[0]) for start, end in lines if start[1] == end[1]} == {edges}


def test_a_pdf_has_no_page(paint: Callable[..., Sidecar], folder: Path) -> None:
    """That is said before anything is painted."""
    with pytest.raises(OutputError, match=r"out\.pdf: .*PDF.*--report"):
        paint("out.pdf", report=True)
    assert {path.name for path in folder.iterdir()} == {"photo.png", "style.png", "press.icc"}
