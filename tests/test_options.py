"""Options of the command line: what they are made from, how they are shown, and what the shell completes."""

from typing import get_args

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from pictures import painting, photograph, save

from muralist.cli import main
from muralist.model.architecture import ARCHITECTURES
from muralist.options import Command, settings_options
from muralist.pipeline.presets import preset_names
from muralist.pipeline.roles import Group, setting
from muralist.pipeline.settings import Settings

PAINTING = ["render", "batch", "plan"]


def shown(*words: str) -> str:
    """What a command prints, as on a terminal of 80 columns."""
    result = CliRunner().invoke(main, words, terminal_width=80, catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def flags(text: str) -> set[str]:
    """The options that have a line in a help text."""
    words = [line.split() for line in text.splitlines() if line.startswith("  -")]
    return {word.rstrip(",") for line in words for word in line if word.startswith("--")}


@pytest.mark.parametrize("command", PAINTING)
def test_help_fits_on_a_screen(command):
    """Common options, in groups in a fixed order, on at most 50 lines."""
    text = shown(command, "--help")
    assert len(text.splitlines()) <= 50
    headings = [line.rstrip(":").lower() for line in text.splitlines() if line.endswith(":") and line[0].isalpha()]
    assert headings == list(get_args(Group))
    common = {Settings.flags()[name].partition("/")[0] for name in Settings.names(common=True)}
    assert common | {"--output", "--style", "--preset", "--set", "--overwrite", "--help-all", "--help"} <= flags(text)
    rare = {flag.partition("/")[0] for name, flag in Settings.flags().items() if name in Settings.names(common=False)}
    assert not rare & flags(text)


@pytest.mark.parametrize("command", PAINTING)
def test_help_all_shows_all(command):
    """Every option once, and of every setting all that is to be said of it, with its default."""
    text = shown(command, "--help-all")
    options = [each for each in main.commands[command].params if isinstance(each, click.Option) and not each.hidden]
    assert flags(text) >= {each.opts[-1] for each in options}
    said = "".join(text.split())
    for name in Settings.flags():
        assert "".join(str(Settings.model_fields[name].description).split()) in said
    assert "[default:compact]" in said


def test_render_and_batch_paint_alike():
    """Whatever decides how one picture looks, does so for many; and what is planned is what is painted."""
    one, many, plan = (
        {option.name: option for option in main.commands[name].params if isinstance(option, click.Option)}
        for name in PAINTING
    )
    assert one.keys() - many.keys() == {"loss_lines", "loss_plot"}
    assert many.keys() - one.keys() == {"name", "each_style", "raw_pairs", "finish_by", "max_hours"}
    assert plan.keys() == one.keys()
    for name in one.keys() & many.keys() - {"output", "as_json"}:
        assert one[name].to_info_dict() == many[name].to_info_dict()


def test_plan_takes_what_render_takes():
    """Options that only concern painting are taken, but not shown."""
    hidden = {option.opts[0] for option in main.commands["plan"].params if getattr(option, "hidden", False)}
    for option in (
        "--report",
        "--quiet",
        "--verbose",
        "--live",
        "--restart",
        "--keep-run",
        "--log-file",
        "--loss-plot",
    ):
        assert option in hidden
        assert option not in shown("plan", "--help-all")


@pytest.mark.parametrize("words", [["--loss-plot", "losses.xyz"], ["--report"]])
def test_plan_refuses_what_render_refuses(tmp_path, words):
    """A file that cannot be written beside the painting is told before a night is planned."""
    content, style = save(tmp_path / "photo.png", photograph()), save(tmp_path / "style.png", painting())
    line = [str(content), "-s", str(style), "-o", str(tmp_path / "out.pdf"), "--size", "64", *words]
    refusals = [CliRunner().invoke(main, [command, *line]) for command in ("plan", "render")]
    assert [refusal.exit_code for refusal in refusals] == [1, 1]
    assert refusals[0].stderr == refusals[1].stderr != ""


@pytest.mark.parametrize("command", ["render", "plan"])
def test_several_photographs_are_for_a_batch(command):
    """What to do is told, since click only says that an argument was not expected."""
    result = CliRunner().invoke(main, [command, "a.jpg", "b.jpg", "-s", "w.jpg", "-o", "x.png"])
    assert result.exit_code == 2
    assert all(word in result.stderr for word in ("b.jpg", "muralist batch", "-s"))


def completions(*words: str, begun: str = "") -> list[tuple[str, str]]:
    """What the shell offers after some words of a command: values and their kind."""
    found = ShellComplete(main, {}, "muralist", "_MURALIST_COMPLETE").get_completions(list(words), begun)
    return [(each.type, each.value) for each in found]


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--fit", ["fit", "crop"]),
        ("--wrap-edge", ["paint", "mirror", "color"]),
        ("--bit-depth", ["auto", "8", "16"]),
        ("--device", ["auto", "cpu", "cuda", "mps"]),
        ("--network", list(ARCHITECTURES)),
        ("--preset", preset_names()),
    ],
)
@pytest.mark.parametrize("command", ["render", "batch"])
def test_the_shell_completes_choices(command, option, values):
    """All words that an option takes, or those that begin as what is typed."""
    assert completions(command, option) == [("plain", value) for value in values]
    first = values[0]
    assert ("plain", first) in completions(command, option, begun=first[:2])
    assert completions(command, option, begun="?") == []


