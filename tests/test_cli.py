"""The command line: what it prints, and that whatever is wrong is one line, with nothing written and nothing lost."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile
import torch
from click.testing import CliRunner, Result
from machines import Machine
from pictures import MURALIST, TINY, assignments, contents, painting, photograph, save
from PIL import ExifTags, Image
from safetensors.torch import save_file

from muralist.cli import main
from muralist.model import architecture, registry, weight_files
from muralist.model.weight_files import find_weights
from muralist.pipeline.errors import OutputError
from muralist.pipeline.presets import load_settings, preset_names, preset_text
from muralist.pipeline.settings import Settings
from muralist.pipeline.speeds import Speed, conditions, usual_speeds
from muralist.pipeline.workers import client
from muralist.pipeline.workers.local import WorkerLayout
from muralist.pipeline.workers.machine import cpu_name

Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a photograph and a style picture."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "photo.png", photograph())
    save(tmp_path / "style.png", painting())
    return tmp_path


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gets as far as to start workers has not refused what should be."""
    monkeypatch.setattr("muralist.pipeline.render.open_cluster", lambda *_: pytest.fail("workers were started"))


def run(*arguments: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(main, list(arguments))


def render(*options: str, content: str = "photo.png", style: str = "style.png", output: str = "out.png") -> Result:
    """Run `muralist render` in this process; the tiny settings come first, so that options beat them."""
    return run("render", content, "-s", style, "-o", output, *assignments(TINY), *options)


def test_no_bug_hides_in_a_result(folder):
    """The runner keeps an unexpected exception, and its type, rather than report an ordinary failure."""
    result = run("render", "photo.png")
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)


# ----------------------------------------------------------------------------------------------------------- bad input


