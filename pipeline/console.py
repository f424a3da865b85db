"""What the user is told on the way: records of the logger `muralist`, on standard error above bars, and in a log file.

Loggers: `muralist` for notices (warnings) and details (debug); `muralist.progress` for what bars show on a terminal
(info), and what they do not (warnings); `muralist.losses`, info where they were asked for, else debug. The only user of
tqdm.
"""

import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Never

from ..model.errors import printable
from .errors import OutputError
from .streams import standard_error

if TYPE_CHECKING:
    from tqdm import tqdm

    Bar = tqdm[Never]

LOG: Final = logging.getLogger("muralist")
PROGRESS: Final = logging.getLogger("muralist.progress")
LOSSES: Final = logging.getLogger("muralist.losses")
CHANGES: Final = logging.getLogger("muralist.changes")  # words that are to change
ELSEWHERE: Final = {"told": True}  # for `extra`: what the command line tells in another way

_LINE: Final = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d")  # how a log file begins


def bar(*, hidden: bool = False, **options: Any) -> "Bar":
    """Make a bar on standard error, shown where that is a terminal."""
    from tqdm import tqdm

    stream = standard_error()
    return tqdm(file=stream, dynamic_ncols=True, disable=hidden or not stream.isatty(), **options)


def write_line(line: str) -> None:
    """Write a line to standard error, above the bars if there are any. What would steer a terminal is written out."""
    from tqdm import tqdm

    stream = standard_error()
    tqdm.write(printable(line), file=stream)
    stream.flush()


class Console(logging.Handler):
    """Shows records on standard error: notices, and where that is no terminal, a line for what bars would show.

    Attributes
    ----------
    verbose : bool
        Whether to show details, too.
    quiet : bool
        Whether to show only bugs, losses that were asked for, and what is to change.
    """

    verbose = quiet = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether to show a record."""
        if hasattr(record, "told") or record.levelno < (logging.DEBUG if self.verbose else logging.INFO):
            return False
        if self.quiet:
            return record.levelno >= logging.ERROR or record.name in (LOSSES.name, CHANGES.name)
        bars = record.name == PROGRESS.name and record.levelno == logging.INFO
        return not (bars and standard_error().isatty())

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record. Of a bug, where in the code it is."""
        prefix = "muralist: " if record.name in (LOG.name, CHANGES.name) else ""
        bug = record.exc_info and record.exc_info[1]
        for line in "".join(traceback.format_exception(bug)).splitlines() if bug else [prefix + record.getMessage()]:
            write_line(line)


class LogFile(logging.FileHandler):
    """Appends every record to a file: a line with time, level and message.

    Raises `OutputError` if the file cannot be written, or holds something else than a log.
    """

    def __init__(self, path: Path) -> None:
        try:
            mistake = _is_no_log(path)
            if mistake is None:
                super().__init__(path, encoding="utf-8")
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            mistake = f"the log cannot be written there ({getattr(error, 'strerror', None) or error})"
        if mistake is not None:
            raise OutputError(f"{path}: {mistake}; name another --log-file", path=path)
        self._failed = False

    def format(self, record: logging.LogRecord) -> str:
        """Lay a record out as a line."""
        bug = record.exc_info and record.exc_info[1]
        text = record.getMessage() + (" | " + " | ".join(traceback.format_exception(bug)) if bug else "")
        time = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        return f"{time} {record.levelname} {printable(text.rstrip())}"

    def handleError(self, record: logging.LogRecord) -> None:
        """Tell once that the disk is full, say; painting goes on."""
        if not self._failed:
            self._failed = True
            LOG.warning("%s: the log can no longer be written; painting goes on", self.baseFilename)


def _is_no_log(path: Path) -> str | None:
    """Why nothing is to be appended to a file: a mistyped name must not spoil a picture."""
    if not path.exists():
        return None
    if not path.is_file():
        return "this is not a regular file"
    with path.open("rb") as file:
        begin = file.read(16)
    return None if not begin or _LINE.match(begin) else "this file is not a log"


@contextmanager
def shown() -> Iterator[Console]:
    """Show records on standard error while a block lasts, and to the log files that are added meanwhile."""
    console, level, before = Console(), LOG.level, list(LOG.handlers)
    LOG.setLevel(logging.DEBUG)
    LOG.addHandler(console)
    try:
        yield console
    finally:
        LOG.setLevel(level)
        for handler in [each for each in LOG.handlers if each not in before]:
            LOG.removeHandler(handler)
            handler.close()
