"""Where tasks run: a set of workers that may change at any time.

`dispatch.py` decides which worker runs which call; `client.py` submits it to that worker and fetches the result. This
happens in a separate thread, which polls the scheduler every second: new workers are checked and used, calls of lost
workers are run again elsewhere, and if the scheduler is gone, the thread waits for it.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from functools import partial
from heapq import nlargest
from math import inf
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import dask
from distributed.scheduler import KilledWorker
from distributed.utils import silence_logging_cmgr

from ...model.weight_files import WeightFile
from ..console import LOG
from ..errors import ClusterError
from ..output_files import named_in_utf_8
from ..settings import Settings
from ..storage.store import Store
from .client import SchedulerClient, TaskDropped
from .dispatch import Batch, Call, Dispatch, Run
from .handshake import handshake
from .local import WorkerLayout, local_shape, lost_gpus, start_workers
from .loop_thread import LoopThread
from .requirements import Backend, Facts, WorkerRequirements

ASK_SECONDS = 60  # for a worker to report its facts: it loads torch and reads the weight file
POLL_SECONDS = 1.0
RECONNECT_SECONDS = 600
LOST_WORKERS_ALLOWED = 10  # per task; one that needs too much memory would kill workers forever
QUIET = {
    "distributed.admin.low-level-log-length": 100,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.tick.interval": "500ms",
    "distributed.diagnostics.nvml": False,  # with pynvml installed, every process would monitor the GPUs
    "distributed.deploy.lost-worker-timeout": "1 hour",  # dask's own 15 s are too few to load torch on a busy machine
    "distributed.worker.profile.enabled": False,  # it samples every thread each 10 ms, and painting has to wait
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
}
CLIENT_LOG = "distributed.client"  # has a handler of its own
_quiet, _quiet_lock, _loud = 0, Lock(), ExitStack()  # clusters that are open, and what brings dask's own settings back
Answer = tuple[Any, BaseException | None]  # to a call: its result, or what went wrong


class Cluster(LoopThread):
    """A running set of workers that suit one render or batch; see `open_cluster`. Safe in threads.

    Attributes
    ----------
    workers : int
        The most that were there at a time.
    device, device_name, precision : str
        What all of them compute on and in.
    threads : int
        Of each, as of `WorkerLayout`; of one that others started, torch's.
    tiles : int
        That each has under way at a time.
    notices : list of str
        What the user should know: workers that were left out or lost, and connections.
    lost : int
        Workers that died or vanished.
    """

    def __init__(self, settings: Settings, store: Store, local_dir: Path, tiles: int, weights: WeightFile) -> None:
        self.workers = self.lost = self.threads = 0
        self.tiles = 1
        self.device = self.device_name = self.precision = ""
        self.notices: list[str] = []
        self._settings, self._store, self._local_dir, self._tiles = settings, store, local_dir, tiles
        self._requirements = WorkerRequirements.of(store, weights)
        self._client = SchedulerClient(settings)
        self._dispatch = Dispatch(self._begin, self._cancel)
        self._answers: dict[Batch, SimpleQueue[Answer]] = {}
        self._known: dict[str, str] = {}  # workers that were asked what they are, and what to call them
        self._given_up: set[str] = set()  # workers that hang, which may be there for a while yet
        self._peaks: dict[str, int] = {}
        self._seen = time.monotonic()  # when there last was a worker
        super().__init__("muralist-cluster")  # last: its event loop is closed only once the thread has run

    # -------------------------------------------------------------------------------- for the driver, in any thread

    @property
    def again(self) -> int:
        """Tasks that were run again: the worker was lost or took far too long, or the scheduler was gone."""
        return self._dispatch.again

    def at_work(self) -> dict[str, tuple[Any, Hashable] | None]:
        """Tell of every worker the task it is at work on, and on what; None if it idles. Nothing once all has ended."""
        found = Future[dict[str, tuple[Any, Hashable] | None]]()

        def tell() -> None:
            work = {
                each: None if call is None else (call.task, call.affinity)
                for each, call in self._dispatch.at_work().items()
            }
            found.set_result({self._known.get(each, each): what for each, what in work.items()})

        self._post(tell)
        with suppress(TimeoutError):
            return found.result(timeout=POLL_SECONDS)
        return {}

    def peak_rss(self) -> int:
        """Largest resident memory of the workers so far, added up, bytes; of one started again, the larger."""
        return sum(nlargest(self.workers, self._peaks.copy().values()))

    def call(self, task: str, *arguments: Any, priority: int = 0, limit: float = inf) -> Any:
        """Run one task and return its result."""
        return next(self.map(task, [arguments], priority=priority, limits=[limit]))

    def map(
        self,
        task: str,
        calls: Sequence[tuple[Any, ...]],
        *,
        priority: int = 0,
        affinities: Sequence[Hashable] | None = None,
        limits: Sequence[float] | None = None,
    ) -> Iterator[Any]:
        """Run a task once per tuple of arguments; yield results as they come, in no particular order.

        Parameters
        ----------
        task : str
            Name of a function of `muralist.pipeline.tasks`.
        priority : int
            Tasks with a lower number are served first.
        affinities : sequence of hashable, optional
            What each call works on; the worker that last worked on it is preferred.
        limits : sequence of float, optional
            Seconds that each call takes at most on the slowest machine. A worker that takes far longer is not waited
            for; where it is one of our own, it is killed and started again.

        A result may have an attribute `typical`: False where no other call should be expected to end as soon.

        Raises
        ------
        ClusterError
            If workers keep dying on a task, or none is left for ten minutes.
        Exception
            Whatever a task raised; the others of this map are given up.
        """
        batch, answers = Batch(priority), SimpleQueue[Answer]()
        places = affinities if affinities is not None else [None] * len(calls)
        most = limits if limits is not None else [inf] * len(calls)
        parts = zip(calls, places, most, strict=True)
        todo = [Call(batch, (task, *call), affinity, limit) for call, affinity, limit in parts]
        if self.failed is not None:
            raise self.failed
        self._post(self._add, batch, todo, answers)
        try:
            for _ in todo:
                result, error = answers.get()
                if error is not None:
                    raise error
                yield result
        finally:
            self._post(self._give_up, batch)

    # ------------------------------------------------------------------------------------------------ its own thread

    async def _work(self) -> None:
        async with AsyncExitStack() as stack:
            await self._open(stack)
            self._opened.set_result(None)
            while not self._stopping.is_set():  # what is awaited below may swallow that this was cancelled
                before = time.monotonic()
                await asyncio.sleep(POLL_SECONDS)
                self._dispatch.forgive(time.monotonic() - before - POLL_SECONDS)
                try:
                    await self._poll()
                except OSError:
                    await self._reconnect()
                self._replace_overdue()
                self._dispatch.fill()
                self._check_that_somebody_is_there()

    def _fail(self, error: BaseException) -> None:
        """End all maps with an error, also those to come."""
        super()._fail(error)
        for answers in self._answers.values():
            answers.put((None, self.failed))
        self._answers.clear()

    # ------------------------------------------------------------------------------------------- in it: who is there

    async def _open(self, stack: AsyncExitStack) -> None:
        shape = None if self._settings.scheduler else local_shape(self._settings, self._tiles)
        self._cores = shape.cores if shape else self._settings.threads
        self._store.write(self._requirements.name, self._requirements.token.encode())
        stack.callback(self._store.remove, self._requirements.name)
        if shape:
            local_dir = stack.enter_context(named_in_utf_8(self._local_dir))  # all that dask's messages can hold
            self._client.address = await start_workers(stack, shape, local_dir / "dask", self._client.security)
        await self._client.connect()
        stack.push_async_callback(self._client.close)
        stack.callback(self._forget_workers)
        await self._meet_first(shape)
        if shape:
            self.threads = shape.threads

    async def _meet_first(self, shape: WorkerLayout | None) -> None:
        """Ask all workers what they are, choose what to compute on, and refuse those that do not suit."""
        if not (workers := await self._client.workers()):
            raise ClusterError(f"scheduler {self._client.address} has no workers; start some with `dask worker`")
        found = await self._ask_all(workers)
        while not found and self._are_starting():
            await asyncio.sleep(POLL_SECONDS)
            workers = await self._client.workers()
            found = await self._ask_all(workers)
        if not found:
            raise ClusterError(self._nobody_answered())
        for address, facts in found.items():
            if (reason := self._requirements.incompatibility(facts)) is not None:
                raise ClusterError(f"{self._known[address]} {reason}")
        self._settle(found.values())
        if shape and (notice := lost_gpus(shape, self.device)):
            self.notices.append(notice)
        for address, facts in found.items():
            self._use(address, facts, workers)

    async def _ask_all(self, workers: Mapping[str, Any]) -> dict[str, Facts]:
        """Ask workers what they are; return what those say that answer in time."""
        device, found = self._settings.device, {}
        asked = {address: asyncio.create_task(self._ask(address, device, workers)) for address in workers}
        if asked:
            await asyncio.wait(asked.values(), timeout=ASK_SECONDS)
        for address, task in asked.items():
            if not task.done():
                task.cancel()
                self.notices.append(f"worker {address} did not answer within {ASK_SECONDS} s; it is used once it does")
            elif isinstance(task.exception(), OSError):
                self.lost += 1
                self.notices.append(f"worker {address} was lost while it started")
            else:
                found[address] = task.result()
                self._known[address] = _who(address, found[address])
        return found

    def _are_starting(self) -> bool:
        """Whether our own workers may still get ready: on a busy machine that takes long, and a lost one comes back."""
        late = time.monotonic() - self._seen > RECONNECT_SECONDS
        return not (self._settings.scheduler or late or self.lost >= LOST_WORKERS_ALLOWED)

    def _nobody_answered(self) -> str:
        if self._settings.scheduler:
            return f"no worker of {self._client.address} answered within {ASK_SECONDS} s; start them again"
        return (
            f"no worker on this machine got ready within {RECONNECT_SECONDS / 60:.0f} minutes, {self.lost} were lost "
            "meanwhile, possibly out of memory; use fewer --workers, or rerun the command when the machine is less "
            "busy"
        )

    def _settle(self, workers: Collection[Facts]) -> None:
        self._backend = Backend.common(workers, self._settings)
        self.device, self.precision = self._backend.device, self._backend.precision
        first = next(facts for facts in workers if facts["device"] == self.device)
        self.device_name, self.threads = first["device_name"], first["threads"]

    async def _ask(self, address: str, device: str, workers: Collection[str]) -> Facts:
        host = urlsplit(address).hostname
        neighbors = sum(urlsplit(other).hostname == host for other in workers)
        what = partial(handshake, self._requirements, self._settings, self._store, device, self._cores, neighbors)
        return await self._client.ask(address, self._requirements, what)

    def _use(self, address: str, facts: Facts, workers: Mapping[str, Any]) -> None:
        """Use a worker if it meets the requirements."""
        reason = self._requirements.incompatibility(facts) or self._backend.incompatibility(facts, self._settings)
        if reason is not None:
            self.notices.append(f"{self._known[address]} {reason}; it is left out")
            return
        LOG.debug("%s paints", self._known[address])
        threads = workers[address]["nthreads"]
        self._dispatch.join(address, threads)
        self.tiles = max(self.tiles, threads)
        self.workers = max(self.workers, len(self._dispatch.workers))

    async def _poll(self) -> None:
        """Find workers that joined and workers that left."""
        workers = await self._client.workers()
        self._given_up &= workers.keys()
        for address in [address for address in self._known if address not in workers]:
            self._lose(address)
        for address in [address for address in workers if address not in {*self._known, *self._given_up}]:
            self._known[address] = f"worker {address}"
            self._spawn(address, self._meet(address, workers))

    async def _meet(self, address: str, workers: Mapping[str, Any]) -> None:
        """Check a worker that joined later."""
        try:
            facts = await self._ask(address, self.device, workers)
        except OSError:  # gone already, or to be asked again
            self._known.pop(address, None)
            return
        self._known[address] = _who(address, facts)
        self._use(address, facts, workers)
        self._dispatch.fill()

    def _replace_overdue(self) -> None:
        """Kill and restart local workers that hang. Workers that others started are left alone."""
        for address in [] if self._settings.scheduler else self._dispatch.overdue():
            self._given_up.add(address)
            self._lose(address, "{} took far too long and is restarted; its tasks are run again")
            self._spawn(f"restart {address}", self._client.restart(address))

    def _lose(self, address: str, notice: str = "{} was lost; its tasks are run again") -> None:
        who = self._known.pop(address)
        self._cancel(address)
        if address not in self._dispatch.workers:
            return
        self.lost += 1
        self.notices.append(notice.format(who))
        for call in self._dispatch.leave(address):
            call.losses += 1
            if call.losses >= LOST_WORKERS_ALLOWED:
                self._answer(call.batch, error=_given_up(call))

    async def _reconnect(self) -> None:
        """Connect again, now or at the next poll; then all workers are asked again, as if they had come later."""
        self._forget_workers()
        await self._client.close()
        try:
            await self._client.connect()
        except OSError:
            return
        self.notices.append(f"scheduler {self._client.address} was lost and found again; tasks under way are run again")

    def _forget_workers(self) -> None:
        for address in self._dispatch.workers:
            self._dispatch.leave(address)
        for address in self._known:
            self._cancel(address)
        self._known.clear()

    def _check_that_somebody_is_there(self) -> None:
        if self._dispatch.workers:
            self._seen = time.monotonic()
        elif time.monotonic() - self._seen > RECONNECT_SECONDS:
            where = f"at scheduler {self._settings.scheduler}" if self._settings.scheduler else "on this machine"
            raise ClusterError(
                f"there was no worker {where} for {RECONNECT_SECONDS / 60:.0f} minutes; when there are some again, "
                f"rerun the command to resume (last notice: {(self.notices or ['nothing'])[-1]})"
            )

    # --------------------------------------------------------------------------------------------- in it: who does what

    def _add(self, batch: Batch, calls: Sequence[Call], answers: "SimpleQueue[Answer]") -> None:
        if self.failed is not None:
            answers.put((None, self.failed))
            return
        self._answers[batch] = answers
        self._dispatch.add(calls)
        self._dispatch.fill()

    def _give_up(self, batch: Batch) -> None:
        self._answers.pop(batch, None)
        self._dispatch.drop(batch)
        self._dispatch.fill()

    def _answer(self, batch: Batch, result: Any = None, error: BaseException | None = None) -> None:
        if batch in self._answers:
            self._answers[batch].put((result, error))
        if error is not None:
            self._dispatch.drop(batch)

    def _begin(self, run: Run) -> None:
        self._spawn(run, self._attend(run))

    async def _attend(self, run: Run) -> None:
        """Run a call on its worker. If dask drops it, it stays open: the next poll reconnects and runs it again."""
        result: Any = None
        error: Exception | None = None
        try:
            result, self._peaks[run.worker] = await self._client.run(run)
        except TaskDropped:
            return
        except KilledWorker:
            error = _given_up(run.call)
        except Exception as raised:
            error = raised
        del self._tasks[run]
        if self._dispatch.finish(run, typical=getattr(result, "typical", True)):
            self._answer(run.call.batch, result, error)
        self._dispatch.fill()


@contextmanager
def _quiet_dask() -> Iterator[None]:
    """Keep dask quiet while any thread has a cluster: each by itself would bring back what it found of another's."""
    global _quiet
    with _quiet_lock:
        if not _quiet:
            _loud.enter_context(dask.config.set(QUIET))
            for log in ("distributed", CLIENT_LOG):  # what matters is said in notices and errors
                _loud.enter_context(silence_logging_cmgr(logging.CRITICAL, log))
        _quiet += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet -= 1
            if not _quiet:
                _loud.close()


@contextmanager
def open_cluster(
    settings: Settings, store: Store, local_dir: Path, tiles: int, weights: WeightFile
) -> Iterator[Cluster]:
    """Start workers on this machine, or connect to a running scheduler; stop what was started.

    Parameters
    ----------
    settings : Settings
        `scheduler`, `workers`, `threads`, `device`, `precision`, `memory` and TLS files count.
    store : Store
        Files of the run; every worker must see it.
    local_dir : Path
        Folder on this machine, for what dask itself files for workers here.
    tiles : int
        Most tiles that a level has.
    weights : WeightFile
        Every worker must have the same.

    Raises
    ------
    ClusterError
        If the scheduler cannot be reached, has no workers, or a worker does not suit.
    DeviceError
        If no worker has the device that was asked for.
    """
    with _quiet_dask():
        cluster = Cluster(settings, store, local_dir, tiles, weights)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


def _who(address: str, facts: Facts) -> str:
    return f"worker {address} on {facts['host']}"


def _given_up(call: Call) -> ClusterError:
    return ClusterError(
        f"task {call.arguments[0]} took down {LOST_WORKERS_ALLOWED} workers, probably out of memory: "
        "use a smaller --tile or fewer --workers"
    )
