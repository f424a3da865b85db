"""Regions with styles of their own: in tiles they have the statistics and the gradient of the picture in one piece."""

from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from goals import Goal
from layouts import random_network
from scenes import STYLES
from torch import Tensor

from muralist.model.architecture import architecture, vgg
from muralist.model.loading import load_network
from muralist.model.losses.terms import LayerShape
from muralist.model.network import Network
from muralist.model.optimizers import StepSchedule
from muralist.model.regions import ONE_REGION, Guidance, Part, guidance_of, region_key
from muralist.model.state import StateLayout
from muralist.model.statistics import TileSums, Window, style_sums, total
from muralist.model.tile_optimizer import RoundGradient, TileOptimizer, to_tensor
from muralist.model.weight_files import find_weights
from muralist.tiling.grid import Tile, TileGrid

STYLE_LAYERS = {"relu1_1": 1.0, "relu2_1": 2.0, "relu3_1": 3.0}
SHAPE = (131, 150)
ROW = replace(architecture("compact"), steps=vgg(((4, 4), (6, 6), (8,))), pooling="average")
STRIDES = {name: ROW.stride(name) for name in STYLE_LAYERS}
GRID = TileGrid(*SHAPE, tile=112, overlap=56, stride=4, halo=24)  # as much context as the network sees
WHOLE = TileGrid(*SHAPE, tile=4096, overlap=0, stride=4)


def noise(*shape: int, seed: int) -> np.ndarray:
    """Random float64 numbers in [0, 1]."""
    return np.random.default_rng(seed).random(shape)


def soft(count: int) -> np.ndarray:
    """Smooth masks (count, height, width) that add up to one, and that are one nowhere."""
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]] / 40
    masks = np.stack([1.2 + np.sin(rows * (n + 1) + n) * np.cos(cols + 2 * n) for n in range(count)])
    return masks / masks.sum(0)


def hard(count: int) -> np.ndarray:
    """Masks of upright strips; where there are several, the first is so narrow that it is at the left tiles only."""
    edges = [0, *np.linspace(9, SHAPE[1], count).astype(int)] if count > 1 else [0, SHAPE[1]]
    columns = np.arange(SHAPE[1])
    return np.stack([np.tile((a <= columns) & (columns < b), (SHAPE[0], 1)) * 1.0 for a, b in pairwise(edges)])


def with_nothing(count: int) -> np.ndarray:
    """Masks, the first of which is nowhere, and that leave a corner to nobody."""
    masks = hard(count)
    masks[0] = 0
    masks[:, :60, :60] = 0
    return masks


MASKS = {"soft": soft, "hard": hard, "some nowhere": with_nothing}


@lru_cache(maxsize=1)
def network() -> Network:
    """A float64 network of random weights."""
    return random_network(ROW)


@lru_cache(maxsize=1)
def compact() -> Network:
    """The bundled network in float64, whose metric is VGG-19's."""
    found = load_network("compact", find_weights(architecture("compact")), (*STYLE_LAYERS, "relu2_2"))
    return found.prepared("cpu", torch.float64)


def targets(region: int, net: Network) -> dict[str, np.ndarray]:
    """Statistics of a style picture, other ones for every region."""
    features = net(to_tensor(noise(64, 80, 3, seed=10 + region) ** (1 + region)), STYLE_LAYERS)
    found = {}
    for layer, f in features.items():
        matrix = f[0].flatten(1)
        found[f"gram {region_key(layer, region)}"] = (matrix @ matrix.T / matrix.shape[1]).numpy()
        found[f"mean {region_key(layer, region)}"] = matrix.mean(1).numpy()
    return found


