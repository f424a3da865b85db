"""The files between two tasks: whole or not there, and a canvas that is read as if it were one array."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from muralist.pipeline.run_folder import FINISHED, RunFolder, write_array, write_arrays, write_whole
from muralist.tiling.grid import Box, Span, TileGrid


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A new run folder."""
    return RunFolder.create(tmp_path, "poster.tif")


def test_a_run_folder_is_new_and_hidden(tmp_path):
    """Two renders of the same output never share a folder, and a file manager shows neither."""
    first, second = (Path(RunFolder.create(tmp_path, "poster.tif").path) for _ in range(2))
    assert first != second
    assert all(path.is_dir() and path.parent == tmp_path for path in (first, second))
    assert all(path.name.startswith(".poster.tif.muralist-") for path in (first, second))


def test_the_paths_of_a_level_are_distinct_and_inside(folder):
    """No two kinds of file, levels, rounds or tiles share a path, and all lie in the folder."""
    paths = [
        *(method(level) for level in (0, 1) for method in (folder.content, folder.start)),
        *(method(level, number) for level in (0, 1) for number in (0, 1) for method in (folder.style, folder.targets)),
        *(folder.features(level, tile) for level in (0, 1) for tile in (0, 1)),
        *(folder.total(level, made) for level in (0, 1) for made in (0, 1, FINISHED)),
        *(
            method(level, made, tile)
            for level in (0, 1)
            for made in (0, 1, FINISHED)
            for tile in (0, 1)
            for method in (folder.sums, folder.state)
        ),
    ]
    assert len(set(paths)) == len(paths)
    assert all(path.is_relative_to(folder.path) for path in paths)


def test_a_writer_has_another_name_until_it_is_done(tmp_path):
    """The file appears under its own name only when it is complete, with the same extension meanwhile."""
    path = tmp_path / "part" / "a.npz"
    seen = []

    def write(part: Path) -> None:
        part.write_bytes(b"whole")
        seen.extend([part.parent, part.suffix, path.exists()])

    write_whole(path, write)
    assert seen == [path.parent, ".npz", False]
    assert os.listdir(path.parent) == ["a.npz"]
    assert path.read_bytes() == b"whole"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failing_writer_leaves_nothing(tmp_path, error):
    """Whatever stops a writer, what was there before stays, and no part of the new file is left."""
    path = tmp_path / "a.npy"
    path.write_bytes(b"old")

    def write(part: Path) -> None:
        part.write_bytes(b"half")
        raise error

    with pytest.raises(type(error)):
        write_whole(path, write)
    assert os.listdir(tmp_path) == ["a.npy"]
    assert path.read_bytes() == b"old"


def test_files_have_the_usual_permissions(tmp_path):
    """A sidecar can be read by whoever may read the painting beside it."""
    (tmp_path / "usual").touch()
    write_whole(tmp_path / "a", lambda part: part.write_bytes(b""))
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("array", [np.arange(24.0, dtype=np.float32).reshape(2, 3, 4), np.float64(3), np.zeros((0, 2))])
def test_arrays_come_back(tmp_path, array):
    """An array comes back with its shape, type and values, and can be memory-mapped."""
    write_array(tmp_path / "a.npy", array)
    back = np.load(tmp_path / "a.npy")
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back.reshape(np.shape(array)), array)
    write_arrays(tmp_path / "b.npz", {"gram relu1_1": array})
    with np.load(tmp_path / "b.npz") as file:
        np.testing.assert_array_equal(file["gram relu1_1"], array)


def test_a_part_of_an_array_is_written(tmp_path):
    """A tile's extent, which is not contiguous in memory, comes back as it is."""
    whole = np.arange(4 * 5 * 6 * 3, dtype=np.float32).reshape(4, 5, 6, 3)
    write_array(tmp_path / "a.npy", whole[:, 1:4, 2:5])
    back = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, whole[:, 1:4, 2:5])


