"""Rounds that are recorded once and replayed: a GPU then starts thousands of small operations as a single one.

A round is a function from named tensors to named tensors that neither looks at a number nor keeps anything, so all
tiles of one shape can share a recording: their tensors are copied into those it was made with. What is done for the
first time is done as usual, which lets libraries choose their ways and set themselves up; the second time is recorded.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from threading import RLock

import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]
Work = Callable[[Tensors], Tensors]
Replay = Callable[[], object]
Record = Callable[[Callable[[], Tensors]], tuple[Replay, Tensors]]
MOST = 12  # recordings that are kept: kinds of rounds of one level


@dataclass
class Graphs:
    """Recordings of the rounds of one level, as all of them share the memory they compute in. Safe in threads.

    Attributes
    ----------
    recorder : callable or None
        Makes, for every level, what records: it calls what it is given, and returns what does it again and the result,
        which every replay overwrites. None records nothing.
    lock : RLock
        To be held until a result has been taken away: the next replay overwrites it.
    replayed : bool
        Whether the last piece of work was a replay.
    trouble : str
        Why recording was given up; "" if it was not.
    """

    recorder: Callable[[], Record] | None = None
    lock: RLock = field(default_factory=RLock)
    replayed: bool = False
    trouble: str = ""
    _owner: object = None
    _record: Record | None = None
    _seen: set[Hashable] = field(default_factory=set)
    _recordings: dict[Hashable, "_Recording"] = field(default_factory=dict)

    def run(self, owner: object, key: Hashable, work: Work, given: Tensors) -> Tensors:
        """Do a piece of work, or replay what was recorded of it.

        Parameters
        ----------
        owner : object
            What `work` belongs to. Only recordings of one owner are kept.
        key : hashable or None
            All that the work depends on beside its tensors; None for what will not be done again.
        work : callable
            Given the tensors, returns others. It must not wait for the device.
        given : mapping str -> Tensor
            Of the same names, shapes and number types for the same key.
        """
        if owner is not self._owner:
            self.clear()
            self._owner, self._record = owner, self.recorder and self.recorder()
        recording = self._recordings.get(key) or self._new_recording(key, work, given)
        self.replayed = recording is not None
        return work(given) if recording is None else recording.replay_with(given)

    def clear(self) -> None:
        """Forget all recordings, which gives their memory back."""
        self._owner = self._record = None
        self._seen.clear()
        self._recordings.clear()

    def _new_recording(self, key: Hashable, work: Work, given: Tensors) -> "_Recording | None":
        if self._record is None or key is None or len(self._recordings) == MOST:
            return None
        if key not in self._seen:
            self._seen.add(key)
            return None
        own = {name: value.clone() for name, value in given.items()}
        try:
            replay, result = self._record(lambda: work(own))
        except RuntimeError as error:  # which torch raises for whatever a device refuses, memory included
            self.clear()
            self.recorder, self.trouble = None, str(error).partition("\n")[0]
            return None
        self._recordings[key] = recording = _Recording(own, replay, result)
        return recording


@dataclass(frozen=True)
class _Recording:
    given: dict[str, Tensor]
    replay: Replay
    result: Tensors

    def replay_with(self, given: Tensors) -> Tensors:
        for name, value in given.items():
            self.given[name].copy_(value, non_blocking=True)
        self.replay()
        return self.result


def cuda_graphs() -> Graphs:
    """Return what records CUDA graphs."""
    return Graphs(_cuda_recorder)


def _cuda_recorder() -> Record:
    """Record graphs that share a pool of memory: only one of them is replayed at a time."""
    pool = None

    def record(work: Callable[[], Tensors]) -> tuple[Replay, Tensors]:
        nonlocal pool
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on: what they ask of the device has nothing to do with the recording.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            result = work()
        pool = graph.pool()
        return graph.replay, result

    return record
