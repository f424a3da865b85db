"""The policy alone, with a fake clock: who works on what, in which order, and what is run again."""

from collections.abc import Iterable
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muralist.pipeline.workers import dispatch as module
from muralist.pipeline.workers.dispatch import Batch, Call, Dispatch, Run


class Floor:
    """Workers that do what they are told, and a clock that is set by hand."""

    def __init__(self, *workers: str, threads: int = 1) -> None:
        self.now = 0.0
        self.cancelled: list[Run] = []
        self.begun: list[Run] = []
        self.dispatch = Dispatch(self.begun.append, self.cancelled.append, lambda: self.now)
        for worker in workers:
            self.dispatch.join(worker, threads)

    def add(self, batch: Batch, affinities: Iterable[object], limit: float = inf) -> list[Call]:
        """Put calls into the line, one for each affinity, and begin."""
        calls = [Call(batch, ("paint",), affinity, limit) for affinity in affinities]
        self.dispatch.add(calls)
        self.dispatch.fill()
        return calls

    def held(self, worker: str) -> list[Call]:
        """What a worker was given and has not ended, in order."""
        return [run.call for run in self.dispatch._runs[worker]]

    def end(self, worker: str, seconds: float = 1.0, *, typical: bool = True) -> bool:
        """Let a worker end what it is at work on; whether that was wanted."""
        self.now += seconds
        wanted = self.dispatch.finish(self.dispatch._runs[worker][0], typical=typical)
        self.dispatch.fill()
        return wanted


def test_every_worker_has_one_call_at_work_and_one_to_go_on_with():
    """Calls are given out breadth first, in their order, and never more than two to a worker."""
    floor = Floor("a", "b")
    calls = floor.add(Batch(), [None] * 6)
    assert floor.held("a") == [calls[0], calls[2]]
    assert floor.held("b") == [calls[1], calls[3]]
    assert floor.end("b")
    assert floor.held("b") == [calls[3], calls[4]]


def test_lower_priorities_are_served_first():
    """A picture of lower priority is served before one that waits longer; within a priority, who came first."""
    floor = Floor("a")
    late = floor.add(Batch(priority=1), [None] * 4)
    early = floor.add(Batch(priority=0), [None] * 2)
    order = [floor.held("a")[0]]
    while floor.end("a") and floor.held("a"):
        order.append(floor.held("a")[0])
    assert order == [*late[:2], *early, *late[2:]]


def test_a_tile_goes_to_the_worker_that_last_had_it():
    """In the next round every worker gets its own tiles, in whatever order they come."""
    floor = Floor("a", "b")
    floor.add(Batch(), "wxyz")
    for worker in "abab":
        floor.end(worker)
    calls = floor.add(Batch(), "zxwy")
    assert [call.affinity for call in floor.held("a")] == ["w", "y"]
    assert [call.affinity for call in floor.held("b")] == ["z", "x"]
    assert floor.cancelled == []
    assert all(call.open for call in calls)


def test_no_worker_idles_while_another_has_a_queue():
    """A worker whose own tiles are done takes the last of the longest queue, but never lays in foreign ones."""
    floor = Floor("a")
    floor.add(Batch(), range(6))
    for _ in range(6):
        floor.end("a")
    floor.dispatch.join("b")
    calls = floor.add(Batch(), range(6))
    assert floor.held("a") == calls[:2]
    assert floor.held("b") == [calls[5]]
    floor.end("b")
    assert floor.held("b") == [calls[4]]
    while floor.held("a"):
        floor.end("a")
    floor.end("b")
    floor.add(Batch(), range(6))  # what was taken stays where it was last worked on
    assert [call.affinity for call in floor.held("b")] == [4, 5]


def test_an_idle_worker_takes_over_what_has_not_begun():
    """At the end of a round nothing waits behind a call while somebody idles; what is at work stays."""
    floor = Floor("a", "b")
    calls = floor.add(Batch(), [None] * 3)
    assert floor.held("a") == [calls[0], calls[2]]
    assert floor.end("b")
    assert [run.call for run in floor.cancelled] == [calls[2]]
    assert (floor.held("a"), floor.held("b")) == ([calls[0]], [calls[2]])
    assert floor.dispatch.again == 0


def test_what_runs_in_threads_is_not_taken_over():
    """A worker with two threads is at work on both of its calls."""
    floor = Floor("a", "b", threads=2)
    calls = floor.add(Batch(), [None] * 3)
    floor.end("b")
    assert (floor.held("a"), floor.held("b"), floor.cancelled) == ([calls[0], calls[2]], [], [])


def test_every_thread_has_a_call_at_work():
    """With two threads, workers have two calls at work and one to go on with; a thread to spare takes one over."""
    floor = Floor("a", "b", threads=2)
    calls = floor.add(Batch(), [None] * 7)
    assert floor.held("a") == [calls[0], calls[2], calls[4]]
    assert floor.held("b") == [calls[1], calls[3], calls[5]]
    assert [run.since is None for runs in floor.dispatch._runs.values() for run in runs] == [False, False, True] * 2
    for _ in range(3):
        floor.end("b")
    assert floor.held("b") == [calls[6], calls[4]]
    assert [run.call for run in floor.cancelled] == [calls[4]]
    assert floor.held("a") == [calls[0], calls[2]]


