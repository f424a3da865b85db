"""Tests of panels: a poster on many sheets or lanes is the poster."""

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf
import pytest
import pyvips
from click.testing import CliRunner
from facts import having
from hypothesis import given
from hypothesis import strategies as st
from pictures import contents, deep, photograph
from PIL import Image

from muralist.cli import main
from muralist.pipeline.errors import OutputError, PictureError, SettingsError
from muralist.pipeline.panel_plan import Plan, plan_panels
from muralist.pipeline.panels import cut_panels
from muralist.pipeline.pictures.metadata import srgb_profile
from muralist.pipeline.pictures.writing import write_picture

CMYK = bytes(pyvips.Image.profile_load("cmyk"))
PIXELS = photograph(200, 300)


@pytest.fixture
def poster(tmp_path: Path) -> Path:
    """A poster of 300 x 200 px, 762 x 508 mm."""
    write_picture(tmp_path / "poster.tif", PIXELS, dpi=(10, 10))
    return tmp_path / "poster.tif"


def put_together(plan: Plan, panels: list[np.ndarray]) -> np.ndarray:
    """The whole; where panels overlap, they are the same."""
    whole = np.full((plan.rows[-1].stop, plan.cols[-1].stop, panels[0].shape[2]), -1)
    places = [(rows, cols) for rows in plan.rows for cols in plan.cols]
    for (rows, cols), panel in zip(places, panels, strict=True):
        there = whole[rows.start : rows.stop, cols.start : cols.stop]
        assert ((there == panel) | (there == -1)).all()
        whole[rows.start : rows.stop, cols.start : cols.stop] = panel
    return whole


def images(path: Path) -> list[np.ndarray]:
    """The pictures on the pages of a PDF."""
    with pikepdf.open(path) as pdf:
        assert pdf.check_pdf_syntax() == []
        return [np.asarray(pikepdf.PdfImage(page.Resources.XObject.Picture).as_pil_image()) for page in pdf.pages]


def test_sheets_are_the_poster(poster: Path, tmp_path: Path) -> None:
    """Put together, the panels of a PDF are the poster, in its own numbers; an overview comes first."""
    told = cut_panels(poster, tmp_path / "panels.pdf", sheet="A3", overlap="20mm", lossless=True)
    assert told == {
        **{"files": [str(tmp_path / "panels.pdf")], "panels": 4, "rows": 2, "columns": 2},
        **{"height_mm": 508.0, "width_mm": 762.0},
    }
    overview, *panels = images(tmp_path / "panels.pdf")
    assert overview.shape == PIXELS.shape
    plan = plan_panels(200, 300, 10, "20mm", sheet="A3")
    assert np.array_equal(put_together(plan, panels), PIXELS)


def test_pages_are_true_to_size(poster: Path, tmp_path: Path) -> None:
    """Every page is a sheet, every panel as large as its pixels at the poster's resolution, and says where it goes."""
    cut_panels(poster, tmp_path / "panels.pdf", sheet="A3", overlap="20mm")
    with pikepdf.open(tmp_path / "panels.pdf") as pdf:
        for page in pdf.pages:
            assert [round(float(n) / 72 * 25.4) for n in page.mediabox] == [0, 0, 420, 297]
        last = pdf.pages[-1]
        across, down = (float(last.TrimBox[n + 2]) - float(last.TrimBox[n]) for n in (0, 1))
        image = last.Resources.XObject.Picture
        assert (across / image.Width, down / image.Height) == pytest.approx((7.2, 7.2), abs=0.01)
        assert b"row 2 of 2, column 2 of 2, poster.tif" in last.Contents.read_bytes()


def test_lanes_of_a_roll_are_the_poster(poster: Path, tmp_path: Path) -> None:
    """Lanes are TIFFs of the whole height, with the poster's resolution, and put together they are the poster."""
    told = cut_panels(poster, tmp_path / "lane.tif", roll="30cm", overlap="10mm")
    assert [Path(file).name for file in told["files"]] == ["lane-1.tif", "lane-2.tif", "lane-3.tif"]
    lanes = [pyvips.Image.new_from_file(file).numpy() for file in told["files"]]
    plan = plan_panels(200, 300, 10, "10mm", roll="30cm")
    assert np.array_equal(put_together(plan, lanes), PIXELS)
    with Image.open(told["files"][0]) as image:
        assert image.info["dpi"] == (10, 10)


