"""The command line, run in this process."""

from click.testing import CliRunner, Result
from pictures import TINY, assignments

from muralist.cli import main


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
