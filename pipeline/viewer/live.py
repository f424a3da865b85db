"""The contents of the live page: canvases, losses and times of paintings in progress, and what each worker does.

The painting only records here what it does anyway. Slow work is done in the threads of the server, when a page requests
it. New canvases are announced only while that work has taken less than `SHARE` of the time, so a page hardly slows the
painting.
"""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from ...model.errors import printable
from ...tiling.grid import Box, Span
from ..levels import Level
from ..pictures.images import eight_bits
from ..pictures.vips import as_vips
from ..progress import Progress
from ..records.batch_report import Result
from ..records.losses import LossRecord
from ..relay import Relay
from .facts import loss_rows
from .overview import LARGEST, ReadCanvas, Shown, overview
from .pyramid import OVERLAP, TILE, level_count

if TYPE_CHECKING:
    from ..workers.cluster import Cluster

SHARE: Final = 0.01  # of the time, that pages may take
GRACE_SECONDS: Final = 0.5  # that they may take besides
OVERVIEW: Final = 1024  # px, long side of the canvas as a whole


class Budget:
    """How much of the time pages took. Safe in threads.

    Attributes
    ----------
    spent : float
        Seconds of the processor.
    """

    def __init__(self) -> None:
        self._began, self.spent, self._lock = time.monotonic(), 0.0, threading.Lock()

    @property
    def left(self) -> bool:
        """Whether more may be done."""
        return self.spent - GRACE_SECONDS < SHARE * (time.monotonic() - self._began)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the processor's time that this thread takes in a block."""
        before = time.thread_time()
        try:
            yield
        finally:
            with self._lock:
                self.spent += time.thread_time() - before


