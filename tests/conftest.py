"""What all tests share: a cache of their own, and workers that are started only once."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from pictures import MURALIST, TINY, assignments, painting, photograph, save

from muralist.pipeline.cluster import ALLOCATOR

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Style statistics go to a folder of the session; downloaded weights stay where they are."""
    with pytest.MonkeyPatch.context() as patch:
        usual = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
        patch.setenv("TORCH_HOME", os.environ.get("TORCH_HOME", str(usual / "torch")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a running dask scheduler with one worker, both started as a user would: by the `dask` command."""
    local = ["--host", "127.0.0.1", "--no-dashboard"]
    options = ["--nthreads", "1", "--memory-limit", "0", "--local-directory", str(tmp_path_factory.mktemp("dask"))]
    with (
        _running(["scheduler", *local, "--port", "0"], "Scheduler at:") as address,
        _running(["worker", address, *local, *options], "Registered to:"),
    ):
        yield address


@contextmanager
def _running(arguments: list[str], label: str) -> Iterator[str]:
    """What the log of a `dask` process says behind a label, once it says so; the process ends with the block."""
    command = [sys.executable, "-m", "dask", *arguments]
    environment = os.environ | ALLOCATOR | ONE_THREAD
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        try:
            found = next((line.split(label)[1].strip() for line in process.stderr if label in line), None)
            assert found, f"{arguments} ended without saying {label!r}"
            rest = Thread(target=process.stderr.read)  # a log that nobody reads would stop the process
            rest.start()
            yield found
        finally:
            process.terminate()
            process.wait(60)
            rest.join()


@dataclass(frozen=True)
class Painted:
    """A painting that `muralist render --json` made as a process of its own, on one worker with one thread."""

    content: Path
    style: Path
    output: Path
    stdout: str
    stderr: str

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
    command = [*MURALIST, "render", str(content), "-s", str(style), "-o", str(output), "--json", *assignments(TINY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return Painted(content, style, output, done.stdout, done.stderr)
