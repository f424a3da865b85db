"""Style statistics on disk: found again by all that they depend on, and never in the way."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from muralist.pipeline import style_cache
from muralist.pipeline.style_cache import StyleCache

ORIGIN = {"style": "5af1", "weights": "c0de", "network": "compact", "layers": "relu1_1 relu2_1"}
STATISTICS = save({"gram relu1_1": np.eye(4)})  # a file as a task writes it


@pytest.fixture
def cache(tmp_path: Path) -> StyleCache:
    """An empty cache in a folder that does not exist yet."""
    return StyleCache(tmp_path / "home" / "muralist" / "style", ORIGIN)


def test_what_was_kept_is_fetched(cache):
    """Statistics that were kept come back byte by byte, also to another render."""
    assert cache.fetch(512) is None
    cache.keep(512, STATISTICS)
    assert StyleCache(cache.folder, dict(reversed(ORIGIN.items()))).fetch(512) == STATISTICS
    assert os.listdir(cache.folder) == [cache.name(512)]


@pytest.mark.parametrize("part", ORIGIN)
def test_every_part_of_the_origin_counts(cache, part):
    """Another style picture, weight file, network or set of layers misses."""
    cache.keep(512, STATISTICS)
    assert replace(cache, origin=ORIGIN | {part: "another"}).fetch(512) is None


def test_the_size_and_the_version_count(cache, monkeypatch):
    """Another size of the style picture misses, and so does a later way to compute statistics."""
    cache.keep(512, STATISTICS)
    assert cache.fetch(511) is None
    monkeypatch.setattr(style_cache, "VERSION", style_cache.VERSION + 1)
    assert cache.fetch(512) is None


@pytest.mark.parametrize("part", [0, 10, -1])
def test_a_damaged_file_is_a_miss(cache, part):
    """A file that was cut short, as by a crash of the machine, is computed and kept anew."""
    cache.keep(512, STATISTICS)
    (cache.folder / cache.name(512)).write_bytes(STATISTICS[:part])
    assert cache.fetch(512) is None
    cache.keep(512, STATISTICS)
    assert cache.fetch(512) == STATISTICS


def test_a_cache_that_cannot_be_written_is_no_error(cache, tmp_path):
    """Where a file lies in the place of the cache's folder, nothing is kept and nothing is found."""
    (tmp_path / "home").write_text("in the way")
    cache.keep(512, STATISTICS)
    assert cache.fetch(512) is None
    assert (tmp_path / "home").read_text() == "in the way"


def test_a_full_disk_is_no_error(cache, monkeypatch):
    """Where there is no room, nothing is kept, and no part of a file is left."""

    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    cache.keep(512, STATISTICS)
    assert os.listdir(cache.folder) == []
