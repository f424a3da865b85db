"""The scheduling policy: which worker runs which call next. It knows neither dask nor processes.

Calls wait in one queue, by priority, then in the order of arrival. A worker has at most one running in each of its
threads and one waiting. A call prefers a worker by affinity: the one that last worked on the same tile, and so has its
files cached. But no worker idles while another has a queue. Once the queue is empty, an idle worker takes over calls
that another worker has not begun, and also runs calls that take another one far too long; the first result is used.
That is harmless: tasks are pure and write whole files of the same bytes. A worker is idle if any of its threads is.

How long a call should take is estimated from the finished calls of its map; if there are none, from earlier calls of
the same task; and otherwise from a limit that holds on the slowest machine. Calls with such limits are compared by the
share of their limit that they took, since one may have a hundred times as much to do as another.

Not thread-safe: one thread owns a `Dispatch`.
"""

import time
from bisect import insort
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from itertools import count
from math import inf
from statistics import median
from typing import Any

WAITING = 1  # calls per worker that are not at work yet
PATIENCE_SECONDS = 30.0  # how long a call may take, however fast others of its map were,
PATIENCE = 3  # and how many times as long as their median
REPLACE = 2  # times as long, and a worker is no longer waited for
PACES = 100  # calls of a task that are remembered
AFFINITIES = 100_000  # of which the last worker is remembered


@dataclass(eq=False)
class Batch:
    """Calls of one map.

    Attributes
    ----------
    priority : int
        Calls with a lower number are served first.
    seconds, shares : list of float
        How long finished calls took; what shares of their limits, where they have one.
    """

    priority: int = 0
    seconds: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)


@dataclass(eq=False)
class Call:
    """Something to be run once, or again.

    Attributes
    ----------
    affinity : hashable, optional
        What it works on.
    limit : float
        Seconds that it takes at most on the slowest machine; calls of a task take times in proportion to it.
    losses : int
        Workers that were lost while they worked on it.
    runs : list of Run
        Where it is under way.
    open : bool
        Whether a result is still wanted.
    """

    batch: Batch
    arguments: tuple[Any, ...] = ()
    affinity: Hashable = None
    limit: float = inf
    losses: int = 0
    runs: list["Run"] = field(default_factory=list)
    open: bool = True
    number: int = field(default_factory=count().__next__)

    @property
    def place(self) -> tuple[int, int]:
        """Place in the line."""
        return self.batch.priority, self.number

    @property
    def task(self) -> object:
        """What is done, whatever to."""
        return self.arguments[0] if self.arguments else None


@dataclass(eq=False)
class Run:
    """A call that was given to a worker; `since` is the time it started to run, None while it waits there."""

    call: Call
    worker: str
    since: float | None = None