def assert_refused(result: Result, *words: str, code: int = 1) -> None:
    """One line on standard error that contains all the words, none on standard output."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr


def truncated_jpeg(folder: Path) -> None:
    """Leave half of a JPEG."""
    path = save(folder / "bad.jpg", photograph(), quality=95)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def float_with_nan(folder: Path) -> None:
    """Put one NaN into a float TIFF."""
    pixels = photograph().astype(np.float32) / 255
    pixels[5, 7, 1] = np.nan
    tifffile.imwrite(folder / "bad.tif", pixels, photometric="rgb")


BAD_PICTURES: dict[str, tuple[str, Callable[[Path], object], tuple[str, ...]]] = {
    "missing": ("bad.png", lambda folder: None, ("bad.png: there is no such file", "check the path")),
    "below a file": ("photo.png/bad.png", lambda folder: None, ("photo.png/bad.png: there is no such file",)),
    "folder": (
        "bad.png",
        lambda folder: (folder / "bad.png").mkdir(),
        ("bad.png: this is a folder", "name one picture"),
    ),
    "empty": ("bad.png", lambda folder: (folder / "bad.png").touch(), ("bad.png: the file is empty", "copy or export")),
    "text": (
        "bad.jpg",
        lambda folder: (folder / "bad.jpg").write_text("hello"),
        ("bad.jpg: not a picture", "JPEG, PNG"),
    ),
    "truncated": ("bad.jpg", truncated_jpeg, ("bad.jpg: damaged, cut short", "copy or export it again")),
    "NaN": ("bad.tif", float_with_nan, ("bad.tif: holds NaN", "export it again")),
}


@pytest.mark.parametrize("kind", BAD_PICTURES)
@pytest.mark.parametrize("role", ["content", "style"])
@pytest.mark.parametrize("command", ["render", "plan"])
def test_a_bad_picture_is_refused(folder, kind, role, command):
    """A photograph or style picture that cannot be read is named with its problem, by render as by plan."""
    name, make, words = BAD_PICTURES[kind]
    make(folder)
    before = contents(folder)
    if (kind, role) == ("folder", "style"):
        words = ("bad.png: got a style folder without pictures", ".jpg", "name a picture")
    pictures = {"content": "photo.png", "style": "style.png"} | {role: name}
    assert_refused(run(command, pictures["content"], "-s", pictures["style"], "-o", "out.png"), *words)
    assert contents(folder) == before


def test_pictures_below_the_minimum_are_refused(folder):
    """A photograph, a painting or a style picture smaller than the network can see is told with its size."""
    save(folder / "small.png", photograph(31, 200))
    before = contents(folder)
    assert_refused(render(content="small.png"), "200 x 31 px", "at least 32 px", "--size")
    assert_refused(render("--size", "40"), "40 x 30 px", "at least 32 px")
    assert_refused(render(style="small.png"), "small.png", "200 x 31 px", "at least 32 px")
    assert contents(folder) == before


def test_a_picture_above_the_limit_is_refused(folder):
    """The limit on pixels is told with the setting that raises it."""
    assert_refused(render("--set", "max_pixels=1000"), "photo.png", "12288", "max_pixels = 1000")


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("photo.png/out.png", ("photo.png/out.png", "cannot write into the folder photo.png", "choose another")),
        ("nowhere/out.png", ("there is no folder nowhere", "create it first")),
        ("/proc/out.png", ("/proc/out.png", "/proc")),
        ("out", ("no extension", ".png")),
        ("out.gif", ("unknown extension '.gif'", ".png")),
        ("folder.png", ("folder.png: this is a folder", "add a file name")),
        ("style.png", ("style.png: exists already", "--overwrite")),
        (f"{'x' * 250}.png", ("xxx", "name too long")),
    ],
)
@pytest.mark.parametrize("command", ["render", "plan"])
def test_a_bad_output_is_refused_before_any_work(folder, monkeypatch, output, words, command):
    """An output that cannot be written is found out before a picture is even read."""
    (folder / "folder.png").mkdir()
    before = contents(folder)
    result = run(command, "missing.png", "-s", "missing.png", "-o", output)
    assert_refused(result, *words[:1])
    for word in words:
        assert word.lower() in result.stderr.lower()
    assert contents(folder) == before


def test_a_format_that_cannot_hold_the_painting(folder):
    """Too many bits or pixels for a format are refused beforehand, with formats that can."""
    assert_refused(render("--bit-depth", "16", output="out.jpg"), "JPEG cannot hold 16 bits", ".png")
    assert_refused(render("--size", "17000", output="out.webp"), "WebP is limited to 16383 pixels", "use .tif")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--preset", "defualt"], ("unknown preset 'defualt'", "did you mean 'default'?", "poster")),
        (["--preset", "none.yaml"], ("none.yaml", "cannot be read")),
        (["--preset", "photo.png"], ("photo.png", "not UTF-8")),
        (["--set", "overlapp=3"], ("--set: overlapp: unknown key, did you mean 'overlap'?",)),
        (["--set", "tile"], ("--set: got 'tile', wanted key=value",)),
        (["--set", "style_layers={relu9_1: 1}"], ("network compact has no layer 'relu9_1'", "known: conv1_1, relu1_1")),
        (["--set", "content_layers={relu4_3x: 1}"], ("'relu4_3x'", "did you mean 'relu4_3'?")),
        (["--network", "compct"], ("unknown network 'compct'", "did you mean 'compact'?", "vgg19")),
        (["--tile", "64", "--overlap", "40"], ("tile too small for its overlap", "tile 64", "overlap 40")),
        (["--tile", "80", "--overlap", "39"], ("tile 80 px is too small for an overlap of 39 px", "--tile 78")),
        (["--tile", "8"], ("tile: got", "64")),
        (["--tile", "-512"], ("tile: got '-512'", "wanted")),
        (["--tile", "many"], ("tile: got 'many'", "integer")),
        (["--tile", "1e99"], ("tile: got '1e99'", "wanted")),
        (["--overlap", "-1"], ("overlap: got '-1'", "wanted")),
        (["--size", "0"], ("size: got '0'", "wanted")),
        (["--size", "9" * 30], ("size: got", "wanted")),
        (["--print", "60x90"], ("'60x90'", "60x90cm")),
        (["--print", "60x90cm", "--size", "100"], ("only one of them",)),
        (["--print", "60x90cm", "--dpi", "-300"], ("dpi: got '-300'", "wanted")),
        (["--print", "60x90cm", "--dpi", "nan"], ("dpi: got 'nan'", "wanted")),
        (["--width", "15"], ("width: got '15'", "wanted")),
        (["--width", "100", "--size", "100"], ("size and width exclude each other",)),
        (["--height", "100", "--print", "60x90cm"], ("height and print_size exclude each other",)),
        (["--aspect", "abc"], ("aspect: got aspect 'abc'", "wanted width and height such as 4:3")),
        (["--aspect", "0:3"], ("aspect: got aspect '0:3'", "wanted sides above 0")),
        (["--aspect", "4:3", "--width", "80", "--height", "90"], ("contradict aspect 4:3", "leave one of the three")),
        (["--snapshot-every", "0"], ("snapshot_every: got '0'", "wanted")),
        (["--optimizer", "sgd"], ("optimizer: got 'sgd'", "'adam' or 'lbfgs'")),
        (["--loss-plot", "loss.gif"], ("loss.gif: extension '.gif'", ".svg")),
        (["--loss-plot", "nowhere/loss.png"], ("there is no folder nowhere",)),
        (["--loss-plot", "photo.png", "--overwrite"], ("photo.png: this file is also to be read",)),
        (["--fit", "stretch"], ("fit: got 'stretch'", "'fit' or 'crop'")),
        (["--quality", "101"], ("quality: got '101'", "wanted")),
        (["--bit-depth", "12"], ("bit_depth: got 12", "wanted")),
        (["--steps-per-round", "0"], ("steps_per_round: got '0'", "wanted")),
        (["--style-scale", "inf"], ("style_scale.0: got 'inf'", "wanted")),
        (["--workers", "0"], ("workers: got '0'", "wanted")),
        (["--threads", "-2"], ("threads: got '-2'", "wanted")),
        (["--seed", "-1"], ("seed: got '-1'", "wanted")),
        (["--device", "tpu"], ("device: got 'tpu'", "'cpu'")),
        (["--scheduler", "localhost"], ("scheduler: got 'localhost'", "tcp://host:8786")),
        (["--scratch", "nowhere"], ("nowhere: no folder to write to", "--scratch")),
        (["--scratch", "photo.png"], ("photo.png: no folder to write to", "--scratch")),
        (["--memory", "lots"], ("memory: got 'lots'",)),
        (["--memory", "3KiB"], ("memory: got '3KiB'", "wanted")),
        (["--set", "steps=[-1]"], ("--set: steps.0: got -1", "wanted")),
        (["--set", "learning_rate=0"], ("--set: learning_rate.0: got 0", "wanted")),
        (["--set", "style_weight=-3"], ("--set: style_weight: got -3", "wanted")),
        (["--set", "base_size=1"], ("--set: base_size: got 1", "wanted")),
        (["--weights", "none.safetensors"], ("none.safetensors: cannot be read", "name a weight file")),
        (["--weights", "."], ("cannot be read", "name a weight file")),
        (["--style-blend", "1,2"], ("style_blend: got 2 shares for 1 style", "wanted one for each")),
        (["--style-blend", "0"], ("style_blend: got (0.0,)", "wanted at least one share above 0", "style_weight=0")),
        (["--style-blend", "-1"], ("style_blend.0: got '-1'", "wanted")),
        (["-s", "style.png", "--style-scale", "1,2,3"], ("style_scale: got 3 scales for 2 styles",)),
        (["-s", "nothing"], ("nothing: there is no such file",)),
        (["--init", "none.png"], ("none.png: there is no such file",)),
        (["--noise-ratio", "1.1"], ("noise_ratio: got '1.1'", "wanted")),
        (["--color", "photo"], ("color: got 'photo'", "'luminance'")),
        (["--set", "style_weight=0", "--set", "content_weight=0"], ("there is nothing to paint",)),
    ],
)
def test_a_bad_option_is_refused(folder, no_work, options, words):
    """Every unknown name and every number that makes no sense is one line, with what was wanted."""
    before = contents(folder)
    assert_refused(run("render", "photo.png", "-s", "style.png", "-o", "out.png", *options), *words)
    assert contents(folder) == before


def test_a_style_is_wanted_only_where_style_counts(folder, no_work):
    """Without --style one line asks for one; with style_weight=0 the plan goes as far as to start workers."""
    assert_refused(run("render", "photo.png", "-o", "out.png"), "got no style picture", "--style")
    with pytest.raises(pytest.fail.Exception, match="workers were started"):
        CliRunner().invoke(
            main, ["render", "photo.png", "-o", "out.png", "--set", "style_weight=0"], catch_exceptions=False
        )


def test_several_problems_are_one_line(folder):
    """All wrong settings are reported together, still in one line."""
    assert_refused(render("--set", "tile=1", "--seed", "-1", "--set", "nonsense=1"), "tile: ", "seed: ", "nonsense: ")


@pytest.mark.parametrize("options", [[], ["photo.png"], ["photo.png", "-s", "style.png"], ["--no-such-option"]])
def test_wrong_usage_is_exit_2(folder, options):
    """A missing argument or an unknown option is wrong usage; the last line says which."""
    result = run("render", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert sorted(os.listdir(folder)) == ["photo.png", "style.png"]


# ------------------------------------------------------------------------------------------------------------- weights


def of_another_network(path: Path) -> None:
    """Weights whose layers have other shapes."""
    save_file({"conv1_1.weight": torch.zeros(64, 3, 3, 3), "conv1_1.bias": torch.zeros(64)}, path)


def cut_short(path: Path) -> None:
    """The first half of the weights that come with muralist."""
    whole = Path(architecture.__file__).parent / "weights" / "compact.safetensors"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])


BAD_WEIGHTS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "wrong architecture": (of_another_network, ("does not hold network compact", "(64, 3, 3, 3)", "check --weights")),
    "truncated": (cut_short, ("is not a whole safetensors file", "fetch it again")),
    "empty": (Path.touch, ("is not a whole safetensors file", "fetch it again")),
    "text": (lambda path: path.write_text("hello"), ("is not a whole safetensors file", "fetch it again")),
}


@pytest.mark.parametrize("kind", BAD_WEIGHTS)
@pytest.mark.parametrize("command", ["render", "plan"])
def test_bad_weights_are_refused(folder, scheduler, kind, command):
    """A weight file of another network, or a broken one, is named with its problem, before anything is painted."""
    make, words = BAD_WEIGHTS[kind]
    make(folder / "bad.safetensors")
    before = contents(folder)
    options = [*assignments(TINY), "--weights", "bad.safetensors", "--scheduler", scheduler]
    options += ["--quiet"] if command == "render" else []
    assert_refused(run(command, "photo.png", "-s", "style.png", "-o", "out.png", *options), "bad.safetensors", *words)
    assert contents(folder) == before


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """VGG-19 is published where nobody answers, and there is an empty cache; where its file would go."""
    url = "http://127.0.0.1:9/vgg19-dcbb9e9d.pth"
    table = (replace(each, url=url) if each.name == "vgg19-dcbb9e9d.pth" else each for each in weight_files.PUBLISHED)
    monkeypatch.setattr(weight_files, "PUBLISHED", tuple(table))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "snapshots" / "vgg19-dcbb9e9d.pth"


def test_weights_that_cannot_be_downloaded(folder, offline):
    """Offline without a cache, the message tells what was tried, where the file would go, and the other ways."""
    result = render("--network", "vgg19")
    assert_refused(
        result, str(offline), "http://127.0.0.1:9/vgg19", "cannot be downloaded", "--weights FILE", "compact"
    )
    assert [name for name, content in contents(folder).items() if content is not None] == ["photo.png", "style.png"]


def test_weights_with_a_wrong_hash(folder, offline):
    """A file in the cache that is not the published one is not used."""
    offline.parent.mkdir(parents=True)
    offline.write_bytes(b"something else")
    assert_refused(render("--network", "vgg19"), str(offline), "SHA-256", "dcbb9e9d", "delete the file")
    assert offline.read_bytes() == b"something else"


def test_bundled_weights_that_were_changed(folder, monkeypatch):
    """Damage to the weights that come with muralist is noticed."""
    table = (replace(each, sha256="0" * 64) for each in weight_files.PUBLISHED if each.network == "compact")
    monkeypatch.setattr(weight_files, "PUBLISHED", tuple(table))
    assert_refused(render(), "compact.safetensors", "SHA-256", "0000")


# ---------------------------------------------------------------------------------------------------- while it is done


def test_a_scheduler_that_does_not_answer(folder, monkeypatch, capfd):
    """The address is named with the ways out, and no log line of dask is among what is shown."""
    monkeypatch.setattr(client, "CONNECT_SECONDS", 1)
    before = contents(folder)
    assert_refused(render("--scheduler", "tcp://127.0.0.1:9"), "no dask scheduler answers at tcp://127.0.0.1:9")
    assert capfd.readouterr() == ("", "")
    assert contents(folder) == before


def test_a_painting_that_diverges(folder, scheduler):
    """Absurd weights end in one line that tells what to change, and leave nothing."""
    before = contents(folder)
    assert_refused(
        render("--scheduler", scheduler, "--quiet", "--set", "style_weight=1e38"), "diverged", "learning_rate"
    )
    assert contents(folder) == before


def test_a_device_that_is_not_there(folder, scheduler):
    """A GPU that no worker has is told by render as by plan."""
    before = contents(folder)
    for command in ("render", "plan"):
        options = [*assignments(TINY), "--scheduler", scheduler, "--set", "device=cuda:77"]
        result = run(command, "photo.png", "-s", "style.png", "-o", "out.png", *options)
        assert_refused(result, "device cuda:77 is not there", "--device auto")
    assert contents(folder) == before


def test_a_bug_keeps_its_traceback(folder, monkeypatch):
    """What nobody expected is not dressed up as a user's mistake."""
    monkeypatch.setattr("muralist.pipeline.render.plan_render", lambda *_, **__: 1 / 0)
    assert isinstance(render().exception, ZeroDivisionError)


