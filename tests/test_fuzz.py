"""Files from strangers: whatever is in one, it is read or refused in one line; nothing hangs, crashes, or is written."""

import os
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue

import pytest
from innocent import Innocent, innocents
from pictures import contents
from strangers import Case, Outcome, Reader

PROCESSES = 2
SEED = 1


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    """A function that has cases read, each by one of a few processes, and gives the outcomes in order."""
    root = tmp_path_factory.mktemp("strangers")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TMPDIR", "HOME", "XDG_CACHE_HOME"):
            (root / name).mkdir()
            patch.setenv(name, str(root / name))
        for name in ("OMP_NUM_THREADS", "VIPS_CONCURRENCY"):
            patch.setenv(name, "1")
        made = [Reader(root / f"reader {i}") for i in range(PROCESSES)]
        free = SimpleQueue()
        for reader in made:
            free.put(reader)

        def read(case):
            reader = free.get()
            try:
                return reader.read(case)
            finally:
                free.put(reader)

        with ThreadPoolExecutor(PROCESSES) as pool:
            yield lambda cases: list(pool.map(read, cases))
        for reader in made:
            reader.close()
    assert set(contents(root)) == {"TMPDIR", "HOME", "XDG_CACHE_HOME", *(f"reader {i}" for i in range(PROCESSES))}
