"""What tests of the pipeline share."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def preset(tmp_path):
    """A function that writes a preset file and gives its path."""

    def write(text, name="mine.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


@pytest.fixture
def deterministic():
    """Algorithms of a GPU as in a worker without `--fast`."""
    import torch

    from muralist.pipeline.workers.devices import choose_algorithms

    choose_algorithms(fast=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what torch has no deterministic way for, where that is known
        yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """A folder that belongs to the user that the test then runs as: not root, who may do anything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not hasattr(os, "geteuid") or os.geteuid() != 0:
            yield folder
            return
        nobody = 65534
        os.chown(folder, nobody, nobody)
        os.seteuid(nobody)
        try:
            yield folder
        finally:
            os.seteuid(0)