def test_what_takes_too_long_is_run_again_by_another_worker():
    """A second thread of the same one, which may wait for the first, does not run it."""
    floor = Floor("a", threads=2)
    (stuck,) = floor.add(Batch(), [None], limit=1.0)
    floor.now += module.PATIENCE_SECONDS + 1
    floor.dispatch.fill()
    assert floor.held("a") == [stuck]
    floor.dispatch.join("b", 2)
    floor.dispatch.fill()
    assert (floor.held("a"), floor.held("b")) == ([stuck], [stuck])
    assert floor.end("b")
    assert not floor.end("a")


@pytest.mark.parametrize(("usual", "patience"), [(1.0, 30.0), (20.0, 60.0)])
def test_what_takes_too_long_is_run_a_second_time(usual, patience):
    """After 30 s or three times the median an idle worker tries too; the first result counts, the other is ignored."""
    floor = Floor("a", "b")
    calls = floor.add(Batch(), [None] * 4)
    for _ in range(3):
        floor.end("b", usual)
    assert floor.held("b") == []
    floor.now = patience
    floor.dispatch.fill()
    assert floor.held("b") == []
    floor.now += 0.1
    floor.dispatch.fill()
    floor.dispatch.fill()
    assert floor.held("b") == [calls[0]]
    assert floor.dispatch.again == 1
    assert floor.end("b")
    assert floor.held("a") == [calls[0]]  # it cannot be stopped, so it keeps its worker busy
    assert not floor.end("a")
    assert [run.call for run in floor.cancelled] == [calls[2]]  # which waited there


def test_a_worker_that_hangs_delays_only_one_round():
    """What it was overtaken on still occupies it, and what is laid in behind that is taken over at once."""
    floor = Floor("a", "b")
    floor.add(Batch(), [None] * 4)
    for _ in range(3):
        floor.end("b")
    floor.now += 100
    floor.dispatch.fill()
    floor.end("b")
    calls = floor.add(Batch(), [None] * 4)
    ended = 0
    while floor.held("b"):
        ended += floor.end("b")
    assert ended == len(calls)
    assert not any(call.open for call in calls)


def test_nothing_is_known_to_take_too_long_before_one_has_ended():
    """A map whose first call has not ended may take its time."""
    floor = Floor("a", "b")
    floor.add(Batch(), [None])
    floor.now = 1e6
    floor.dispatch.fill()
    assert floor.held("b") == []


def test_a_call_without_neighbors_is_not_waited_for_without_end():
    """Before any of its kind has ended, its own limit counts; after that, how earlier ones did, in proportion."""
    floor = Floor("a", "b")
    floor.add(Batch(), [None], limit=100)
    floor.now = 100
    floor.dispatch.fill()
    assert (floor.held("b"), floor.dispatch.overdue()) == ([], [])
    floor.now = 101
    floor.dispatch.fill()
    assert len(floor.held("b")) == 1
    assert floor.dispatch.overdue() == []
    floor.now = 201
    assert floor.dispatch.overdue() == ["a"]
    floor = Floor("a", "b")
    floor.add(Batch(), [None], limit=100)
    floor.end("a", 20)
    floor.add(Batch(), [None], limit=1000)  # so it should take 200 s
    floor.now += 600
    floor.dispatch.fill()
    assert floor.held("b") == []
    floor.now += 1
    floor.dispatch.fill()
    assert len(floor.held("b")) == 1


def test_one_call_may_have_a_hundred_times_as_much_to_do_as_another():
    """Calls of a map are compared by what share of their limits they took."""
    floor = Floor("a", "b")
    batch = Batch()
    small, large = Call(batch, ("measure",), None, 110), Call(batch, ("measure",), None, 18060)
    floor.dispatch.add([small, large])
    floor.dispatch.fill()
    assert floor.end("a", 1)
    floor.now += 61
    floor.dispatch.fill()
    assert (floor.held("a"), floor.dispatch.overdue()) == ([], [])


def test_calls_that_had_nothing_to_do_say_nothing_about_others():
    """Tiles of which a mask leaves nothing end at once; one that is painted is given its time."""
    floor = Floor("a", "b")
    calls = floor.add(Batch(), range(9), limit=600)
    while floor.held("b"):
        floor.end("b", 0.1, typical=False)
    assert floor.held("a") == calls[:1]
    floor.now += 599
    floor.dispatch.fill()
    assert (floor.held("b"), floor.dispatch.overdue()) == ([], [])
    assert floor.end("a")


