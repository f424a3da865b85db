"""What painting starts from: mixed of a color, a picture and noise, from a seed."""

from dataclasses import replace

import numpy as np
import pytest
from facts import having
from pictures import photograph, save

from muralist.pipeline import initialization as module
from muralist.pipeline.errors import PictureError
from muralist.pipeline.initialization import (
    init_file,
    init_pixels,
    is_photograph,
    read_init,
    start_canvas,
    stretch_notice,
)
from muralist.pipeline.pictures.reading import read_picture
from muralist.pipeline.settings import Settings

BASE = (0.45, 0.4, 0.5)
MIDDLE = np.full((60, 70, 3), 0.5, np.float32)


def start(init: np.ndarray = MIDDLE, **settings: object) -> np.ndarray:
    """The canvas that painting starts from."""
    return start_canvas(init, BASE, Settings(**settings))


def test_the_photograph_is_no_start_of_its_own():
    """Only without noise and with `init: content` nothing has to be filed."""
    assert is_photograph(Settings())
    assert not is_photograph(Settings(noise_ratio=0.1))
    assert not is_photograph(Settings(init="blank"))
    assert not is_photograph(Settings(init="content.png"))


def test_without_noise_the_start_is_what_was_given():
    """A ratio of 0 gives the picture back, to rounding."""
    init = photograph().astype(np.float32) / 255
    np.testing.assert_allclose(start(init), init, atol=1e-7)
    assert start(init).dtype == np.float32


def test_with_noise_alone_the_picture_does_not_count():
    """A ratio of 1 is noise around the network's mean color, whatever the picture."""
    black, white = (start(np.full_like(MIDDLE, value), noise_ratio=1) for value in (0, 1))
    np.testing.assert_array_equal(black, white)
    np.testing.assert_allclose(black.mean((0, 1)), BASE, atol=0.005)


def test_uniform_noise_has_its_half_width():
    """Uniform noise reaches the amplitude on either side and no further, scaled by its share."""
    noise = start(noise_ratio=1, noise_amplitude=0.2) - np.array(BASE)
    assert 0.19 < noise.max() <= 0.2 + 1e-6
    assert -0.2 - 1e-6 <= noise.min() < -0.19
    assert noise.std() == pytest.approx(0.2 / np.sqrt(3), rel=0.02)
    half = start(noise_ratio=0.5, noise_amplitude=0.2) - (np.array(BASE) + 0.5) / 2
    assert half.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.02)


def test_gaussian_noise_has_its_deviation():
    """Gaussian noise has the amplitude as its standard deviation."""
    noise = start(noise="gaussian", noise_ratio=1, noise_amplitude=0.1) - np.array(BASE)
    assert noise.std() == pytest.approx(0.1, rel=0.02)
    assert noise.max() > 0.25


def test_the_mix_by_hand():
    """One pixel, worked out: base 0.45 and half of the way to white give 0.725, plus half of the noise."""
    found = start_canvas(np.ones((1, 1, 3), np.float32), (0.45,) * 3, Settings(noise_ratio=0.5, seed=3))
    noise = np.random.default_rng(3).uniform(-0.078, 0.078, (1, 1, 3))
    np.testing.assert_allclose(found, 0.725 + 0.5 * noise, atol=1e-6)


@pytest.mark.parametrize("noise", ["uniform", "gaussian"])
def test_a_seed_gives_the_same_noise_in_any_row_blocks(monkeypatch, noise):
    """The same seed gives the same bytes, whatever row blocks they are drawn in; another seed gives others."""
    whole = start(noise=noise, noise_ratio=0.6)
    monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    np.testing.assert_array_equal(start(noise=noise, noise_ratio=0.6), whole)
    assert (start(noise=noise, noise_ratio=0.6, seed=1) != whole).any()


def test_a_start_stays_in_range():
    """Noise that leads out of the range is clipped."""
    found = start(noise="gaussian", noise_ratio=1, noise_amplitude=1)
    assert (found.min(), found.max()) == (0, 1)


def test_what_is_resized_to_start_from(tmp_path):
    """The photograph, one pixel of the base color, or the file that was named."""
    photo = read_picture(save(tmp_path / "photo.png", photograph()))
    other = read_picture(save(tmp_path / "other.png", photograph(seed=4)))
    assert init_pixels(Settings(), photo, None, BASE) is photo.pixels
    assert init_pixels(Settings(init="other.png"), photo, other, BASE) is other.pixels
    np.testing.assert_allclose(init_pixels(Settings(init="blank"), photo, None, BASE), [[BASE]], atol=1e-7)


def test_only_files_are_read(tmp_path):
    """`content` and `blank` are no files; any other name is read, or refused with its problem."""
    path = save(tmp_path / "init.png", photograph())
    assert [init_file(Settings(init=name)) for name in ("content", "blank", str(path))] == [None, None, path]
    assert read_init(Settings()) is read_init(Settings(init="blank")) is None
    assert read_init(Settings(init=str(path))).sha256 == read_picture(path).sha256
    with pytest.raises(PictureError, check=having(FileNotFoundError, path=tmp_path / "none.png")):
        read_init(Settings(init=str(tmp_path / "none.png")))
    with pytest.raises(PictureError, match="max_pixels = 100"):
        read_init(Settings(init=str(path), max_pixels=100))


@pytest.mark.parametrize(
    ("size", "stretched"),
    [
        ((96, 128), False),
        ((960, 1280), False),
        ((48, 64), False),
        ((481, 640), False),
        ((96, 150), True),
        ((128, 96), True),
    ],
)
def test_another_shape_is_told(tmp_path, size, stretched):
    """Only another shape, by more than rounding, is worth a notice, which names the file and both sizes."""
    init = replace(read_picture(save(tmp_path / "init.png", photograph(4, 4))), pixels=np.zeros((*size, 3), np.uint8))
    notice = stretch_notice(init, 96, 128)
    assert bool(notice) == stretched
    if stretched:
        assert all(
            word in notice for word in ("init.png", f"{size[1]} x {size[0]} px", "128 x 96 px", "stretched to fit")
        )
