"""Sums over positions: right for one picture, and adding up over tiles."""

import numpy as np
import pytest
import torch

from muralist.model.losses.content import ContentTerm
from muralist.model.losses.style import StyleTerm
from muralist.model.losses.terms import LayerShape, PictureSize, TileView
from muralist.model.losses.variation import TotalVariationTerm
from muralist.model.objective import Objective
from muralist.model.statistics import Window, absolute_sum, as_sums, positions, style_sums, total
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


def test_weights_as_a_picture():
    """At pixel resolution a window is the outer product of its factors."""
    pixels = window(3, 5)
    np.testing.assert_array_equal(pixels.weights(), np.outer(pixels.rows, pixels.cols))


def test_style_sums_are_weighted():
    """The sums equal those over positions of w f f^T and of w f, written out with einsum."""
    features, weights = noise(1, 5, 6, 7), window(12, 15)
    local = weights.at(6, 7).reshape(6, 7)
    gram, feature = style_sums(features, weights)
    assert gram.dtype == feature.dtype == torch.float64
    wanted = torch.einsum("chw,dhw,hw->cd", features[0], features[0], local)
    torch.testing.assert_close(gram, wanted, rtol=1e-13, atol=0)
    torch.testing.assert_close(feature, torch.einsum("chw,hw->c", features[0], local), rtol=1e-13, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_style_sums_are_at_least_float32(dtype):
    """Sums over many positions are never kept in half precision."""
    features = torch.ones(1, 2, 64, 64, dtype=dtype)
    gram, feature = style_sums(features, Window.full(features))
    assert gram.dtype == feature.dtype == torch.float32
    assert torch.equal(gram, torch.full((2, 2), 4096.0))
    assert torch.equal(feature, torch.full((2,), 4096.0))


def test_products_in_bfloat16_are_those_in_float32_but_for_the_weights():
    """Features in bfloat16 lose nothing, weights that are not one 0.4 % at most, twice. Other features are as usual."""
    features = noise(1, 5, 24, 32).bfloat16()
    for weights, bound in ((Window.full(features), 1e-6), (window(24, 32, torch.float32), 2**-7)):
        pairs = zip(style_sums(features, weights, product="bfloat16"), style_sums(features, weights), strict=True)
        absolute, _ = style_sums(features.abs(), weights)
        for found, wanted in pairs:
            assert found.dtype == torch.float32
            assert (found - wanted).abs().max() <= bound * absolute.max()
    exact = style_sums(noise(1, 5, 6, 7), window(6, 7), product="bfloat16")
    assert all(torch.equal(a, b) for a, b in zip(exact, style_sums(noise(1, 5, 6, 7), window(6, 7)), strict=True))


def test_an_even_weight_is_not_rounded_by_itself():
    """In bfloat16, sums over a region of three tenths are three tenths, for their count is exact as well."""
    features = noise(1, 5, 24, 32).bfloat16()
    weak = Window(torch.full((24,), 0.3), torch.ones(32))
    found, wanted = (style_sums(features, weak, product=product)[0].trace() for product in ("bfloat16", "float32"))
    assert float(found) == pytest.approx(float(wanted), rel=3e-4)


def test_memory_layout_does_not_matter():
    """Channels first and channels last give the same sums."""
    features = noise(1, 5, 6, 7)
    last = features.contiguous(memory_format=torch.channels_last)
    for found, wanted in zip(style_sums(last, window(6, 7)), style_sums(features, window(6, 7)), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-13, atol=0)


def test_absolute_sum_counts_under_the_window():
    """The L1 norm is the sum over positions and channels of w |v|, and at least float32."""
    features, weights = noise(1, 5, 3, 4), window(6, 8)
    wanted = torch.einsum("chw,hw->", features[0].abs(), weights.at(3, 4).reshape(3, 4))
    assert float(absolute_sum(features, weights)) == pytest.approx(float(wanted), rel=1e-13)
    many = torch.ones(1, 2, 64, 64, dtype=torch.bfloat16)
    assert absolute_sum(many, Window.full(many)) == 8192


def sums_of(seed: int) -> dict[str, np.ndarray]:
    """Sums of a tile, drawn at random: a matrix and a number."""
    return as_sums({"style gram fine": noise(4, 4, seed=seed), "tv 1 0": noise(1, seed=seed + 1)[0]})


def test_sums_come_to_numpy_in_float64():
    """Every sum keeps its shape and its number, also where it was float32 or there is none."""
    found = as_sums({"style gram fine": noise(3, 2).float(), "tv 1 0": torch.tensor(0.5)})
    np.testing.assert_array_equal(found["style gram fine"], noise(3, 2).float())
    assert found["tv 1 0"] == 0.5
    assert {value.dtype for value in found.values()} == {np.dtype(np.float64)}


SIZE = PictureSize(8, 12, {"coarse": LayerShape(5, 6)})
COARSE = {"weight": 1.0, "size": SIZE, "layers": {"coarse": 1.0}}


def view(features: torch.Tensor, content: torch.Tensor | None = None) -> TileView:
    """A tile with features of one layer, of which what is on the left and below counts more."""
    of_photograph = {} if content is None else {"coarse": content}
    return TileView(noise(1, 3, 8, 12), {"coarse": features}, of_photograph, window(8, 12))


def test_the_content_term_sums_squares_under_the_window():
    """Content error and content energy are weighted sums of squares, written out with einsum."""
    features, content = noise(1, 5, 2, 3, seed=1), noise(1, 5, 2, 3, seed=2)
    sums = as_sums(ContentTerm(**COARSE).sums(view(features, content)))
    coarse = window(8, 12).at(2, 3).reshape(2, 3)
    error = torch.einsum("chw,hw->", (features - content)[0] ** 2, coarse)
    energy = torch.einsum("chw,hw->", content[0] ** 2, coarse)
    assert sums.keys() == {"content error coarse", "content energy coarse"}
    assert sums["content error coarse"] == pytest.approx(float(error), rel=1e-13)
    assert sums["content energy coarse"] == pytest.approx(float(energy), rel=1e-13)


def test_the_style_term_takes_the_style_sums():
    """The sums of the style term are those of `style_sums`, and nothing else where the picture is one region."""
    features = noise(1, 5, 2, 3).float()
    sums = as_sums(StyleTerm(**COARSE, targets={}).sums(view(features)))
    gram, feature = style_sums(features, window(8, 12))
    assert sums.keys() == {"style gram coarse", "style mean coarse"}
    np.testing.assert_array_equal(sums["style gram coarse"], gram)
    np.testing.assert_array_equal(sums["style mean coarse"], feature)


def exact(factor: np.ndarray) -> np.ndarray:
    """Bring float32 weights, which sum to one within 6e-8, to a grid on which they sum to exactly one."""
    return np.round(factor.astype(np.float64) * 2**20) / 2**20


@pytest.mark.parametrize(("tile", "overlap", "halo"), [(32, 16, None), (48, 8, 4), (200, 16, None), (40, 16, 8)])
def test_sums_of_tiles_add_up(tile, overlap, halo):
    """The sums of all tiles added together are those of the whole picture, for odd sizes and every term."""
    grid = TileGrid(height=93, width=118, tile=tile, overlap=overlap, stride=4, halo=halo)
    features = {"fine": noise(1, 4, 93, 118, seed=1), "coarse": noise(1, 5, 93 // 4, 118 // 4, seed=2)}
    content = {name: f + noise(*f.shape, seed=3) for name, f in features.items()}
    size = PictureSize(93, 118, {"fine": LayerShape(4, 93 * 118), "coarse": LayerShape(5, 23 * 29)})
    layers = dict.fromkeys(STRIDES, 1.0)
    terms = (
        StyleTerm(weight=1.0, size=size, layers=layers, targets={}),
        ContentTerm(weight=1.0, size=size, layers=layers),
        TotalVariationTerm(weight=1.0, size=size),
    )
    goal, picture = Objective(terms, size), noise(1, 3, 93, 118, seed=4)
    parts = []
    for part in grid:
        rows, cols = part.outer

        def crop(values: dict[str, torch.Tensor], rows=rows, cols=cols) -> dict[str, torch.Tensor]:
            return {
                name: f[..., rows.start // s : rows.stop // s, cols.start // s : cols.stop // s]
                for (name, f), s in zip(values.items(), STRIDES.values(), strict=True)
            }

        factors = Window.of(*(exact(factor) for factor in grid.window(part)))
        seen = picture[(..., *part.outer.inside(grid.box))]
        parts.append(as_sums(goal.sums(TileView(seen, crop(features), crop(content), factors))))
    full = Window(torch.ones(93, dtype=torch.float64), torch.ones(118, dtype=torch.float64))
    found, whole = total(parts), as_sums(goal.sums(TileView(picture, features, content, full)))
    assert found.keys() == whole.keys()
    for name, value in whole.items():
        scale = np.sqrt(whole[f"style gram {name.split()[-1]}"].max() * 93 * 118) if "mean" in name else value.max()
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-9 * scale)


def test_total_adds_in_the_order_given():
    """The total is the left-to-right sum to the last bit, so that it does not depend on which tile finished first."""
    first, second, third = (sums_of(seed) for seed in (0, 10, 20))
    found = total(iter([first, second, third]))
    assert found.keys() == first.keys()
    for name, value in found.items():
        np.testing.assert_array_equal(value, (first[name] + second[name]) + third[name])


def test_total_takes_what_only_some_parts_have():
    """A tile that is not painted has no norms of gradients, whichever comes first."""
    plain, more = sums_of(0), {**sums_of(10), "norm": np.array(2.0)}
    for parts in ([plain, more, more], [more, plain, more], [more, more, plain]):
        assert total(parts)["norm"] == 4
        assert total(parts).keys() == more.keys()


def test_total_leaves_its_parts_alone():
    """Adding up changes none of the parts, and the total of one part is that part."""
    first, second = sums_of(0), sums_of(10)
    kept = first["style gram fine"].copy()
    total([first, second])
    np.testing.assert_array_equal(first["style gram fine"], kept)
    np.testing.assert_array_equal(total([first])["style gram fine"], kept)