class Dispatch:
    """The queue of calls, and what every worker is running.

    Parameters
    ----------
    begin, cancel : callable (Run)
        Told what to start, and what is no longer wanted where it is.
    clock : callable () -> seconds

    Attributes
    ----------
    again : int
        Calls that were at work a second time, because a worker was lost or took too long.
    """

    def __init__(
        self,
        begin: Callable[[Run], object],
        cancel: Callable[[Run], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.again = 0
        self._begin, self._cancel, self._clock = begin, cancel, clock
        self._line: list[Call] = []
        self._runs: dict[str, list[Run]] = {}  # the runs of every worker, in the order they were started
        self._threads: dict[str, int] = {}
        self._last: dict[Hashable, str] = {}  # the worker that last had an affinity
        # Of the last calls of a task, what share of their limit they took.
        self._paces: dict[object, deque[float]] = defaultdict(lambda: deque(maxlen=PACES))

    @property
    def workers(self) -> tuple[str, ...]:
        """Workers that can be given calls."""
        return tuple(self._runs)

    def at_work(self) -> dict[str, Call | None]:
        """The call that every worker is running; None if it idles."""
        first = {worker: next(iter(runs), None) for worker, runs in self._runs.items()}
        return {worker: run.call if run and run.since is not None else None for worker, run in first.items()}

    def join(self, worker: str, threads: int = 1) -> None:
        """Add a worker that runs so many calls at a time."""
        self._runs[worker] = []
        self._threads[worker] = threads

    def leave(self, worker: str) -> list[Call]:
        """Remove a worker; return the calls it was running. All its calls return to their places in the queue."""
        lost = self._runs.pop(worker)
        for run in lost:
            self._cancel(run)
            run.call.runs.remove(run)
            if run.call.open and not run.call.runs:
                self.again += run.since is not None
                insort(self._line, run.call, key=lambda call: call.place)
        return [run.call for run in lost if run.since is not None and run.call.open]

    def add(self, calls: Iterable[Call]) -> None:
        """Add calls to the queue."""
        self._line = sorted([*self._line, *calls], key=lambda call: call.place)

    def drop(self, batch: Batch) -> None:
        """Cancel a map. Calls that are running cannot be stopped and continue, but their results are discarded."""
        self._line = [call for call in self._line if call.batch is not batch]
        for run in [run for runs in self._runs.values() for run in runs if run.call.batch is batch]:
            self._close(run.call)

    def finish(self, run: Run, *, typical: bool = True) -> bool:
        """Note that a run has ended, and whether others should take as long; return whether its result is wanted."""
        if run not in self._runs.get(run.worker, ()):
            return False
        self._remove(run)
        if not run.call.open:
            return False
        if run.since is not None and typical:
            seconds = self._clock() - run.since
            run.call.batch.seconds.append(seconds)
            if run.call.limit < inf:
                run.call.batch.shares.append(seconds / run.call.limit)
                self._paces[run.call.task].append(seconds / run.call.limit)
        self._close(run.call)
        return True

    def fill(self) -> None:
        """Start all calls that can start now. Call it after every change, and regularly because of overdue calls."""
        while (found := self._next() or self._taken_over() or self._second_run()) is not None:
            self._start(*found)

    def _next(self) -> tuple[Call, str] | None:
        """First call of the queue and its worker. A worker's waiting call never has an affinity to another worker."""
        by_worker = self._line_by_worker()
        idle, busy = self._idle(), self._busy()
        for worker in idle:
            if worker in by_worker:
                return by_worker[worker][0], worker
        if idle and by_worker:
            calls = by_worker.get(None)
            return (calls[0] if calls else max(by_worker.values(), key=len)[-1]), idle[0]
        for worker in busy:
            if calls := by_worker.get(worker) or by_worker.get(None):
                return calls[0], worker
        return None

    def _line_by_worker(self) -> dict[str | None, list[Call]]:
        """The calls to be served first (lowest priority number), by the worker that they have an affinity to."""
        by_worker: dict[str | None, list[Call]] = defaultdict(list)
        for call in self._line:
            if call.batch.priority > self._line[0].batch.priority:
                break
            worker = None if call.affinity is None else self._last.get(call.affinity)
            by_worker[worker if worker in self._runs else None].append(call)
        return dict(by_worker)

    def _idle(self) -> list[str]:
        """Workers with a thread to spare, those with the fewest calls first."""
        return sorted(self._with(most=-1), key=lambda worker: len(self._runs[worker]))

    def _busy(self) -> list[str]:
        """Workers without a spare thread that may get a call to wait there."""
        return [worker for worker in self._with(most=WAITING - 1) if worker not in self._with(most=-1)]

    def _with(self, most: int) -> list[str]:
        """Workers that have so many calls more than threads, at most."""
        return [worker for worker, runs in self._runs.items() if len(runs) - self._threads[worker] <= most]

    def _taken_over(self) -> tuple[Call, str] | None:
        """A call that waits behind another one, for an idle worker."""
        idle = self._idle()
        waiting = [run for runs in self._runs.values() for run in runs if run.since is None]
        if not idle or not waiting:
            return None
        run = min(waiting, key=lambda run: run.call.place)
        self._remove(run)
        self._cancel(run)
        return run.call, idle[0]

    def _second_run(self) -> tuple[Call, str] | None:
        """A call that takes far too long, for another, idle worker."""
        idle, now = self._idle(), self._clock()
        for run in [run for runs in self._runs.values() for run in runs] if idle else ():
            other = next((worker for worker in idle if worker != run.worker), None)
            alone = run.call.open and len(run.call.runs) == 1
            late = run.since is not None and now - run.since > self._patience(run.call)
            if other is not None and alone and late:
                self.again += 1
                return run.call, other
        return None

    def forgive(self, seconds: float) -> None:
        """Ignore time in which this was not called: the whole command with its workers may have been suspended."""
        for run in (run for runs in self._runs.values() for run in runs):
            run.since = None if run.since is None else min(self._clock(), run.since + seconds)

    def overdue(self) -> list[str]:
        """Workers that have been at work on something for so long that they will hardly end it."""
        now = self._clock()
        return [
            worker
            for worker, runs in self._runs.items()
            if any(run.since is not None and now - run.since > REPLACE * self._patience(run.call) for run in runs)
        ]

    def _patience(self, call: Call) -> float:
        """Seconds until a call counts as stuck: more each time a worker was lost with it, since it may just be slow."""
        if call.limit < inf:
            shares = call.batch.shares or self._paces[call.task]
            usual = call.limit * (PATIENCE * median(shares) if shares else 1)
        else:
            usual = PATIENCE * median(call.batch.seconds) if call.batch.seconds else inf
        return float(max(PATIENCE_SECONDS, usual) * 2**call.losses)

    def _start(self, call: Call, worker: str) -> None:
        if call in self._line:
            self._line.remove(call)
        run = Run(call, worker)
        call.runs.append(run)
        self._runs[worker].append(run)
        self._remember(call.affinity, worker)
        self._note_work(worker)
        self._begin(run)

    def _remember(self, affinity: Hashable, worker: str) -> None:
        if affinity is not None:
            self._last.pop(affinity, None)
            self._last[affinity] = worker
            if len(self._last) > AFFINITIES:
                del self._last[next(iter(self._last))]

    def _note_work(self, worker: str) -> None:
        """The oldest runs of a worker are at work, as many as it has threads."""
        for run in self._runs[worker][: self._threads[worker]]:
            run.since = self._clock() if run.since is None else run.since

    def _remove(self, run: Run) -> None:
        self._runs[run.worker].remove(run)
        run.call.runs.remove(run)
        self._note_work(run.worker)

    def _close(self, call: Call) -> None:
        """Close a call whose result is no longer wanted. A running one keeps its worker busy until it ends."""
        call.open = False
        for run in [run for run in call.runs if run.since is None]:
            self._remove(run)
            self._cancel(run)
