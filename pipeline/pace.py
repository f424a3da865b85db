"""Tracks how much of a painting is done, and estimates the remaining time from the rate so far."""

import time
from collections.abc import Callable, Sequence

from .levels import Level
from .progress import level_work


class Pace:
    """Counts the work of a painting.

    Parameters
    ----------
    clock : callable
        Gives seconds.
    """

    def __init__(self, levels: Sequence[Level], clock: Callable[[], float] = time.monotonic) -> None:
        self._works, self._clock = [level_work(level) for level in levels], clock
        self._done, self._done_before = 0, 0
        self._began: float | None = None

    def advance(self, work: int) -> None:
        """Count some pixel-steps as done."""
        self._done += work

    def skip(self, work: int) -> None:
        """Count some pixel-steps as done that took no time, and so say nothing of the rate."""
        self._done += work
        self._done_before += work

    def start(self) -> None:
        """Measure the rate from now on, if it is not measured yet: what was counted before, an earlier run did."""
        if self._began is None:
            self._done_before, self._began = self._done, self._clock()

    @property
    def share(self) -> float:
        """Of the whole work that is done, from 0 to 1; tiles that were halved make more than was planned."""
        return min(1.0, self._done / (sum(self._works) or 1))

    @property
    def left(self) -> list[float] | None:
        """Seconds that every level still takes; None while there is no rate yet."""
        if self._began is None or self._done == self._done_before:
            return None
        rate = (self._done - self._done_before) / max(1e-9, self._clock() - self._began)
        seconds, before = [], 0
        for work in self._works:
            seconds.append((work - min(work, max(0, self._done - before))) / rate)
            before += work
        return seconds
