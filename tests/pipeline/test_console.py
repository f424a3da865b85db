"""What is told on the way: which records standard error shows, and what a log file holds."""

import io
import logging
import os
import re
import sys
from pathlib import Path

import pytest

import muralist
from muralist.pipeline.console import CHANGES, ELSEWHERE, LOG, LOSSES, PROGRESS, LogFile, bar, shown
from muralist.pipeline.errors import OutputError

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d (DEBUG|INFO|WARNING|ERROR|CRITICAL) (.*)")


class Terminal(io.StringIO):
    """A text file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def log_all() -> None:
    """A record of every kind."""
    LOG.warning("a notice")
    LOG.info("an address")
    LOG.debug("a detail")
    PROGRESS.info("a level")
    PROGRESS.warning("a failed picture")
    LOSSES.info("losses that were asked for")
    LOSSES.debug("losses")
    CHANGES.warning("an old word")
    LOG.error("what click tells", extra=ELSEWHERE)


ALWAYS = ["losses that were asked for", "muralist: an old word"]
USUAL = ["muralist: a notice", "muralist: an address", "a failed picture", *ALWAYS]


@pytest.mark.parametrize(
    ("stream", "how", "lines"),
    [
        (io.StringIO, {}, [*USUAL[:2], "a level", *USUAL[2:]]),
        (Terminal, {}, USUAL),
        (io.StringIO, {"quiet": True}, ALWAYS),
        (Terminal, {"quiet": True}, ALWAYS),
        (Terminal, {"verbose": True}, [*USUAL[:2], "muralist: a detail", *USUAL[2:4], "losses", USUAL[4]]),
    ],
)
def test_what_is_shown(monkeypatch, stream, how, lines):
    """On a terminal bars stand for progress; quiet leaves what was asked for; verbose adds details."""
    monkeypatch.setattr(sys, "stderr", stream())
    with shown() as console:
        vars(console).update(how)
        log_all()
    assert sys.stderr.getvalue().splitlines() == lines
    log_all()
    assert sys.stderr.getvalue().splitlines() == lines, "nothing is shown once the command is over"


@pytest.mark.parametrize("quiet", [True, False])
def test_a_bug_is_shown_with_its_place(capsys, quiet):
    """Also if nothing else is."""
    with shown() as console:
        console.quiet = quiet
        try:
            _ = 1 // 0
        except ZeroDivisionError as error:
            LOG.error("a.png: failed because of a bug", exc_info=error)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1].startswith("ZeroDivisionError: ")


def test_a_line_tears_no_bar(monkeypatch):
    """It stands on a line of its own, above the bar, which is drawn again below."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    with shown(), bar(total=10, desc="painting") as progress:
        progress.update(3)
        LOG.warning("a notice")
        PROGRESS.warning("another")
        progress.update(7)
    text = sys.stderr.getvalue()
    rows = [row.rsplit("\r", 1)[-1] for row in text.split("\n")]
    assert rows[:2] == ["muralist: a notice", "another"]
    after = text.split("another\n")[1]
    assert after.startswith("\rpainting:  30%")
    assert "painting: 100%" in after


def logged(path: Path) -> list[tuple[str, str]]:
    """Level and message of every line of a log; all of them have a time."""
    found = [LINE.fullmatch(line) for line in path.read_text().splitlines()]
    return [match.groups() for match in found if match is not None or pytest.fail(path.read_text())]


def test_a_log_file_holds_all(tmp_path):
    """Every record is a line with its time and level, whatever standard error shows; a second run is appended."""
    for _ in range(2):
        with shown() as console:
            console.quiet = True
            LOG.addHandler(LogFile(tmp_path / "run.log"))
            log_all()
    once = [
        *[("WARNING", "a notice"), ("INFO", "an address"), ("DEBUG", "a detail"), ("INFO", "a level")],
        *[("WARNING", "a failed picture"), ("INFO", "losses that were asked for"), ("DEBUG", "losses")],
        *[("WARNING", "an old word"), ("ERROR", "what click tells")],
    ]
    assert logged(tmp_path / "run.log") == once * 2
    log_all()
    assert len(logged(tmp_path / "run.log")) == 2 * len(once), "a file is closed with its command"


def test_a_record_is_one_line(tmp_path):
    """Names with line breaks forge none, and a bug is one too, with its place."""
    with shown():
        LOG.addHandler(LogFile(tmp_path / "run.log"))
        LOG.warning("a\n2026-01-01T00:00:00 INFO \x1b[2J all is well")
        try:
            _ = 1 // 0
        except ZeroDivisionError as error:
            LOG.error("failed", exc_info=error)
    (_, name), (level, bug) = logged(tmp_path / "run.log")
    assert name == r"a\n2026-01-01T00:00:00 INFO \x1b[2J all is well"
    assert level == "ERROR"
    assert bug.startswith("failed | Traceback")
    assert "test_console.py" in bug


def test_a_file_that_is_no_log_is_left_alone(tmp_path):
    """A mistyped name spoils no picture; an empty file is taken."""
    picture = tmp_path / "photo.jpg"
    picture.write_bytes(b"\xff\xd8\xff\xe0 and so on")
    with pytest.raises(OutputError, match=r"not a log; .*--log-file") as caught:
        LogFile(picture)
    assert caught.value.path == picture
    assert picture.read_bytes() == b"\xff\xd8\xff\xe0 and so on"
    (tmp_path / "new.log").touch()
    LogFile(tmp_path / "new.log").close()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: folder, "this is not a regular file"),
        (lambda folder: os.mkfifo(folder / "pipe") or folder / "pipe", "this is not a regular file"),
        (lambda folder: folder / "nowhere" / "run.log", "cannot be written there (No such file or directory)"),
        (lambda folder: folder / "a\0b", "cannot be written there ("),
        (lambda folder: folder / ("a" * 300), "cannot be written there (File name too long)"),
    ],
)
def test_a_log_that_cannot_be_written(tmp_path, make, reason):
    """It is refused with the system's reason, and without waiting for the reader of a pipe."""
    path = make(tmp_path)
    with pytest.raises(OutputError) as caught:
        LogFile(path)
    assert reason in str(caught.value)
    assert caught.value.path == path


class Full(io.StringIO):
    """A file on a disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_disk_that_is_full_stops_nothing(tmp_path, capsys):
    """It is told once; what goes on is logged to standard error only."""
    with shown():
        log = LogFile(tmp_path / "run.log")
        LOG.addHandler(log)
        log.setStream(Full()).close()
        LOG.warning("one")
        LOG.warning("two")
    end = f"muralist: {tmp_path / 'run.log'}: the log can no longer be written; painting goes on"
    assert sorted(capsys.readouterr().err.splitlines()) == sorted([end, "muralist: one", "muralist: two"])


def test_a_library_is_silent():
    """Without a handler of the caller's nothing is shown, and nothing is complained about."""
    assert muralist.render
    assert any(isinstance(handler, logging.NullHandler) for handler in LOG.handlers)
    assert LOG.propagate