@pytest.mark.parametrize(("icc", "depth"), [(None, 16), (CMYK, 8), (CMYK, 16)])
def test_other_posters(tmp_path: Path, icc: bytes | None, depth: int) -> None:
    """16 bits and inks stay as they are in lanes; a PDF has 8 bits."""
    write_picture(tmp_path / "poster.tif", deep(PIXELS), icc=icc, bit_depth=depth, dpi=(10, 10))
    stored = pyvips.Image.new_from_file(str(tmp_path / "poster.tif")).numpy()
    told = cut_panels(tmp_path / "poster.tif", tmp_path / "lane.tif", roll="30cm")
    lanes = [pyvips.Image.new_from_file(file).numpy() for file in told["files"]]
    assert lanes[0].dtype == stored.dtype
    assert np.array_equal(put_together(plan_panels(200, 300, 10, "10mm", roll="30cm"), lanes), stored)
    cut_panels(tmp_path / "poster.tif", tmp_path / "panels.pdf", sheet="A2", lossless=True)
    panels = images(tmp_path / "panels.pdf")[1:]
    eight = np.rint(stored / 257) if depth == 16 else stored
    assert np.array_equal(put_together(plan_panels(200, 300, 10, "10mm", sheet="A2"), panels), eight)


@pytest.mark.parametrize("icc", [CMYK, b"junk" * 50])
def test_a_profile_that_does_not_match(tmp_path: Path, icc: bytes) -> None:
    """A poster of RGB with a profile of something else, as some programs leave it there, is cut as sRGB."""
    Image.fromarray(PIXELS).save(tmp_path / "poster.png", icc_profile=icc, dpi=(10, 10))
    told = cut_panels(tmp_path / "poster.png", tmp_path / "lane.tif", roll="30cm")
    lanes = [pyvips.Image.new_from_file(file) for file in told["files"]]
    assert all(srgb_profile() == lane.get("icc-profile-data") for lane in lanes)
    plan = plan_panels(200, 300, 10, "10mm", roll="30cm")
    assert np.array_equal(put_together(plan, [lane.numpy() for lane in lanes]), PIXELS)


@pytest.mark.parametrize(("icc", "white"), [(None, 255), (CMYK, 0)])
def test_transparent_parts_are_white(tmp_path: Path, icc: bytes | None, white: int) -> None:
    """What is transparent is paper: white, which of inks is none at all."""
    colors = np.full((100, 100, 3 if icc is None else 4), 90, np.uint8)
    alpha = np.full((100, 100, 1), 255, np.uint8)
    alpha[50:] = 0
    space = "srgb" if icc is None else "cmyk"
    image = pyvips.Image.new_from_array(np.dstack([colors, alpha]), interpretation=space)
    if icc is not None:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc)
    image.write_to_file(str(tmp_path / "poster.tif"))
    cut_panels(tmp_path / "poster.tif", tmp_path / "lane.tif", roll="30cm", dpi=10)
    (lane,) = (pyvips.Image.new_from_file(str(path)).numpy() for path in tmp_path.glob("lane-*.tif"))
    assert (lane[:50] == 90).all()
    assert (lane[50:] == white).all()


@given(
    st.integers(1, 4000),
    st.integers(1, 4000),
    st.sampled_from(["A4", "A3", "60x90cm", "A5 landscape"]),
    st.integers(1, 40),
)
def test_panels_cover_the_poster(height: int, width: int, sheet: str, overlap: int) -> None:
    """Every pixel is on a sheet, neighbors share the overlap, and none is a sliver."""
    plan = plan_panels(height, width, 30, f"{overlap}mm", sheet=sheet)
    for cuts, side in ((plan.rows, height), (plan.cols, width)):
        assert (cuts[0].start, cuts[-1].stop) == (0, side)
        assert all(first.stop - second.start == plan.overlap for first, second in pairwise(cuts))
        assert all(cut.start < cut.stop for cut in cuts)
        assert all(cut.stop - cut.start > plan.overlap for cut in cuts[1:])
        assert max(cut.length for cut in cuts) - min(cut.length for cut in cuts) < len(cuts)


