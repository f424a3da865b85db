"""What all tests share: a cache of their own, and workers that are started only once."""

import gc
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from dask_processes import dask_scheduler, dask_worker
from fake_tasks import handshake, run_fake_task
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pictures import TINY, assignments, painting, photograph, save

from muralist.pipeline.workers import client, cluster

# Processes of tests side by side share the cores; torch, which reads this, is not yet there.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Paintings flush every file. On a disk a test waits for that half the time, so their folders lie in memory if there is
# room, unless scripts could not be run there.
SHARED_MEMORY = Path("/dev/shm")
if os.access(SHARED_MEMORY, os.W_OK):
    room = os.statvfs(SHARED_MEMORY)
    if room.f_bavail * room.f_frsize > 4 << 30 and not room.f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(SHARED_MEMORY))

# How fast a busy machine draws examples says nothing of the code.
hypothesis_settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("busy")

# A shell's background jobs ignore Ctrl-C, and so would all that the tests start there.
signal.signal(signal.SIGINT, signal.default_int_handler)


# Who asks for one of these fixtures, or uses this module, starts processes.
STARTING = {"scheduler", "painted", "object_store", "browser", "subprocess"}
LONGEST = "test_faults"  # a quarter of a minute each: begun last, they would leave all but one process without work


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start processes, through a fixture or themselves, are integration tests; the longest come first."""
    items.sort(key=lambda item: item.path.stem != LONGEST)
    for item in items:
        if isinstance(item, pytest.Function) and STARTING & {*item.fixturenames, *item.function.__code__.co_names}:
            item.add_marker(pytest.mark.integration)


def pytest_collection_finish() -> None:
    """Garbage is looked for in what the tests make, not each time in torch and five thousand tests as well."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Extensions complain of what is left of them when Python ends."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Style statistics go to a folder of the session; downloaded weights stay where they are."""
    with pytest.MonkeyPatch.context() as patch:
        usual = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
        patch.setenv("TORCH_HOME", os.environ.get("TORCH_HOME", str(usual / "torch")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """As in a worker: results are the same bytes only for the same number of threads."""
    import torch  # which not all tests need

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Records(logging.Handler):
    """Keeps records."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record)


@pytest.fixture
def logged() -> Iterator[list[logging.LogRecord]]:
    """What muralist logs, but for details. While workers are connected dask's silence extends to caplog."""
    logger, records = logging.getLogger("muralist"), Records()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(records)
    yield records.kept
    logger.removeHandler(records)
    logger.setLevel(level)


@pytest.fixture
def old_folder(tmp_path: Path) -> Path:
    """An empty folder whose name is not UTF-8, as there are in old archives."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has no names but UTF-8")
    return folder


@pytest.fixture(scope="session")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a running dask scheduler with one worker, both started as a user would: by the `dask` command."""
    with dask_scheduler() as address, dask_worker(address, tmp_path_factory.mktemp("dask")):
        yield address


@pytest.fixture
def fake_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers run fake tasks instead of tasks, and are looked after often."""
    monkeypatch.setattr(client, "run_and_measure", run_fake_task)
    monkeypatch.setattr(cluster, "POLL_SECONDS", 0.1)


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers say what they are without loading torch."""
    monkeypatch.setattr(cluster, "handshake", handshake)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask tries again until the time is up; let that be soon."""
    monkeypatch.setattr(client, "CONNECT_SECONDS", 1)
    monkeypatch.setattr(client, "CLOSE_SECONDS", 1)


# The command line, which writes down what it imported.
PROGRAM = """
import sys
from pathlib import Path
from muralist.cli import main
try:
    main()
finally:
    Path("modules.txt").write_text(" ".join(sys.modules))
"""


@dataclass(frozen=True)
class Painted:
    """A painting that `muralist render --json` made as a process of its own, on one worker with one thread."""

    content: Path
    style: Path
    output: Path
    stdout: str
    stderr: str
    modules: frozenset[str]

    @property
    def sidecar(self) -> dict[str, Any]:
        """What the file beside the painting holds."""
        return dict(json.loads(self.output.with_name(self.output.name + ".json").read_text()))


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Painted:
    """The tiny painting that renders of the same pictures with the same settings are compared with."""
    folder = tmp_path_factory.mktemp("painted")
    content, style = save(folder / "photo.png", photograph()), save(folder / "style.png", painting())
    output = folder / "out" / "poster.png"
    output.parent.mkdir()
    words = ["render", str(content), "-s", str(style), "-o", str(output), "--json", *assignments(TINY)]
    command = [sys.executable, "-c", PROGRAM, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    modules = frozenset((folder / "modules.txt").read_text().split())
    return Painted(content, style, output, done.stdout, done.stderr, modules)


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """URL of a folder in an S3 bucket on this machine. Processes that are started from now on reach it, too."""
    from moto.server import ThreadedMotoServer  # large, and not where only a GPU is tested

    server = ThreadedMotoServer("127.0.0.1", 0)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # says every request
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "nobody")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", address)
        urlopen(Request(f"{address}/muralist-test", method="PUT")).close()
        yield "s3://muralist-test/x"
    server.stop()
