"""The gradient of tiles is the whole picture's, written out with plain autograd."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scenes import (
    ALL_LAYERS,
    LBFGS,
    SHALLOW_LAYERS,
    STYLES,
    Scene,
    crop,
    deep_scene,
    one_tile,
    paint_alone,
    render,
    shallow_grid,
    shallow_scene,
    window,
)
from torch import Tensor

from muralist.model.optimizers import StepSchedule
from muralist.model.state import PIXELS, StateLayout
from muralist.model.statistics import TileSums
from muralist.model.tile_optimizer import NORM, TINY, RoundGradient, to_tensor
from muralist.tiling.grid import TileGrid


def errors(scene: Scene, grid: TileGrid, box: str) -> list[tuple[float, float]]:
    """Difference of tiled and whole gradient over a box of every tile: relative in L2, and largest of any pixel."""
    sums, found = scene.measured(scene.picture, grid), []
    for tile in grid:
        gradient = RoundGradient(
            scene.tile_optimizer, scene.tile_content(tile), window(grid, tile), sums, consensus=True
        )
        tiled = gradient(to_tensor(crop(scene.picture, tile.outer)))
        inner = getattr(tile, box)
        wanted = scene.gradient[(..., *inner.inside(grid.box))]
        difference = tiled[(..., *inner.inside(tile.outer))] - wanted
        rms = wanted.square().mean().sqrt()
        found.append((float(difference.norm() / wanted.norm()), float(difference.abs().max() / rms)))
    return found


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "padding", "pooling", "size", "halo", "tile", "tiles"),
    [
        ("vgg19", "zeros", "max", (701, 533), 160, 672, (2, 1)),
        ("vgg19", "zeros", "max", (733, 237), 160, 704, (2, 1)),
        ("vgg19", "zeros", "average", (693, 715), 160, 672, (2, 2)),
        ("vgg19", "reflect", "average", (301, 1031), 160, 672, (1, 3)),
        ("vgg19", "reflect", "max", (333, 701), 160, 680, (1, 2)),
        ("compact", "reflect", "average", (205, 975), 144, 608, (1, 3)),
        ("compact", "reflect", "l2", (205, 975), 144, 608, (1, 3)),
        ("compact", "zeros", "max", (719, 333), 144, 640, (2, 1)),
    ],
)
def test_oracle(name, padding, pooling, size, halo, tile, tiles):
    """With a halo of the receptive field, the tiled gradient is the whole picture's at every pixel of an extent."""
    scene = deep_scene(name, padding, pooling, *size)
    assert scene.tile_optimizer.network.architecture.halo(ALL_LAYERS) == halo
    grid = TileGrid(*size, tile=tile, overlap=2 * halo + 16, stride=16, halo=halo)
    assert grid.shape == tiles
    for error, largest in errors(scene, grid, "extent"):
        assert error < 1e-6
        assert largest < 1e-6


@pytest.mark.parametrize(
    "goal",
    [
        {"style_loss": "gram-w2"},
        {"style_loss": "spst"},
        {"style_loss": "w2"},
        {"tv_loss": "vectorial"},
        {"tv_loss": "l2-9point"},
        {"tv_loss": "l1-mean"},
        {"style_layers": {}},
        {"content_layers": {}},
    ],
    ids=lambda goal: " ".join(f"{key} {value or None}" for key, value in goal.items()),
)
def test_oracle_of_every_kind_of_goal(goal):
    """Whatever the formulas and the terms that count, the tiled gradient is the whole picture's written out."""
    scene = shallow_scene().aiming_at(**goal)
    assert shallow_grid(scene).shape == (2, 2)
    for error, largest in errors(scene, shallow_grid(scene), "extent"):
        assert error < 1e-6
        assert largest < 1e-6


def test_oracle_of_smaller_pictures():
    """With layers of the picture at half and a quarter of its size, too."""
    scene = shallow_scene("relu2_1/2", "relu1_2/4")
    for error, largest in errors(scene, shallow_grid(scene), "extent"):
        assert error < 1e-6
        assert largest < 1e-6


