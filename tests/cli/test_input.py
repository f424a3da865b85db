"""Whatever is wrong with what the command line is given is one line, with nothing written and nothing lost."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from commands import assert_refused, render, run
from pictures import TINY, assignments, contents, photograph, save

from muralist.cli import main
from muralist.pipeline.errors import OutputError
from muralist.pipeline.settings import Settings


def test_no_bug_hides_in_a_result(folder):
    """The runner keeps an unexpected exception, and its type, rather than report an ordinary failure."""
    result = run("render", "photo.png")
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)


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
    "loop": ("bad.png", lambda folder: (folder / "bad.png").symlink_to("bad.png"), ("bad.png: cannot be read",)),
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
    save(folder / "small.png", photograph(63, 200))
    before = contents(folder)
    layers = assignments(Settings().model_dump(include={"style_layers", "content_layers"}))
    assert_refused(render(*layers, content="small.png"), "200 x 63 px", "at least 64 px", "--size")
    assert_refused(render(*layers, "--size", "40"), "40 x 30 px", "at least 64 px")
    assert_refused(render(*layers, style="small.png"), "small.png", "200 x 63 px", "at least 64 px")
    assert contents(folder) == before


def test_a_picture_above_the_limit_is_refused(folder):
    """The limit on pixels is told with the setting that raises it."""
    assert_refused(render("--set", "max_pixels=1000"), "photo.png", "12288", "max_pixels = 1000")


@pytest.mark.parametrize(
    "arguments",
    [
        ("render", "{}", "-s", "style.png", "-o", "out.png"),
        ("render", "photo.png", "-s", "{}", "-o", "out.png"),
        ("render", "photo.png", "-s", "style.png", "-o", "out.png", "--protect", "{}#ff"),
        ("batch", "photo.png", "-s", "{}", "-o", "out"),
        ("batch", "photo.png", "-s", "style.png", "-o", "{}"),
        ("batch", "broken.png", "-s", "style.png", "-o", "out", "--protect", "{{stem}}{}"),
        ("report", "{}"),
        ("looks", "photo.png", "-s", "{}", "-o", "out"),
        ("networks", "convert", "style.png", "{}"),
    ],
)
def test_a_path_that_cannot_be_looked_at(folder, arguments):
    """One that is too long for the system, or leads through a folder of somebody else's, is no bug."""
    (folder / "broken.png").touch()
    result = run(*(each.format("x" * 300) for each in arguments))
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 1


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
        ("loop.png", ("loop.png: exists already", "--overwrite")),
        ("dangling.png", ("dangling.png: exists already", "--overwrite")),
        ("loop.png/out.png", ("loop.png/out.png", "cannot write into the folder loop.png", "choose another")),
        (f"{'x' * 250}.png", ("xxx", "name too long")),
    ],
)
@pytest.mark.parametrize("command", ["render", "plan"])
def test_a_bad_output_is_refused_before_any_work(folder, monkeypatch, output, words, command):
    """An output that cannot be written is found out before a picture is even read."""
    (folder / "folder.png").mkdir()
    for name, target in (("loop.png", "loop.png"), ("dangling.png", "nowhere.png")):
        (folder / name).symlink_to(target)
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
        (["--tile", "80", "--overlap", "39"], ("tile 80 px is too small for an overlap of 39 px", "--tile 128")),
        (["--tile", "-512"], ("tile: got '-512'", "wanted")),
        (["--tile", "many"], ("tile: got 'many'", "whole number")),
        (["--optimizer", "sgd"], ("optimizer: got 'sgd'", "'adam' or 'lbfgs'")),
        (["--loss-plot", "loss.gif"], ("loss.gif: extension '.gif'", ".svg")),
        (["--loss-plot", "nowhere/loss.png"], ("there is no folder nowhere",)),
        (["--loss-plot", "photo.png", "--overwrite"], ("photo.png: this file is also an input",)),
        (["--scratch", "nowhere"], ("nowhere: cannot write to this folder", "--scratch")),
        (["--scratch", "photo.png"], ("photo.png: cannot write to this folder", "--scratch")),
        (["--memory", "4"], ("memory: got '4', wanted at least 1MiB, with its unit, such as 4GiB",)),
        (["--max-file", "128"], ("max_file: got '128', wanted at least 1KiB, with its unit, such as 128MB",)),
        (["--print", "4x3cm", "--dpi", "9"], ("wanted at least", "ask for more with --dpi")),
        (["--width", "17"], ("wanted at least", "ask for more with --width")),
        (["--width", "17", "--height", "16"], ("wanted at least", "ask for more with --width and --height")),
        (["--set", "style_layers=relu3_1,relu3_1"], ("style_layers: got 'relu3_1,relu3_1', wanted every layer once",)),
        (["--weights", "none.safetensors"], ("none.safetensors: cannot be read", "name a weight file")),
        (["--weights", "."], ("cannot be read", "name a weight file")),
        (["--style-blend", "1,2"], ("style_blend: got 2 shares for 1 style", "wanted one for each")),
        (["--style-blend", "0"], ("style_blend: got (0.0,)", "wanted at least one share above 0", "style_weight=0")),
        (["-s", "style.png", "--style-scale", "1,2,3"], ("style_scale: got 3 scales for 2 styles",)),
        (["-s", "nothing"], ("nothing: there is no such file",)),
        (["--init", "none.png"], ("none.png: there is no such file",)),
        (["--init", "random"], ("init: got 'random', wanted content, blank or", "--init blank --noise-ratio 1")),
        (["--set", "style_weight=0", "--set", "content_weight=0"], ("there is nothing to paint",)),
    ],
)
def test_a_bad_option_is_refused(folder, no_work, options, words):
    """Every unknown name and every number that makes no sense is one line, with what was wanted.

    Which values each setting takes is told in `tests/pipeline/test_settings.py`.
    """
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


@pytest.mark.parametrize(("photo", "style", "output"), [("", "s", "o"), ("p", "", "o"), ("p", "s", "")])
def test_an_empty_path_is_not_the_current_folder(folder, no_work, photo, style, output):
    """A variable of the shell that is not set names nothing, instead of all pictures here as styles."""
    result = run("render", photo, "-s", style, "-o", output)
    assert result.exit_code == 2
    assert "got '', wanted a path" in result.stderr


def test_certificates_that_are_not_there(folder):
    """Files for TLS are named where they cannot be read, before any work."""
    before = contents(folder)
    flags = ["--tls-ca", "ca.pem", "--tls-cert", "cert.pem", "--tls-key", "key.pem"]
    assert_refused(render("--scheduler", "tls://127.0.0.1:9", *flags), "ca.pem")
    assert contents(folder) == before


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

    def painted(**how: object) -> None:
        found.append(how["settings"])
        raise OutputError("enough")

    monkeypatch.setattr("muralist.pipeline.render.render", painted)
    result = render("--quiet", *options)
    assert getattr(found[0], name) == value
    assert result.stderr == f"muralist: {told}\nError: enough\n"
