"""What the command line says and writes while it paints, and what when that goes wrong."""

import json
import os
import re

import pytest
from commands import assert_refused, render, run
from pictures import TINY, assignments, contents, photograph, save
from PIL import ExifTags, Image


def test_a_device_that_is_not_there(folder, scheduler):
    """A GPU that no worker has is told by render as by plan."""
    before = contents(folder)
    for command in ("render", "plan"):
        options = [*assignments(TINY), "--scheduler", scheduler, "--set", "device=cuda:77"]
        result = run(command, "photo.png", "-s", "style.png", "-o", "out.png", *options)
        assert_refused(result, "no device cuda:77", "--device auto")
    assert contents(folder) == before


def test_a_bug_keeps_its_traceback(folder, monkeypatch):
    """What nobody expected is not dressed up as a user's mistake."""
    monkeypatch.setattr("muralist.pipeline.render.plan_render", lambda *_, **__: 1 / 0)
    assert isinstance(render().exception, ZeroDivisionError)


def test_render_as_json_is_the_sidecar(painted):
    """`--json` prints the sidecar and nothing else on standard output; a log gets one line per level and no noise."""
    assert json.loads(painted.stdout) == painted.sidecar
    assert painted.stderr.splitlines() == [
        "level 1/2, 64 x 48 px: 1 tile, 4 steps",
        "level 2/2, 128 x 96 px: 4 tiles, 3 steps",
    ]


def test_the_driver_does_without_torch(painted):
    """From its first import to its last file: torch takes four seconds to load, and is for the workers."""
    assert {"muralist.pipeline.render", "distributed"} <= painted.modules
    assert not painted.modules & {"torch", "torchvision", "matplotlib"}


def test_render_says_one_line_when_it_is_done(folder, scheduler):
    """Without --json the last line names the painting; --quiet says nothing; both together leave the JSON."""
    result = render("--scheduler", scheduler)
    assert result.exit_code == 0
    assert re.fullmatch(
        r"out\.png: 128 x 96 px, \d+ s, seam score \d\.\d\d \((up to \d+\.\d\d is chance|too few to tell)\)\n",
        result.stdout,
    )
    quick = ("--scheduler", scheduler, "--overwrite", "--quiet", "--set", "steps=1")
    quiet = render(*quick)
    assert (quiet.exit_code, quiet.output) == (0, "")
    whole = render("--scheduler", scheduler, "--overwrite", "--set", "steps=1", "--set", "tile=512")
    assert re.fullmatch(r"out\.png: 128 x 96 px, \d+ s\n", whole.stdout)  # a single tile has no borders
    both = render(*quick, "--json", "--no-consensus")
    assert (both.exit_code, both.stderr) == (0, "")
    assert json.loads(both.stdout)["settings"]["consensus"] is False
    assert sorted(os.listdir(folder)) == ["out.png", "out.png.json", "photo.png", "style.png"]


def test_notices_come_before_painting(folder, scheduler):
    """What is done otherwise than one may think is told on standard error, but not with --quiet."""
    save(folder / "init.png", photograph(60, 60))
    options = ["--scheduler", scheduler, "--init", "init.png", "-s", "style.png", "--style-blend", "3,1"]
    options += ["--set", "steps=1"]
    lines = render(*options).stderr.splitlines()
    assert lines[0].startswith("muralist: init.png: the starting picture has 60 x 60 px, another aspect ratio")
    assert lines[1].startswith("level 1/2")
    quiet = render(*options, "--overwrite", "--quiet")
    assert (quiet.exit_code, quiet.output) == (0, "")
    sidecar = json.loads((folder / "out.png.json").read_text())
    assert [entry["share"] for entry in sidecar["inputs"]["styles"]] == [0.75, 0.25]
    assert sidecar["notices"] == [lines[0].removeprefix("muralist: ")]