@pytest.mark.parametrize("style_loss", STYLES)
def test_oracle_in_a_metric(style_loss):
    """Measured in a larger network's space, the tiled gradient is still the whole picture's written out."""
    generator = torch.Generator().manual_seed(8)
    metric = {
        name: torch.randn(9, width + 1, generator=generator, dtype=torch.float64).numpy()
        for name, width in zip(SHALLOW_LAYERS, (4, 6, 8), strict=True)
    }
    scene = shallow_scene().aiming_at(metric=metric, style_loss=style_loss)
    for error, largest in errors(scene, shallow_grid(scene), "extent"):
        assert error < 1e-6
        assert largest < 1e-6


@pytest.mark.parametrize("resolutions", [1, 4])
def test_lbfgs_in_tiles_takes_the_steps_of_one_piece_where_tiles_know_as_much(resolutions):
    """The first step of a round, in several resolutions as well, is the untiled render's, but for its size."""
    scene = shallow_scene()
    choices = LBFGS | {"resolutions": resolutions}
    whole, _ = render(scene, one_tile(scene), rounds=1, per_round=1, **choices)
    tiled, _ = render(scene, shallow_grid(scene), rounds=1, per_round=1, **choices)
    step, wanted = (state[PIXELS] - scene.picture for state in (tiled, whole))
    assert np.corrcoef(step.ravel(), wanted.ravel())[0, 1] > 0.97


def normalized(scene: Scene) -> tuple[Tensor, dict[str, float]]:
    """Gradient of the whole picture with every layer's divided by its L1 norm, by autograd; and those norms."""
    goal, leaf = scene.goal, to_tensor(scene.picture).requires_grad_()
    features = scene.tile_optimizer.network(leaf, scene.tile_optimizer.objective.layers)
    at, norms = [], {}
    for name, term in scene.terms(features).items():
        (gradient,) = torch.autograd.grad(goal.size.pixels * term, features[name.split()[1]], retain_graph=True)
        norms[NORM + name] = norm = float(gradient.abs().sum())
        kind, layer = name.split()
        weight = getattr(goal, kind).weight * getattr(goal, kind).shares[layer]
        at.append((layer, gradient * goal.size.pixels * weight / norm))
    (gradient,) = torch.autograd.grad([features[layer] for layer, _ in at], leaf, [value for _, value in at])
    return gradient + goal.tv_gradient(leaf.detach()), norms


def norms_of(sums: TileSums) -> dict[str, float]:
    """The norms of gradients among sums."""
    return {name: float(norm) for name, norm in sums.items() if name.startswith(NORM)}


def test_oracle_with_normalized_gradients():
    """With the norms of the whole picture given, tiled and whole gradient agree where every layer's is normalized."""
    scene = shallow_scene().aiming_at(normalize_gradients=True)
    grid = shallow_grid(scene)
    whole, norms = normalized(scene)
    sums = {**scene.measured(scene.picture, grid), **norms}
    for tile in grid:
        gradient = RoundGradient(
            scene.tile_optimizer, scene.tile_content(tile), window(grid, tile), sums, consensus=True
        )
        tiled = gradient(to_tensor(crop(scene.picture, tile.outer)))[(..., *tile.extent.inside(tile.outer))]
        wanted = whole[(..., *tile.extent.inside(grid.box))]
        assert (tiled - wanted).norm() < 1e-6 * wanted.norm()


def test_norms_of_tiles_add_up():
    """What the tiles say of the norms at the start of a round are shares of the whole picture's."""
    scene = shallow_scene().aiming_at(normalize_gradients=True)
    grid = shallow_grid(scene)
    sums, found = scene.measured(scene.picture, grid), {}
    assert norms_of(sums) == {}
    for tile in grid:
        arguments = scene.tile_content(tile), window(grid, tile), sums
        steps = StepSchedule(2, first=0, first_of_level=0, learning_rate=0.02)
        _, part = scene.tile_optimizer.paint(crop(StateLayout().start(scene.picture), tile.outer), *arguments, steps)
        found = {name: found.get(name, 0) + norm for name, norm in norms_of(part).items()}
    _, wanted = normalized(scene)
    # Absolute values where tiles overlap: each sees the same gradient there, so weights that sum to one suffice.
    assert found == pytest.approx(wanted, rel=1e-6)