# -------------------------------------------------------------------------------------------------------- what it says


def test_render_as_json_is_the_sidecar(painted):
    """`--json` prints the sidecar and nothing else on standard output; a log gets one line per level and no noise."""
    assert json.loads(painted.stdout) == painted.sidecar
    assert painted.stderr.splitlines() == [
        "level 1/2, 64 x 48 px: 1 tile, 4 steps",
        "level 2/2, 128 x 96 px: 4 tiles, 3 steps",
    ]


def test_render_says_one_line_when_it_is_done(folder, scheduler):
    """Without --json the last line names the painting; --quiet says nothing; both together leave the JSON."""
    result = render("--scheduler", scheduler)
    assert result.exit_code == 0
    assert re.fullmatch(
        r"out\.png: 128 x 96 px, \d+ s, seam score \d\.\d\d \((up to \d+\.\d\d is chance|too few to tell)\)\n",
        result.stdout,
    )
    quiet = render("--scheduler", scheduler, "--quiet", "--overwrite")
    assert (quiet.exit_code, quiet.output) == (0, "")
    both = render("--scheduler", scheduler, "--quiet", "--json", "--overwrite", "--no-consensus")
    assert (both.exit_code, both.stderr) == (0, "")
    assert json.loads(both.stdout)["settings"]["consensus"] is False
    assert sorted(os.listdir(folder)) == ["out.png", "out.png.json", "photo.png", "style.png"]


