"""The luminance term: its value by hand, its gradient by finite differences, and in tiles as in one piece."""

from math import sqrt

import numpy as np
import pytest
import torch
from layouts import random_network
from torch import Tensor

from muralist.model.architecture import SHRINK_FACTORS, architecture
from muralist.model.losses.luminance import (
    LARGEST_GAIN,
    LEAST_DEVIATION,
    LUMINANCE_LAYERS,
    POSITIONS,
    LuminanceTerm,
    luminance_layer,
)
from muralist.model.losses.terms import LayerShape, PictureSize, TileView
from muralist.model.network import luminance
from muralist.model.objective import Objective
from muralist.model.regions import guidance_of, region_key
from muralist.model.statistics import Window, as_sums, total
from muralist.model.tile_optimizer import RoundGradient, TileOptimizer, to_tensor
from muralist.tiling.grid import Tile, TileGrid

ARCH = architecture("compact")
SHAPE = (96, 128)
LAYER = "luminance/4"
GRID = TileGrid(*SHAPE, tile=64, overlap=16, stride=4, halo=4)


def noise(*shape: int, seed: int) -> Tensor:
    """Random float64 numbers in [0, 1]."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def whole(features: Tensor) -> Window:
    """The window of features that are a picture's only tile, in float64."""
    return Window(*(torch.ones(n, dtype=torch.float64) for n in features.shape[-2:]))


def targets_of(style: Tensor, name: str = "luminance") -> dict[str, np.ndarray]:
    """What the term takes of a style picture's luminance (1, 1, h, w)."""
    sums = LuminanceTerm.measure(style, whole(style))
    return {f"luminance {kind} {name}": (value / style.numel()).numpy() for kind, value in sums.items()}


def of_one_layer(style: Tensor, weight: float = 3.0) -> LuminanceTerm:
    """The term for a picture as large as the style picture, which is not shrunk."""
    height, width = style.shape[-2:]
    size = PictureSize(height, width, {"luminance": LayerShape(1, height * width)})
    return LuminanceTerm(weight=weight, size=size, layers={"luminance": 1.0}, targets=targets_of(style))


def seen(painting: Tensor, photograph: Tensor) -> TileView:
    """A view of two pictures' luminance."""
    return TileView(painting, {"luminance": painting}, {"luminance": photograph}, whole(painting))


def value(term: LuminanceTerm, painting: Tensor, photograph: Tensor) -> float:
    """The unweighted loss."""
    return term.value(as_sums(term.sums(seen(painting, photograph))))


def test_the_value_by_hand():
    """The photograph's 0 and 1 are to become the style's 0.2 and 0.4; both are 0.3, so a deviation away."""
    photograph, style = (torch.tensor(each, dtype=torch.float64).view(1, 1, 1, 2) for each in ([0.0, 1.0], [0.4, 0.2]))
    term = of_one_layer(style)
    assert value(term, torch.full_like(style, 0.3), photograph) == pytest.approx(1)
    assert value(term, torch.tensor([0.2, 0.4]).view(1, 1, 1, 2).double(), photograph) == pytest.approx(0, abs=1e-12)
    assert value(term, style, photograph) == pytest.approx(4)


def test_pictures_that_are_not_alike_are_two_apart():
    """A painting with the style's range that has nothing to do with the photograph has a loss of about 2."""
    photograph, painting = noise(1, 1, 90, 90, seed=1), noise(1, 1, 90, 90, seed=2)
    assert value(of_one_layer(noise(1, 1, 90, 90, seed=3)), painting, photograph) == pytest.approx(2, rel=0.05)


def test_a_uniform_photograph_is_the_mean_of_the_style():
    """It has no light and dark to keep, and noise in it is not made a picture."""
    style, uniform = noise(1, 1, 8, 9, seed=1), torch.full((1, 1, 8, 9), 0.7, dtype=torch.float64)
    assert value(of_one_layer(style), torch.full_like(style, float(style.mean())), uniform) == pytest.approx(
        0, abs=1e-9
    )
    hazy = 0.7 + 0.01 * (noise(1, 1, 8, 9, seed=2) - 0.5)
    wanted = style.mean() + LARGEST_GAIN * (hazy - hazy.mean())
    assert value(of_one_layer(style), wanted, hazy) == pytest.approx(0, abs=1e-9)


def test_a_uniform_style_is_as_one_of_least_deviation():
    """A style without light and dark is divided by no zero."""
    uniform, photograph = torch.full((1, 1, 4, 4), 0.5, dtype=torch.float64), noise(1, 1, 4, 4, seed=1)
    assert value(of_one_layer(uniform), uniform, photograph) == pytest.approx(0, abs=1e-9)
    assert value(of_one_layer(uniform), uniform + LEAST_DEVIATION, photograph) == pytest.approx(1)


def test_the_gradient_by_finite_differences():
    """The gradient at the luminance is that of pixels * weight * loss, by central differences."""
    painting, photograph, style = (noise(1, 1, 5, 6, seed=n) for n in (1, 2, 3))
    term, view = of_one_layer(style), seen(painting, photograph)
    gradient = term.gradient(view, {}, term.constants(as_sums(term.sums(view))))["luminance"]
    for place in [(0, 0, 0, 0), (0, 0, 2, 3), (0, 0, 4, 5)]:
        step = torch.zeros_like(painting)
        step[place] = 1e-5
        difference = (value(term, painting + step, photograph) - value(term, painting - step, photograph)) / 2e-5
        assert float(gradient[place]) == pytest.approx(term.weight * term.size.pixels * difference, rel=1e-6)