def test_a_command_that_was_suspended_takes_no_worker_for_stuck():
    """After Ctrl-Z and fg, everybody goes on where they were."""
    floor = Floor("a", "b")
    floor.add(Batch(), [None], limit=100)
    floor.now += 3600
    floor.dispatch.forgive(3590)
    assert floor.dispatch.overdue() == []
    floor.now += 191
    assert floor.dispatch.overdue() == ["a"]


def test_patience_grows_with_every_worker_that_was_lost():
    """A call that is only long ends at last, instead of taking one worker after the other down."""
    floor = Floor("a")
    (call,) = floor.add(Batch(), [None], limit=100)
    for number in range(3):
        floor.now += 200 * 2**number
        assert floor.dispatch.overdue() == []
        floor.now += 1
        assert floor.dispatch.overdue() == ["a"]
        (lost,) = floor.dispatch.leave("a")
        lost.losses += 1
        floor.dispatch.join("a")
        floor.dispatch.fill()
    assert floor.end("a")
    assert not call.open


def test_calls_of_a_lost_worker_are_run_again_in_their_place():
    """They come before what waits already; only what was at work counts as run again, and is told."""
    floor = Floor("a", "b")
    calls = floor.add(Batch(), [None] * 6)
    assert floor.dispatch.leave("a") == [calls[0]]
    assert [run.call for run in floor.cancelled] == [calls[0], calls[2]]
    assert floor.dispatch.again == 1
    assert floor.dispatch.workers == ("b",)
    order = []
    while floor.held("b"):
        order.append(floor.held("b")[0])
        floor.end("b")
    assert order == [calls[1], calls[3], calls[0], calls[2], calls[4], calls[5]]


def test_all_workers_may_be_lost_for_a_while():
    """Calls wait until somebody comes; a result of somebody who left is not wanted."""
    floor = Floor("a")
    calls = floor.add(Batch(), [None])
    floor.dispatch.leave("a")
    floor.dispatch.fill()
    assert not floor.dispatch.finish(floor.begun[0])
    floor.dispatch.join("b")
    floor.dispatch.fill()
    assert floor.held("b") == calls


def test_a_second_run_goes_on_when_the_first_worker_is_lost():
    """A call that is under way elsewhere does not go back into the line."""
    floor = Floor("a", "b")
    calls = floor.add(Batch(), [None] * 2)
    floor.end("b")
    floor.now += 100
    floor.dispatch.fill()
    assert floor.held("a") == floor.held("b") == [calls[0]]
    floor.dispatch.leave("a")
    floor.dispatch.fill()
    assert floor.held("b") == [calls[0]]
    assert floor.dispatch.again == 1
    assert floor.end("b")


def test_a_map_that_is_given_up_leaves_nothing_in_line():
    """What waits is forgotten or cancelled, what is at work ends unheard; other maps go on."""
    floor = Floor("a")
    batch, other = Batch(), Batch()
    calls = floor.add(batch, [None] * 4)
    kept = floor.add(other, [None])
    floor.dispatch.drop(batch)
    floor.dispatch.fill()
    assert [run.call for run in floor.cancelled] == [calls[1]]
    assert floor.held("a") == [calls[0], *kept]
    assert not floor.end("a")
    assert floor.end("a")
    assert batch.seconds == []


def test_only_so_many_homes_are_remembered(monkeypatch):
    """A night of ten thousand pictures does not fill the memory; the oldest affinities are forgotten."""
    monkeypatch.setattr(module, "AFFINITIES", 3)
    floor = Floor("a")
    floor.add(Batch(), "abcxy")
    while floor.held("a"):
        floor.end("a")
    assert list(floor.dispatch._last) == ["c", "x", "y"]


@given(
    st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), min_size=1, max_size=4),
    st.integers(1, 3),
)
def test_everything_is_done_once_and_nobody_idles(speeds, maps, threads):
    """Whatever the workers' speeds: every call gives one result, and a thread is free only if nothing waits."""
    workers = [f"w{number}" for number in range(len(speeds))]
    floor = Floor(*workers, threads=threads)
    calls = [call for priority, count in maps for call in floor.add(Batch(priority), range(count))]
    free_at = dict.fromkeys(workers, 0.0)
    results = 0
    while any(floor.held(worker) for worker in workers):
        assert all(len(floor.held(worker)) <= threads + module.WAITING for worker in workers)
        if not all(len(floor.held(worker)) >= threads for worker in workers):
            assert floor.dispatch._line == []
            assert all(len(floor.held(worker)) <= threads for worker in workers)
        seconds = dict(zip(workers, speeds, strict=True))
        ends = {
            worker: max(free_at[worker], floor.dispatch._runs[worker][0].since) + seconds[worker]
            for worker in workers
            if floor.held(worker)
        }
        worker = min(ends, key=lambda name: ends[name])
        free_at[worker] = ends[worker]
        results += floor.end(worker, max(0.0, ends[worker] - floor.now))
    assert results == len(calls)
    assert all(not call.open and not call.runs for call in calls)
    for worker in workers:
        at_work = [run.since for run in floor.begun if run.worker == worker and run.since is not None]
        assert at_work == sorted(at_work)
