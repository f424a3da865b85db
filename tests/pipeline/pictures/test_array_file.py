"""Pixels in files: what is read and written, what it takes, and what can go wrong."""

import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from facts import having

from muralist.pipeline.errors import OutputError
from muralist.pipeline.pictures.array_file import ArrayFile, allocator_in, new_array_file

ALL = slice(None)
ARRAYS = [
    np.arange(7 * 5 * 3, dtype=np.uint8).reshape(7, 5, 3),
    np.arange(7 * 5 * 3, dtype=np.uint16).reshape(7, 5, 3) * 500,
    np.arange(7 * 5, dtype=np.float32).reshape(7, 5) / 7,
]


def filed(folder: Path, array: np.ndarray) -> ArrayFile:
    """A file that holds an array."""
    array_file = new_array_file(folder / "a.npy", array.shape, array.dtype)
    array_file[ALL, ALL] = array
    return array_file


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize(
    "part",
    [
        ALL,
        slice(2, 5),
        slice(-3, None),
        slice(4, 4),
        slice(5, 99),
        (ALL, ALL),
        (slice(1, 6), slice(2, 4)),
        (ALL, slice(-2, None)),
        (slice(None, None, 2), slice(None, None, 3)),
        (slice(1, 6, 3), slice(1, 5, 2)),
    ],
)
def test_a_part_is_read_as_of_an_array(tmp_path: Path, array: np.ndarray, part: slice | tuple[slice, slice]) -> None:
    """Rows, columns and steps mean what they mean to an array."""
    read = filed(tmp_path, array)[part]
    assert read.dtype == array.dtype
    assert np.array_equal(read, array[part])


@pytest.mark.parametrize("array", ARRAYS)
def test_facts(tmp_path: Path, array: np.ndarray) -> None:
    """Shape, dtype and size are the array's, also in another process, and NumPy can load the file."""
    array_file = pickle.loads(pickle.dumps(filed(tmp_path, array)))
    assert (array_file.shape, array_file.dtype) == (array.shape, array.dtype)
    assert array_file.nbytes == array.nbytes
    assert np.array_equal(np.load(array_file.path), array)


def test_what_was_read_is_a_copy(tmp_path: Path) -> None:
    """Changing it changes nothing in the file."""
    array_file = filed(tmp_path, ARRAYS[0])
    array_file[0:2][:] = 99
    assert np.array_equal(array_file[ALL], ARRAYS[0])


@pytest.mark.parametrize("array", ARRAYS)
def test_a_crop_of_a_crop(tmp_path: Path, array: np.ndarray) -> None:
    """Crops add up, and read and write the right place."""
    crop = filed(tmp_path, array).crop(slice(1, 6), slice(1, None)).crop(slice(2, -1), slice(0, 3))
    expected = array[1:6, 1:][2:-1, 0:3]
    assert (crop.shape, crop.nbytes) == (expected.shape, expected.nbytes)
    assert np.array_equal(crop[ALL], expected)
    crop[ALL, ALL] = expected[::-1]
    assert np.array_equal(np.load(crop.path)[3:5, 1:4], expected[::-1])


def test_a_crop_reads_nothing(tmp_path: Path) -> None:
    """Cropping works without the file; reading does not."""
    array_file = filed(tmp_path, ARRAYS[0])
    array_file.path.unlink()
    crop = array_file.crop(slice(0, 2), slice(0, 2))
    with pytest.raises(FileNotFoundError):
        crop[ALL]


def test_a_crop_has_no_steps(tmp_path: Path) -> None:
    """Steps would be lost, so they are refused."""
    with pytest.raises(ValueError, match=r"slice\(0, 6, 2\)"):
        filed(tmp_path, ARRAYS[0]).crop(slice(0, 6, 2), ALL)


def test_parts_are_written_in_any_order(tmp_path: Path) -> None:
    """Strips of columns, strided and in another order, make the whole."""
    array = ARRAYS[1]
    array_file = new_array_file(tmp_path / "a.npy", array.shape, array.dtype)
    for col in (3, 0, 4, 1, 2):
        array_file[ALL, slice(col, col + 1)] = np.swapaxes(array, 0, 1)[col : col + 1].swapaxes(0, 1)
    assert np.array_equal(array_file[ALL], array)


def test_another_size_is_not_written(tmp_path: Path) -> None:
    """As with arrays, a part must have the size of its place."""
    with pytest.raises(ValueError, match=r"\(7,5,3\) .*\(2,5,3\)"):
        filed(tmp_path, ARRAYS[0])[slice(0, 2), ALL] = ARRAYS[0]


def test_a_file_cut_short(tmp_path: Path) -> None:
    """Missing bytes are an error, not what happened to be in memory."""
    array_file = filed(tmp_path, ARRAYS[0])
    os.truncate(array_file.path, array_file.path.stat().st_size - 1)
    assert np.array_equal(array_file[0:6], ARRAYS[0][0:6])
    with pytest.raises(OSError, check=having(errno=errno.EIO, filename=str(array_file.path))):
        array_file[6:7]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_a_full_disk() -> None:
    """The error says that the disk is full, and how to get another one."""
    array_file = ArrayFile(Path("/dev/full"), (2, 2), np.dtype(np.uint8), 0, 2)
    with pytest.raises(OutputError, match="--scratch", check=having(OSError, path=array_file.path)):
        array_file[ALL, ALL] = np.zeros((2, 2), np.uint8)


def test_a_missing_folder(tmp_path: Path) -> None:
    """Where no file can be made, the system's reason is given."""
    with pytest.raises(OutputError, check=having(FileNotFoundError)):
        new_array_file(tmp_path / "gone" / "a.npy", (2, 2), np.dtype(np.uint8))


def test_room_in_memory() -> None:
    """Without a folder pixels are arrays."""
    with allocator_in(None) as allocate:
        assert isinstance(allocate("a", (2, 3), np.dtype(np.uint16)), np.ndarray)


def test_room_in_a_folder(tmp_path: Path) -> None:
    """In a folder pixels are files, which stay."""
    with allocator_in(tmp_path) as allocate:
        array_file = allocate("a", (2, 3), np.dtype(np.uint16))
    assert isinstance(array_file, ArrayFile)
    assert os.listdir(tmp_path) == ["a.npy"]
    assert array_file[ALL].tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_room_that_was_not_filled_is_given_up(tmp_path: Path, error: type[BaseException]) -> None:
    """After an error or Ctrl-C no half-written file is left."""

    def fail() -> None:
        with allocator_in(tmp_path) as allocate:
            allocate("a", (2, 3), np.dtype(np.uint16))
            allocate("b", (2, 3), np.dtype(np.uint16))
            raise error

    with pytest.raises(error):
        fail()
    assert os.listdir(tmp_path) == []


READ_ALL_WAYS = """
import sys
from pathlib import Path
import numpy as np
from muralist.pipeline.workers.machine import peak_rss
from muralist.pipeline.pictures.array_file import new_array_file

array_file = new_array_file(Path(sys.argv[1]) / "a.npy", (10_000, 18_000, 3), np.dtype(np.uint8))
before = peak_rss()
for top in range(0, 10_000, 100):
    array_file[top : top + 100]
array_file[::20, ::20]
array_file[:, 500:510]
array_file[:, 500:510] = 1
print(peak_rss() - before)
"""


def test_reading_takes_the_memory_of_a_part(tmp_path: Path) -> None:
    """Whatever is read of a file of half a gigabyte, it takes megabytes."""
    result = subprocess.run(
        [sys.executable, "-c", READ_ALL_WAYS, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(result.stdout) < 32 << 20