def test_the_layer_has_about_as_many_positions_at_any_size():
    """Until the picture is so large that blocks end, and never more pixels than tiles are made of."""
    for side in range(64, POSITIONS * SHRINK_FACTORS[-1], 50):
        shrunk = side / ARCH.stride(luminance_layer(side, side // 2, 16))
        assert shrunk <= POSITIONS * sqrt(2) + 1
        assert shrunk >= min(side, POSITIONS / sqrt(2) - 1)
    assert luminance_layer(20_000, 30_000, 16) == LUMINANCE_LAYERS[-1]
    assert luminance_layer(20_000, 30_000, 4) == "luminance/4"


def test_every_picture_has_the_layer_in_its_own_number_type():
    """It is Y' of Rec. 601 of blocks of pixels, whatever the network computes in."""
    picture, net = noise(1, 3, 32, 48, seed=1).float(), random_network(ARCH).to(torch.bfloat16)
    found = net(picture, ["relu1_1", LAYER, "luminance"])
    assert found["luminance"].dtype == torch.float32
    red, green, blue = picture[0].double()
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    torch.testing.assert_close(found["luminance"][0, 0].double(), grey, rtol=1e-6, atol=1e-6)
    blocks = grey.view(8, 4, 12, 4).mean((1, 3))
    torch.testing.assert_close(found[LAYER][0, 0].double(), blocks, rtol=1e-6, atol=1e-6)
    assert (ARCH.channels(LAYER), ARCH.stride(LAYER)) == (1, 4)
    assert list(net(picture, [LAYER])) == [LAYER]


# --------------------------------------------------------------------------------------------------------- in tiles


def window(tile: Tile, masks: Tensor | None) -> Window:
    """Blend weights that sum to exactly one, and guidance."""
    factors = (np.round(factor.astype(np.float64) * 2**20) / 2**20 for factor in GRID.window(tile))
    if masks is None:
        return Window.of(*factors)
    return Window.of(*factors, guidance=guidance_of(masks[(..., *tile.outer.inside(GRID.box))], {LAYER: 4}, {}))


@pytest.mark.parametrize("regions", [1, 2, 3])
def test_oracle(regions):
    """In tiles, gradient and value are those of the whole picture written out, with regions and without."""
    net = random_network(ARCH).double()
    blocks = [np.random.default_rng(n).random((SHAPE[0] // 8, SHAPE[1] // 8, 3)) for n in (1, 2)]
    picture, photograph = (to_tensor(each.repeat(8, 0).repeat(8, 1)) for each in blocks)
    left = torch.linspace(0, 1, SHAPE[1], dtype=torch.float64).expand(*SHAPE)
    masks = None if regions == 1 else torch.stack([left, 1 - left, torch.zeros(SHAPE)][:regions])
    styles = [noise(1, 1, 20, 30, seed=7 + n) ** (1 + n) for n in range(regions)]
    targets: dict[str, np.ndarray] = {}
    for n, style in enumerate(styles):
        targets |= targets_of(style, region_key(LAYER, n))
    size = PictureSize(*SHAPE, {LAYER: LayerShape(1, SHAPE[0] * SHAPE[1] / 16)})
    term = LuminanceTerm(weight=2.0, size=size, layers={LAYER: 1.0}, targets=targets, regions=regions)
    tile_optimizer = TileOptimizer(net, Objective((term,), size))

    leaf, wanted = picture.clone().requires_grad_(), torch.zeros((), dtype=torch.float64)
    now, kept = (torch.nn.functional.avg_pool2d(luminance(each), 4).flatten() for each in (leaf, photograph))
    for n, style in enumerate(styles):
        mask = torch.ones(SHAPE, dtype=torch.float64) if masks is None else masks[n]
        weights = torch.nn.functional.avg_pool2d(mask[None, None], 4).flatten()
        if not weights.any():
            continue
        mean = (weights * kept).sum() / weights.sum()
        deviation = ((weights * kept.square()).sum() / weights.sum() - mean**2).sqrt()
        target = style.std(unbiased=False) / deviation * (kept - mean) + style.mean()
        wanted = wanted + (weights * (now - target).square()).mean() / style.var(unbiased=False)
    (gradient,) = torch.autograd.grad(2.0 * size.pixels * wanted, leaf)

    def of(tile: Tile) -> tuple[Tensor, dict[str, Tensor], Window]:
        place = (..., *tile.outer.inside(GRID.box))
        return picture[place], tile_optimizer.content_features(photograph[place]), window(tile, masks)

    sums = total(tile_optimizer.measure(*of(tile)) for tile in GRID)
    assert tile_optimizer.objective.losses(sums) == {"luminance": pytest.approx(float(wanted.detach()), rel=1e-6)}
    assert len(GRID) > 1
    for tile in GRID:
        seen_here, content, weights = of(tile)
        found = RoundGradient(tile_optimizer, content, weights, sums, consensus=True)(seen_here)
        difference = found[(..., *tile.extent.inside(tile.outer))] - gradient[(..., *tile.extent.inside(GRID.box))]
        assert difference.abs().max() < 1e-6 * gradient.square().mean().sqrt()
