"""Sums over positions: right for one picture, and adding up over tiles."""

import numpy as np
import pytest
import torch

from muralist.model.statistics import Sums, Window, differences, gram_sum, measure, positions
from muralist.tiling.grid import TileGrid

STRIDES = {"fine": 1, "coarse": 4}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random float64 numbers around zero."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def window(height: int, width: int, dtype: torch.dtype = torch.float64) -> Window:
    """Any window that is no constant."""
    return Window(torch.linspace(0.1, 1, height, dtype=dtype), torch.linspace(1, 0.2, width, dtype=dtype))


def test_positions_are_rows():
    """Features become one row per position, in reading order."""
    features = noise(1, 3, 4, 5)
    matrix = positions(features)
    assert matrix.shape == (20, 3)
    assert torch.equal(matrix[1 * 5 + 2], features[0, :, 1, 2])


def test_window_averages_over_the_stride():
    """The weight of a feature position is the mean weight of the pixels behind it; what fills no block is dropped."""
    pixels = window(13, 22)
    weights = np.outer(pixels.rows, pixels.cols)
    wanted = weights[:12, :20].reshape(3, 4, 5, 4).mean((1, 3))
    np.testing.assert_allclose(pixels.at(3, 5), wanted.ravel(), rtol=1e-14)
    np.testing.assert_allclose(pixels.at(13, 22), weights.ravel(), rtol=1e-14)


@pytest.mark.parametrize("stride", [1, 2, 4, 8, 16])
def test_window_finds_every_stride(stride):
    """The stride is found from the lengths, whatever rest the last block leaves, down to a single position."""
    for length in range(stride, 6 * stride):
        line = Window(torch.arange(length, dtype=torch.float64), torch.ones(stride, dtype=torch.float64))
        count = length // stride
        wanted = np.arange(count * stride).reshape(count, stride).mean(1)
        np.testing.assert_array_equal(line.at(count, 1), wanted)


def test_full_window_is_all_ones():
    """A picture that is its own only tile counts every pixel once."""
    full = Window.full(noise(1, 3, 6, 9))
    assert torch.equal(full.at(6, 9), torch.ones(54))


def test_windows_are_made_of_numpy_factors():
    """A window has the weights of the factors it was made of, also where those are views."""
    rows, cols = np.linspace(0, 1, 8, dtype=np.float32)[::2], np.ones(3, np.float32)
    made = Window.of(rows, cols)
    np.testing.assert_array_equal(made.at(4, 3), np.outer(rows, cols).ravel())