def test_notices_come_before_painting(folder, scheduler):
    """What is done otherwise than one may think is told on standard error, but not with --quiet."""
    save(folder / "init.png", photograph(60, 60))
    options = ["--scheduler", scheduler, "--init", "init.png", "-s", "style.png", "--style-blend", "3,1"]
    lines = render(*options).stderr.splitlines()
    assert lines[0].startswith("muralist: init.png: the picture to start from is 60 x 60 px, another shape")
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
    monkeypatch.setattr("muralist.pipeline.estimate.MEMORY_SHARE", 0.0)
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


def test_plan_foretells_and_does_nothing(folder, painted, monkeypatch):
    """`plan` prints a table, or JSON with the same rows as the sidecar's, and leaves no file."""
    measured = {"device": "cpu", "precision": "float32", "pixel_step_seconds": 1e-6, "measured_on": None, "busy": None}
    monkeypatch.setattr("muralist.pipeline.estimate.speed_here", lambda *_: measured)
    options = ["photo.png", "-s", "style.png", "-o", "out.png", *assignments(TINY)]
    found = json.loads(run("plan", *options, "--json").stdout)
    for key in ("height", "width", "tiles", "rounds", "steps"):
        assert [row[key] for row in found["levels"]] == [row[key] for row in painted.sidecar["levels"]]
    assert {"worker_bytes", "driver_bytes", "disk_bytes", "operations", "seconds"} <= set(found)
    table = run("plan", *options)
    assert (table.exit_code, table.stderr) == (0, "")
    assert "128 x 96" in table.stdout
    assert sorted(os.listdir(folder)) == ["photo.png", "style.png"]


