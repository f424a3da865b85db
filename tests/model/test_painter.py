"""The painter: tiles descend the whole picture's loss, and a render in tiles is the render in one piece."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import pytest
import torch
from torch import Tensor

from muralist.model.architecture import Architecture, architecture
from muralist.model.errors import DivergedError, ModelError
from muralist.model.network import Network
from muralist.model.objective import Losses, Objective
from muralist.model.painter import Painter, RoundGradient, Steps, _descend, to_tensor
from muralist.model.state import AVERAGE, MOMENT1, MOMENT2, PIXELS, start_state
from muralist.model.statistics import Sums, Window
from muralist.tiling.blend import blend
from muralist.tiling.grid import Box, Tile, TileGrid

DEEP = {
    "vgg19": ((4, 4), (5, 5), (6, 6, 6, 6), (6, 6, 6, 6), (6,)),
    "compact": ((4, 4), (5, 5), (6,) * 3, (6,) * 3, (6,)),
}
ALL_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
SHALLOW_LAYERS = ("relu1_1", "relu2_1", "relu3_1")


def random_network(row: Architecture) -> Network:
    """A float64 network with weights that keep the magnitude of what passes through."""
    generator = torch.Generator().manual_seed(5)
    weights = {}
    for name, (fan_in, fan_out) in row.convolutions.items():
        weights[f"conv{name}.weight"] = (
            torch.randn(fan_out, fan_in, 3, 3, generator=generator) * (2 / 9 / fan_in) ** 0.5
        )
        weights[f"conv{name}.bias"] = torch.randn(fan_out, generator=generator) * 0.1
    return Network(row, weights).prepared("cpu", torch.float64)


def smooth(height: int, width: int, seed: int) -> np.ndarray:
    """A picture (height, width, 3) of coarse blobs and fine noise, float64, in [0, 1]."""
    rng = np.random.default_rng(seed)
    blobs = rng.random((height // 16 + 1, width // 16 + 1, 3)).repeat(16, 0).repeat(16, 1)[:height, :width]
    return 0.7 * blobs + 0.3 * rng.random((height, width, 3))


@dataclass(frozen=True)
class Scene:
    """A photograph to be painted, the picture that starts as, and all there is to know about the goal."""

    painter: Painter
    content: np.ndarray
    picture: np.ndarray

    @classmethod
    def of(
        cls, row: Architecture, shape: tuple[int, int], style_layers: tuple[str, ...], content_layer: str
    ) -> "Scene":
        """Make a scene with random weights and random pictures."""
        network = random_network(row)
        style = network(to_tensor(smooth(160, 176, seed=1) ** 2), style_layers)
        grams = {name: torch.einsum("bchw,bdhw->cd", f, f) / f[0, 0].numel() for name, f in style.items()}
        objective = Objective(
            targets={name: gram.numpy() for name, gram in grams.items()},
            style_layers={name: 1.0 + i for i, name in enumerate(style_layers)},
            content_layers={content_layer: 1.0},
            style_weight=2.0,
            content_weight=0.5,
            tv_weight=0.1,
            pixels=shape[0] * shape[1],
            positions={name: (shape[0] // row.stride(name)) * (shape[1] // row.stride(name)) for name in style_layers},
        )
        return cls(Painter(network, objective), smooth(*shape, seed=2), smooth(*shape, seed=3))

    @cached_property
    def gradient(self) -> Tensor:
        """Gradient of pixels * loss of the whole picture: the loss written out, plain autograd."""
        goal, network = self.painter.objective, self.painter.network
        leaf = to_tensor(self.picture).requires_grad_()
        features = network(leaf, goal.layers)
        loss = goal.tv_weight * (leaf.diff(dim=2).square().sum() + leaf.diff(dim=3).square().sum()) / leaf[0, 0].numel()
        for name, weight in goal.style_layers.items():
            matrix, target = features[name][0].flatten(1), torch.from_numpy(goal.targets[name])
            error = (matrix @ matrix.T / matrix.shape[1] - target).square().sum() / target.square().sum()
            loss = loss + goal.style_weight * weight / sum(goal.style_layers.values()) * error
        (layer,) = goal.content_layers
        kept = network(to_tensor(self.content), [layer])[layer]
        loss = loss + goal.content_weight * (features[layer] - kept).square().sum() / kept.square().sum()
        (gradient,) = torch.autograd.grad(loss * leaf[0, 0].numel(), leaf)
        return gradient

    def tile_content(self, tile: Tile) -> dict[str, Tensor]:
        """Features of the photograph under a tile, seen from the tile alone."""
        return self.painter.content_features(to_tensor(crop(self.content, tile.outer)))

    def measured(self, picture: np.ndarray, grid: TileGrid) -> Sums:
        """Sums of a picture, tile by tile."""
        return Sums.total(
            self.painter.measure(to_tensor(crop(picture, tile.outer)), self.tile_content(tile), window(grid, tile))
            for tile in grid
        )


@lru_cache(maxsize=1)
def deep_scene(name: str, padding: str, pooling: str, height: int, width: int) -> Scene:
    """A scene for a network as deep as a real one, with few channels."""
    row = replace(architecture(name), blocks=DEEP[name], padding=padding, pooling=pooling)
    return Scene.of(row, (height, width), ALL_LAYERS, "relu4_2")


@lru_cache(maxsize=1)
def shallow_scene() -> Scene:
    """A small scene for a network that sees 24 px, so that small tiles are exact."""
    row = replace(architecture("compact"), blocks=((4, 4), (6, 6), (8,)))
    assert row.halo(SHALLOW_LAYERS) == 24
    return Scene.of(row, (131, 150), SHALLOW_LAYERS, "relu2_2")


def shallow_grid(scene: Scene) -> TileGrid:
    """Tiles with as much context as the shallow network sees."""
    return TileGrid(*scene.picture.shape[:2], tile=112, overlap=56, stride=4, halo=24)


def one_tile(scene: Scene) -> TileGrid:
    """The whole picture as its own only tile."""
    return TileGrid(*scene.picture.shape[:2], tile=4096, overlap=0, stride=16)


def crop(pixels: np.ndarray, box: Box) -> np.ndarray:
    """A box of (..., height, width, 3)."""
    return pixels[(..., slice(*box.rows), slice(*box.cols), slice(None))]


def window(grid: TileGrid, tile: Tile) -> Window:
    """The tile's blend weights as the painter takes them."""
    return Window.of(*grid.window(tile))