def test_gram_sum_is_the_weighted_outer_product():
    """The Gram sum equals sum over positions of w f f^T, written out with einsum."""
    features, weights = noise(1, 5, 6, 7), window(12, 15)
    wanted = torch.einsum("chw,dhw,hw->cd", features[0], features[0], weights.at(6, 7).reshape(6, 7))
    gram = gram_sum(features, weights)
    assert gram.dtype == torch.float64
    torch.testing.assert_close(gram, wanted, rtol=1e-13, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_gram_sum_is_at_least_float32(dtype):
    """Sums over many positions are never kept in half precision."""
    features = torch.ones(1, 2, 64, 64, dtype=dtype)
    gram = gram_sum(features, Window.full(features))
    assert gram.dtype == torch.float32
    assert torch.equal(gram, torch.full((2, 2), 4096.0))


def test_memory_layout_does_not_matter():
    """Channels first and channels last give the same sums."""
    features = noise(1, 5, 6, 7)
    last = features.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(gram_sum(last, window(6, 7)), gram_sum(features, window(6, 7)), rtol=1e-13, atol=0)


def test_differences():
    """Each pixel's difference to the one below and to the right; zero at the last row and column."""
    down, right = differences(torch.tensor([[[[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]]]]))
    assert down.tolist() == [[[[7.0, 14.0, 28.0], [0.0, 0.0, 0.0]]]]
    assert right.tolist() == [[[[1.0, 2.0, 0.0], [8.0, 16.0, 0.0]]]]


def measured(seed: int) -> Sums:
    """Sums of a small random picture."""
    return measure(
        noise(1, 3, 8, 8, seed=seed),
        {"fine": noise(1, 4, 8, 8, seed=seed + 1), "coarse": noise(1, 5, 2, 2, seed=seed + 2)},
        {"coarse": noise(1, 5, 2, 2, seed=seed + 3)},
        ("fine", "coarse"),
        window(8, 8),
    )


def test_measure_sums_squares_under_the_window():
    """Content error, content energy, variation and chroma are weighted sums of squares, written out with einsum."""
    picture, features, content = noise(1, 3, 8, 12), noise(1, 5, 2, 3, seed=1), noise(1, 5, 2, 3, seed=2)
    weights = window(8, 12)
    sums = measure(picture, {"coarse": features}, {"coarse": content}, (), weights)
    coarse, fine = weights.at(2, 3).reshape(2, 3), weights.at(8, 12).reshape(8, 12)
    error = torch.einsum("chw,hw->", (features - content)[0] ** 2, coarse)
    energy = torch.einsum("chw,hw->", content[0] ** 2, coarse)
    down = torch.einsum("chw,hw->", picture[0].diff(dim=1) ** 2, fine[:-1])
    right = torch.einsum("chw,hw->", picture[0].diff(dim=2) ** 2, fine[:, :-1])
    assert sums.gram == {}
    assert sums.content_error == {"coarse": pytest.approx(float(error), rel=1e-13)}
    assert sums.content_energy == {"coarse": pytest.approx(float(energy), rel=1e-13)}
    assert sums.variation == pytest.approx(float(down + right), rel=1e-13)
    coloured = picture[0] - picture[0].mean(0)
    down = torch.einsum("chw,hw->", coloured.diff(dim=1) ** 2, fine[:-1])
    right = torch.einsum("chw,hw->", coloured.diff(dim=2) ** 2, fine[:, :-1])
    assert sums.chroma == pytest.approx(float(down + right), rel=1e-13)


@pytest.mark.parametrize(("tile", "overlap", "halo"), [(32, 16, None), (48, 8, 4), (200, 16, None), (40, 16, 8)])
def test_sums_of_tiles_add_up(tile, overlap, halo):
    """The sums of all tiles added together are those of the whole picture, for odd sizes too."""
    grid = TileGrid(height=93, width=118, tile=tile, overlap=overlap, stride=4, halo=halo)
    picture = noise(1, 3, 93, 118)
    features = {"fine": noise(1, 4, 93, 118, seed=1), "coarse": noise(1, 5, 93 // 4, 118 // 4, seed=2)}
    content = {name: f + noise(*f.shape, seed=3) for name, f in features.items()}
    parts = []
    for part in grid:
        rows, cols = part.outer

        def crop(values: dict[str, torch.Tensor], rows=rows, cols=cols) -> dict[str, torch.Tensor]:
            return {
                name: f[..., rows.start // s : rows.stop // s, cols.start // s : cols.stop // s]
                for (name, f), s in zip(values.items(), STRIDES.values(), strict=True)
            }

        factors = Window.of(*(exact(factor) for factor in grid.window(part)))
        pixels = picture[..., rows.start : rows.stop, cols.start : cols.stop]
        parts.append(measure(pixels, crop(features), crop(content), STRIDES, factors))
    total = Sums.total(parts)
    full = Window(torch.ones(93, dtype=torch.float64), torch.ones(118, dtype=torch.float64))
    whole = measure(picture, features, content, STRIDES, full)
    for name in STRIDES:
        np.testing.assert_allclose(total.gram[name], whole.gram[name], rtol=0, atol=1e-9 * whole.gram[name].max())
    assert total.content_error == pytest.approx(whole.content_error, rel=1e-9)
    assert total.content_energy == pytest.approx(whole.content_energy, rel=1e-9)
    assert total.variation == pytest.approx(whole.variation, rel=1e-9)
    assert total.chroma == pytest.approx(whole.chroma, rel=1e-9)


def exact(factor: np.ndarray) -> np.ndarray:
    """Bring float32 weights, which sum to one within 6e-8, to a grid on which they sum to exactly one."""
    return np.round(factor.astype(np.float64) * 2**20) / 2**20


def test_total_adds_in_the_order_given():
    """The total is the left-to-right sum to the last bit, so that it does not depend on which tile finished first."""
    first, second, third = (measured(seed) for seed in (0, 10, 20))
    total = Sums.total([first, second, third])
    for name in STRIDES:
        np.testing.assert_array_equal(total.gram[name], (first.gram[name] + second.gram[name]) + third.gram[name])
    assert total.content_error["coarse"] == sum(s.content_error["coarse"] for s in (first, second, third))
    assert total.variation == first.variation + second.variation + third.variation
    assert total.chroma == first.chroma + second.chroma + third.chroma
    assert Sums.total(iter([first, second, third])).variation == total.variation


def test_sums_can_be_filed():
    """Sums come back whole from the named arrays they are filed as, which are plain numbers that need no pickle."""
    sums = measured(0)
    arrays = sums.arrays()
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float64)}
    again = Sums.of_arrays(arrays)
    assert again.gram.keys() == sums.gram.keys()
    for name in STRIDES:
        np.testing.assert_array_equal(again.gram[name], sums.gram[name])
    assert (again.content_error, again.content_energy) == (sums.content_error, sums.content_energy)
    assert (again.variation, again.chroma) == (sums.variation, sums.chroma)


def test_total_leaves_its_parts_alone():
    """Adding up changes none of the parts, and the total of one part is that part."""
    first, second = measured(0), measured(10)
    kept = first.gram["fine"].copy()
    Sums.total([first, second])
    np.testing.assert_array_equal(first.gram["fine"], kept)
    np.testing.assert_array_equal(Sums.total([first]).gram["fine"], kept)