WITHOUT_TORCH = """
import sys
from muralist.cli import main
try:
    main(sys.argv[1:])
finally:
    assert "torch" not in sys.modules
"""


def test_a_machine_that_was_measured_is_planned_for_without_torch(folder, monkeypatch, tmp_path):
    """Where a speed was kept, `plan` says when it was measured, and waits neither for that nor for torch."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    here = conditions(load_settings(overrides=TINY), WorkerLayout(1, 1), "cpu", cpu_name())
    assert usual_speeds().keep(Speed(here, "float32", True, 96, 2.0, "2026-11-21"))
    options = ["photo.png", "-s", "style.png", "-o", "out.png", *assignments(TINY)]
    command = [sys.executable, "-c", WITHOUT_TORCH, "plan", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2.00 microseconds per pixel and step (measured on 2026-11-21)" in done.stdout


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """A machine of a known speed that has never been measured."""
    machine = Machine()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("muralist.pipeline.bench.bench_workers", machine.crew)
    return machine


def test_bench_measures_what_plan_goes_by(machine, tmp_path):
    """`bench` prints a table, or the same as JSON, and keeps the speeds in the cache folder."""
    options = ["bench", "--network", "compact", "--tile", "512", "--device", "cpu", "--workers", "2", "--threads", "3"]
    found = json.loads(run(*options, "--json").stdout)
    assert (found["workers"], found["threads"], len(found["rows"])) == (2, 3, 2)
    shown = run(*options)
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert "2 workers with 3 threads" in shown.stdout
    assert str(tmp_path / "cache" / "muralist" / "speeds.json") in shown.stdout.splitlines()[-1]


def test_bench_by_default(machine):
    """Two networks, the precision that suits the device and float32, two sides."""
    assert run("bench").exit_code == 0
    combinations = {(n, p, s) for n in ("compact", "vgg19") for p in ("bfloat16", "float32") for s in (512, 1024)}
    assert set(machine.measured) == combinations


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--network", "compct"], ("unknown network 'compct'", "did you mean 'compact'?", "vgg19")),
        (["--precision", "float16"], ("precision: got 'float16'", "'bfloat16'")),
        (["--tile", "8"], ("tile: got '8'", "64")),
        (["--tile", "512", "--tile", "1e99"], ("tile: got '1e99'", "wanted")),
        (["--tile", "200000"], ("a tile of 200000 x 200000 px takes more than", "GiB are free", "smaller --tile")),
        (["--device", "tpu"], ("device: got 'tpu'", "'cpu'")),
        (["--workers", "0"], ("workers: got '0'", "wanted")),
        (["--threads", "many"], ("threads: got 'many'", "integer")),
    ],
)
def test_bench_refuses_what_makes_no_sense(machine, options, words):
    """Every bad value is one line, before anything is measured."""
    assert_refused(run("bench", *options), *words)
    assert machine.asked == []


def test_presets_are_listed_and_shown():
    """Every preset has its line; with a name its text is shown, or with --json all settings it results in."""
    listed = run("presets").stdout.splitlines()
    assert [line.partition(":")[0] for line in listed] == preset_names()
    assert json.loads(run("presets", "--json").stdout) == preset_names()
    assert run("presets", "poster").stdout == preset_text("poster").rstrip() + "\n"
    shown = json.loads(run("presets", "poster", "--json").stdout)
    assert Settings.model_validate(shown) == load_settings("poster")
    assert_refused(run("presets", "postr"), "unknown preset 'postr'", "did you mean 'poster'?")


def test_networks_are_listed(offline):
    """Every network is shown with its files, their licenses, its layers, and how to get what is missing."""
    rows = {row["name"]: row for row in json.loads(run("networks", "--json").stdout)}
    assert rows["compact"]["installed"] is True
    assert rows["vgg19"]["installed"] is False
    assert rows["vgg19"]["file"] == str(offline)
    text = run("networks").stdout
    words = ("compact: installed", "vgg19: not installed", "http://127.0.0.1:9/", f"{offline}: not there")
    words += ("relu5_1", "BSD", "vgg16: not", "alexnet: not", "get it from https://www.cs.toronto.edu/~guerzhoy")
    for word in words:
        assert word in text


def test_weights_are_converted(folder):
    """What was made of which file is said; a painting with the converted weights can be asked for."""
    shutil.copy(registry.BUNDLED / "compact.safetensors", folder / "in.bin")
    done = run("networks", "convert", "in.bin", "out.safetensors")
    assert done.stdout == "out.safetensors: compact, from compact.safetensors (safetensors), license MIT " + (
        "(distilled from VGG-19, CC BY 4.0; see compact.md beside the weights)\n"
    )
    assert find_weights(architecture.architecture("compact"), str(folder / "out.safetensors")).license.startswith("MIT")
    assert_refused(run("networks", "convert", "in.bin", "out.safetensors"), "exists already", "--overwrite")
    assert run("networks", "convert", "in.bin", "out.safetensors", "--overwrite", "--network", "compact").exit_code == 0
    assert_refused(run("networks", "convert", "photo.png", "x.safetensors"), "is not a whole", "photo.png")
    assert_refused(run("networks", "convert", "in.bin", "x", "--network", "vgg19"), "it fits compact: use --network")


HELP = """
import sys
from muralist.cli import main
try:
    main(sys.argv[1:])
