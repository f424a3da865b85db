"""What the user sees while a picture is painted: bars on a terminal, a line per level in a log."""

import io
import sys

import pytest
from pictures import TINY

from muralist.pipeline.console import PROGRESS, shown
from muralist.pipeline.levels import plan_levels
from muralist.pipeline.progress import Bars, BatchBar, Progress, level_work, watched
from muralist.pipeline.records.batch_report import Result
from muralist.pipeline.records.losses import LossRecord, loss_line
from muralist.pipeline.settings import Settings

LEVELS = plan_levels(96, 128, [(112, 1.0)], Settings(**TINY), 16, 32)
LOSSES = LossRecord(1, 2, {"style": 0.01234, "content": 0.5}, {"style": 1000, "content": 6}, total=12.5)


@pytest.fixture(autouse=True)
def console():
    """Records are shown as on the command line."""
    with shown() as console:
        yield console


class Terminal(io.StringIO):
    """A text file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def paint_with(progress: Progress, *, until: int = len(LEVELS)) -> None:
    """Report as the pipeline does: losses at the start of a level and after every round, every tile's work."""
    for level in LEVELS[:until]:
        progress.start_level(level)
        progress.show_losses(LOSSES)
        for steps in level.rounds:
            for tile in level.grid:
                progress.advance(steps * tile.outer.rows.length * tile.outer.cols.length)
            progress.show_losses(LOSSES)


def test_a_log_gets_one_line_per_level(monkeypatch):
    """Where standard error is no terminal there are plain lines and no control characters."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with Bars(LEVELS, "poster.tif") as bars:
        paint_with(bars)
    assert sys.stderr.getvalue().splitlines() == [
        "level 1/2, 64 x 48 px: 1 tile, 4 steps",
        "level 2/2, 128 x 96 px: 4 tiles, 3 steps",
    ]


def test_a_picture_of_a_batch_is_logged_in_details(monkeypatch, console):
    """Its levels and losses are records that begin with its name; on a console only `verbose` shows them."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    paint_with(Progress(LEVELS, batch_item="a.png"), until=1)
    assert sys.stderr.getvalue() == ""
    console.verbose = True
    paint_with(Progress(LEVELS, batch_item="a.png"), until=1)
    first, *losses = sys.stderr.getvalue().splitlines()
    assert first == "a.png: level 1/2, 64 x 48 px: 1 tile, 4 steps"
    assert losses == [f"a.png: {loss_line(LOSSES, 2)}"] * (1 + len(LEVELS[0].rounds))


def test_a_line_is_written_when_its_level_begins(monkeypatch):
    """A log shows which level is being painted now, not only what is done."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with Bars(LEVELS, "poster.tif") as bars:
        bars.start_level(LEVELS[0])
        assert sys.stderr.getvalue().count("\n") == 1


def test_a_terminal_gets_two_bars(monkeypatch):
    """One bar for the picture with the time that is left, one for the level with its losses; both get full."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Bars(LEVELS, "poster.tif") as bars:
        paint_with(bars)
    shown = sys.stderr.getvalue()
    for words in (
        "poster.tif   0%",
        "poster.tif 100%",
        "left",
        "level 2/2, 128 x 96 px   0%",
        "style 0.0123, content 0.5, total 12.5",
    ):
        assert words in shown
    assert "tiles" not in shown
    assert "| ," not in shown


def test_work_adds_up_to_the_bars(monkeypatch):
    """The work reported for all tiles and rounds is just what the bars are made for."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Bars(LEVELS, "poster.tif") as bars:
        paint_with(bars, until=1)
        assert bars._level is not None
        assert bars._level.n == bars._level.total == level_work(LEVELS[0])
        assert bars._picture.n == level_work(LEVELS[0])
        assert bars._picture.total == sum(map(level_work, LEVELS))


def test_what_is_skipped_is_not_quick(monkeypatch):
    """Work that an earlier run did, or that is left out, moves the bars, but not the rate that the time left is by."""
    now = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    monkeypatch.setattr(sys, "stderr", Terminal())
    works = [level_work(level) for level in LEVELS]
    with Bars(LEVELS, "poster.tif") as bars:
        bars.start_level(LEVELS[0])
        now[0] = 8
        bars.advance(works[0] // 4)
        bars.skip(works[0] - works[0] // 4)
        assert bars._level.n == works[0]
        minutes, seconds = map(int, sys.stderr.getvalue().rpartition("passed, ")[2].split(" ")[0].split(":"))
        assert 60 * minutes + seconds == pytest.approx(works[1] * 8 / (works[0] // 4), abs=1)


def fail_on(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> Bars:
    """Bars that were in use when painting failed."""
    monkeypatch.setattr(sys, "stderr", stream)
    with pytest.raises(ZeroDivisionError), Bars(LEVELS, "poster.tif") as bars:  # noqa: PT012 -- as it is used
        paint_with(bars, until=1)
        raise ZeroDivisionError
    return bars


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_what_is_printed_after_a_failure_has_its_own_line(monkeypatch, stream):
    """An error passes through closed bars, and the cursor stands at the start of a line."""
    bars = fail_on(stream(), monkeypatch)
    assert bars._level is not None
    assert bars._level.disable
    assert bars._picture.disable
    assert sys.stderr.getvalue().endswith("\n")


def test_no_level_is_no_problem(monkeypatch):
    """Bars that never saw a level, because starting failed, close without a complaint."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with Bars(LEVELS, "poster.tif") as bars:
        bars.show_losses(LOSSES)
        bars.advance(1)
    assert sys.stderr.getvalue() == ""


