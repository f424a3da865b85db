"""Pictures are written as their rows come: in order, once, in little memory, and whatever goes wrong is said."""

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvips
from facts import having

from muralist.pipeline.errors import ClusterError, OutputError
from muralist.pipeline.lengths import MAX_SIDE_PX
from muralist.pipeline.output_files import copy_file, keep_times
from muralist.pipeline.pictures import encoded_rows, encoding
from muralist.pipeline.pictures.reading import read_picture
from muralist.pipeline.pictures.writing import write_picture

EXTENSIONS = pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".tif"])
HEIGHT, WIDTH = 40, 30
CANVAS = np.random.default_rng(0).random((HEIGHT, WIDTH, 4), np.float32)


class Computed:
    """Rows that note which were asked for, and may do something else when the last of them is reached."""

    def __init__(self, array: np.ndarray, instead: Callable[[int], None] = lambda last: None) -> None:
        self.shape, self.dtype, self._array, self._instead = array.shape, array.dtype, array, instead
        self.asked: list[int] = []

    def __getitem__(self, rows: slice) -> np.ndarray:
        assert threading.current_thread() is threading.main_thread()
        self.asked += range(*rows.indices(self.shape[0]))
        self._instead(self.asked[-1])
        return self._array[rows]


def raising(error: BaseException, at: int) -> Callable[[int], None]:
    """Something that raises the error once row `at` is reached."""

    def instead(last: int) -> None:
        if last >= at:
            raise error

    return instead


@pytest.fixture(scope="module", autouse=True)
def left_by_others() -> None:
    """What tests before left is looked through for garbage once, not at every look at our traces."""
    gc.collect()
    gc.freeze()


def traces() -> tuple[int, int]:
    """Threads of ours and open files, when all errors are forgotten; libvips keeps some threads for later."""
    gc.collect()
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPool")]
    return len(ours), len(os.listdir("/proc/self/fd"))


@pytest.fixture
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row blocks of seven or eight rows of `CANVAS`."""
    monkeypatch.setattr(encoded_rows, "BLOCK_BYTES", 3000)


@pytest.mark.usefixtures("short_blocks")
@EXTENSIONS
@pytest.mark.parametrize("bit_depth", [8, 16])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_rows_are_written_like_arrays(tmp_path: Path, extension: str, bit_depth: int, has_alpha: bool) -> None:
    """Whatever gives rows is asked for each once, from top to bottom, and makes the same file as an array."""
    pixels, alpha = Computed(CANVAS[..., :3]), Computed(CANVAS[..., 3]) if has_alpha else None
    write_picture(tmp_path / f"rows{extension}", pixels, alpha=alpha, bit_depth=bit_depth)
    assert pixels.asked == list(range(HEIGHT))
    assert alpha is None or alpha.asked == pixels.asked
    whole = CANVAS[..., 3] if has_alpha else None
    write_picture(tmp_path / f"array{extension}", CANVAS[..., :3], alpha=whole, bit_depth=bit_depth)
    assert (tmp_path / f"rows{extension}").read_bytes() == (tmp_path / f"array{extension}").read_bytes()


@EXTENSIONS
def test_row_blocks_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str) -> None:
    """The file is the same whether it was made of many row blocks or of one, with a conversion of colors too."""
    icc = bytes(pyvips.Image.profile_load("p3"))
    write_picture(tmp_path / f"one{extension}", CANVAS[..., :3], icc=icc)
    monkeypatch.setattr(encoded_rows, "BLOCK_BYTES", 1)
    write_picture(tmp_path / f"many{extension}", CANVAS[..., :3], icc=icc)
    assert (tmp_path / f"one{extension}").read_bytes() == (tmp_path / f"many{extension}").read_bytes()


def test_a_tiff_of_several_rows_of_tiles(tmp_path: Path) -> None:
    """Tiles are cut from row blocks as high as they are, whatever is asked for at once."""
    tall = np.arange(1100 * 600 * 3, dtype=np.uint16).reshape(1100, 600, 3)
    pixels = Computed(tall)
    write_picture(tmp_path / "a.tif", pixels, bit_depth=16)
    assert pixels.asked == list(range(1100))
    assert np.array_equal(read_picture(tmp_path / "a.tif").pixels, tall)


@pytest.mark.usefixtures("short_blocks")
@EXTENSIONS
@pytest.mark.parametrize("at", [0, HEIGHT - 1])
@pytest.mark.parametrize("kind", [ClusterError, BrokenPipeError, KeyboardInterrupt])
def test_errors_of_the_rows_come_out(tmp_path: Path, extension: str, at: int, kind: type[BaseException]) -> None:
    """What goes wrong while rows are computed is raised as it is; no file, thread or descriptor stays."""
    before, error = traces(), kind("a worker died")
    with pytest.raises(kind) as caught:
        write_picture(tmp_path / f"a{extension}", Computed(CANVAS[..., :3], raising(error, at)))
    assert caught.value is error
    assert os.listdir(tmp_path) == []
    del caught, error
    assert traces() == before


@pytest.mark.usefixtures("short_blocks")
def test_the_cause_of_an_error_stays(tmp_path: Path) -> None:
    """An error that has a cause comes out with it."""
    cause, error = KeyError("tile"), ClusterError("a worker died")
    error.__cause__ = cause
    with pytest.raises(ClusterError) as caught:
        write_picture(tmp_path / "a.png", Computed(CANVAS[..., :3], raising(error, 9)))
    assert caught.value.__cause__ is cause


@pytest.mark.usefixtures("short_blocks")
@EXTENSIONS
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_holes_far_down_are_found(tmp_path: Path, extension: str, value: float) -> None:
    """NaN or infinity in a later row block, of pixels or of alpha, leaves no file."""
    holed = CANVAS.copy()
    holed[35, 3] = value
    for pixels, alpha in ((holed, CANVAS), (CANVAS, holed)):
        with pytest.raises(ValueError, match=r"NaN .*\brow 3"):
            write_picture(tmp_path / f"a{extension}", pixels[..., :3], alpha=alpha[..., 3])
        assert os.listdir(tmp_path) == []


def test_rows_that_are_not_there(tmp_path: Path) -> None:
    """Fewer rows than the shape promised are noticed."""

    class Short(Computed):
        def __getitem__(self, rows: slice) -> np.ndarray:
            return super().__getitem__(rows)[1:]

    with pytest.raises(ValueError, match=r"\(39, 30, 3\).*\(40, 30, 3\)"):
        write_picture(tmp_path / "a.png", Short(CANVAS[..., :3]))


@pytest.mark.parametrize("extension", [".jpg", ".png", ".tif"])
def test_an_encoder_that_fails_ends_the_work(tmp_path: Path, extension: str) -> None:
    """When the file cannot be written, no more rows are computed than were on their way."""
    pixels = Computed(np.broadcast_to(np.uint8(0), (60_000, 3000, 3)))
    before = traces()
    with pytest.raises(OutputError, check=having(OSError)) as caught:
        write_picture(tmp_path / "gone" / f"a{extension}", pixels)
    del caught
    assert len(pixels.asked) < 30_000
    assert traces() == before


WRITE_AND_WATCH = """
import sys
import numpy as np
from muralist.pipeline.pictures.writing import write_picture

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024