finally:
    slow = {"torch", "distributed", "dask", "pyvips", "numpy", "tifffile", "safetensors"} & set(sys.modules)
    assert not slow, slow
"""


COMMANDS = [[], ["render"], ["batch"], ["plan"], ["bench"], ["presets"], ["networks"], ["networks", "convert"]]


@pytest.mark.integration
@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_instant(command):
    """Help of every command loads nothing that is slow to load."""
    done = subprocess.run([sys.executable, "-c", HELP, *command, "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: {' '.join(['-c', *command])}")


def test_the_version_is_told():
    """`--version` is the installed package's."""
    assert run("--version").stdout.strip().endswith(metadata.version("muralist"))


# ----------------------------------------------------------------------------------------------------------- interrupt


STOPPED = "muralist: interrupted; rerun the same command to resume\n"


@pytest.mark.integration
def test_ctrl_c_stops_everything(folder):
    """Ctrl-C while tiles are painted: exit 130, one line, no process and no output left, but what was painted."""
    before = contents(folder)
    options = [*assignments(TINY | {"steps": [1, 100_000], "base_size": 64})]
    command = [*MURALIST, "render", "photo.png", "-s", "style.png", "-o", "out.png", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("level 1/2")
        assert process.stderr.readline().startswith("level 2/2")  # so the first level has been painted
        started = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        output, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert (output, error) == ("", STOPPED)
    assert started
    _, left = psutil.wait_procs(started, timeout=30)
    assert left == []
    journal = json.loads((folder / ".out.png.muralist" / "journal.json").read_text())
    assert (journal["finished"], len(journal["course"]["levels"])) == (False, 1)
    shutil.rmtree(folder / ".out.png.muralist")
    assert contents(folder) == before


@pytest.mark.integration
def test_ctrl_c_stops_a_bench(tmp_path, monkeypatch):
    """Ctrl-C while the machine is measured: exit 130, one line, no process left."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    command = [*MURALIST, "bench", "--network", "vgg19", "--tile", "1024", "--workers", "2", "--device", "cpu"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        started = wait_for_children(process.pid, 3)  # two that measure, and multiprocessing's own
        os.killpg(process.pid, signal.SIGINT)
        output, error = process.communicate(timeout=60)
    assert (process.returncode, output, error) == (130, "", "muralist: interrupted\n")
    _, left = psutil.wait_procs(started, timeout=30)
    assert left == []


def wait_for_children(pid: int, count: int) -> list[psutil.Process]:
    """The processes that one started, once there are so many."""
    for _ in range(600):
        children = psutil.Process(pid).children(recursive=True)
        if len(children) == count:
            return children
        time.sleep(0.1)
    pytest.fail(f"wanted {count} processes, found {len(children)}")


def test_ctrl_c_before_anything_is_painted_leaves_nothing(folder, monkeypatch):
    """Interrupted before workers are there, an existing painting stays as it was, and the exit code is 130."""
    (folder / "out.png").write_bytes(b"precious")
    before = contents(folder)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("muralist.pipeline.render.open_cluster", interrupt)
    result = render("--overwrite")
    assert (result.exit_code, result.stderr) == (130, STOPPED)
    assert contents(folder) == before


@pytest.fixture
def interrupted(folder: Path, scheduler: str) -> list[str]:
    """The options of a painting that was interrupted just before it was written."""
    options = ["--scheduler", scheduler, "--quiet"]

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("muralist.pipeline.render.write_painting", interrupt)
        result = render(*options)
    assert (result.exit_code, result.output) == (130, STOPPED)
    assert sorted(os.listdir(folder)) == [".out.png.muralist", "photo.png", "style.png"]
    return options


def resumed(folder: Path) -> int:
    """How often a painting was resumed, as its sidecar tells, of which nothing else is left."""
    assert sorted(os.listdir(folder)) == ["out.png", "out.png.json", "photo.png", "style.png"]
    return int(json.loads((folder / "out.png.json").read_text())["resumed"])


def test_the_same_command_goes_on(folder, interrupted, painted):
    """What was interrupted ends as if it had not been, byte by byte; where it is painted does not matter."""
    assert render(*interrupted, "--memory", "64MiB").exit_code == 0
    assert resumed(folder) == 1
    assert (folder / "out.png").read_bytes() == painted.output.read_bytes()


def test_another_command_does_not_go_on(folder, interrupted):
    """Changed settings or pictures are named in one line with both ways out; nothing is lost."""
    before = contents(folder)
    words = ("out.png: an interrupted run of this painting began otherwise: ", "rerun its command", "--restart")
    assert_refused(render(*interrupted, "--seed", "7"), *words, "seed was 0, is 7;")
    assert_refused(render(*interrupted, "--gps"), *words, "gps was false, is true;")
    shutil.copy(folder / "style.png", folder / "kept.png")
    save(folder / "style.png", painting(seed=9))
    assert_refused(render(*interrupted, "--overwrite"), *words, "the style pictures changed;")
    os.replace(folder / "kept.png", folder / "style.png")
    assert contents(folder).keys() == before.keys()
    assert render(*interrupted).exit_code == 0
    assert resumed(folder) == 1


def test_restart_begins_anew(folder, interrupted):
    """With --restart, what was interrupted is given up for what is asked for now."""
    assert render(*interrupted, "--seed", "7", "--restart").exit_code == 0
    assert resumed(folder) == 0


def test_keep_leaves_the_run_folder(folder, scheduler):
    """With --keep-run intermediate canvases stay beside the painting; they are not resumed."""
    options = ["--scheduler", scheduler, "--quiet"]
    assert render(*options, "--keep-run").exit_code == 0
    kept = folder / ".out.png.muralist"
    assert list(kept.glob("*/level_01/cut_0/round_*/*.state"))
    again = render(*options, "--overwrite", "--keep")
    assert (again.exit_code, again.stderr) == (0, "muralist: --keep is called --keep-run now; write --keep-run\n")
    assert kept.exists()
    assert json.loads((folder / "out.png.json").read_text())["resumed"] == 0


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


def test_certificates_that_are_not_there(folder):
    """Files for TLS are named where they cannot be read, before any work."""
    before = contents(folder)
    flags = ["--tls-ca", "ca.pem", "--tls-cert", "cert.pem", "--tls-key", "key.pem"]
    assert_refused(render("--scheduler", "tls://127.0.0.1:9", *flags), "ca.pem")
    assert contents(folder) == before


@pytest.mark.integration
def test_the_script_is_installed():
    """The command `muralist` is on the path of the environment and tells its help."""
    script = shutil.which("muralist", path=str(Path(sys.executable).parent))
    assert script is not None
    done = subprocess.run([script, "-h"], capture_output=True, text=True, check=True)
    assert "render" in done.stdout


def test_a_name_that_is_too_long_is_said(folder, scheduler):
    """One that the system takes, but not those of the files beside it, and one that it does not take at all."""
    for length in (240, 255, 300):
        name = "a" * (length - 4) + ".png"
        assert_refused(render(output=name), "name too long: got", "choose a shorter one")
    save(folder / f"{'a' * 251}.png", photograph(48, 64, 5))
    tiny = assignments(TINY | {"scheduler": scheduler})
    result = run("batch", f"{'a' * 251}.png", "photo.png", "-s", "style.png", "-o", "out", *tiny)
    assert result.exit_code == 1
    assert "1 painted, 1 failed" in result.stdout
    assert "name too long: got 255 bytes" in result.stdout


# ------------------------------------------------------------------------------------------------ names from strangers


def test_names_are_shown_escaped(folder, scheduler):
    """Neither a photograph's name nor a painting's, an unknown argument or a bad preset's steers the terminal."""
    evil = "a\x1b[2J\nmuralist: all is well"
    shutil.copyfile("photo.png", f"{evil}.png")
    (folder / evil).mkdir()
    (folder / "broken\x1b[2J\n.png").touch()
    tiny = assignments(TINY | {"scheduler": scheduler})
    for result in (
        render("--scheduler", scheduler, "--set", "style_weight=0", content=f"{evil}.png", output=f"{evil}/{evil}.png"),
        run("batch", f"{evil}.png", "broken\x1b[2J\n.png", "-s", "style.png", "-o", f"{evil}/out", *tiny),
        run("render", "a.png", f"{evil}.png"),
        run("render", evil, "-s", evil, "-o", evil, f"--{evil}"),
        run(evil),
        run("presets", f"{evil}.yaml"),
        run("networks", "convert", f"{evil}.png", "b"),
    ):
        assert result.output
        assert "\x1b" not in result.output
        assert "\nmuralist: all is well" not in result.output


# ------------------------------------------------------------------------------------------------- streams that break

STREAMS = {
    "standard error is full": "2>/dev/full",
    "standard error is closed": "2>&-",
    "standard error and output are closed": "<&- >&- 2>&-",
    "the reader of standard error goes": "2> >(head -c 1 >&3)",
    "the reader of both goes": "2>&1 | head -c 1 >&3",
}


@pytest.mark.parametrize("command", ["render", "batch"])
@pytest.mark.parametrize("streams", STREAMS.values(), ids=STREAMS)
def test_streams_that_break_stop_no_painting(folder, scheduler, command, streams):
    """Nobody reads of the progress, and the painting is made all the same; nothing is written into it."""
    settings = assignments(TINY | {"scheduler": scheduler, "base_size": 128, "steps": [1], "tile": 512})
    output = {"render": "out.png", "batch": "out"}[command]
    words = [*MURALIST, command, "photo.png", "-s", "style.png", "-o", output, *settings]
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; exec 3>/dev/null; {shlex.join(words)} {streams}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    with Image.open(folder / ("out.png" if command == "render" else "out/photo.png")) as picture:
        picture.load()


@pytest.mark.integration
@pytest.mark.parametrize("words", [["presets"], ["networks", "--json"]])
def test_a_result_that_cannot_be_written_is_said(words):
    """In one line; a reader that has enough is no error worth a word."""
    for stream, said in (
        (
            ">/dev/full",
            "Error: standard output: the result cannot be written there (No space left on device); all else ",
        ),
        ("| true", ""),
    ):
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {shlex.join([*MURALIST, *words])} {stream}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr.startswith(said)
        assert done.stderr.count("\n") == bool(said), done.stderr
        assert done.returncode == bool(said)


def test_an_old_word_is_told_in_a_line(folder):
    """A setting by its old name is understood, and its new name is told once on standard error."""
    (folder / "mine.yaml").write_text("bleed: 48\n")
    result = run("presets", "mine.yaml", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["edge_margin"] == 48
    assert result.stderr == "muralist: mine.yaml:1: bleed is called edge_margin now; write edge_margin: 48\n"


@pytest.mark.parametrize(
    ("options", "told", "name", "value"),
    [
        (["--colours", "luminance"], "colours is called color now; write color: luminance", "color", "luminance"),
        (
            ["--save-every", "7"],
            "save_every is called snapshot_every now; write snapshot_every: 7",
            "snapshot_every",
            7,
        ),
        (["--set", "keep=best"], "--set: keep is called iterate now; write iterate: best", "iterate", "best"),
    ],
)
def test_an_old_flag_is_understood(folder, monkeypatch, options, told, name, value):
    """By its old name a setting is set, and its new name is told in a line, also with --quiet."""
    found = []

    def painted(*paths: object, **how: object) -> None:
        found.append(paths[3])
        raise OutputError("enough")

    monkeypatch.setattr("muralist.pipeline.render.render", painted)
    result = render("--quiet", *options)
    assert getattr(found[0], name) == value
    assert result.stderr == f"muralist: {told}\nError: enough\n"