def test_a_norm_of_zero_is_no_norm():
    """A painting that starts as the photograph has no content gradient; the round after is not blown up by that."""
    scene = replace(shallow_scene(), picture=shallow_scene().content).aiming_at(normalize_gradients=True)
    (tile,) = grid = one_tile(scene)
    steps = StepSchedule(2, first=0, first_of_level=0, learning_rate=0.02)
    state, sums = StateLayout().start(scene.picture), scene.measured(scene.picture, grid)
    state, sums = paint_alone(scene, state, sums, steps)
    (content,) = (norm for name, norm in norms_of(sums).items() if "content" in name)
    assert content == 0
    gradient = RoundGradient(scene.tile_optimizer, scene.tile_content(tile), window(grid, tile), sums, consensus=True)
    without_norms = {name: value for name, value in sums.items() if name not in norms_of(sums)}
    alike = RoundGradient(
        scene.tile_optimizer, scene.tile_content(tile), window(grid, tile), without_norms, consensus=True
    )
    picture = to_tensor(state[PIXELS])
    assert gradient(picture).abs().max() < 10 * alike(picture).abs().max()
    later, _ = paint_alone(scene, state, sums, replace(steps, first=2, first_of_level=2))
    assert np.isfinite(later).all()
    assert np.isfinite(np.float32(1e6 * 100_000**2) / np.float32(TINY))  # of any weight, on any poster


def test_without_norms_a_tile_takes_its_own():
    """In the first round a tile that is the whole picture knows the norms, and a part supposes that all are like it."""
    scene = shallow_scene().aiming_at(normalize_gradients=True)
    (tile,) = grid = one_tile(scene)
    sums = scene.measured(scene.picture, grid)
    gradient = RoundGradient(scene.tile_optimizer, scene.tile_content(tile), window(grid, tile), sums, consensus=True)
    whole, norms = normalized(scene)
    torch.testing.assert_close(gradient(to_tensor(scene.picture)), whole, rtol=1e-6, atol=1e-9)
    tiles = shallow_grid(scene)
    part = RoundGradient(
        scene.tile_optimizer,
        scene.tile_content(tiles[0]),
        window(tiles, tiles[0]),
        scene.measured(scene.picture, tiles),
        True,
    )
    part(to_tensor(crop(scene.picture, tiles[0].outer)))
    share = float(window(tiles, tiles[0]).weights().sum()) / scene.goal.size.pixels
    assert 0.1 < share < 0.9
    for name, norm in part.norms.items():
        assert norm / share == pytest.approx(norms[name], rel=0.5)


def test_oracle_needs_its_halo():
    """With a tenth of the halo the gradient at the borders is visibly another one, so the oracle can fail."""
    scene = deep_scene("compact", "zeros", "max", 719, 333)
    grid = TileGrid(719, 333, tile=608, overlap=48, stride=16, halo=16)
    assert max(error for error, _ in errors(scene, grid, "core")) > 1e-4
    assert max(largest for _, largest in errors(scene, grid, "extent")) > 1e-2


def test_sums_of_tiles_are_those_of_the_picture():
    """Measured tile by tile through the network, the whole picture's losses come out the same."""
    scene = shallow_scene()
    tiled, whole = (
        scene.tile_optimizer.objective.losses(scene.measured(scene.picture, grid))
        for grid in (shallow_grid(scene), one_tile(scene))
    )
    assert tiled == pytest.approx(whole, rel=1e-7)


def test_gradient_without_variation_loss():
    """A weight of zero leaves the total variation out, and is no special case of the other two terms."""
    scene = shallow_scene()
    (tile,) = grid = one_tile(scene)
    sums, picture = scene.measured(scene.picture, grid), to_tensor(scene.picture)
    with_it, without = (
        RoundGradient(each.tile_optimizer, scene.tile_content(tile), window(grid, tile), sums, True)
        for each in (scene, scene.aiming_at(tv_weight=0.0))
    )
    torch.testing.assert_close(without(picture) + scene.goal.tv_gradient(picture), with_it(picture))
