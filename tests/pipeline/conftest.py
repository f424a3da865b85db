"""What tests of the pipeline share."""

import warnings

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
