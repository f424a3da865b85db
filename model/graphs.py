"""Rounds that are recorded once and replayed: a GPU then launches thousands of small operations as a single one.

A round is a function from named tensors to named tensors that reads no values and keeps no state, so all tiles of one
shape can share a recording: their tensors are copied into those it was made with. In every thread, the first run of a
kind of round is not recorded, which lets libraries choose algorithms and initialize themselves; the second is recorded.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from threading import get_ident, local

import torch
from torch import Tensor

from .transfer import ENQUEUING

Tensors = Mapping[str, Tensor]
Work = Callable[[Tensors], Tensors]
Replay = Callable[[], object]
Record = Callable[[Callable[[], Tensors]], tuple[Replay, Tensors]]
MOST = 12  # recordings that are kept: kinds of rounds of the levels that are being painted
SEEN = 100  # kinds that are remembered


@dataclass
class Graphs:
    """Recordings of rounds, which share the memory they compute in. Thread-safe.

    Attributes
    ----------
    recorder : callable or None
        Makes a recorder: a function that runs the work it is given and returns a function that replays it, and the
        result, which every replay overwrites. Recordings by one recorder are never replayed at the same time. With
        None, nothing is recorded.
    trouble : str
        Why recording was given up; "" if it was not.
    """

    recorder: Callable[[], Record] | None = None
    trouble: str = ""
    _record: Record | None = None
    _seen: dict[Hashable, object] = field(default_factory=dict)
    _recordings: dict[Hashable, "_Recording"] = field(default_factory=dict)  # the one used last comes last
    _mine: local = field(default_factory=local)

    @property
    def replayed(self) -> bool:
        """Whether the last piece of work of this thread was a replay."""
        return getattr(self._mine, "replayed", False)

    def run(self, owner: object, key: Hashable, work: Work, given: Tensors) -> Tensors:
        """Do a piece of work, or replay its recording.

        Parameters
        ----------
        owner : object
            What `work` belongs to, and whose tensors it uses.
        key : hashable or None
            All that the work depends on besides owner and tensors; None for work that will not be repeated.
        work : callable
            Given the tensors, returns others. It must not wait for the device.
        given : mapping str -> Tensor
            Arguments of `work`, with the same names, shapes and number types whenever the key is the same.

        Raises
        ------
        torch.OutOfMemoryError
            Also where there is enough memory for the work, but not to record it.
        """
        with ENQUEUING:
            recording = self._recording_of(owner, key, work, given)
            self._mine.replayed = recording is not None
            return work(given) if recording is None else recording.replay_with(given)

    def clear(self) -> None:
        """Drop all recordings, which frees their memory."""
        with ENQUEUING:
            self._record = None
            self._seen.clear()
            self._recordings.clear()

    def _recording_of(self, owner: object, key: Hashable, work: Work, given: Tensors) -> "_Recording | None":
        """Return the recording of some work; make one if the work is done for the second time."""
        if self.recorder is None or key is None:
            return None
        place = id(owner), key
        recording = self._recordings.pop(place, None) or self._new_recording(owner, (place, get_ident()), work, given)
        if recording is not None:
            self._recordings[place] = recording
            if len(self._recordings) > MOST:
                del self._recordings[next(iter(self._recordings))]
        return recording

    def _new_recording(self, owner: object, seen: Hashable, work: Work, given: Tensors) -> "_Recording | None":
        if seen not in self._seen:
            self._seen[seen] = owner  # kept alive, so that its id stays unique
            if len(self._seen) > SEEN:
                del self._seen[next(iter(self._seen))]
            return None
        assert self.recorder is not None
        self._record = self._record or self.recorder()
        own = {name: value.clone() for name, value in given.items()}
        try:
            replay, result = self._record(partial(work, own))
        except torch.OutOfMemoryError:  # smaller tiles may be recorded
            self.clear()
            raise
        except RuntimeError as error:  # torch's error for anything else that a device refuses
            self.clear()
            if isinstance(error.__context__, torch.OutOfMemoryError):  # after which the recording could not be ended
                raise error.__context__ from None
            self.recorder, self.trouble = None, str(error).partition("\n")[0]
            return None
        return _Recording(owner, own, replay, result)


@dataclass(frozen=True)
class _Recording:
    owner: object
    given: dict[str, Tensor]
    replay: Replay
    result: Tensors

    def replay_with(self, given: Tensors) -> Tensors:
        """Replay with other tensors; return copies of the result, which the next replay overwrites."""
        for name, value in given.items():
            self.given[name].copy_(value, non_blocking=True)
        self.replay()
        return {name: value.clone() for name, value in self.result.items()}


def cuda_graphs(device: str) -> Graphs:
    """Return `Graphs` that record CUDA graphs on a device."""
    return Graphs(partial(_cuda_recorder, device))


def _cuda_recorder(device: str) -> Record:
    """Record graphs that share a pool of memory: only one of them is replayed at a time."""
    pool, stream = None, _recorded_stream(device)

    def record(work: Callable[[], Tensors]) -> tuple[Replay, Tensors]:
        nonlocal pool
        graph = torch.cuda.CUDAGraph()
        with (
            torch.cuda.device(device),  # the device that is recorded
            torch.cuda.stream(torch.cuda.current_stream(device)),  # to restore if this fails: older torch does not
            torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"),  # others may wait for results
        ):
            result = work()
        pool = graph.pool()
        return graph.replay, result

    return record


@cache
def _recorded_stream(device: str) -> torch.cuda.Stream:
    """The stream that records on a device. Torch's default one belongs to the device that recorded first."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