def test_sheets_are_turned_where_that_takes_fewer() -> None:
    """An upright poster gets upright sheets, a wide one wide sheets."""
    for size, paper in (((200, 300), (297, 420)), ((300, 200), (420, 297))):
        plan = plan_panels(*size, 10, "20mm", sheet="A3")
        assert (plan.count, plan.sheet) == (4, paper)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "sheet .*roll"),
        ({"sheet": "A3", "roll": "61cm"}, "sheet .*roll"),
        (
            {"sheet": "A6", "overlap": "60mm"},
            r"sheets .*overlap.*\b10 mm",
        ),
        ({"sheet": "15x15mm"}, "sheets .*overlap"),
        ({"roll": "1cm"}, "roll .*overlap"),
        ({"sheet": "A33"}, "sheet 'A33'"),
        ({"sheet": "A3", "overlap": "1"}, "overlap '1'"),
        ({"sheet": "25x25mm", "overlap": "0.1mm", "dpi": 0.5}, "sheets .*overlap"),
        ({"sheet": "A3", "dpi": 0}, r"\b0 dpi"),
        ({"sheet": "40x40mm", "overlap": "1mm", "dpi": 1.0}, r"\b60000 panels.*\b2000\b"),
    ],
)
def test_what_is_refused(poster: Path, tmp_path: Path, options: dict[str, Any], words: str) -> None:
    """In one line, and nothing is left behind."""
    before = contents(tmp_path)
    with pytest.raises(SettingsError, match=words):
        cut_panels(poster, tmp_path / ("panels.tif" if "roll" in options else "panels.pdf"), **options)
    assert contents(tmp_path) == before


def test_outputs_that_are_refused(poster: Path, tmp_path: Path) -> None:
    """Wrong extensions, existing files, the poster itself, and posters that cannot be read."""
    with pytest.raises(OutputError, match=r"'\.tif', .*\.pdf"):
        cut_panels(poster, tmp_path / "a.tif", sheet="A3")
    with pytest.raises(OutputError, match=r"'\.pdf', .*\.tif"):
        cut_panels(poster, tmp_path / "a.pdf", roll="61cm")
    (tmp_path / "a.pdf").touch()
    with pytest.raises(OutputError, match="--overwrite"):
        cut_panels(poster, tmp_path / "a.pdf", sheet="A3")
    poster.rename(tmp_path / "a-1.tif")
    with pytest.raises(OutputError, check=having(path=tmp_path / "a-1.tif")):
        cut_panels(tmp_path / "a-1.tif", tmp_path / "a.tif", roll="200cm", overwrite=True)
    os.link(tmp_path / "a-1.tif", tmp_path / "B-1.tif")  # as where case does not count
    with pytest.raises(OutputError, check=having(path=tmp_path / "B-1.tif")):
        cut_panels(tmp_path / "a-1.tif", tmp_path / "B.tif", roll="200cm", overwrite=True)
    with pytest.raises(PictureError, check=having(path=poster)):
        cut_panels(poster, tmp_path / "b.pdf", sheet="A3")
    write_picture(tmp_path / "bare.png", PIXELS)
    with pytest.raises(SettingsError, match="--dpi"):
        cut_panels(tmp_path / "bare.png", tmp_path / "b.pdf", sheet="A3")


def test_the_command(poster: Path, tmp_path: Path) -> None:
    """It says what it made, in a line or as JSON."""
    command = ["panels", str(poster), "--sheet", "A3", "-o", str(tmp_path / "p.pdf")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0
    assert done.stdout == f"{tmp_path / 'p.pdf'}: 4 panels, 2 rows and 2 columns, for 76.2 x 50.8 cm\n"
    done = CliRunner().invoke(main, [*command, "--overwrite", "--json"])
    assert json.loads(done.stdout)["panels"] == 4


@pytest.mark.parametrize("option", [{"lossless": True}, {"quality": 80}])
def test_lanes_of_a_roll_have_no_quality(poster: Path, tmp_path: Path, option: dict[str, Any]) -> None:
    """They are TIFFs, which are always without loss."""
    with pytest.raises(SettingsError, match=next(iter(option))):
        cut_panels(poster, tmp_path / "lane.tif", roll="30cm", **option)
    assert cut_panels(poster, tmp_path / "lane.tif", roll="30cm")["panels"] > 1