def test_the_base_shows_nothing(capfd):
    """Quiet means quiet."""
    paint_with(Progress())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
@pytest.mark.parametrize("quiet", [True, False])
def test_loss_lines_are_written_if_asked_for(monkeypatch, console, stream, quiet):
    """One line per look at the losses, on a terminal, in a log, and with nothing else to be seen."""
    monkeypatch.setattr(sys, "stderr", stream())
    console.quiet = quiet
    if quiet:
        paint_with(Progress(LEVELS, loss_lines=True))
    else:
        with Bars(LEVELS, "poster.tif", loss_lines=True) as bars:
            paint_with(bars)
    looks = sum(len(level.rounds) + 1 for level in LEVELS)
    shown = sys.stderr.getvalue()
    assert shown.count(loss_line(LOSSES, 2) + "\n") == shown.count("level 1/2  style 0.01234") == looks
    if quiet:
        assert shown.count("\n") == looks


def test_things_that_take_long_are_told(monkeypatch):
    """On a terminal a bar names each thing while it lasts; elsewhere nothing is written."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    shown = [terminal.getvalue().rpartition("\r")[2] for _ in watched([256, 512], lambda side: f"{side} px")]
    assert [line.split()[:3] for line in shown] == [["256", "px", "0%"], ["512", "px", "50%"]]
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert list(watched("ab", str)) == ["a", "b"]
    assert sys.stderr.getvalue() == ""


class Broken(io.StringIO):
    """A text file that takes nothing, whatever is behind it."""

    def __init__(self, error: Exception, terminal: bool) -> None:
        super().__init__()
        self._error, self._terminal = error, terminal

    def write(self, text: str) -> int:
        raise self._error

    def flush(self) -> None:
        raise self._error

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("error", [OSError(28, "full"), BrokenPipeError(), ValueError("I/O operation on closed file")])
def test_progress_stops_nothing(monkeypatch, error, terminal):
    """A disk that is full, a reader that is gone, a terminal that was closed; and no standard error at all."""
    for stream in (Broken(error, terminal), None):
        monkeypatch.setattr(sys, "stderr", stream)
        with Bars(LEVELS, "poster.tif", loss_lines=True) as bars:
            paint_with(bars)
        with BatchBar(2) as bar:
            bar.show(Result("a.jpg", "b.jpg", "failed", "why"))
            PROGRESS.warning("something")
        assert list(watched([1, 2], str)) == [1, 2]


EVIL = "a\x1b[2J\r\nmuralist: all is well\u202e.jpg"
HARMLESS = r"a\x1b[2J\r\nmuralist: all is well\u202e.jpg"


@pytest.mark.parametrize("terminal", [False, True])
def test_names_steer_no_terminal_and_forge_no_line(monkeypatch, terminal):
    """Control codes, line breaks and marks that turn text around are written out."""
    monkeypatch.setattr(sys, "stderr", Terminal() if terminal else io.StringIO())
    with BatchBar(1) as bar:
        bar.show(Result(EVIL, "b.jpg", "failed", f"{EVIL}: broken"))
        PROGRESS.warning(f"worker {EVIL} was lost")
    with Bars(LEVELS, EVIL):
        pass
    shown = sys.stderr.getvalue()
    assert "\x1b[2J" not in shown
    assert "\nmuralist" not in shown
    assert "\u202e" not in shown
    assert shown.count(HARMLESS) >= 3 - (not terminal)
