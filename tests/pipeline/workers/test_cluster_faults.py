"""Faults of real processes that a painting survives: workers and schedulers that are killed, hang, come late or go."""

import asyncio
import os
import re
import signal
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import dask
import fake_tasks
import psutil
import pytest
from crews import another_worker, opened, until
from dask_processes import dask_scheduler, dask_worker, free_port

from muralist.pipeline.errors import ClusterError
from muralist.pipeline.workers import client, dispatch
from muralist.pipeline.workers import cluster as module

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("light")]


def marks(folder: Path) -> list[tuple[int, int]]:
    """Number and process of every call that was begun, in order."""
    names = [path.name.split("-") for path in folder.glob("[0-9]*-*-*")]
    return [(int(number), int(pid)) for number, pid, _ in sorted(names, key=lambda name: int(name[2]))]


def test_a_worker_killed_at_work_is_replaced(tmp_path, fake_tasks):
    """What it had is run again, elsewhere or by the worker that takes its place; every result comes once."""
    with opened(tmp_path, workers=2) as cluster:
        results = cluster.map("mark", [(str(tmp_path), number, 0.3) for number in range(20)])
        found = [next(results)]
        victim = marks(tmp_path)[-1][1]
        os.kill(victim, signal.SIGKILL)
        found += results
        assert sorted(found) == list(range(20))
        assert (cluster.lost, cluster.again, cluster.workers) == (1, 1, 2)
        assert [notice.partition(" on ")[2] for notice in cluster.notices] == [
            f"{os.uname().nodename} was lost; its tasks are run again"
        ]
        until(lambda: len(cluster._dispatch.workers) == 2)  # dask started another, which was asked and is used
        assert victim not in set(cluster.map("pid", [(0.2,)] * 6))


def test_workers_start_for_a_folder_of_any_name(old_folder, fake_tasks):
    """Dask tells its folder in messages that hold UTF-8 alone."""
    with opened(old_folder) as cluster:
        assert cluster.call("echo", str(old_folder)) == str(old_folder)
        assert (old_folder / "dask").is_dir()


