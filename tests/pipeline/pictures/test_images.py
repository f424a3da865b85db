"""Pictures in memory or in a file, made smaller and larger."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from snapshots import photograph, saved

from muralist.pipeline.pictures.array_file import ArrayFile, new_array_file
from muralist.pipeline.pictures.images import crop_to_aspect, resize, resize_rows
from muralist.pipeline.pictures.limits import ReadLimits
from muralist.pipeline.pictures.reading import read_picture
from muralist.tiling.grid import Span


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_resize_to_the_same_size_only_converts(dtype: type) -> None:
    """At the same size the values stay, as floats in [0, 1]."""
    scale = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    pixels = (photograph() / 255 * scale).astype(dtype)
    same = resize(pixels, 48, 64)
    assert same.dtype == np.float32
    assert np.abs(same - pixels / scale).max() < 1e-6


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 90), st.integers(1, 90))
def test_resize_commutes_with_flipping(height: int, width: int, new_height: int, new_width: int) -> None:
    """No shift: flipping before resizing equals flipping after, up and down, for any sizes; sizes are exact."""
    plane = np.random.default_rng(height * 100 + width).random((height, width), dtype=np.float32)
    resized = resize(plane, new_height, new_width)
    assert resized.shape == (new_height, new_width)
    assert np.allclose(resize(plane[::-1, ::-1], new_height, new_width)[::-1, ::-1], resized, atol=1e-5)


@pytest.mark.parametrize("width", [25, 64, 77, 300])
def test_resize_keeps_a_gradient_in_place(width: int) -> None:
    """A ramp over half-pixel centers is the same ramp at every size, away from the borders."""
    old = np.tile((np.arange(100, dtype=np.float32) + 0.5) / 100, (10, 1))
    new = resize(old, 10, width)[5]
    margin = 4 + width // 25
    expected = (np.arange(width) + 0.5) / width
    assert np.abs(new - expected)[margin:-margin].max() < 2e-3


def test_resize_is_antialiased() -> None:
    """A checkerboard shrunk to a fraction is even gray."""
    board = (np.indices((90, 90)).sum(axis=0) % 2).astype(np.float32)
    assert np.abs(resize(board, 13, 13) - 0.5).max() < 0.02


def test_resize_clips_overshoots() -> None:
    """The filter's ringing at a hard edge stays in [0, 1]."""
    edge = np.zeros((20, 20, 3), np.uint8)
    edge[:, 10:] = 255
    big = resize(edge, 100, 100)
    assert (big.min(), big.max()) == (0, 1)


def test_resize_refuses_other_types() -> None:
    """An array whose full scale is unknown is refused, not guessed."""
    with pytest.raises(ValueError, match="int64"):
        resize(np.zeros((4, 4), np.int64), 2, 2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("filed", [False, True])
@pytest.mark.parametrize("size", [(133, 251), (61, 90), (300, 200), (133, 90), (1, 1), (2, 700)])
def test_rows_are_the_same_whichever_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: type, filed: bool, size: tuple[int, int]
) -> None:
    """Rows one by one, in row blocks and all together agree bit for bit, of arrays and files, and however read."""
    height, width = size
    scale = 1 if dtype is np.float32 else np.iinfo(dtype).max
    array = (np.random.default_rng(0).random((133, 251, 3)) * scale).astype(dtype)
    pixels: np.ndarray | ArrayFile = array
    if filed:
        pixels = new_array_file(tmp_path / "a.npy", array.shape, array.dtype)
        pixels[:, :] = array
    whole = resize(array, height, width)
    assert whole.shape == (height, width, 3)
    monkeypatch.setattr("muralist.pipeline.pictures.images._PLANE_SAMPLES", 251 * 10)
    monkeypatch.setattr("muralist.pipeline.pictures.images._SLAB_SAMPLES", width * 3 * 40)
    for count in (1, 7, 64, height):
        tops = range(0, height, count)
        parts = [resize_rows(pixels, height, width, (top, min(top + count, height))) for top in tops]
        assert np.array_equal(np.concatenate(parts), whole)


