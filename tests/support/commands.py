"""The command line, run in this process."""

import shlex
from types import SimpleNamespace
from typing import Any

from click.testing import CliRunner, Result
from pictures import TINY, assignments

from muralist.cli import main
from muralist.pipeline.presets import load_settings
from muralist.pipeline.settings import Settings


def run(*arguments: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(main, list(arguments))


def render(*options: str, content: str = "photo.png", style: str = "style.png", output: str = "out.png") -> Result:
    """Run `muralist render` in this process; the tiny settings come first, so that options beat them."""
    return run("render", content, "-s", style, "-o", output, *assignments(TINY), *options)


def assert_refused(result: Result, *words: str, code: int = 1) -> None:
    """One line on standard error that contains all the words, none on standard output."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr


STOPPED = "muralist: interrupted; rerun the same command to resume\n"


def params_of(command: str) -> dict[str, Any]:
    """Arguments and options of a `muralist render` command, as a shell and click read it."""
    console = SimpleNamespace(quiet=False, verbose=False)
    return main.commands["render"].make_context("render", shlex.split(command)[2:], obj=console).params


def settings_of(command: str) -> Settings:
    """The settings that a `muralist render` command has."""
    found = params_of(command)
    flags = {name: found.get(name) for name in Settings.model_fields}
    return load_settings(found["preset"], flags, found["assignments"])