def test_what_is_told_is_logged(folder, scheduler):
    """`--log-file` appends a line per record, with details, also with --quiet; `--verbose` shows the details."""
    options = ["--scheduler", scheduler, "--log-file", "run.log"]
    quiet = render(*options, "--quiet")
    assert (quiet.exit_code, quiet.output) == (0, "")
    assert_refused(render(*options), "out.png: exists already")
    verbose = render("--scheduler", scheduler, "--overwrite", "--verbose", "--set", "steps=[1,1]")
    assert "muralist: out.png: 128 x 96 px on cpu in float32" in verbose.stderr.splitlines()
    assert any(line.startswith("step ") for line in verbose.stderr.splitlines())
    lines = [line.split(" ", 2)[1:] for line in (folder / "run.log").read_text().splitlines()]
    assert lines[0][1].startswith("muralist ")
    assert ["INFO", "level 2/2, 128 x 96 px: 4 tiles, 3 steps"] in lines
    assert {level for level, text in lines if text.startswith("step ")} == {"DEBUG"}
    assert lines[-1][0] == "ERROR"
    assert lines[-1][1].startswith("out.png: exists already")


@pytest.mark.parametrize("file", ["nowhere/run.log", ".", "photo.png"])
@pytest.mark.parametrize("command", ["render", "batch"])
def test_a_log_file_that_cannot_be_written(folder, no_work, command, file):
    """It is refused before any work, and a picture named by mistake stays as it is."""
    before = contents(folder)
    output = "out.png" if command == "render" else "out"
    result = run(command, "photo.png", "-s", "style.png", "-o", output, "--log-file", file)
    assert_refused(result, f"{file}: ", "name another --log-file")
    assert contents(folder) == before


@pytest.mark.parametrize("options", [["--quiet", "--verbose"], ["--verbose", "--quiet"]])
def test_quiet_and_verbose_exclude_each_other(folder, no_work, options):
    """In either order, as wrong usage."""
    result = render(*options)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "Error: --quiet and --verbose exclude each other"


def test_a_history_that_does_not_fit(folder, no_work, monkeypatch):
    """L-BFGS with more than the machine can hold is refused by render as by plan, before any work."""
    monkeypatch.setattr("muralist.pipeline.space.MEMORY_SHARE", 0.0)
    before = contents(folder)
    for command in ("render", "plan"):
        options = [*assignments(TINY), "--optimizer", "lbfgs"]
        result = run(command, "photo.png", "-s", "style.png", "-o", "out.png", *options)
        assert_refused(result, "L-BFGS with a history of 10 pairs needs", "not one pair would fit", "--tile")
    assert contents(folder) == before


def test_losses_and_pictures_on_the_way(folder, scheduler):
    """With the flags that ask for them, lines come on standard error and pictures and a plot beside the painting."""
    options = ["--loss-lines", "--loss-plot", "loss.png", "--snapshot-every", "4", "--width", "64", "--aspect", "1:1"]
    result = render("--scheduler", scheduler, "--quiet", *options)
    assert (result.exit_code, result.stdout) == (0, "")
    lines = result.stderr.splitlines()
    assert [line[:23] for line in lines] == [f"step {step:>6}  level 1/1 " for step in (0, 2, 4)]
    written = ["loss.png", "out-000004.png", "out.png", "out.png.json", "photo.png", "style.png"]
    assert sorted(os.listdir(folder)) == written


def test_gps_is_dropped_unless_asked_for(folder, scheduler):
    """Where a photograph was taken is not in the painting, but with --gps; --keep-times gives it the file's times."""
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "Box Brownie"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    os.utime(save(folder / "photo.jpg", photograph(), exif=exif), (10**9, 10**9))
    for output, flags in (("without.jpg", []), ("with.jpg", ["--gps", "--keep-times"])):
        options = ["--scheduler", scheduler, "--quiet", "--set", "steps=0", *flags]
        assert render(*options, content="photo.jpg", output=output).exit_code == 0
        with Image.open(folder / output) as image:
            found = image.getexif()
        assert found[ExifTags.Base.Model] == "Box Brownie"
        assert bool(found.get_ifd(ExifTags.IFD.GPSInfo)) == bool(flags)
        assert ((folder / output).stat().st_mtime == 10**9) == bool(flags)