def test_rows_of_a_plane() -> None:
    """A plane, such as alpha, has rows too, and a `Span` says which."""
    plane = np.random.default_rng(0).integers(0, 256, (90, 50), dtype=np.uint8)
    rows = resize_rows(plane, 33, 20, Span(5, 9))
    assert rows.dtype == np.float32
    assert np.array_equal(rows, resize(plane, 33, 20)[5:9])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 90), st.integers(1, 90))
def test_resize_is_pillows(height: int, width: int, new_height: int, new_width: int) -> None:
    """Pillow, given the whole plane, finds the same but for the last bits: it may take the passes in another order."""
    plane = np.random.default_rng(height * 100 + width).random((height, width), dtype=np.float32)
    expected = np.asarray(Image.fromarray(plane).resize((new_width, new_height), Image.Resampling.LANCZOS))
    assert np.abs(resize(plane, new_height, new_width) - expected.clip(0, 1)).max() < 5e-7


def test_a_huge_shrink_reads_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many source rows make one row, only as many as allowed are taken in at once, and each about once."""
    taken: list[int] = []

    class Counting(np.ndarray):
        """Pixels that count the rows that are asked for."""

        def __getitem__(self, part: Any) -> Any:
            taken.append(part.stop - part.start)
            return np.asarray(super().__getitem__(part))

    plane = np.zeros((3000, 20), np.uint8).view(Counting)
    monkeypatch.setattr("muralist.pipeline.pictures.images._PLANE_SAMPLES", 20 * 50)
    assert resize(plane, 10, 4).shape == (10, 4)
    assert max(taken) == 50
    assert sum(taken) == 3000


@pytest.mark.parametrize(("aspect", "shape"), [(1, (48, 48)), (4, (16, 64)), (64 / 48, (48, 64)), (1000, (1, 64))])
def test_crop_to_aspect(tmp_path: Path, aspect: float, shape: tuple[int, int]) -> None:
    """The crop is the largest of its aspect, centered, and takes the alpha with it."""
    image = Image.fromarray(np.dstack([photograph(), photograph()[:, :, 0]]))
    picture = read_picture(saved(tmp_path / "a.png", image))
    part = crop_to_aspect(picture, aspect)
    top, left = (48 - shape[0]) // 2, (64 - shape[1]) // 2
    assert part.alpha is not None
    assert (part.height, part.width) == shape
    assert np.array_equal(part.pixels, photograph()[top : top + shape[0], left : left + shape[1]])
    assert part.alpha.shape == shape


def test_crop_to_aspect_of_an_array_file(tmp_path: Path) -> None:
    """A picture in files is cropped as one in memory is, and copies nothing: the files stay the same."""
    image = Image.fromarray(np.dstack([photograph(), photograph()[:, :, 0]]))
    path = saved(tmp_path / "a.png", image)
    part, filed = (
        crop_to_aspect(read_picture(path), 1),
        crop_to_aspect(read_picture(path, ReadLimits(memory=0, folder=tmp_path)), 1),
    )
    assert isinstance(filed.pixels, ArrayFile)
    assert isinstance(filed.alpha, ArrayFile)
    assert (filed.height, filed.width, filed.bit_depth) == (48, 48, 8)
    assert np.array_equal(filed.pixels[:], part.pixels)
    assert part.alpha is not None
    assert np.array_equal(filed.alpha[:], part.alpha)
    assert len(os.listdir(tmp_path)) == 3


def test_crop_to_aspect_without_alpha(tmp_path: Path) -> None:
    """An opaque picture stays opaque."""
    picture = read_picture(saved(tmp_path / "a.png", Image.fromarray(photograph())))
    assert crop_to_aspect(picture, 2).alpha is None
