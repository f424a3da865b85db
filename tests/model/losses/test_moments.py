"""The moments term: its value by hand, its gradient by finite differences, and in tiles as in one piece."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from layouts import random_network
from torch import Tensor

from muralist.model.architecture import architecture, vgg
from muralist.model.losses.moments import MomentsTerm, central
from muralist.model.losses.terms import LayerShape, PictureSize, TileView
from muralist.model.objective import Objective
from muralist.model.regions import guidance_of, region_key
from muralist.model.statistics import Window, as_sums, total
from muralist.model.tile_optimizer import RoundGradient, TileOptimizer, to_tensor
from muralist.tiling.grid import Tile, TileGrid

LAYERS = {"relu1_1": 1.0, "relu2_1": 2.0, "relu3_1": 3.0}
ROW = replace(architecture("compact"), steps=vgg(((4, 4), (6, 6), (8,))), pooling="average")
STRIDES = {name: ROW.stride(name) for name in LAYERS}
SHAPE = (131, 150)
GRID = TileGrid(*SHAPE, tile=112, overlap=56, stride=4, halo=24)  # as much context as the network sees


def noise(*shape: int, seed: int) -> Tensor:
    """Random float64 numbers around 0.5, as large as features are."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5


def moments_of(matrix: Tensor, weights: Tensor) -> list[Tensor]:
    """Mean and central moments of the sigmoid of features (C, positions), written out."""
    squashed, weights = matrix.sigmoid(), weights / weights.sum()
    away = squashed - (squashed @ weights)[:, None]
    return [squashed @ weights, *(away**k @ weights for k in range(2, 6))]


def discrepancy(matrix: Tensor, weights: Tensor, style: Tensor) -> Tensor:
    """The formula of the paper."""
    pairs = zip(moments_of(matrix, weights), moments_of(style, torch.ones_like(style[0])), strict=True)
    return sum(((a - b).square().sum() + 1e-12).sqrt() - 1e-6 for a, b in pairs)


def means(features: Tensor) -> dict[str, Tensor]:
    """What the term takes of features (1, C, h, w): means of powers."""
    sums = MomentsTerm.measure(features, Window(*(torch.ones(n, dtype=features.dtype) for n in features.shape[-2:])))
    return {kind: value / features[0, 0].numel() for kind, value in sums.items()}


def of_one_layer(style: Tensor, weight: float = 3.0) -> MomentsTerm:
    """The term for a picture that has features (1, C, h, w) at one layer."""
    size = PictureSize(
        2 * style.shape[-2], 2 * style.shape[-1], {"relu2_1": LayerShape(style.shape[1], style[0, 0].numel())}
    )
    targets = {f"moments {kind} relu2_1": value.numpy() for kind, value in means(style).items()}
    return MomentsTerm(weight=weight, size=size, layers={"relu2_1": 1.0}, targets=targets)


def test_central_moments_by_hand():
    """Of 0, 0, 0, 4: the mean is 1, and away from it are -1, -1, -1, 3."""
    values = torch.tensor([0.0, 0.0, 0.0, 4.0], dtype=torch.float64)
    found = central([(values**k).mean() for k in range(1, 6)])
    assert [float(each) for each in found] == [1, (3 + 9) / 4, (-3 + 27) / 4, (3 + 81) / 4, (-3 + 243) / 4]


def test_the_value_by_hand():
    """One channel: features whose sigmoids are 1/4 and 3/4, and a style of 1/2 everywhere."""
    features = torch.tensor([1 / 4, 3 / 4], dtype=torch.float64).logit().view(1, 1, 1, 2)
    loss = of_one_layer(torch.zeros_like(features))
    view = TileView(torch.zeros(1, 3, 2, 4), {"relu2_1": features}, {}, Window.full(torch.zeros(1, 3, 2, 4)))
    # The mean is 1/2, as the style's; (1/4)^2 and (1/4)^4 are left of even powers, and nothing of odd ones.
    assert loss.value(as_sums(loss.sums(view))) == pytest.approx(1 / 16 + 1 / 256, abs=1e-5)


def test_a_picture_that_meets_its_target_has_no_loss():
    """The value is zero where the distributions are the same, and the gradient a number."""
    style = noise(1, 4, 6, 7, seed=1)
    loss, view = of_one_layer(style), TileView(torch.zeros(1), {"relu2_1": style}, {}, Window.full(style))
    sums = as_sums(loss.sums(view))
    assert loss.value(sums) == pytest.approx(0, abs=1e-6)
    assert loss.gradient(view, loss.statistics(sums), {})["relu2_1"].isfinite().all()