class LivePicture(Relay):
    """One painting under way: what `Progress` is told, kept for pages, and passed on to another one.

    Attributes
    ----------
    number : int
        From 1, in a batch.
    name : str
        Of the painting's file.
    read_canvas : callable or None
        Reads the canvas of a level after some rounds, once painting has begun.
    losses : list of LossRecord
        So far.
    level : int
        The one that is painted, from 0.
    ended : bool
        Whether nothing more will be painted.
    """

    def __init__(self, number: int, name: str, levels: Sequence[Level], inner: Progress, board: "Board") -> None:
        super().__init__(levels, inner)
        self.number, self.name, self.board = number, name, board
        self.read_canvas: ReadCanvas | None = None
        self.losses: list[LossRecord] = []
        self.level, self.ended = 0, False
        self._canvas: tuple[Level, int] | None = None
        self._version = 0
        self._overview: tuple[int, np.ndarray] | None = None
        self._leave: int | None = None  # level whose rest is left out
        self._lock = threading.Lock()  # never held for long: painting waits for it
        self._overview_lock = threading.Lock()

    # -------------------------------------------------------------------------------------- told by the painting

    def watch(self, read_canvas: ReadCanvas, losses: Sequence[LossRecord]) -> None:
        """Be told how canvases are read, and the losses of what was painted before."""
        self.read_canvas, self.losses = read_canvas, list(losses)
        super().watch(read_canvas, losses)

    def start_level(self, level: Level) -> None:
        """Begin a level."""
        self.level = level.index
        super().start_level(level)

    def show_losses(self, row: LossRecord) -> None:
        """Note the losses."""
        self.losses.append(row)
        super().show_losses(row)

    def show_canvas(self, level: Level, made: int) -> None:
        """Note the newest canvas. Where it was asked for, end the command here, as Ctrl-C would."""
        with self._lock:
            self._canvas = (level, made)
        if self._version == 0 or (self.board.pages and self.board.budget.left):
            self._version += 1
        super().show_canvas(level, made)
        if self.board.stopping:
            self.board.end_command()

    def ends_level(self, level: Level) -> bool:
        """Whether the rest of a level is to be left out."""
        return self._leave == level.index or super().ends_level(level)

    # --------------------------------------------------------------------------------------------- asked by pages

    def leave_level(self, index: int) -> None:
        """Leave the rest of a level out, if it is the one that is painted."""
        if index == self.level:
            self._leave = index

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the painting, px."""
        return self.levels[-1].height, self.levels[-1].width

    def state(self) -> dict[str, Any]:
        """All that changes, as plain values."""
        left, leaving = self.pace.left, self._leave == self.level
        if left is not None and leaving:
            left[self.level] = 0
        return {
            "level": self.level,
            "share": self.pace.share,
            "left": [None] * len(self.levels) if left is None else [round(seconds, 1) for seconds in left],
            "version": self._version,
            "rows": len(self.losses),
            "leaving": leaving,
            "ended": self.ended,
        }

    def tile(self, zoom: int, row: int, col: int) -> bytes | None:
        """Give a tile of the newest canvas, enlarged to the painting's size, as JPEG; None where there is none.

        Zoom, row and col are as in `muralist.pipeline.viewer.pyramid`.
        """
        with self._lock:
            canvas = self._canvas
        finest = level_count(*self.size) - 1
        if canvas is None or self.read_canvas is None or not 0 <= zoom <= finest:
            return None
        side, lap = TILE << (finest - zoom), OVERLAP << (finest - zoom)
        whole = [Span(0, full) for full in self.size]
        place = [Span(n * side, (n + 1) * side) & full for n, full in zip((row, col), whole, strict=True)]
        if min(span.length for span in place) <= 0:
            return None
        place = [Span(start - lap, stop + lap) & full for (start, stop), full in zip(place, whole, strict=True)]
        shape = tuple(max(1, ceil(span.length / (1 << (finest - zoom)))) for span in place)
        image = self._read(self.read_canvas(*canvas), place, shape)
        return bytes(as_vips(np.asarray(image)).jpegsave_buffer(Q=90, subsample_mode="off"))

    def _read(self, shown: Shown, place: Sequence[Span], shape: tuple[int, ...]) -> Image.Image:
        """Some part of the painting in some shape, of the canvas or of its overview."""
        sides = shown.shape[:2]
        parts = (span.length * side / full for span, side, full in zip(place, sides, self.size, strict=True))
        whole = self._whole(shown) if max(sides) <= OVERVIEW or max(parts) > LARGEST else None
        sides = sides if whole is None else whole.shape[:2]
        box = _scaled(place, self.size, sides)
        pixels = eight_bits(shown.read(box)) if whole is None else whole[slice(*box.rows), slice(*box.cols)]
        (top, bottom), (left, right) = (
            (span.start * side / full - read.start, min(span.stop * side / full - read.start, read.length))
            for span, read, side, full in zip(place, box, sides, self.size, strict=True)
        )
        return Image.fromarray(pixels).resize(
            (shape[1], shape[0]), Image.Resampling.BILINEAR, (left, top, right, bottom)
        )

    def _whole(self, shown: Shown) -> np.ndarray:
        """The canvas as a whole, small. Made once a version."""
        with self._overview_lock:
            if self._overview is None or self._overview[0] != self._version:
                self._overview = self._version, overview(shown, OVERVIEW)
            return self._overview[1]


class Board:
    """What pages show of a command: its paintings, its workers, and the results of a batch's pictures.

    Attributes
    ----------
    pages : set of int
        Open just now, by thread.
    stopping : bool
        Whether to end after a round.
    total : int
        Pictures of the batch; 1 for a single painting.
    outcome : str
        What pages say in the end.
    """

    def __init__(self, title: str, total: int = 1) -> None:
        self.title, self.total = printable(title), total
        self.outcome = "The painting is finished." if total == 1 else "This command has ended."
        self.budget, self.pages, self.stopping = Budget(), set[int](), False
        self._ending = threading.Lock()  # held from when the command was told to end
        self.workers: Cluster | None = None
        self.pictures: dict[int, LivePicture] = {}
        self._results: Counter[str] = Counter()
        self._began = time.monotonic()

    def add(self, name: str, levels: Sequence[Level], inner: Progress, number: int = 1) -> LivePicture:
        """Add a painting that begins."""
        self.pictures[number] = LivePicture(number, printable(name), levels, inner, self)
        return self.pictures[number]

    def remove(self, picture: LivePicture) -> None:
        """Note that a painting has ended, however."""
        picture.ended = True
        if self.total > 1:
            self.pictures.pop(picture.number, None)

    def tell(self, result: Result) -> None:
        """Count a picture of a batch that ended."""
        self._results[result.status] += 1

    def end_command(self) -> None:
        """End the command as Ctrl-C does, or as a kill does where Ctrl-C is ignored; once: others may paint on."""
        if self._ending.acquire(blocking=False):
            ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            # To the process: in a batch this is not its first thread.
            os.kill(os.getpid(), signal.SIGTERM if ignored else signal.SIGINT)

    def state(self) -> dict[str, Any]:
        """All that changes, as plain values."""
        work = self.workers.at_work() if self.workers else {}
        return {
            "seconds": round(time.monotonic() - self._began),
            "workers": [{"name": name, "work": None if at is None else _told(*at)} for name, at in work.items()],
            "notices": [printable(notice) for notice in self.workers.notices] if self.workers else [],
            "results": dict(self._results),
            "queue": [
                {"number": number, "name": picture.name, "share": picture.state()["share"]}
                for number, picture in sorted(self.pictures.copy().items())
            ],
            "waiting": max(0, self.total - self._results.total() - len(self.pictures)),
            "stopping": self.stopping,
        }

    def losses(self, number: int) -> list[dict[str, Any]]:
        """All losses of a painting, with their weights."""
        picture = self.pictures[number]
        return loss_rows(picture.losses.copy())[0]


def _scaled(place: Sequence[Span], full: Sequence[int], sides: Sequence[int]) -> Box:
    """A place in a picture of one size, in one of another size, with a pixel around it to interpolate with."""
    return Box(
        *(
            Span(span.start * side // whole - 1, ceil(span.stop * side / whole) + 1) & Span(0, side)
            for span, whole, side in zip(place, full, sides, strict=True)
        )
    )


def _told(task: object, affinity: Any) -> str:
    """What a worker does, in words."""
    words = {"paint_tile": "paints", "prepare_tile": "prepares", "measure_tile": "measures", "add_up": "adds up"}
    verb = words.get(str(task), str(task).replace("_", " "))
    return f"{verb} tile {affinity[-1] + 1} of level {affinity[1] + 1}" if affinity else verb
