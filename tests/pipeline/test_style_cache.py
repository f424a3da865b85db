"""Style statistics on disk: found again by all that they depend on, and never in the way."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from muralist.pipeline import style_cache
from muralist.pipeline.run_folder import write_arrays
from muralist.pipeline.style_cache import StyleCache

ORIGIN = {"style": "5af1", "weights": "c0de", "network": "compact", "layers": "relu1_1 relu2_1"}


@pytest.fixture
def cache(tmp_path: Path) -> StyleCache:
    """An empty cache in a folder that does not exist yet."""
    return StyleCache(tmp_path / "home" / "muralist" / "style", ORIGIN)


@pytest.fixture
def statistics(tmp_path: Path) -> Path:
    """A file of statistics as a task wrote it."""
    path = tmp_path / "targets.npz"
    write_arrays(path, {"relu1_1": np.eye(4)})
    return path


def test_what_was_kept_is_fetched(cache, statistics, tmp_path):
    """Statistics that were kept come back byte by byte, also to another render."""
    target = tmp_path / "run" / "targets.npz"
    assert not cache.fetch(512, target)
    cache.keep(512, statistics)
    assert StyleCache(cache.folder, dict(reversed(ORIGIN.items()))).fetch(512, target)
    assert target.read_bytes() == statistics.read_bytes()
    assert len(os.listdir(cache.folder)) == 1


@pytest.mark.parametrize("part", ORIGIN)
def test_every_part_of_the_origin_counts(cache, statistics, tmp_path, part):
    """Another style picture, weight file, network or set of layers misses."""
    cache.keep(512, statistics)
    other = replace(cache, origin=ORIGIN | {part: "another"})
    assert not other.fetch(512, tmp_path / "other.npz")
    assert not (tmp_path / "other.npz").exists()


def test_the_size_and_the_version_count(cache, statistics, tmp_path, monkeypatch):
    """Another size of the style picture misses, and so does a later way to compute statistics."""
    cache.keep(512, statistics)
    assert not cache.fetch(511, tmp_path / "other.npz")
    monkeypatch.setattr(style_cache, "VERSION", style_cache.VERSION + 1)
    assert not cache.fetch(512, tmp_path / "other.npz")


@pytest.mark.parametrize("part", [0, 10, -1])
def test_a_damaged_file_is_a_miss(cache, statistics, tmp_path, part):
    """A file that was cut short, as by a crash of the machine, is computed and kept anew."""
    cache.keep(512, statistics)
    whole = cache.path(512).read_bytes()
    cache.path(512).write_bytes(whole[:part])
    assert not cache.fetch(512, tmp_path / "other.npz")
    cache.keep(512, statistics)
    assert cache.path(512).read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_no_error(cache, statistics, tmp_path):
    """Where a file lies in the place of the cache's folder, nothing is kept and nothing is found."""
    (tmp_path / "home").write_text("in the way")
    cache.keep(512, statistics)
    assert not cache.fetch(512, tmp_path / "other.npz")
    assert (tmp_path / "home").read_text() == "in the way"
