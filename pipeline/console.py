"""Shows records of the logger `muralist` on standard error, above the progress bars, and writes them to log files.

Loggers: `muralist` for notices (warnings) and details (debug); `muralist.progress` for what bars show on a terminal
(info), and for what they do not show (warnings); `muralist.losses`, at info if losses were asked for, else at debug.
This is the only module that uses tqdm.
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
CHANGES: Final = logging.getLogger("muralist.changes")  # warnings about renamed options and settings
ELSEWHERE: Final = {"told": True}  # for `extra`: records for log files only; the console shows them in another way

_LINE: Final = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d")  # beginning of a log file


def bar(*, hidden: bool = False, **options: Any) -> "Bar":
    """Make a bar on standard error, shown only on a terminal."""
    from tqdm import tqdm

    stream = standard_error()
    return tqdm(file=stream, dynamic_ncols=True, disable=hidden or not stream.isatty(), **options)


def write_line(line: str) -> None:
    """Write a line to standard error, above the bars if there are any, with control characters escaped."""
    from tqdm import tqdm

    stream = standard_error()
    tqdm.write(printable(line), file=stream)
    stream.flush()


class Console(logging.Handler):
    """Shows records on standard error: notices and, if it is no terminal, a line for what the bars would show.

    Attributes
    ----------
    verbose : bool
        Whether to show details, too.
    quiet : bool
        Whether to show only bugs, losses that were asked for, and warnings about renamed options and settings.
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
        """Show a record; for a bug, with its traceback."""
        prefix = "muralist: " if record.name in (LOG.name, CHANGES.name) else ""
        bug = record.exc_info and record.exc_info[1]
        for line in "".join(traceback.format_exception(bug)).splitlines() if bug else [prefix + record.getMessage()]:
            write_line(line)


class LogFile(logging.FileHandler):
    """Appends every record to a file, as a line with time, level and message.

    Raises `OutputError` if the file cannot be written, or is not a log file.
    """

    def __init__(self, path: Path) -> None:
        try:
            mistake = _not_a_log(path)
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
        """Warn once that the file cannot be written, for example because the disk is full; painting continues."""
        if not self._failed:
            self._failed = True
            LOG.warning("%s: the log can no longer be written; painting goes on", self.baseFilename)


def _not_a_log(path: Path) -> str | None:
    """Say why a file is not a log file; None if it may be appended to. A mistyped name must not damage a picture."""
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
