"""The photograph's colors: its chroma under the painting's light, and its mean and covariance in a style picture."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import deep, painting, photograph

from muralist.pipeline.pictures.colors import LUMA, recoloring, with_chroma_of


def gray(pixels: np.ndarray) -> np.ndarray:
    """The same picture without color."""
    return np.repeat(pixels.mean(2, keepdims=True).astype(pixels.dtype), 3, axis=2)


def scaled(pixels: np.ndarray) -> np.ndarray:
    """Pixels of uint8 as float64 in [0, 1]."""
    return pixels / 255


def moments(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (3,) and covariance (3, 3) of pixels."""
    colors = pixels.reshape(-1, 3)
    return colors.mean(0), np.cov(colors.T, bias=True)


# ----------------------------------------------------------------------------------------------------------- luminance


def test_luma_is_the_paintings_and_chroma_the_photographs():
    """Where nothing leaves the range, luma is exactly the painting's and I and Q are exactly the photograph's."""
    rgb_to_iq = np.array([[0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    photo = 0.4 + 0.2 * scaled(photograph())
    paint = 0.4 + 0.2 * scaled(painting(96, 128))
    found = with_chroma_of(photo, paint)
    np.testing.assert_allclose(found @ LUMA, paint @ LUMA, atol=1e-6)
    np.testing.assert_allclose(found @ rgb_to_iq.T, photo @ rgb_to_iq.T, atol=1e-6)


channels = st.floats(0, 1, width=32)
colors = st.tuples(channels, channels, channels)


@given(colors, colors)
def test_what_leaves_the_range_loses_saturation_and_nothing_else(photo, paint):
    """Luma stays the painting's for any two colors, and the chroma is the photograph's, scaled down."""
    photo, paint = np.array(photo), np.array(paint)
    found = with_chroma_of(photo, paint)
    assert found.min() >= 0
    assert found.max() <= 1
    assert found @ LUMA == pytest.approx(paint @ LUMA, abs=1e-6)
    wanted, chroma = photo - photo @ LUMA, found - found @ LUMA
    np.testing.assert_allclose(np.cross(wanted, chroma), 0, atol=1e-6)
    assert wanted @ chroma >= -1e-6
    assert np.linalg.norm(chroma) <= np.linalg.norm(wanted) + 1e-6


def test_a_painting_beyond_the_range_is_clipped_first():
    """A canvas that overshoots gives white and black, not colors out of range."""
    found = with_chroma_of(np.full((2, 3), [0.8, 0.2, 0.3]), np.array([[1.2] * 3, [-0.2] * 3]))
    np.testing.assert_allclose(found, [[1] * 3, [0] * 3], atol=1e-6)


def test_a_gray_photograph_gives_a_gray_painting():
    """A photograph without chroma leaves the painting's luma only."""
    found = with_chroma_of(scaled(gray(photograph())), scaled(painting(96, 128)))
    np.testing.assert_allclose(found, np.repeat((scaled(painting(96, 128)) @ LUMA)[..., None], 3, 2), atol=1e-6)


def test_a_photograph_gives_itself_back():
    """Light and chroma of the same picture are that picture, in its own number type."""
    photo = scaled(photograph()).astype(np.float32)
    found = with_chroma_of(photo, photo)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, photo, atol=1e-6)


# ---------------------------------------------------------------------------------------------------------- statistics


@pytest.mark.parametrize("to_depth", [lambda pixels: pixels, deep, lambda pixels: scaled(pixels).astype(np.float32)])
def test_mean_and_covariance_become_the_photographs(to_depth):
    """Before clipping, a recolored style picture has the photograph's mean and covariance, whatever its depth."""
    change = recoloring(to_depth(painting()), photograph())
    pixels = to_depth(painting())
    found = change.unclipped(pixels / {"uint8": 255, "uint16": 65535, "float32": np.float64(1)}[pixels.dtype.name])
    for value, wanted in zip(moments(found), moments(scaled(photograph())), strict=True):
        np.testing.assert_allclose(value, wanted, atol=1e-6)


def test_the_change_is_the_symmetric_one():
    """Of all maps with that covariance it is the product of symmetric roots: none at all between equal pictures."""
    same = recoloring(painting(), painting())
    np.testing.assert_allclose(same.matrix, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(same.offset, 0, atol=1e-6)
    change = recoloring(painting(), photograph())
    (_, style), (_, photo) = (moments(scaled(pixels)) for pixels in (painting(), photograph()))
    root = change.matrix @ _root(style)
    np.testing.assert_allclose(root, root.T, atol=1e-9)
    np.testing.assert_allclose(root, _root(photo), atol=1e-6)


def _root(matrix: np.ndarray) -> np.ndarray:
    values, axes = np.linalg.eigh(matrix)
    return np.asarray((axes * np.sqrt(values)) @ axes.T)


def test_a_gray_photograph_makes_the_style_gray():
    """A photograph without color gives a style picture without color, with the same mean and covariance."""
    found = recoloring(painting(), gray(photograph())).unclipped(scaled(painting()))
    np.testing.assert_allclose(found, np.repeat(found[..., :1], 3, 2), atol=1e-6)
    for value, wanted in zip(moments(found), moments(scaled(gray(photograph()))), strict=True):
        np.testing.assert_allclose(value, wanted, atol=1e-6)


def test_a_gray_style_picture_gets_the_mean_and_stays_a_line():
    """A style picture without color cannot be given all of a covariance: mean matches, grays lie on one line."""
    found = recoloring(gray(painting()), photograph()).unclipped(scaled(gray(painting())))
    mean, covariance = moments(found)
    np.testing.assert_allclose(mean, moments(scaled(photograph()))[0], atol=1e-6)
    values = np.linalg.eigvalsh(covariance)
    assert values[2] > 1e-3
    np.testing.assert_allclose(values[:2], 0, atol=1e-9)


def test_noise_of_a_nearly_gray_style_picture_is_not_blown_up():
    """Rounding errors of a JPEG's chroma do not become colors as strong as the photograph's."""
    random = np.random.default_rng(0)
    noisy = gray(painting()).astype(int).clip(1, 254) + (random.random((80, 112, 3)) < 0.03)
    change = recoloring(noisy.astype(np.uint8), photograph())
    assert np.abs(np.linalg.eigvals(change.matrix)).max() < 10


def test_pictures_of_one_color():
    """A style picture of one color becomes the photograph's mean; a photograph of one color takes all style away."""
    flat = np.full((40, 40, 3), 90, np.uint8)
    np.testing.assert_allclose(
        recoloring(flat, photograph())(scaled(flat)), np.full((40, 40, 3), moments(scaled(photograph()))[0]), atol=1e-6
    )
    np.testing.assert_allclose(recoloring(painting(), flat)(scaled(painting())), 90 / 255, atol=1e-6)


def test_recolored_pixels_are_float32_in_range():
    """What leads out of the range is clipped."""
    found = recoloring(painting(), photograph())(scaled(painting()))
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1


def test_only_what_a_mask_marks_of_a_style_picture_counts():
    """What is painted with has the photograph's mean and covariance, whatever frame is around it."""
    framed = np.full((140, 140, 3), 12, np.uint8)
    inner = framed[20:116, 6:134] = painting(96, 128)
    mask = np.zeros((140, 140), np.uint8)
    mask[20:116, 6:134] = 255
    found = recoloring(framed, photograph(), mask).unclipped(scaled(inner))
    for value, wanted in zip(moments(found), moments(scaled(photograph())), strict=True):
        np.testing.assert_allclose(value, wanted, atol=1e-6)


def test_a_part_that_samples_miss_counts(monkeypatch):
    """A single pixel that is marked gets the photograph's mean."""
    monkeypatch.setattr("muralist.pipeline.pictures.colors.SAMPLES", 900)
    mask = np.zeros((120, 120), np.uint8)
    mask[61, 61] = 255
    found = recoloring(painting(120, 120), photograph(), mask).unclipped(scaled(painting(120, 120)))
    np.testing.assert_allclose(found[61, 61], scaled(photograph()).mean((0, 1)), atol=0.01)


def test_a_large_picture_is_only_sampled(monkeypatch):
    """To know the mean and covariance of a poster's photograph, nothing of its size is made."""
    monkeypatch.setattr("muralist.pipeline.pictures.colors.SAMPLES", 900)
    large = np.broadcast_to(np.uint8(90), (4000, 4000, 3))
    tracemalloc.start()
    try:
        recoloring(painting(), large)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_recoloring_takes_little_memory():
    """Of a large style picture, no copies in double precision are held."""
    pixels = np.zeros((2000, 500, 3), np.float32)
    change = recoloring(painting(), photograph())
    tracemalloc.start()
    try:
        change(pixels)
        assert tracemalloc.get_traced_memory()[1] < 2.5 * pixels.nbytes
    finally:
        tracemalloc.stop()


def test_every_kth_pixel_of_a_large_picture_is_enough(monkeypatch):
    """Of a large picture a regular part counts, whose moments are nearly those of the whole."""
    whole = recoloring(painting(800, 1120), photograph())
    monkeypatch.setattr("muralist.pipeline.pictures.colors.SAMPLES", 50_000)
    part = recoloring(painting(800, 1120), photograph())
    assert part.sha256 != whole.sha256
    np.testing.assert_allclose(part.matrix, whole.matrix, atol=0.05)


def test_the_hash_tells_changes_apart():
    """The same pictures give the same hash; another photograph gives another."""
    change = recoloring(painting(), photograph())
    assert change.sha256 == recoloring(painting(), photograph()).sha256
    assert change.sha256 != recoloring(painting(), photograph(seed=5)).sha256
