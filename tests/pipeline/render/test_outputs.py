"""Files that are there already, and the painting's page."""

import os
import shutil

import pytest
from facts import having
from pictures import contents, painting, save
from rendering import names

from muralist.pipeline.errors import OutputError
from muralist.pipeline.pictures.reading import read_picture

pytestmark = pytest.mark.integration


def test_an_existing_output_is_not_touched(paint, folder):
    """Without `overwrite` an existing file stays as it is; with it, it is replaced."""
    (folder / "out.png").write_bytes(b"precious")
    before = contents(folder)
    with pytest.raises(OutputError, match="--overwrite"):
        paint()
    assert contents(folder) == before
    paint(overwrite=True, steps=[0])
    assert read_picture(folder / "out.png").pixels.shape == (96, 128, 3)


def test_a_sidecar_of_another_painting_is_not_touched(paint, folder):
    """Without `overwrite` a sidecar that lies there already stays as it is, even where its painting is gone."""
    (folder / "out.png.json").write_text("precious")
    with pytest.raises(OutputError, match=r"out\.png\.json: .*--overwrite"):
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
    with pytest.raises(OutputError, check=having(path=folder / picture)):
        paint(picture, style=["style.png", "several"], init=str(folder / "init.png"), overwrite=True)
    assert (folder / picture).read_bytes() == before


@pytest.mark.parametrize("name", ["out.png", "out.png.json"])
@pytest.mark.parametrize("setting", ["init", "weights"])
def test_what_is_read_is_never_replaced(paint, folder, name, setting):
    """Neither by the painting nor by its record, even with `overwrite`."""
    shutil.copyfile(folder / "photo.png", folder / name)
    with pytest.raises(OutputError, check=having(path=folder / "out.png")):
        paint(overwrite=True, **{setting: str(folder / name)})


def test_an_input_by_another_name_is_never_overwritten(paint, folder):
    """As where `PHOTO.png` is `photo.png`."""
    os.link(folder / "photo.png", folder / "PHOTO.png")
    with pytest.raises(OutputError, match="this is an input file"):
        paint("PHOTO.png", overwrite=True)


def test_links_planted_beside_the_output_are_not_followed(paint, folder):
    """What stands in a painting's place, or its record's, is replaced and not written through."""
    files = ("out.png", "out.png.json", "out-000001.png", "losses.png")
    for name in files:
        (folder / f"precious-{name}").write_bytes(b"mine")
        (folder / name).symlink_to(folder / f"precious-{name}")
    paint(steps=[1], snapshot_every=1, loss_plot=folder / "losses.png", overwrite=True)
    assert [(folder / f"precious-{name}").read_bytes() for name in files] == [b"mine"] * 4
    assert not (folder / "out.png").is_symlink()


def test_a_page_is_written_with_the_painting(paint, folder):
    """With `report` the painting has its page; a page that is there stops everything before it begins."""
    paint(report=True, steps=[1, 1])
    assert {"out.png.report", "out.png.report.html"} <= set(names(folder))
    assert "Seam score" in (folder / "out.png.report.html").read_text()
    for name in ("out.png", "out.png.json"):
        (folder / name).unlink()
    with pytest.raises(OutputError, match=r"out\.png\.report\.html: .*--overwrite"):
        paint(report=True)
    assert not (folder / "out.png").exists()


def test_a_page_that_is_interrupted_leaves_the_painting(paint, folder, monkeypatch):
    """What is left to do is told, and that there is nothing to resume."""

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("muralist.pipeline.viewer.report.write_report", stop)
    with pytest.raises(KeyboardInterrupt, match=r"painting is done; `muralist report .*out\.png`"):
        paint(report=True, steps=[1, 1])
    assert (folder / "out.png.json").exists()


def test_a_page_that_fails_leaves_the_painting(paint, folder, monkeypatch):
    """Where the page cannot be written, that is said, and that the painting is done."""

    def fail(*_, **__):
        raise OutputError("the disk is full")

    monkeypatch.setattr("muralist.pipeline.viewer.report.write_report", fail)
    with pytest.raises(OutputError, match=r"the disk is full; .*`muralist report`"):
        paint(report=True, steps=[1, 1])
    assert (folder / "out.png.json").exists()
