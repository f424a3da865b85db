"""The report of a batch: one line of JSON per picture in a file, and a summary in words."""

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import datetime
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import Any, Final, Literal

from ...model.errors import printable
from ...model.regular_file import open_regular
from ..errors import OutputError
from ..output_files import check_place, write_file
from ..words import spent

Status = Literal["done", "skipped", "copied", "failed", "left", "unsupported"]

WORDS: Final[dict[Status, str]] = {
    "done": "painted",
    "skipped": "skipped",
    "copied": "copied",
    "failed": "failed",
    "left": "left for the next run",
    "unsupported": "not supported",
}
_LISTED = 20  # failures that the summary names
_LONGEST_LINE: Final = 1 << 20


@dataclass(frozen=True)
class Result:
    """What became of one picture.

    Attributes
    ----------
    input, output : str
        Paths; no output where there is not to be one. In the file, outputs are relative to it where they lie in its
        folder, so that it may be moved together with them.
    status : str
        `done`; `skipped`, as it was painted before; `copied` from `same_as`; `failed`; `left`, as time was up;
        `unsupported`, as its format is not read.
    reason : str or None
        Of a failure, or why it was skipped or left.
    error : str or None
        Class of the error.
    width, height : int or None
        Of the painting, px.
    seam_score, seam_threshold, style_loss, content_loss : float or None
        As in the sidecar, of the finest level.
    same_as : str or None
        Output that this one is a copy of.
    command : str or None
        What paints this picture alone.
    """

    input: str
    output: str
    status: Status
    reason: str | None = None
    error: str | None = None
    seconds: float = 0.0
    attempts: int = 0
    width: int | None = None
    height: int | None = None
    seam_score: float | None = None
    seam_threshold: float | None = None
    style_loss: float | None = None
    content_loss: float | None = None
    same_as: str | None = None
    command: str | None = None

    @property
    def told(self) -> str:
        """The input and the reason, which often begins with it, or else the output; on one line, printable."""
        if self.reason is None:
            return printable(f"{self.input} as {self.output}")
        name = printable(self.input)
        return printable(self.reason if self.reason.startswith(f"{name}: ") else f"{name}: {self.reason}")


def check_report_file(path: Path) -> None:
    """Refuse to replace what is not the report of a batch: nobody was asked about it. Raises `OutputError`."""
    if not os.path.exists(path) or os.path.islink(path):  # what a link leads to stays
        return
    try:
        with open_regular(path) as file:
            first = file.readline(_LONGEST_LINE)
        is_own = not first or {"input", "output", "status"} <= json.loads(first).keys()
    except (OSError, ValueError, AttributeError, RecursionError):
        is_own = False
    if not is_own:
        raise OutputError(
            f"{path}: this is not the report of a batch; move it away, or name another output folder", path=path
        )


class Report:
    """The report of a batch: a line is added as each picture ends. Thread-safe.

    The file replaces that of an earlier run once there is a first line, so a run that ends before leaves the old one.

    Parameters
    ----------
    clock : callable
        Seconds, for the time the batch takes.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock, self._began, self._lock = clock, clock(), Lock()
        self._counts: Counter[Status] = Counter()
        self._failed: list[Result] = []
        self._stack = ExitStack()
        self._file: FileIO | None = None
        check_place(path, overwrite=True)

    def __enter__(self) -> "Report":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def exit_code(self) -> int:
        """1 if a picture failed, else 0."""
        return int(bool(self._failed))

    def add(self, result: Result) -> None:
        """Write a line about a picture that ended, with the time. Raises `OutputError` if it cannot be written."""
        row = {**asdict(result), "time": datetime.now().astimezone().isoformat(timespec="seconds")}
        row |= {name: self._from_here(row[name]) for name in ("output", "same_as")}
        with self._lock:
            self._counts[result.status] += 1
            if result.status == "failed":
                self._failed.append(result)
            self._write(json.dumps(row).encode() + b"\n")

    def _from_here(self, path: str | None) -> str | None:
        folder = os.path.abspath(self._path.parent)
        return os.path.relpath(path, folder) if path and Path(path).is_relative_to(folder) else path

    def _write(self, line: bytes) -> None:
        """Write the first line whole in place of what is there, then add to it."""
        try:
            if self._file is None:
                write_file(self._path, line)
                descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
                self._file = self._stack.enter_context(os.fdopen(descriptor, "ab", buffering=0))
            else:
                _append(self._file, line)
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(
                f"{self._path}: the report cannot be written ({error.strerror}); check the folder and its free space",
                path=self._path,
            ) from error

    def summary(self) -> str:
        """Say how many pictures ended how and in what time, and name those that failed."""
        counts = [f"{self._counts[status]} {word}" for status, word in WORDS.items() if self._counts[status]]
        lines = [", ".join([*(counts or ["nothing painted"]), spent(self._clock() - self._began)])]
        lines += [f"  failed: {result.told}" for result in self._failed[:_LISTED]]
        more = len(self._failed) - _LISTED
        return "\n".join([*lines, f"  and {more} more, see {printable(str(self._path))}"] if more > 0 else lines)

    def as_dict(self) -> dict[str, Any]:
        """Give the same as plain values."""
        return {
            "report": str(self._path),
            **{status: self._counts[status] for status in WORDS},
            "seconds": round(self._clock() - self._began, 3),
            "failures": [asdict(result) for result in self._failed],
        }


def _append(file: FileIO, line: bytes) -> None:
    """Add a whole line, or nothing."""
    before = file.tell()
    try:
        while line:
            line = line[file.write(line) :]
    except OSError:
        file.truncate(before)
        raise