def goal_of(regions: int, net: Network | None = None, **changes: object) -> Goal:
    """The goal of a picture with so many regions, for the network of random weights if no other is given."""
    row, net = ROW if net is None else architecture("compact"), net or network()
    sizes = {name: LayerShape(row.channels(name), (SHAPE[0] // s) * (SHAPE[1] // s)) for name, s in STRIDES.items()}
    goal = Goal(
        targets={name: value for region in range(regions) for name, value in targets(region, net).items()},
        style_layers=STYLE_LAYERS,
        content_layers={"relu2_2": 1.0},
        style_weight=2.0,
        content_weight=0.5,
        tv_weight=0.1,
        height=SHAPE[0],
        width=SHAPE[1],
        sizes=sizes | {"relu2_2": sizes["relu2_1"]},
        regions=regions,
    )
    return replace(goal, **changes)


def tile_optimizer_of(regions: int, **changes: object) -> TileOptimizer:
    """What paints it."""
    return TileOptimizer(network(), goal_of(regions, **changes).objective)


def exact(factor: np.ndarray) -> np.ndarray:
    """Bring float32 weights, which sum to one within 6e-8, to a grid on which they sum to exactly one."""
    return np.round(factor.astype(np.float64) * 2**20) / 2**20


def window(grid: TileGrid, tile: Tile, masks: np.ndarray | None, insets: dict[str, int] | None = None) -> Window:
    """Blend weights and guidance of a tile, whose masks are known ten pixels beyond it."""
    if masks is None:
        return Window.of(*map(exact, grid.window(tile)))
    (top, bottom), (left, right) = tile.outer
    first_row, first_col = max(0, top - 10), max(0, left - 10)
    wide = masks[:, first_row : bottom + 10, first_col : right + 10]
    place = slice(top - first_row, bottom - first_row), slice(left - first_col, right - first_col)
    guidance = guidance_of(torch.from_numpy(wide), STRIDES, insets or {}, place)
    return Window.of(*map(exact, grid.window(tile)), guidance=guidance)


def crop(pixels: np.ndarray, tile: Tile) -> np.ndarray:
    """What a tile sees of a picture (..., height, width, 3)."""
    return pixels[(..., slice(*tile.outer.rows), slice(*tile.outer.cols), slice(None))]


PICTURE, CONTENT = noise(*SHAPE, 3, seed=2), noise(*SHAPE, 3, seed=3)


def measured(tile_optimizer: TileOptimizer, grid: TileGrid, masks: np.ndarray | None) -> TileSums:
    """Sums of the picture, tile by tile."""
    return total(
        tile_optimizer.measure(
            to_tensor(crop(PICTURE, tile)),
            tile_optimizer.content_features(to_tensor(crop(CONTENT, tile))),
            window(grid, tile, masks),
        )
        for tile in grid
    )


def gradients(tile_optimizer: TileOptimizer, grid: TileGrid, masks: np.ndarray | None) -> list[np.ndarray]:
    """Gradient at the extent of every tile, as at the start of a round."""
    sums, found = measured(tile_optimizer, grid, masks), []
    for tile in grid:
        content = tile_optimizer.content_features(to_tensor(crop(CONTENT, tile)))
        gradient = RoundGradient(tile_optimizer, content, window(grid, tile, masks), sums, consensus=True)
        found.append(gradient(to_tensor(crop(PICTURE, tile)))[(..., *tile.extent.inside(tile.outer))].numpy())
    return found


def style_loss(goal: Goal, features: dict[str, Tensor], masks: np.ndarray) -> Tensor:
    """The style term of a whole picture with regions, written out."""
    total = torch.zeros((), dtype=torch.float64)
    for layer, share in STYLE_LAYERS.items():
        f, stride = features[layer][0], STRIDES[layer]
        for region, mask in enumerate(masks):
            blocks = mask[: f.shape[1] * stride, : f.shape[2] * stride].reshape(f.shape[1], stride, f.shape[2], stride)
            weights = torch.from_numpy(blocks.mean((1, 3))).flatten()
            if not weights.any():
                continue
            gram, mean = (
                torch.from_numpy(goal.targets[f"{what} {region_key(layer, region)}"]) for what in ("gram", "mean")
            )
            matrix = f.flatten(1)
            if layer in goal.metric:
                heads, bias = torch.from_numpy(goal.metric[layer]).double().split([len(mean), 1], 1)
                turned = heads @ mean[:, None] @ bias.T
                gram, mean = heads @ gram @ heads.T + turned + turned.T + bias @ bias.T, heads @ mean + bias[:, 0]
                matrix = heads @ matrix + bias
            error = STYLES[goal.style_loss](matrix, weights, gram, mean)
            total = total + share / sum(STYLE_LAYERS.values()) * weights.mean() * error
    return total


def written_out(goal: Goal, masks: np.ndarray, net: Network | None = None) -> np.ndarray:
    """Gradient of pixels * loss of the whole picture by plain autograd."""
    leaf, net = to_tensor(PICTURE).requires_grad_(), net or network()
    features = net(leaf, goal.objective.layers)
    kept = net(to_tensor(CONTENT), ["relu2_2"])["relu2_2"]
    content = (features["relu2_2"] - kept).square().sum() / kept.square().sum()
    loss = goal.style_weight * style_loss(goal, features, masks) + goal.content_weight * content
    (gradient,) = torch.autograd.grad(loss * goal.size.pixels, leaf)
    return (gradient + goal.tv_gradient(leaf.detach())).numpy()


def assert_same(found: list[np.ndarray], wanted: np.ndarray, grid: TileGrid) -> None:
    """Every tile's gradient is the whole picture's."""
    scale = np.sqrt((wanted**2).mean())
    for tile, gradient in zip(grid, found, strict=True):
        difference = gradient - wanted[(..., *tile.extent.inside(grid.box))]
        assert abs(difference).max() < 1e-6 * scale


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("regions", [1, 2, 5])
def test_oracle_with_regions(regions, kind):
    """In tiles, gradient and losses are those of the whole picture written out, whatever the regions."""
    goal, tile_optimizer, masks = goal_of(regions), tile_optimizer_of(regions), MASKS[kind](regions)
    assert GRID.shape == (2, 2)
    assert_same(gradients(tile_optimizer, GRID, masks), written_out(goal, masks), GRID)
    tiled, whole = (tile_optimizer.objective.losses(measured(tile_optimizer, grid, masks)) for grid in (GRID, WHOLE))
    features = tile_optimizer.network(to_tensor(PICTURE), tile_optimizer.objective.layers)
    assert whole["style"] == pytest.approx(float(style_loss(goal, features, masks)), rel=1e-9)
    assert tiled["style"] == pytest.approx(whole["style"], rel=1e-6)
    apart = [
        tile_optimizer.objective.region_losses(measured(tile_optimizer, grid, masks))["style"] for grid in (GRID, WHOLE)
    ]
    assert apart[0] == pytest.approx(apart[1], rel=1e-5)
    assert len(apart[0]) == regions


@pytest.mark.parametrize("formula", ["gram-w2", "spst", "w2"])
def test_oracle_with_regions_for_other_formulas(formula):
    """Means, deviations and covariances of regions agree in tiles as well."""
    goal, masks = goal_of(2, style_loss=formula), soft(2)
    assert_same(gradients(TileOptimizer(network(), goal.objective), GRID, masks), written_out(goal, masks), GRID)


def test_oracle_with_regions_in_the_metric_of_vgg():
    """With the bundled network, whose style is measured in VGG-19's space, regions agree in tiles as well."""
    net, masks = compact(), soft(2)
    goal = goal_of(2, net, metric=net.metric)
    tile_optimizer = TileOptimizer(net, goal.objective)
    assert set(STYLE_LAYERS) <= set(goal.metric)
    assert_same(gradients(tile_optimizer, GRID, masks), written_out(goal, masks, net), GRID)
    tiled, whole = (
        tile_optimizer.objective.losses(measured(tile_optimizer, grid, masks))["style"] for grid in (GRID, WHOLE)
    )
    features = tile_optimizer.network(to_tensor(PICTURE), tile_optimizer.objective.layers)
    assert whole == pytest.approx(float(style_loss(goal, features, masks)), rel=1e-9)
    assert tiled == pytest.approx(whole, rel=1e-6)


def test_one_region_everywhere_is_no_region():
    """A mask of ones gives the sums and the gradient of a picture without masks."""
    tile_optimizer, ones = tile_optimizer_of(1), np.ones((1, *SHAPE))
    for with_mask, without in zip(
        gradients(tile_optimizer, GRID, ones), gradients(tile_optimizer, GRID, None), strict=True
    ):
        np.testing.assert_allclose(with_mask, without, rtol=0, atol=1e-12 * abs(without).max())
    assert not [name for name in measured(tile_optimizer, GRID, None) if "count" in name]
    losses = [tile_optimizer.objective.losses(measured(tile_optimizer, GRID, masks)) for masks in (ones, None)]
    assert losses[0]["style"] == pytest.approx(losses[1]["style"], rel=1e-6)


def test_a_region_half_as_strong_pulls_half_as_hard():
    """Where a mask is less than one, the style's gradient is less by that factor, and its statistics are the same."""
    goal = {"content_layers": {}, "tv_weight": 0.0}
    full, half = (gradients(tile_optimizer_of(1, **goal), WHOLE, np.full((1, *SHAPE), m))[0] for m in (1.0, 0.5))
    np.testing.assert_allclose(half, full / 2, rtol=0, atol=1e-9 * abs(full).max())


def test_painting_in_tiles_leaves_what_belongs_to_nobody():
    """Pixels that no region's features see have no style gradient; the others have one."""
    tile_optimizer, masks = tile_optimizer_of(1, content_layers={}, tv_weight=0.0), np.zeros((1, *SHAPE))
    masks[0, :, :40] = 1
    (gradient,) = gradients(tile_optimizer, WHOLE, masks)
    assert not gradient[..., 40 + 24 :].any()
    assert gradient[..., :40].all(axis=1).mean() > 0.99


def test_a_tile_paints_with_regions_that_are_elsewhere():
    """A tile without a region makes its steps, and says that it holds nothing of it."""
    tile_optimizer, masks = tile_optimizer_of(2), hard(2)
    sums = measured(tile_optimizer, GRID, masks)
    tile = GRID[1]  # at the right
    arguments = tile_optimizer.content_features(to_tensor(crop(CONTENT, tile))), window(GRID, tile, masks), sums
    state, part = tile_optimizer.paint(
        crop(StateLayout().start(PICTURE), tile), *arguments, StepSchedule(2, 0, 0, 0.02)
    )
    assert abs(state[0] - crop(PICTURE, tile)).max() > 0.01
    assert part["style count relu3_1"] == 0 < part["style count relu3_1 1"]
    assert not part["style gram relu3_1"].any()


def test_sums_of_a_part_are_weighted():
    """A part's sums are those over its positions alone, by window and mask."""
    features, weights = torch.from_numpy(noise(1, 5, 6, 7, seed=4)), torch.from_numpy(noise(42, seed=5))
    weights[:20] = 0
    whole = Window.full(features)
    gram, feature = style_sums(features, whole, Part.of(weights))
    matrix = features[0].flatten(1)
    torch.testing.assert_close(gram, (matrix * weights) @ matrix.T)
    torch.testing.assert_close(feature, matrix @ weights)


def test_parts_are_where_a_mask_is_not_zero():
    """Few positions are numbered, many are taken as they are, and none are an empty part."""
    weights = torch.tensor([0, 0.5, 0, 1])
    assert Part.of(weights).places.tolist() == [1, 3]
    assert Part.of(weights).weights.tolist() == [0.5, 1]
    assert Part.of(torch.ones(4)).places is None
    assert [Part.of(torch.zeros(4)).is_empty, Part.of(weights).is_empty] == [True, False]


def test_guides_say_where_nothing_is_painted():
    """Guidance is empty where all masks are zero, but not where there are no masks."""
    nothing = guidance_of(torch.zeros(2, 8, 8), {"relu1_1": 1, "relu2_1": 2}, {})
    assert nothing.is_empty
    assert not ONE_REGION.is_empty
    assert [each.name for each in nothing.at("relu2_1")] == ["relu2_1", "relu2_1 1"]
    assert ONE_REGION.at("relu2_1") == [("relu2_1", None)]


def test_regions_shrink_at_deep_layers():
    """A region is shrunk by so many pixels on every side, but not where the picture ends, and at one layer only."""
    mask = torch.zeros(1, 16, 16)
    mask[:, 4:12, :8] = 1
    guidance = guidance_of(mask, {"relu1_1": 1, "relu2_1": 2}, {"relu2_1": 2})
    fine, coarse = dense(guidance, "relu1_1", (16, 16)), dense(guidance, "relu2_1", (8, 8))
    assert fine.tolist() == mask[0].tolist()
    wanted = torch.zeros(8, 8)
    wanted[3:5, :3] = 1
    assert coarse.tolist() == wanted.tolist()


def test_shrunk_regions_are_the_same_in_every_tile():
    """With a margin of what they are shrunk by, tiles that overlap agree, and with the picture in one piece."""
    masks, insets = hard(5), {"relu1_1": 3, "relu3_1": 8}
    whole = window(WHOLE, WHOLE[0], masks, insets).guidance
    for tile in GRID:
        found = window(GRID, tile, masks, insets).guidance
        for layer, stride in STRIDES.items():
            rows, cols = (slice(span.start // stride, span.stop // stride) for span in tile.outer)
            wanted = dense(whole, layer, (SHAPE[0] // stride, SHAPE[1] // stride), region=2)
            part = dense(found, layer, (rows.stop - rows.start, cols.stop - cols.start), region=2)
            assert torch.equal(part, wanted[rows, cols])


def dense(guidance: Guidance, layer: str, shape: tuple[int, int], region: int = 0) -> Tensor:
    """The weights of a region at all positions of a layer: (height, width)."""
    part, weights = guidance.parts[layer][region], torch.zeros(shape[0] * shape[1], dtype=torch.float64)
    weights[slice(None) if part.places is None else part.places] = part.weights.double()
    return weights.view(shape)