def errors(scene: Scene, grid: TileGrid, box: str) -> list[tuple[float, float]]:
    """Difference of tiled and whole gradient over a box of every tile: relative in L2, and largest of any pixel."""
    sums, found = scene.measured(scene.picture, grid), []
    for tile in grid:
        gradient = RoundGradient(scene.painter, scene.tile_content(tile), window(grid, tile), sums, consensus=True)
        tiled = gradient(to_tensor(crop(scene.picture, tile.outer)))
        inner = getattr(tile, box)
        wanted = scene.gradient[(..., *inner.inside(grid.box))]
        difference = tiled[(..., *inner.inside(tile.outer))] - wanted
        rms = wanted.square().mean().sqrt()
        found.append((float(difference.norm() / wanted.norm()), float(difference.abs().max() / rms)))
    return found


@pytest.mark.parametrize(
    ("name", "padding", "pooling", "size", "halo", "tile", "tiles"),
    [
        ("vgg19", "zeros", "max", (701, 533), 160, 672, (2, 1)),
        ("vgg19", "zeros", "max", (733, 533), 160, 704, (2, 1)),
        ("vgg19", "zeros", "average", (693, 715), 160, 672, (2, 2)),
        ("vgg19", "reflect", "average", (533, 1031), 160, 672, (1, 3)),
        ("vgg19", "reflect", "max", (533, 701), 160, 680, (1, 2)),
        ("compact", "reflect", "average", (533, 975), 144, 608, (1, 3)),
        ("compact", "zeros", "max", (719, 533), 144, 640, (2, 1)),
    ],
)
def test_oracle(name, padding, pooling, size, halo, tile, tiles):
    """With a halo of the receptive field, the tiled gradient is the whole picture's at every pixel of an extent."""
    scene = deep_scene(name, padding, pooling, *size)
    assert scene.painter.network.architecture.halo(ALL_LAYERS) == halo
    grid = TileGrid(*size, tile=tile, overlap=2 * halo + 16, stride=16, halo=halo)
    assert grid.shape == tiles
    for error, largest in errors(scene, grid, "extent"):
        assert error < 1e-6
        assert largest < 1e-6