class Stripes:
    dtype = np.dtype(np.uint8)

    def __init__(self, height):
        self.shape = (height, 1000, 3)

    def __getitem__(self, rows):
        down, across = np.arange(rows.start, rows.stop)[:, None, None], np.arange(1000)[:, None] * [1, 2, 3]
        return down.astype(np.uint8) + across.astype(np.uint8)

write_picture(sys.argv[1], Stripes(20000))
before = peak()
write_picture(sys.argv[1], Stripes(50000))
print(peak() - before)
"""


@pytest.mark.integration
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read as Linux tells it")
@pytest.mark.parametrize("extension", [".jpg", ".png", ".tif"])
def test_memory_does_not_grow_with_height(tmp_path: Path, extension: str) -> None:
    """A picture taller by 86 MiB of pixels takes hardly more memory to write."""
    path = tmp_path / f"a{extension}"
    result = subprocess.run(
        [sys.executable, "-c", WRITE_AND_WATCH, str(path)], capture_output=True, text=True, check=True
    )
    assert int(result.stdout) < 24 << 20
    assert read_picture(path).pixels.shape == (50000, 1000, 3)


def test_large_jpegs_have_the_usual_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A JPEG whose codes were not optimized, as large ones are not, is larger and holds the same pixels."""
    write_picture(tmp_path / "small.jpg", CANVAS[..., :3])
    monkeypatch.setattr(encoding, "_OPTIMISED_PIXELS", HEIGHT * WIDTH - 1)
    write_picture(tmp_path / "large.jpg", CANVAS[..., :3])
    assert (tmp_path / "large.jpg").stat().st_size > (tmp_path / "small.jpg").stat().st_size
    assert np.array_equal(*(read_picture(tmp_path / name).pixels for name in ("small.jpg", "large.jpg")))


@pytest.mark.parametrize(
    ("extension", "height", "width"),
    [(".jpg", 65500, 1), (".webp", 1, 16383), (".png", 1, MAX_SIDE_PX), (".tif", MAX_SIDE_PX, 1)],
)
def test_the_largest_sides_are_really_written(tmp_path: Path, extension: str, height: int, width: int) -> None:
    """Every format takes sides up to its limit, or up to the largest painting, and they can be read again."""
    path = tmp_path / f"a{extension}"
    write_picture(path, np.full((height, width, 3), 200, np.uint8))
    assert np.abs(read_picture(path).pixels.astype(int) - 200).max() <= 2


def test_file_times_are_kept(tmp_path: Path) -> None:
    """A painting gets the times of its photograph, to the nanosecond."""
    photograph, painting = tmp_path / "photograph.jpg", tmp_path / "painting.jpg"
    photograph.touch()
    painting.touch()
    os.utime(photograph, ns=(1_000_000_000_123_456_789, 900_000_000_987_654_321))
    keep_times(photograph, painting)
    times = painting.stat()
    assert (times.st_atime_ns, times.st_mtime_ns) == (1_000_000_000_123_456_789, 900_000_000_987_654_321)


def test_file_times_of_nothing(tmp_path: Path) -> None:
    """A photograph that is gone by then has no times to keep: one line says so."""
    (tmp_path / "painting.jpg").touch()
    with pytest.raises(OutputError, match="keep_times") as caught:
        keep_times(tmp_path / "photograph.jpg", tmp_path / "painting.jpg")
    assert caught.value.path == tmp_path / "painting.jpg"
    assert "\n" not in str(caught.value)


def test_a_copy_of_what_is_gone_names_it(tmp_path):
    """What cannot be read is told, not where it would have gone, and nothing is left there."""
    with pytest.raises(OutputError, match=r"gone\.png: cannot be read") as caught:
        copy_file(tmp_path / "gone.png", tmp_path / "copy.png")
    assert caught.value.path == tmp_path / "gone.png"
    assert list(tmp_path.iterdir()) == []