WRITE_WITH_A_LIMIT = """
import errno, resource, signal, sys
from pathlib import Path
import numpy as np
from muralist.pipeline.run_folder import write_array, write_arrays

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
array = np.random.default_rng(0).random(100_000)
for write in (lambda: write_array(Path(sys.argv[1], "a.npy"), array),
              lambda: write_arrays(Path(sys.argv[1], "a.npz"), {"a": array})):
    try:
        write()
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


def test_a_write_that_fails_midway_says_why(tmp_path):
    """The system's reason reaches the caller (numpy.save drops it), so that a full disk can be told from a bug."""
    result = subprocess.run(
        [sys.executable, "-c", WRITE_WITH_A_LIMIT, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["EFBIG", "EFBIG"]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "box", [Box(Span(0, 70), Span(0, 90)), Box(Span(20, 21), Span(3, 80)), Box(Span(40, 70), Span(30, 60))]
)
def test_a_canvas_is_read_by_boxes(folder, box):
    """Any box of the canvas comes back whole when every tile filed its part of one picture."""
    grid = TileGrid(70, 90, tile=32, overlap=8)
    canvas = np.random.default_rng(0).random((4, 70, 90, 3), np.float32)
    Path(folder.path, "level_02").mkdir()
    for tile in grid:
        write_array(folder.state(2, 5, tile.index), canvas[(slice(None), *tile.extent.inside(grid.box))])
    found = folder.canvas(2, grid, 5)(box)
    np.testing.assert_allclose(found, canvas[(slice(None), *box.inside(grid.box))], atol=1e-6)


def test_a_canvas_blends_its_tiles(folder):
    """Where tiles disagree the canvas goes smoothly from one to the other, as their windows say."""
    grid = TileGrid(32, 56, tile=32, overlap=8, halo=0)
    Path(folder.path, "level_00").mkdir()
    for tile in grid:
        write_array(folder.state(0, 0, tile.index), np.full((4, *tile.extent.shape, 3), tile.index, np.float32))
    across = folder.canvas(0, grid, 0)(grid.box)[0, 10, :, 0]
    np.testing.assert_allclose(across[24:32], grid.window(grid[1])[1][:8])
    assert across[23] == 0
    assert across[32] == 1
    assert np.all(np.diff(across) >= 0)


def test_rounds_and_levels_are_removed_one_by_one(folder):
    """Removing a round keeps the level's other files, and removing a level keeps the other levels."""
    array = np.zeros(3)
    for level in (0, 1):
        write_array_in_new_level(folder, level, array)
    folder.remove_round(0, 0)
    assert not folder.state(0, 0, 0).exists()
    assert all(path.exists() for path in (folder.state(0, 1, 0), folder.content(0), folder.state(1, 0, 0)))
    folder.remove_level(0)
    assert not folder.content(0).parent.exists()
    assert folder.state(1, 0, 0).exists()
    folder.remove_round(0, 7)  # not there: nothing to do
    folder.remove_level(0)


def test_one_round_is_finished(folder):
    """The round that counts is found as finished and no longer by its number; the other rounds stay as they are."""
    write_array_in_new_level(folder, 0, np.arange(3.0))
    folder.finish(0, 1)
    np.testing.assert_array_equal(np.load(folder.state(0, FINISHED, 0)), np.arange(3.0))
    assert folder.state(0, 0, 0).exists()
    assert not folder.state(0, 1, 0).exists()


def write_array_in_new_level(folder: RunFolder, level: int, array: np.ndarray) -> None:
    """File what a level needs for the test above."""
    write_array(folder.content(level), array)
    for made in (0, 1):
        write_array(folder.state(level, made, 0), array)


def test_a_task_that_outlives_its_render_does_not_bring_the_folder_back(folder, tmp_path):
    """After the folder was removed, a late task fails instead of leaving files that nobody removes."""
    write_array_in_new_level(folder, 0, np.zeros(3))
    folder.remove()
    folder.remove()
    for path in (folder.state(0, 2, 0), folder.content(0), folder.content(1)):
        with pytest.raises(FileNotFoundError):
            write_array(path, np.zeros(3))
    assert os.listdir(tmp_path) == []