def test_oracle_needs_its_halo():
    """With a tenth of the halo the gradient at the borders is visibly another one, so the oracle can fail."""
    scene = deep_scene("compact", "zeros", "max", 719, 533)
    grid = TileGrid(719, 533, tile=608, overlap=48, stride=16, halo=16)
    assert max(error for error, _ in errors(scene, grid, "core")) > 1e-4
    assert max(largest for _, largest in errors(scene, grid, "extent")) > 1e-2


def test_sums_of_tiles_are_those_of_the_picture():
    """Measured tile by tile through the network, the whole picture's losses come out the same."""
    scene = shallow_scene()
    tiled, whole = (
        scene.painter.objective.losses(scene.measured(scene.picture, grid))
        for grid in (shallow_grid(scene), one_tile(scene))
    )
    for term in ("style", "content", "variation"):
        assert getattr(tiled, term) == pytest.approx(getattr(whole, term), rel=1e-7)


def test_gradient_without_variation_loss():
    """A weight of zero leaves the total variation out, and is no special case of the other two terms."""
    scene = shallow_scene()
    goal = scene.painter.objective
    (tile,) = grid = one_tile(scene)
    sums, picture = scene.measured(scene.picture, grid), to_tensor(scene.picture)
    with_it, without = (
        RoundGradient(Painter(scene.painter.network, g), scene.tile_content(tile), window(grid, tile), sums, True)
        for g in (goal, replace(goal, tv_weight=0.0))
    )
    torch.testing.assert_close(without(picture) + goal.variation_gradient(picture), with_it(picture))


def render(
    scene: Scene, grid: TileGrid, rounds: int, per_round: int, consensus: bool = True, rate: float = 0.02
) -> tuple[np.ndarray, Losses]:
    """Paint a picture as the pipeline does: map over tiles, blend, add up; return canvas and losses of its pixels."""
    canvas, sums = start_state(scene.picture), scene.measured(scene.picture, grid)
    for made in range(rounds):
        done = made * per_round
        painted = [
            scene.painter.paint(
                crop(canvas, tile.outer),
                scene.tile_content(tile),
                window(grid, tile),
                sums,
                Steps(per_round, first=done, first_of_level=done, learning_rate=rate),
                consensus,
            )
            for tile in grid
        ]
        sums = Sums.total(part for _, part in painted)
        canvas = blend(grid, grid.box, lambda tile, part, p=painted: crop_inside(p[tile.index][0], part, tile.outer))
    return canvas, scene.painter.objective.losses(scene.measured(canvas[PIXELS].astype(np.float64), one_tile(scene)))


def crop_inside(state: np.ndarray, part: Box, frame: Box) -> np.ndarray:
    """A box of the canvas from an array that holds another."""
    return state[(..., *part.inside(frame), slice(None))]


def test_render_in_tiles_is_the_render_in_one_piece():
    """At one step a round, a render in six tiles stays within 1e-3 of the untiled one: every pixel, every loss."""
    scene = shallow_scene()
    assert shallow_grid(scene).shape == (2, 2)
    tiled, tiled_losses = render(scene, shallow_grid(scene), rounds=15, per_round=1)
    whole, whole_losses = render(scene, one_tile(scene), rounds=15, per_round=1)
    print(
        np.abs(tiled[PIXELS] - whole[PIXELS]).max(),
        np.abs(tiled[AVERAGE] - whole[AVERAGE]).max(),
        tiled_losses,
        whole_losses,
    )
    for k in (5, 15):
        c, l = render(scene, shallow_grid(scene), rounds=15 // k, per_round=k)
        print(k, l, np.abs(c[PIXELS] - whole[PIXELS]).mean(), np.abs(c[PIXELS] - whole[PIXELS]).max())
        c, l = render(scene, shallow_grid(scene), rounds=15 // k, per_round=k, consensus=False)
        print(k, l, np.abs(c[PIXELS] - whole[PIXELS]).mean())
    print(scene.painter.objective.losses(scene.measured(scene.picture, one_tile(scene))))
