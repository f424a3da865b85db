"""Pixels on their way from libvips to NumPy, in row blocks."""

import io
from pathlib import Path

import numpy as np
import pytest
import pyvips
import tifffile

from muralist.pipeline.pictures.vips import each_row_block, one_line, source_of

NOISE = np.random.default_rng(0).integers(0, 65536, (131, 37, 3), dtype=np.uint16)


@pytest.fixture(params=[1, 1000, 37 * 6, 37 * 6 * 50 + 1, 1 << 24])
def small_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row blocks of one row, of several, not a whole number, and of all rows."""
    monkeypatch.setattr("muralist.pipeline.pictures.vips.BLOCK_BYTES", request.param)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("strip", [1, 10, 131])
def test_row_blocks_are_the_whole_image(tmp_path: Path, strip: int) -> None:
    """Row blocks follow each other from top to bottom and lack nothing, wherever strips of the file end."""
    tifffile.imwrite(tmp_path / "a.tif", NOISE, photometric="rgb", rowsperstrip=strip, compression="zlib")
    found: list[np.ndarray] = []

    def take(top: int, block: np.ndarray) -> None:
        assert top == sum(map(len, found))
        found.append(block)

    each_row_block(pyvips.Image.new_from_file(str(tmp_path / "a.tif"), access="sequential"), take)
    assert np.array_equal(np.concatenate(found), NOISE)
    assert found[0].dtype == np.uint16


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_errors_come_out(error: type[BaseException], capfd: pytest.CaptureFixture[str]) -> None:
    """What the taker raises ends the work and arrives as itself, though C lies between; nothing is printed."""
    taken = []

    def take(top: int, block: np.ndarray) -> None:
        taken.append(top)
        raise error("enough")

    with pytest.raises(error, match="enough"):
        each_row_block(pyvips.Image.new_from_array(NOISE), take)
    assert taken == [0]
    assert capfd.readouterr().err == ""


def test_errors_of_libvips_come_out(tmp_path: Path) -> None:
    """A file that is damaged at its end is libvips' error."""
    path = tmp_path / "a.png"
    path.write_bytes(pyvips.Image.new_from_array(NOISE).pngsave_buffer()[:-5000])
    with pytest.raises(pyvips.Error):
        each_row_block(pyvips.Image.pngload(str(path), access="sequential", fail_on="error"), lambda top, block: None)


class Failing(io.BytesIO):
    """A file on a disk that fails behind the first bytes."""

    def read(self, size: int | None = -1) -> bytes:
        """Read, or fail."""
        if self.tell() > 0:
            raise OSError(5, "Input/output error")
        return super().read(size)


def test_a_disk_that_fails_is_no_damaged_picture(capfd: pytest.CaptureFixture[str]) -> None:
    """An error of the operating system while libvips reads arrives as itself."""
    content = pyvips.Image.new_from_array(NOISE).pngsave_buffer(compression=0)
    with pytest.raises(OSError, match="Input/output"), source_of(Failing(content)) as source:
        pyvips.Image.pngload_source(source, access="sequential", fail_on="error").avg()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("detail", "line"),
    [
        ("one\ntwo\n", "one"),
        ("one\nsystem error: No space left on device\n", "No space left on device"),
        ("", "libvips does not say why"),
    ],
)
def test_one_line(detail: str, line: str) -> None:
    """The operating system's reason counts most, then libvips' first."""
    error = pyvips.Error("unable to call")
    error.detail = detail
    assert one_line(error) == line