@pytest.mark.parametrize(
    "option", ["--weights", "--protect", "--scratch", "--tls-ca", "--output", "--profile", "--init"]
)
def test_the_shell_completes_files(option):
    """Where a file is wanted."""
    assert [kind for kind, _ in completions("render", option)] == ["file"]


@pytest.mark.parametrize("words", [["batch"], ["batch", "photos"], ["batch", "photos", "--region"], ["render"]])
def test_the_shell_completes_inputs_and_masks(words):
    """Photographs of a batch, as many as there are, and the mask and style of a region."""
    assert [kind for kind, _ in completions(*words)] == ["file"]


def test_the_shell_completes_names_of_settings():
    """Any of them after `--set`."""
    assert completions("render", "--set") == [("plain", f"{name}=") for name in Settings.model_fields]
    assert completions("batch", "--set", begun="tv_l") == [("plain", "tv_loss=")]


class More(Settings):
    """Settings with three more."""

    finish: str = setting("matt", "look", "Varnish. Of the best.", flag=True, common=True)
    coats: int = setting(2, "look", "How many.", flag="--layers")
    signed: bool = setting(False, "run", "Sign it.", flag=True)
    witness: tuple[str, ...] | None = setting(None, "run", "Who saw it.", flag=True, repeatable=True)


def test_a_new_setting_is_an_option():
    """Its role is enough: a flag of its type in its group, with help and default, whose value comes among the flags."""

    @click.command(cls=Command)
    @settings_options(model=More)
    def paint(flags: dict[str, object]) -> None:
        click.echo({name: value for name, value in flags.items() if value is not None})

    def said(*words: str) -> str:
        return CliRunner().invoke(paint, words, terminal_width=80, catch_exceptions=False).stdout

    assert "\n  --finish TEXT             Varnish.  [default: matt]\n" in said("--help")
    everything = said("--help-all")
    assert "\n  --finish TEXT             Varnish. Of the best.  [default: matt]\n" in everything
    assert "\n  --layers INTEGER          How many.  [default: 2]\n" in everything
    assert said() == "{}\n"
    given = {"finish": "gloss", "coats": "three", "signed": False, "witness": ["A", "B"]}
    line = ["--finish", "gloss", "--layers", "three", "--no-signed", "--witness", "A", "--witness", "B"]
    assert said(*line) == f"{given}\n"
    assert said("--size", "8") == "{'size': '8'}\n"


def test_of_two_files_one_would_count_for_nothing():
    """An option that takes one file is given once."""

    @click.command(cls=Command)
    @settings_options("strength_map")
    def paint(flags: dict[str, object]) -> None:
        click.echo(flags)

    runner = CliRunner()
    assert runner.invoke(paint, ["--strength-map", "a.png"]).stdout == "{'strength_map': 'a.png'}\n"
    twice = runner.invoke(paint, ["--strength-map", "a.png", "--strength-map", "b.png"])
    assert twice.exit_code == 2
    assert "'a.png' and 'b.png'" in twice.stderr


@pytest.mark.parametrize("command", PAINTING)
def test_a_setting_without_a_flag_is_set(command):
    """Other tools have a flag for it, such as --style-weight; that one is missing says how to give it here."""
    result = CliRunner().invoke(main, [command, "a.jpg", "-o", "b.png", "--style-weight", "5"])
    assert result.exit_code == 2
    assert "write --set style_weight=...\n" in result.stderr
    assert "--stile" in CliRunner().invoke(main, [command, "--stile", "5"]).stderr


@pytest.mark.parametrize("port", ["photo.jpg", "99999", "1" * 5000, "²"])
def test_live_takes_a_port(port):
    """Before the photograph, it would take that for one."""
    result = CliRunner().invoke(main, ["render", "--live", port, "-s", "s.jpg", "-o", "o.png"])
    assert result.exit_code == 2
    assert "wanted a port up to 65535; for any port, write --live last, or --live=0" in result.stderr
