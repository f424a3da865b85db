"""Workers: how they are reached, that all paint the same, and what happens to errors and Ctrl-C."""

import asyncio
import errno
import logging
import os
import signal
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import numpy as np
import psutil
import pytest
import trustme
from crews import opened, until
from dask_processes import dask_scheduler, dask_worker
from distributed import Client, Security
from facts import having
from pictures import TINY, contents
from rendering import render

from muralist.model.errors import DivergedError, UnknownNetworkError
from muralist.pipeline import render as render_module
from muralist.pipeline.errors import ClusterError, DeviceMemoryError
from muralist.pipeline.levels import Level
from muralist.pipeline.progress import Progress
from muralist.pipeline.workers import cluster as cluster_module
from muralist.pipeline.workers import local
from muralist.pipeline.workers.cluster import Cluster
from muralist.pipeline.workers.dispatch import Dispatch
from muralist.pipeline.workers.local import WorkerLayout

pytestmark = pytest.mark.integration

# ----------------------------------------------------------------------------------------- connecting and beginning


def test_a_scheduler_without_workers_is_refused(tmp_path):
    """It says what to start."""
    with (
        dask_scheduler() as address,
        pytest.raises(ClusterError, match=rf"{address} .*`dask worker`"),
        opened(tmp_path, scheduler=address),
    ):
        pass


def test_dask_is_quiet_while_any_thread_has_a_cluster(monkeypatch, tmp_path):
    """Renders of several threads do not end in the order in which they began; afterwards dask is as it was."""
    no_workers = SimpleNamespace(start=lambda: None, stop=lambda: None)
    monkeypatch.setattr(cluster_module, "Cluster", lambda *_: no_workers)

    def loudness() -> tuple[list[int], Any]:
        handlers = [each for name in ("distributed", "distributed.client") for each in logging.getLogger(name).handlers]
        return [each.level for each in handlers], dask.config.get("distributed.admin.tick.interval")

    before, first, second = loudness(), ExitStack(), ExitStack()
    first.enter_context(opened(tmp_path))
    quiet = loudness()
    assert quiet != before
    second.enter_context(opened(tmp_path))
    first.close()
    assert loudness() == quiet
    second.close()
    assert loudness() == before


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "tcp://no-such-host.invalid:8786"])
def test_a_scheduler_that_does_not_answer_is_one_clean_error(impatient, tmp_path, capfd, address):
    """The address and both ways out are named, and dask's own complaints are not shown."""
    with (
        pytest.raises(ClusterError, match=rf"{address} .*--scheduler"),
        opened(tmp_path, scheduler=address),
    ):
        pass
    assert capfd.readouterr() == ("", "")