def test_the_gradient_by_finite_differences():
    """The gradient at the features is that of pixels * weight * loss, by central differences."""
    features, style = noise(1, 4, 5, 6, seed=1), noise(1, 4, 5, 6, seed=2) * 1.5
    loss, window = of_one_layer(style), Window(torch.ones(5, dtype=torch.float64), torch.ones(6, dtype=torch.float64))

    def value(at: Tensor) -> float:
        return (
            loss.weight * loss.size.pixels * loss.value(as_sums(loss.sums(TileView(at, {"relu2_1": at}, {}, window))))
        )

    view = TileView(features, {"relu2_1": features}, {}, window)
    gradient = loss.gradient(view, loss.statistics(as_sums(loss.sums(view))), {})["relu2_1"]
    for place in [(0, 0, 0, 0), (0, 1, 2, 3), (0, 3, 4, 5)]:
        step = torch.zeros_like(features)
        step[place] = 1e-5
        difference = (value(features + step) - value(features - step)) / 2e-5
        assert float(gradient[place]) == pytest.approx(difference, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_sums_are_at_least_float32(dtype):
    """Powers are added up in float32 or better, in parts too, and the gradient is of the features' number type."""
    features = noise(1, 3, 96, 96, seed=3).to(dtype)
    found, wanted = means(features), means(features.double())
    for kind, value in found.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), wanted[kind], rtol=1e-5, atol=1e-6)
    grad = {kind: torch.ones_like(value) for kind, value in found.items()}
    assert of_one_layer(features.double()).pull(features[0].flatten(1).T, grad, 1.0).dtype == dtype


# --------------------------------------------------------------------------------------------------------- in tiles


def window(tile: Tile, masks: Tensor | None) -> Window:
    """Blend weights that sum to exactly one, and guidance."""
    factors = (np.round(factor.astype(np.float64) * 2**20) / 2**20 for factor in GRID.window(tile))
    if masks is None:
        return Window.of(*factors)
    return Window.of(*factors, guidance=guidance_of(masks[(..., *tile.outer.inside(GRID.box))], STRIDES, {}))


@pytest.mark.parametrize("regions", [1, 2])
def test_oracle(regions):
    """In tiles, gradient and value are those of the whole picture written out, with regions and without."""
    net, picture = random_network(ROW), to_tensor(np.random.default_rng(2).random((*SHAPE, 3)))
    masks = None
    if regions == 2:
        left = torch.linspace(0, 1, SHAPE[1], dtype=torch.float64).expand(*SHAPE)
        masks = torch.stack([left, 1 - left])
    styles = [
        net(to_tensor(np.random.default_rng(7 + n).random((64, 80, 3)) ** (1 + n)), LAYERS) for n in range(regions)
    ]
    targets = {
        f"moments {kind} {region_key(layer, n)}": value.numpy()
        for n, style in enumerate(styles)
        for layer, f in style.items()
        for kind, value in means(f).items()
    }
    layers = {name: LayerShape(ROW.channels(name), (SHAPE[0] // s) * (SHAPE[1] // s)) for name, s in STRIDES.items()}
    size = PictureSize(*SHAPE, layers)
    loss = MomentsTerm(weight=2.0, size=size, layers=LAYERS, targets=targets, regions=regions)
    tile_optimizer = TileOptimizer(net, Objective((loss,), size))

    leaf, wanted = picture.clone().requires_grad_(), torch.zeros((), dtype=torch.float64)
    for layer, f in net(leaf, LAYERS).items():
        stride = STRIDES[layer]
        for n in range(regions):
            ones = torch.ones(1, *SHAPE, dtype=torch.float64) if masks is None else masks[n][None]
            weights = torch.nn.functional.avg_pool2d(ones, stride).flatten()
            error = discrepancy(f[0].flatten(1), weights, styles[n][layer][0].flatten(1))
            wanted = wanted + LAYERS[layer] / sum(LAYERS.values()) * weights.mean() * error
    (gradient,) = torch.autograd.grad(2.0 * size.pixels * wanted, leaf)

    sums = total(
        tile_optimizer.measure(picture[(..., *tile.outer.inside(GRID.box))], {}, window(tile, masks)) for tile in GRID
    )
    assert tile_optimizer.objective.losses(sums) == {"moments": pytest.approx(float(wanted.detach()), rel=1e-6)}
    assert GRID.shape == (2, 2)
    for tile in GRID:
        found = RoundGradient(tile_optimizer, {}, window(tile, masks), sums, consensus=True)(
            picture[(..., *tile.outer.inside(GRID.box))]
        )
        difference = found[(..., *tile.extent.inside(tile.outer))] - gradient[(..., *tile.extent.inside(GRID.box))]
        assert difference.abs().max() < 1e-6 * gradient.square().mean().sqrt()
