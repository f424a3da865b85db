"""A thread with an event loop of its own, for work that goes on beside other threads."""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from ..errors import ClusterError
from .local import block_sigint


class LoopThread(ABC):
    """Runs `_work` in a thread until it is stopped; the first task that raises ends everything.

    `start`, `stop` and `_post` are for other threads, all else is for the loop.

    Attributes
    ----------
    failed : BaseException or None
        What ended it, also what is to come; None while it is of use.
    """

    def __init__(self, name: str) -> None:
        self.failed: BaseException | None = None
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}
        self._loop, self._stopping, self._opened = asyncio.new_event_loop(), asyncio.Event(), Future[None]()
        self._thread = threading.Thread(target=self._run, name=name)

    def start(self) -> None:
        """Start the thread and wait until `_work` is ready. Ctrl-C reaches neither it nor processes started there."""
        with block_sigint():
            self._thread.start()
        self._opened.result()

    def stop(self) -> None:
        """End the work, and wait for that."""
        self._post(self._stopping.set)
        if self._thread.is_alive():
            self._thread.join()

    def _post(self, function: Callable[..., object], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the thread has ended
            self._loop.call_soon_threadsafe(function, *arguments)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        work = self._spawn("work", self._work())
        await self._stopping.wait()
        work.cancel()
        await asyncio.wait({work})
        self._fail(ClusterError("the workers were stopped; keep the cluster open while tasks are under way"))

    @abstractmethod
    async def _work(self) -> None:
        """What is done until `_stopping` is set; sets the result of `_opened` when it is ready."""

    def _spawn(self, key: Hashable, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self._tasks[key] = task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._fail(error)

    def _cancel(self, key: Hashable) -> None:
        if key in self._tasks:
            self._tasks.pop(key).cancel()

    def _fail(self, error: BaseException) -> None:
        self.failed = self.failed or error
        if not self._opened.done():
            self._opened.set_exception(error)