ANSWERS = {
    "silent": b"",
    "http": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.9\r\n",
    "a small message": struct.pack("<QQ", 1, 4) + b"what",
    "half a message": struct.pack("<QQ", 1, 400) + b"what",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_is_no_scheduler_is_not_waited_for(impatient, tmp_path, capfd, answer):
    """A server of another kind, or one that says nothing, is one clean error, soon, and leaving is no wait either."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                others.append(listener.accept()[0])
                others[-1].sendall(ANSWERS[answer])

    others: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        address, began = f"tcp://127.0.0.1:{listener.getsockname()[1]}", time.monotonic()
        with pytest.raises(ClusterError, match=address):
            opened(tmp_path, scheduler=address).__enter__()
        assert time.monotonic() - began < 15
        listener.shutdown(socket.SHUT_RDWR)
    for other in others:
        other.close()
    assert capfd.readouterr() == ("", "")


# --------------------------------------------------------------------------------------------------------- encryption


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """PEM files: an authority, a certificate of this machine with its key, and an authority that nobody knows."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    own = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    own.private_key_pem.write_to_path(folder / "key.pem")
    own.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    trustme.CA().cert_pem.write_to_path(folder / "stranger.pem")
    return {name: str(folder / f"{name}.pem") for name in ("ca", "cert", "key", "stranger")}


@pytest.fixture(scope="module")
def encrypted(certificates: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler with a worker that talk TLS only."""
    files = [
        word
        for name, kind in (("ca", "ca-file"), ("cert", "cert"), ("key", "key"))
        for word in (f"--tls-{kind}", certificates[name])
    ]
    with (
        dask_scheduler("--protocol", "tls", *files) as address,
        dask_worker(address, tmp_path_factory.mktemp("dask"), "--protocol", "tls", *files),
    ):
        yield address


def tls(certificates: dict[str, str], **changes: str) -> dict[str, str]:
    """Settings for TLS."""
    return {f"tls_{name}": certificates[name] for name in ("ca", "cert", "key")} | changes


def test_tasks_go_over_tls(encrypted, certificates, tmp_path, fake_tasks, light):
    """With the three files a scheduler is used that takes nobody without."""
    assert encrypted.startswith("tls://")
    with opened(tmp_path, scheduler=encrypted, **tls(certificates)) as cluster:
        assert sorted(cluster.map("echo", [(number,) for number in range(5)])) == list(range(5))


def test_a_client_that_is_not_trusted_is_refused(encrypted, certificates, tmp_path, impatient, capfd):
    """Without certificates, or with those of another authority, there is one clean error."""
    with pytest.raises(ClusterError, match=r"\(TLS .*\); .*tls_ca, tls_cert .*tls_key"):
        opened(tmp_path, scheduler=encrypted).__enter__()
    plain = encrypted.replace("tls://", "tcp://")
    with pytest.raises(ClusterError, match=f"{plain} .*--scheduler"):
        opened(tmp_path, scheduler=plain).__enter__()
    with pytest.raises(ClusterError, match=f"{encrypted} .*TLS .*; check tls_ca"):
        opened(tmp_path, scheduler=encrypted, **tls(certificates, tls_ca=certificates["stranger"])).__enter__()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("address", "told"), [("tcp://127.0.0.1:9", "tcp://127.0.0.1:9"), (None, "none")])
def test_certificates_are_for_tls(certificates, tmp_path, address, told):
    """They are not ignored where nothing would be encrypted."""
    with pytest.raises(ClusterError, match=rf"tls_ca, tls_cert, tls_key: .*tls:// --scheduler .* {told}"):
        opened(tmp_path, scheduler=address, **tls(certificates)).__enter__()


def test_bad_tls_files_are_named(certificates, tmp_path):
    """Files that are missing or no PEM files are refused before anybody is called."""
    missing, text = tmp_path / "missing.pem", tmp_path / "text.pem"
    text.write_text("text")
    for path, reason in ((missing, "No such file"), (text, "PEM")):
        with pytest.raises(ClusterError, match=rf"TLS .*{path}.*\(.*{reason}"):
            opened(tmp_path, scheduler="tls://127.0.0.1:9", **tls(certificates, tls_cert=str(path))).__enter__()


def listening() -> set[tuple[str, int]]:
    """Addresses that this process and those it started listen on."""
    return {
        (connection.laddr.ip, connection.laddr.port)
        for process in (psutil.Process(), *children())
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_strangers_are_refused_by_workers_of_this_machine(tmp_path, light):
    """Whoever connects may run code: nobody elsewhere may connect, and another user here gets no answer.

    Neither from scheduler, nanny or worker, with or without a certificate; and there is no dashboard.
    """
    before = listening()
    with opened(tmp_path, workers=1):
        places = listening() - before
        assert {host for host, _ in places} == {"127.0.0.1"}
        assert len(places) == 3
        for _, port in places:
            for scheme, security in (("tcp", None), ("tls", Security.temporary())):
                assert not answers(port, certificate=security is not None)
                with pytest.raises(OSError, match=r"(?i)closed|timed out|does not match"):
                    Client(f"{scheme}://127.0.0.1:{port}", security=security, timeout=1, set_as_default=False)
    assert os.listdir(tmp_path) == ["dask"]


def answers(port: int, certificate: bool) -> bool:
    """Whether something is sent back to a stranger who trusts everybody: over TLS, in the clear, or as a browser."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate:
        trustme.CA().issue_cert("dask-internal").configure_cert(context)
    for wrap in (context.wrap_socket, lambda plain: plain):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 10) as plain, wrap(plain) as stream:
            stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
            if stream.recv(1) not in (b"", b"\x15"):  # the end, or an alert of TLS
                return True
    return False


# ---------------------------------------------------------------------------------------------- the same bytes anyhow


# Depends on who painted which tile, and when.
UNEQUAL = {"seconds": 0, "busy_seconds": 0, "fetched_bytes_per_round": 0}


def paint(painted: Any, folder: Path, **changes: Any) -> dict[str, Any]:
    """Paint the pictures of `painted` again into an empty folder; its bytes, and what hangs on nothing else."""
    output = folder / "poster.png"
    sidecar = render(painted.content, painted.style, output, **TINY | changes)
    return {"bytes": output.read_bytes(), "levels": [row | UNEQUAL for row in sidecar["levels"]]} | {
        "workers": sidecar["workers"]["count"]
    }


def as_painted(painted: Any, workers: int) -> dict[str, Any]:
    """What `paint` should give."""
    rows = [row | UNEQUAL for row in painted.sidecar["levels"]]
    return {"bytes": painted.output.read_bytes(), "levels": rows, "workers": workers}


def children() -> list[psutil.Process]:
    """Processes that this one started and that still run."""
    return [each for each in psutil.Process().children(recursive=True) if each.status() != psutil.STATUS_ZOMBIE]


def test_a_worker_with_several_tiles_under_way_paints_the_same(painted, tmp_path, monkeypatch):
    """A GPU's worker, here one that sees none and computes on the CPU, has a tile in each of its threads."""
    joined, join = [], Dispatch.join
    monkeypatch.setattr(Dispatch, "join", lambda *given: joined.append(given[2:]) or join(*given))
    monkeypatch.setattr(cluster_module, "local_shape", lambda settings, tiles: WorkerLayout(1, 3, ("",)))
    assert paint(painted, tmp_path) == as_painted(painted, 1)
    assert joined == [(3,)]


def test_two_workers_paint_the_same_as_one(painted, tmp_path, monkeypatch, capfd):
    """Picture and losses are the same, bit by bit; workers say nothing, and none is left afterwards."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # statistics are computed anew
    before = children()
    (tmp_path / "out").mkdir()
    assert paint(painted, tmp_path / "out", workers=2) == as_painted(painted, 2)
    assert [
        each for each in children() if each not in before and "resource_tracker" not in " ".join(each.cmdline())
    ] == []
    assert sorted(os.listdir(tmp_path / "out")) == ["poster.png", "poster.png.json"]
    assert capfd.readouterr() == ("", "")


def test_workers_of_a_running_scheduler_paint_the_same(painted, tmp_path, scheduler):
    """An existing cluster gives the same bytes, round after round, and stays up."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        assert paint(painted, tmp_path / name, scheduler=scheduler) == as_painted(painted, 1)


class Killer(Progress):
    """Kills the worker as soon as it has painted its first tile of the second level."""

    def __init__(self) -> None:
        super().__init__()
        self.level, self.killed, self.others = 0, list[int](), children()

    def start_level(self, level: Level) -> None:
        self.level = level.index

    def advance(self, work: int) -> None:
        if self.level == 1 and not self.killed:
            with_torch = [each for each in children() if each.memory_info().rss > 150 << 20]
            self.killed = [each.pid for each in with_torch if each not in self.others]
            for pid in self.killed:
                os.kill(pid, signal.SIGKILL)


def test_a_killed_worker_changes_nothing(painted, tmp_path, monkeypatch, capfd):
    """A worker that is killed in the middle is started again, its tasks are run again, and the bytes are the same."""
    killer = Killer()
    monkeypatch.setattr(render_module, "Bars", lambda *_, **__: nullcontext(killer))
    assert paint(painted, tmp_path, quiet=False) == as_painted(painted, 1)
    assert len(killer.killed) == 1
    assert sorted(os.listdir(tmp_path)) == ["poster.png", "poster.png.json"]
    assert capfd.readouterr() == ("", "")


# --------------------------------------------------------------------------------------------------- errors of tasks


def test_errors_of_tasks_keep_their_type(scheduler, tmp_path, painted):
    """What a task raises arrives as it was raised, with its facts; the workers stay of use."""
    with opened(tmp_path, scheduler=scheduler) as cluster:
        with pytest.raises(UnknownNetworkError, match=r"vgg18"):
            cluster.call("architecture", "vgg18")
        assert [row.name for row in cluster.map("architecture", [("vgg19",)] * 7)] == ["vgg19"] * 7
        assert list(cluster.map("architecture", [])) == []
        assert cluster.peak_rss() > 100 << 20
    with pytest.raises(DivergedError, match=r"learning.* 1\b") as caught:
        paint(painted, tmp_path, scheduler=scheduler, style_weight=1e38)
    assert caught.value.step == 0
    assert np.isfinite(caught.value.learning_rate)
    assert os.listdir(tmp_path) == []


def test_a_lack_of_memory_is_told_apart(scheduler, tmp_path, fake_tasks):
    """The driver can halve the tile, for the error comes home as what it is, with its cause."""
    with (
        opened(tmp_path, scheduler=scheduler) as cluster,
        pytest.raises(DeviceMemoryError, match=r"memory .*cpu") as caught,
    ):
        cluster.call("exhaust")
    assert isinstance(caught.value.__cause__, MemoryError)


def test_a_full_disk_keeps_its_number(scheduler, tmp_path, fake_tasks):
    """The driver tells a full disk of a worker from a bug by it."""
    with opened(tmp_path, scheduler=scheduler) as cluster, pytest.raises(OSError, check=having(errno=errno.ENOSPC)):
        cluster.call("fill_up")


def test_an_error_ends_its_own_map_only(scheduler, tmp_path, fake_tasks):
    """Other calls of the map are given up; a map of another thread gets all its results; lower priorities go first."""
    others: list[Any] = []
    ended: list[str] = []

    def other() -> None:
        others.extend(cluster.map("mark", [(str(tmp_path), number, 0.1) for number in range(20)], priority=1))
        ended.append("others")

    with opened(tmp_path, scheduler=scheduler) as cluster:
        thread = threading.Thread(target=other)
        thread.start()
        until(lambda: list(tmp_path.glob("0-*")))
        with pytest.raises(ValueError, match="as it was"):
            list(cluster.map("fail", [("as it was",)] + [("never",)] * 50))
        assert cluster.call("echo", 5) == 5
        ended.append("ours")
        thread.join()
    assert sorted(others) == list(range(20))
    assert ended == ["ours", "others"]


def test_a_map_that_nobody_listens_to_is_given_up(scheduler, tmp_path, fake_tasks):
    """Whoever stops half way leaves no queue behind."""
    with opened(tmp_path, scheduler=scheduler) as cluster:
        results = cluster.map("mark", [(str(tmp_path), number, 0.05) for number in range(100)])
        next(results)
        results.close()
        assert cluster.call("echo", "next") == "next"
        begun = contents(tmp_path)
        assert len(begun) < 100
        assert cluster.call("echo", "again") == "again"
        assert contents(tmp_path) == begun


def test_ctrl_c_ends_the_waiting(scheduler, tmp_path, fake_tasks):
    """While tasks are under way the driver can be interrupted at once."""
    end = tmp_path / "end"  # without it the task does not end

    def interrupt() -> None:
        until(lambda: Path(f"{end}-begun").exists())
        os.kill(os.getpid(), signal.SIGINT)

    with opened(tmp_path, scheduler=scheduler) as cluster:
        threading.Thread(target=interrupt).start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            cluster.call("wait_for", str(end))
        assert time.monotonic() - began < 30
        end.touch()


def test_ctrl_c_waits_until_the_workers_have_started(monkeypatch, tmp_path):
    """Pressed while dask starts workers, it stops the whole cluster afterwards; what was started never sees it."""
    said: list[Any] = []

    class Starting:
        scheduler_address = "tcp://127.0.0.1:9"

        def __init__(self, *_: object, **__: object) -> None:
            pass

        def __await__(self) -> Iterator[Any]:
            os.kill(os.getpid(), signal.SIGINT)
            said.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))
            yield from asyncio.sleep(0.5).__await__()
            said.append("started")

        async def close(self) -> None:
            said.append("stopped")

    monkeypatch.setattr(local, "SpecCluster", Starting)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), opened(tmp_path):
        pass
    assert said == [{signal.SIGINT}, "started", "stopped"]
    assert signal.getsignal(signal.SIGINT) == before
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_workers_can_be_used_from_any_thread(scheduler, tmp_path, fake_tasks):
    """A program that renders in a thread of its own has no Ctrl-C there, and needs none."""
    said = []

    def work() -> None:
        with opened(tmp_path, scheduler=scheduler) as cluster:
            said.append(cluster.call("echo", "done"))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert said == ["done"]


def test_a_cluster_that_was_closed_says_so(scheduler, tmp_path, fake_tasks):
    """Neither a map that waits nor a later one hangs."""
    said: list[BaseException] = []

    def work(cluster: Cluster) -> None:
        with pytest.raises(ClusterError, match="stopped") as caught:
            cluster.call("pid", 1)
        said.append(caught.value)

    with opened(tmp_path, scheduler=scheduler) as cluster:
        thread = threading.Thread(target=work, args=(cluster,))
        thread.start()
        until(lambda: cluster._answers)
    thread.join()
    assert len(said) == 1
    work(cluster)