DIE = """
import os, pathlib, signal
died = pathlib.Path({folder!r}) / "died"
if len(list(died.parent.glob("died*"))) < {times}:
    died.with_name(f"died-{{os.getpid()}}").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("times", [1, 100])
def test_workers_that_die_while_they_start(tmp_path, fake_tasks, times):
    """They are started again; if that does not help, one clean error says so, and none is left."""
    script = tmp_path / "preload.py"
    script.write_text(DIE.format(folder=str(tmp_path), times=times))
    with dask.config.set({"distributed.worker.preload": [str(script)]}):
        if times == 1:
            with opened(tmp_path, workers=1) as cluster:
                assert cluster.call("echo", "alive") == "alive"
        else:
            with pytest.raises(ClusterError, match=r"\b3 times .*--workers"):
                opened(tmp_path, workers=1).__enter__()
    assert len(list(tmp_path.glob("died-*"))) == min(times, 3)


@pytest.mark.parametrize(
    ("handshake", "seconds", "said", "lost"),
    [
        (fake_tasks.handshake_late, 1, "did not answer within 1 s; it is used once it does", 0),
        (fake_tasks.handshake_second, 60, "was lost while it started", 1),
    ],
)
def test_workers_that_are_late_or_die_while_they_get_ready(tmp_path, monkeypatch, handshake, seconds, said, lost):
    """Loading torch takes long on a busy machine, and may take a worker down: ours are waited for, and asked again."""
    monkeypatch.setattr(module, "handshake", handshake)
    monkeypatch.setattr(module, "ASK_SECONDS", seconds)
    monkeypatch.setattr(client, "run_and_measure", fake_tasks.run_fake_task)
    with opened(tmp_path, workers=1) as cluster:
        assert cluster.call("echo", "alive") == "alive"
        assert (cluster.workers, cluster.lost) == (1, lost)
        assert {re.fullmatch(r"worker tls://[0-9.:]+ (.*)", notice)[1] for notice in cluster.notices} == {said}


def test_workers_that_all_die_while_they_get_ready(tmp_path, monkeypatch):
    """After some, one clean error says what happened and what may help."""
    monkeypatch.setattr(module, "handshake", fake_tasks.handshake_nobody)
    monkeypatch.setattr(module, "LOST_WORKERS_ALLOWED", 2)
    with pytest.raises(ClusterError, match=r"\b2 .*--workers"):
        opened(tmp_path, workers=1).__enter__()
    assert len(list(tmp_path.glob("asked-*"))) == 2


def test_a_result_lost_with_its_worker_is_computed_again(tmp_path, fake_tasks):
    """A worker dies with the only copy of a result, in the moment when it is fetched; another computes it again."""
    with opened(tmp_path, workers=2) as cluster:
        assert cluster.call("treasure", str(tmp_path)) == "found"
        assert (cluster.lost, cluster.again) == (1, 1)
        assert len(list(tmp_path.glob("dug-*"))) == 2


def test_a_task_that_keeps_killing_workers_is_given_up(tmp_path, fake_tasks, monkeypatch):
    """The error says what probably happened and what to do; the workers that come back are used for other tasks."""
    monkeypatch.setattr(module, "LOST_WORKERS_ALLOWED", 2)
    with opened(tmp_path, workers=1) as cluster:
        with pytest.raises(ClusterError, match=r"task die .* 2 workers, .*--tile"):
            cluster.call("die")
        assert cluster.call("echo", "alive") == "alive"
        assert cluster.lost == 2


def test_dask_giving_a_task_up_is_the_same_error(scheduler, tmp_path, fake_tasks, monkeypatch):
    """A scheduler may be set to give up earlier than we do."""

    async def given_up(*_: object) -> None:
        raise module.KilledWorker("paint_tile", None, 0)

    monkeypatch.setattr(client.SchedulerClient, "run", given_up)
    with (
        opened(tmp_path, scheduler=scheduler) as cluster,
        pytest.raises(ClusterError, match=r"task paint_tile .*--tile"),
    ):
        cluster.call("paint_tile")


def test_a_worker_that_hangs_does_not_hold_up_a_round(scheduler, tmp_path, fake_tasks, monkeypatch):
    """What it had is run by another, this round and the next; one that hangs at the start is used once it answers."""
    monkeypatch.setattr(dispatch, "PATIENCE_SECONDS", 0.5)
    calls = [(str(tmp_path), number, 0.1) for number in range(8)]
    with another_worker(scheduler, tmp_path) as slow:
        with opened(tmp_path, scheduler=scheduler) as cluster:
            assert cluster.workers == 2
            results = cluster.map("mark", calls)
            found = [next(results)]
            until(lambda: slow.pid in dict(map(reversed, marks(tmp_path))))
            slow.suspend()
            found += results
            assert sorted(found) == list(range(8))
            assert sorted(cluster.map("mark", calls)) == list(range(8))
            assert cluster.again == 1
            assert (cluster.lost, cluster.notices) == (0, [])
        monkeypatch.setattr(module, "ASK_SECONDS", 2)
        with opened(tmp_path, scheduler=scheduler) as cluster:
            assert cluster.workers == 1
            assert cluster.notices[0].endswith("did not answer within 2 s; it is used once it does")
            assert slow.pid not in set(cluster.map("pid", [(0.1,)] * 4))
            slow.resume()
            until(lambda: slow.pid in set(cluster.map("pid", [(0.1,)] * 4)))
            assert cluster.workers == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_hangs_alone_is_replaced(tmp_path, fake_tasks, monkeypatch, workers):
    """A level of one tile has no neighbors to compare with, and one worker nobody who could help out."""
    monkeypatch.setattr(dispatch, "PATIENCE_SECONDS", 0.5)
    with opened(tmp_path, workers=workers) as cluster:
        results = cluster.map("mark", [(str(tmp_path), 7, 2.0)], limits=[3.0])
        stopper = threading.Timer(0, lambda: (until(lambda: marks(tmp_path)), stop(marks(tmp_path)[0][1])))
        stopper.start()
        assert list(results) == [7]
        stopper.join()
        victim = marks(tmp_path)[0][1]
        until(lambda: not psutil.pid_exists(victim), 60)
        until(lambda: len(cluster._dispatch.workers) == workers, 60)
        assert victim not in set(cluster.map("pid", [(0.1,)] * 4))
        assert cluster.lost == 1
        assert any(
            re.fullmatch(r"worker \S+ on \S+ took far too long and is restarted; its tasks .* again", notice)
            for notice in cluster.notices
        )


def stop(pid: int) -> None:
    """Have a process hang."""
    os.kill(pid, signal.SIGSTOP)


def test_workers_come_and_go(scheduler, tmp_path, fake_tasks):
    """One that joins late is asked and used, or named and left out; one that leaves is not waited for."""
    old = "import importlib.metadata as metadata; metadata.version = lambda name: '0.0.1'"
    with opened(tmp_path, scheduler=scheduler) as cluster:
        with another_worker(scheduler, tmp_path, old):
            until(lambda: cluster.notices)
            assert re.fullmatch(r"worker \S+ on \S+ has muralist 0.0.1, .*; it is left out", cluster.notices.pop())
            assert cluster.workers == 1
        with another_worker(scheduler, tmp_path) as late:
            until(lambda: late.pid in set(cluster.map("pid", [(0.1,)] * 4)))
        assert late.pid not in set(cluster.map("pid", [(0.1,)] * 4))
        until(lambda: cluster.lost)
        assert (cluster.lost, cluster.workers, cluster.again) == (1, 2, 0)


def test_a_scheduler_started_again_is_found(tmp_path, fake_tasks, monkeypatch, capfd):
    """The driver waits, asks the workers anew and runs again what was under way; if none comes back, it gives up."""
    port = free_port()
    calls = [(str(tmp_path), number, 0.5) for number in range(6)]
    with ExitStack() as stack:
        address = stack.enter_context(dask_scheduler(port=port))
        stack.enter_context(dask_worker(address, tmp_path / "dask", "--no-nanny"))
        cluster = stack.enter_context(opened(tmp_path, scheduler=address))
        results = cluster.map("mark", calls)
        found = [next(results)]
        kill_scheduler(port)
        stack.enter_context(dask_scheduler(port=port))
        stack.enter_context(dask_worker(address, tmp_path / "dask", "--no-nanny"))
        found += results
        assert sorted(found) == list(range(6))
        assert (cluster.lost, cluster.again) == (0, 1)
        assert cluster.notices == [f"scheduler {address} was lost and found again; tasks under way are run again"]
        assert len({pid for _, pid in marks(tmp_path)}) == 2
        monkeypatch.setattr(module, "RECONNECT_SECONDS", 1)
        monkeypatch.setattr(client, "CONNECT_SECONDS", 1)
        kill_scheduler(port)
        with pytest.raises(
            ClusterError,
            match=rf"{address} for .*resume .*: scheduler .*again",
        ):
            list(cluster.map("mark", calls))
        with pytest.raises(ClusterError, match=address):
            cluster.call("echo", 1)
    assert capfd.readouterr() == ("", "")


def kill_scheduler(port: int) -> None:
    """Kill the child process that listens on a port."""
    for process in psutil.Process().children():
        if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in process.net_connections("tcp")):
            process.kill()
            process.wait()
            return
    raise AssertionError("no such process")


def test_stopping_is_heard_even_if_a_wait_swallows_it(scheduler, tmp_path, fake_tasks, monkeypatch):
    """Python 3.11 may forget a cancellation that meets the end of a wait; the cluster stops all the same."""
    looking, workers = threading.Event(), client.SchedulerClient.workers

    async def hard_of_hearing(self: client.SchedulerClient) -> Any:
        looking.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return await workers(self)

    with opened(tmp_path, scheduler=scheduler) as cluster:
        monkeypatch.setattr(client.SchedulerClient, "workers", hard_of_hearing)
        assert looking.wait(10)
        stopping = threading.Thread(target=cluster.stop, daemon=True)
        stopping.start()
        stopping.join(20)
        monkeypatch.undo()
        assert not stopping.is_alive()
