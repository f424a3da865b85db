"""The painter: tiles descend the whole picture's loss, and a render in tiles is the render in one piece."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import pytest
import torch
from goals import Goal
from layouts import random_network
from torch import Tensor

from muralist.model.architecture import Architecture, architecture, vgg
from muralist.model.errors import DivergedError, ModelError
from muralist.model.losses.terms import LayerShape
from muralist.model.network import Network
from muralist.model.optimizers import Planes, StepSchedule
from muralist.model.state import AVERAGE, MOMENT1, MOMENT2, PIXELS, PLANES, start_state
from muralist.model.statistics import TileSums, Window, total
from muralist.model.tile_optimizer import NORM, RoundGradient, TileOptimizer, descend, to_tensor, until_finite
from muralist.tiling.blend import blend
from muralist.tiling.grid import Box, Tile, TileGrid

DEEP = {
    "vgg19": ((4, 4), (5, 5), (6, 6, 6, 6), (6, 6, 6, 6), (6,)),
    "compact": ((4, 4), (5, 5), (6,) * 3, (6,) * 3, (6,)),
}
LBFGS = {"optimizer": "lbfgs", "learning_rate": 1.0}
ALL_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
SHALLOW_LAYERS = ("relu1_1", "relu2_1", "relu3_1")


def smooth(height: int, width: int, seed: int) -> np.ndarray:
    """A picture (height, width, 3) of coarse blobs and fine noise, float64, in [0, 1]."""
    rng = np.random.default_rng(seed)
    blobs = rng.random((height // 16 + 1, width // 16 + 1, 3)).repeat(16, 0).repeat(16, 1)[:height, :width]
    return 0.7 * blobs + 0.3 * rng.random((height, width, 3))


def relative(matrix: Tensor, gram: Tensor, mean: Tensor) -> Tensor:
    """The default style formula for features (channels, positions)."""
    return (matrix @ matrix.T / matrix.shape[1] - gram).square().sum() / gram.square().sum()


def spst(matrix: Tensor, gram: Tensor, mean: Tensor) -> Tensor:
    """Gram matrices, means and deviations."""
    channels, positions = matrix.shape
    grams = (matrix @ matrix.T / positions - gram).square().sum() / channels**4
    wanted = (gram.diagonal() - mean.square() + 1e-8).sqrt()
    deviations = ((matrix.var(1, correction=0) + 1e-8).sqrt() - wanted).square().sum()
    return grams + 10 / channels * ((matrix.mean(1) - mean).square().sum() + deviations)


def w2(matrix: Tensor, gram: Tensor, mean: Tensor) -> Tensor:
    """Wasserstein-2 distance of normal distributions; the roots by way of the product, which is not symmetric."""
    regular = 1e-4 * torch.eye(len(mean), dtype=gram.dtype)
    now, wanted = torch.cov(matrix, correction=0) + regular, gram - torch.outer(mean, mean) + regular
    shared = torch.linalg.eigvals(now @ wanted).real.sqrt().sum()
    return ((matrix.mean(1) - mean).square().sum() + now.trace() + wanted.trace() - 2 * shared) / len(mean)


def l2(picture: Tensor, tv_chroma: float) -> Tensor:
    """The default TV formula."""
    colored = picture - picture.mean(1, keepdim=True)
    changes = ((x.diff(dim=d).square().sum(), w) for x, w in ((picture, 1), (colored, tv_chroma)) for d in (2, 3))
    return sum(square * weight for square, weight in changes) / picture[0, 0].numel()


def nine_points(picture: Tensor, tv_chroma: float) -> Tensor:
    """Squared differences to all eight neighbors."""
    axes = picture.diff(dim=2).square().sum() + picture.diff(dim=3).square().sum()
    falling = (picture[..., 1:, 1:] - picture[..., :-1, :-1]).square().sum()
    rising = (picture[..., 1:, :-1] - picture[..., :-1, 1:]).square().sum()
    return 2 * (axes / 3 + (falling + rising) / 12) / picture.numel()


def l1_mean(picture: Tensor, tv_chroma: float) -> Tensor:
    """Mean absolute differences."""
    return picture.diff(dim=2).abs().mean() + picture.diff(dim=3).abs().mean()


STYLES = {"relative": relative, "spst": spst, "w2": w2}
VARIATIONS = {"l2": l2, "l2-9point": nine_points, "l1-mean": l1_mean}


@dataclass(frozen=True)
class Scene:
    """A photograph to be painted, the picture that starts as, and all there is to know about the goal."""

    network: Network
    goal: Goal
    content: np.ndarray
    picture: np.ndarray

    @cached_property
    def painter(self) -> TileOptimizer:
        """What paints it."""
        return TileOptimizer(self.network, self.goal.objective)

    @classmethod
    def of(
        cls, row: Architecture, shape: tuple[int, int], style_layers: tuple[str, ...], content_layer: str
    ) -> "Scene":
        """Make a scene with random weights and random pictures."""
        network = random_network(row)
        style = network(to_tensor(smooth(160, 176, seed=1) ** 2), style_layers)
        grams = {f"gram {k}": torch.einsum("bchw,bdhw->cd", f, f) / f[0, 0].numel() for k, f in style.items()}
        means = {f"mean {k}": f.mean((0, 2, 3)) for k, f in style.items()}
        goal = Goal(
            targets={name: value.numpy() for name, value in (grams | means).items()},
            style_layers={name: 1.0 + i for i, name in enumerate(style_layers)},
            content_layers={content_layer: 1.0},
            style_weight=2.0,
            content_weight=0.5,
            tv_weight=0.1,
            tv_chroma=1.5,
            height=shape[0],
            width=shape[1],
            sizes={
                name: LayerShape(row.channels(name), (shape[0] // row.stride(name)) * (shape[1] // row.stride(name)))
                for name in (*style_layers, content_layer)
            },
        )
        return cls(network, goal, smooth(*shape, seed=2), smooth(*shape, seed=3))

    def aiming_at(self, **changes: object) -> "Scene":
        """The same pictures with another goal."""
        return replace(self, goal=replace(self.goal, **changes))

    @cached_property
    def gradient(self) -> Tensor:
        """Gradient of pixels * loss of the whole picture: the loss written out, plain autograd."""
        goal = self.goal
        leaf = to_tensor(self.picture).requires_grad_()
        variation = goal.tv_weight * VARIATIONS[goal.tv_loss](leaf, goal.tv_chroma)
        loss = sum([variation, *self.terms(self.painter.network(leaf, self.painter.objective.layers)).values()])
        (gradient,) = torch.autograd.grad(loss * leaf[0, 0].numel(), leaf)
        return gradient

    def terms(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weighted losses of every layer of the whole picture, named as the norms of their gradients are."""
        goal, terms = self.goal, {}
        for name, weight in goal.style_layers.items():
            gram, mean = (torch.from_numpy(goal.targets[f"{what} {name}"]) for what in ("gram", "mean"))
            matrix = features[name][0].flatten(1)
            if name in goal.metric:
                heads, bias = torch.from_numpy(goal.metric[name]).split([len(mean), 1], 1)
                matrix, outer = heads @ matrix + bias, heads @ torch.outer(mean, bias[:, 0])
                gram, mean = heads @ gram @ heads.T + outer + outer.T + bias @ bias.T, heads @ mean + bias[:, 0]
            error = STYLES[goal.style_loss](matrix, gram, mean)
            terms[f"style {name}"] = goal.style_weight * weight / sum(goal.style_layers.values()) * error
        for name in goal.content_layers:
            kept = self.painter.network(to_tensor(self.content), [name])[name]
            error = (features[name] - kept).square().sum() / kept.square().sum()
            terms[f"content {name}"] = goal.content_weight * error
        return terms

    def tile_content(self, tile: Tile) -> dict[str, Tensor]:
        """Features of the photograph under a tile, seen from the tile alone."""
        return self.painter.content_features(to_tensor(crop(self.content, tile.outer)))

    def measured(self, picture: np.ndarray, grid: TileGrid) -> TileSums:
        """Sums of a picture, tile by tile."""
        return total(
            self.painter.measure(to_tensor(crop(picture, tile.outer)), self.tile_content(tile), window(grid, tile))
            for tile in grid
        )

    def losses(self, picture: np.ndarray) -> dict[str, float]:
        """Losses of a picture, the total among them."""
        losses = self.painter.objective.losses(self.measured(picture, one_tile(self)))
        return {**losses, "total": self.painter.objective.total(losses)}


@lru_cache(maxsize=1)
def deep_scene(name: str, padding: str, pooling: str, height: int, width: int) -> Scene:
    """A scene for a network as deep as a real one, with few channels."""
    row = replace(architecture(name), steps=vgg(DEEP[name]), padding=padding, pooling=pooling)
    return Scene.of(row, (height, width), ALL_LAYERS, "relu4_2")


@lru_cache(maxsize=2)
def shallow_scene(*more: str) -> Scene:
    """A small scene for a network that sees 24 px, so that small tiles are exact, with more style layers if wanted."""
    row = replace(architecture("compact"), steps=vgg(((4, 4), (6, 6), (8,))), pooling="average")
    layers = (*SHALLOW_LAYERS, *more)
    assert row.halo(layers) == 24
    return Scene.of(row, (131, 150), layers, "relu2_2")


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
    assert scene.painter.network.architecture.halo(ALL_LAYERS) == halo
    grid = TileGrid(*size, tile=tile, overlap=2 * halo + 16, stride=16, halo=halo)
    assert grid.shape == tiles
    for error, largest in errors(scene, grid, "extent"):
        assert error < 1e-6
        assert largest < 1e-6


@pytest.mark.parametrize(
    "goal",
    [
        {"style_loss": "spst"},
        {"style_loss": "w2"},
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
    features = scene.painter.network(leaf, scene.painter.objective.layers)
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
        gradient = RoundGradient(scene.painter, scene.tile_content(tile), window(grid, tile), sums, consensus=True)
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
        _, part = scene.painter.paint(crop(start_state(scene.picture), tile.outer), *arguments, steps)
        found = {name: found.get(name, 0) + norm for name, norm in norms_of(part).items()}
    _, wanted = normalized(scene)
    # Absolute values where tiles overlap: each sees the same gradient there, so weights that sum to one suffice.
    assert found == pytest.approx(wanted, rel=1e-6)


def test_a_norm_of_zero_is_no_norm():
    """A painting that starts as the photograph has no content gradient; the round after is not blown up by that."""
    scene = replace(shallow_scene(), picture=shallow_scene().content).aiming_at(normalize_gradients=True)
    (tile,) = grid = one_tile(scene)
    steps = StepSchedule(2, first=0, first_of_level=0, learning_rate=0.02)
    state, sums = start_state(scene.picture), scene.measured(scene.picture, grid)
    state, sums = paint_alone(scene, state, sums, steps)
    (content,) = (norm for name, norm in norms_of(sums).items() if "content" in name)
    assert content == 0
    gradient = RoundGradient(scene.painter, scene.tile_content(tile), window(grid, tile), sums, consensus=True)
    without_norms = {name: value for name, value in sums.items() if name not in norms_of(sums)}
    alike = RoundGradient(scene.painter, scene.tile_content(tile), window(grid, tile), without_norms, consensus=True)
    picture = to_tensor(state[PIXELS])
    assert gradient(picture).abs().max() < 10 * alike(picture).abs().max()
    later, _ = paint_alone(scene, state, sums, replace(steps, first=2, first_of_level=2))
    assert np.isfinite(later).all()


def test_without_norms_a_tile_takes_its_own():
    """In the first round a tile that is the whole picture knows the norms, and a part supposes that all are like it."""
    scene = shallow_scene().aiming_at(normalize_gradients=True)
    (tile,) = grid = one_tile(scene)
    sums = scene.measured(scene.picture, grid)
    gradient = RoundGradient(scene.painter, scene.tile_content(tile), window(grid, tile), sums, consensus=True)
    whole, norms = normalized(scene)
    torch.testing.assert_close(gradient(to_tensor(scene.picture)), whole, rtol=1e-6, atol=1e-9)
    tiles = shallow_grid(scene)
    part = RoundGradient(
        scene.painter, scene.tile_content(tiles[0]), window(tiles, tiles[0]), scene.measured(scene.picture, tiles), True
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
        scene.painter.objective.losses(scene.measured(scene.picture, grid))
        for grid in (shallow_grid(scene), one_tile(scene))
    )
    assert tiled == pytest.approx(whole, rel=1e-7)


def test_gradient_without_variation_loss():
    """A weight of zero leaves the total variation out, and is no special case of the other two terms."""
    scene = shallow_scene()
    (tile,) = grid = one_tile(scene)
    sums, picture = scene.measured(scene.picture, grid), to_tensor(scene.picture)
    with_it, without = (
        RoundGradient(each.painter, scene.tile_content(tile), window(grid, tile), sums, True)
        for each in (scene, scene.aiming_at(tv_weight=0.0))
    )
    torch.testing.assert_close(without(picture) + scene.goal.tv_gradient(picture), with_it(picture))


def render(
    scene: Scene, grid: TileGrid, rounds: int, per_round: int, consensus: bool = True, **choices: object
) -> tuple[np.ndarray, dict[str, float]]:
    """Paint a picture as the pipeline does: map over tiles, blend, add up; return canvas and losses of its pixels."""
    steps = StepSchedule(per_round, first=0, first_of_level=0, **{"learning_rate": 0.02} | choices)
    canvas = start_state(scene.picture, steps.optimizer)
    sums = scene.measured(scene.picture, grid)
    for made in range(rounds):
        done = made * per_round
        painted = [
            scene.painter.paint(
                crop(canvas, tile.outer),
                scene.tile_content(tile),
                window(grid, tile),
                sums,
                replace(steps, first=done, first_of_level=done),
                consensus,
            )
            for tile in grid
        ]
        sums = total(part for _, part in painted)
        canvas = blend(grid, grid.box, lambda tile, part, p=painted: crop_inside(p[tile.index][0], part, tile.outer))
    return canvas, scene.losses(canvas[PIXELS].astype(np.float64))


def crop_inside(state: np.ndarray, part: Box, frame: Box) -> np.ndarray:
    """A box of the canvas from an array that holds another."""
    return state[(..., *part.inside(frame), slice(None))]


@pytest.mark.integration
def test_render_in_tiles_is_the_render_in_one_piece():
    """At one step a round, a render in four tiles stays within 1e-3 of the untiled one: every pixel, every loss."""
    scene = shallow_scene()
    assert shallow_grid(scene).shape == (2, 2)
    # Larger steps would carry some feature across a kink of its ReLU in one render a step before the other.
    tiled, tiled_losses = render(scene, shallow_grid(scene), rounds=12, per_round=1, learning_rate=0.005)
    whole, whole_losses = render(scene, one_tile(scene), rounds=12, per_round=1, learning_rate=0.005)
    assert np.abs(whole[PIXELS] - scene.picture).mean() > 0.03
    for plane in (PIXELS, AVERAGE):
        np.testing.assert_allclose(tiled[plane], whole[plane], rtol=0, atol=1e-3)
    for plane in (MOMENT1, MOMENT2):
        np.testing.assert_allclose(tiled[plane], whole[plane], rtol=0, atol=1e-3 * np.abs(whole[plane]).max())
    assert tiled_losses == pytest.approx(whole_losses, rel=1e-3)


def test_lbfgs_lowers_the_loss():
    """In one piece, L-BFGS brings the loss down further than as many steps of Adam."""
    scene = shallow_scene()
    first = scene.losses(scene.picture)
    state, newton = render(scene, one_tile(scene), rounds=4, per_round=5, **LBFGS)
    _, adam = render(scene, one_tile(scene), rounds=4, per_round=5)
    assert len(state) == PLANES["lbfgs"]
    assert newton["total"] < 0.3 * first["total"]
    assert newton["total"] < adam["total"]


@pytest.mark.integration
@pytest.mark.parametrize("style_weight", [2.0, 200.0])
def test_lbfgs_in_tiles_ends_where_it_does_in_one_piece(style_weight):
    """With five steps a round, four tiles that each know their own curvature end near the untiled loss."""
    scene = shallow_scene().aiming_at(style_weight=style_weight)
    _, whole = render(scene, one_tile(scene), rounds=6, per_round=5, **LBFGS)
    _, tiled = render(scene, shallow_grid(scene), rounds=6, per_round=5, **LBFGS)
    assert tiled["total"] == pytest.approx(whole["total"], rel=0.15)


@pytest.mark.integration
def test_consensus_keeps_tiles_together_for_several_steps():
    """At five steps a round, consensus stays close to the untiled render; tiles left to themselves paint another."""
    scene = shallow_scene()
    whole, wanted = render(scene, one_tile(scene), rounds=2, per_round=5)
    agreed, agreed_losses = render(scene, shallow_grid(scene), rounds=2, per_round=5)
    alone, alone_losses = render(scene, shallow_grid(scene), rounds=2, per_round=5, consensus=False)
    drift = [float(np.abs(state[PIXELS] - whole[PIXELS]).mean()) for state in (agreed, alone)]
    assert agreed_losses["style"] == pytest.approx(wanted["style"], rel=0.1)
    assert agreed_losses["content"] == pytest.approx(wanted["content"], rel=0.05)
    assert alone_losses["style"] != pytest.approx(wanted["style"], rel=0.2)
    assert drift[0] < 0.02
    assert drift[1] > 2 * drift[0]


def paint_alone(
    scene: Scene, state: np.ndarray, sums: TileSums, steps: StepSchedule, consensus: bool = True
) -> tuple[np.ndarray, TileSums]:
    """Paint the whole picture as one tile."""
    (tile,) = grid = one_tile(scene)
    return scene.painter.paint(state, scene.tile_content(tile), window(grid, tile), sums, steps, consensus)


def test_moments_travel_from_round_to_round():
    """Two rounds of five steps are one round of ten, for all planes of the state and the sums."""
    scene = shallow_scene()
    state, sums = start_state(scene.picture), scene.measured(scene.picture, one_tile(scene))
    steps = StepSchedule(count=10, first=3, first_of_level=2, learning_rate=0.02)
    once, once_sums = paint_alone(scene, state, sums, steps)
    half, half_sums = paint_alone(scene, state, sums, replace(steps, count=5))
    twice, twice_sums = paint_alone(scene, half, half_sums, replace(steps, count=5, first=8, first_of_level=7))
    for plane in range(4):
        np.testing.assert_allclose(twice[plane], once[plane], rtol=0, atol=1e-9 * np.abs(once[plane]).max())
    np.testing.assert_allclose(twice_sums["style gram relu3_1"], once_sums["style gram relu3_1"], rtol=1e-7)
    half[MOMENT1:] = 0
    forgetful, _ = paint_alone(scene, half, half_sums, replace(steps, count=5, first=8, first_of_level=7))
    assert np.abs(forgetful[PIXELS] - once[PIXELS]).max() > 1e-3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_painting_is_pure(dtype):
    """A tile painted twice from the same arguments comes out bit by bit the same; the arguments are left alone."""
    scene = shallow_scene()
    state, sums = start_state(scene.picture.astype(dtype)), scene.measured(scene.picture, one_tile(scene))
    kept, gram = state.copy(), sums["style gram relu1_1"].copy()
    state.flags.writeable = False
    steps = StepSchedule(count=2, first=0, first_of_level=0, learning_rate=0.02)
    (first, first_sums), (second, second_sums) = (paint_alone(scene, state, sums, steps) for _ in range(2))
    assert first.dtype == dtype
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first_sums["style gram relu3_1"], second_sums["style gram relu3_1"])
    assert first_sums["tv all 1 0"] == second_sums["tv all 1 0"]
    np.testing.assert_array_equal(state, kept)
    np.testing.assert_array_equal(sums["style gram relu1_1"], gram)
    assert np.abs(first[PIXELS] - kept[PIXELS]).max() > 0.01


def test_sums_are_those_of_the_painted_tile():
    """What a round returns beside the state are the sums after its last step, which the next round starts from."""
    scene = shallow_scene()
    sums = scene.measured(scene.picture, one_tile(scene))
    steps = StepSchedule(count=2, first=0, first_of_level=0, learning_rate=0.02)
    state, found = paint_alone(scene, start_state(scene.picture), sums, steps)
    wanted = scene.measured(state[PIXELS], one_tile(scene))
    np.testing.assert_array_equal(found["style gram relu2_1"], wanted["style gram relu2_1"])
    assert found["content error relu2_2"] == wanted["content error relu2_2"]
    assert found["tv all 1 0"] == wanted["tv all 1 0"]


def test_painting_lowers_the_loss():
    """Some steps bring style and content losses down by a good part."""
    scene = shallow_scene()
    first = scene.losses(scene.picture)
    _, last = render(scene, one_tile(scene), rounds=1, per_round=10)
    assert last["style"] < 0.5 * first["style"]
    assert last["content"] < 0.5 * first["content"]


@pytest.mark.parametrize("rate", [0.02, 0.5])
def test_pixels_stay_in_range(rate):
    """Pixels and their average stay in [0, 1] and finite, however large the steps."""
    scene = shallow_scene()
    sums = scene.measured(scene.picture, one_tile(scene))
    steps = StepSchedule(count=4, first=0, first_of_level=0, learning_rate=rate)
    state, _ = paint_alone(scene, start_state(scene.picture), sums, steps)
    assert np.isfinite(state).all()
    for plane in (PIXELS, AVERAGE):
        assert state[plane].min() >= 0
        assert state[plane].max() <= 1
    assert (state[PIXELS] == 0).any()
    assert (state[PIXELS] == 1).any()


TARGET = torch.from_numpy(smooth(4, 5, seed=9)).permute(2, 0, 1)[None] * 0.2 + 0.4
Gradient = Callable[[Tensor], Tensor]


def towards_target(picture: Tensor) -> Tensor:
    """A gradient that depends on where the picture is."""
    return picture - TARGET


def failing(*calls: int, value: float = torch.nan) -> Gradient:
    """A gradient with one value that is not finite, at the calls numbered so (from 0)."""
    made = iter(range(1000))

    def call(picture: Tensor) -> Tensor:
        slope = towards_target(picture)
        if next(made) in calls:
            slope[0, 1, 2, 3] = value
        return slope

    return call


def descended(gradient: Gradient, steps: StepSchedule, state: Planes | None = None) -> Planes:
    """The state's planes after some steps, from gray if no state is given."""
    gray = start_state(np.full((4, 5, 3), 0.5), steps.optimizer)
    begun = tuple(to_tensor(plane) for plane in gray) if state is None else state

    def attempt(numbers: Tensor) -> dict[str, Tensor]:
        planes, finite = descend(begun, gradient, torch.ones(4, 5), steps, numbers)
        return {"finite": finite, **{str(number): plane for number, plane in enumerate(planes)}}

    found = until_finite(attempt, steps, TARGET)
    return tuple(found[str(number)] for number in range(PLANES[steps.optimizer]))


def test_lbfgs_compares_gradients_of_one_round_only():
    """What other tiles did between two rounds is no curvature: the change of a gradient is that of the step alone."""
    steps = StepSchedule(count=3, first=0, first_of_level=0, learning_rate=0.3, optimizer="lbfgs")
    before = descended(towards_target, steps)
    again = replace(steps, count=1, first_of_level=3)
    after = descended(lambda picture: towards_target(picture) + 0.05, again, before)
    # The Hessian is the identity: one pair that says so makes the step the gradient itself.
    wanted = before[PIXELS] - 0.3 * (towards_target(before[PIXELS]) + 0.05)
    torch.testing.assert_close(after[PIXELS], wanted, rtol=0, atol=1e-9)


def torch_adam(rates: list[float]) -> list[Tensor]:
    """The pictures that torch's own Adam gives after each step from gray."""
    leaf = torch.full((1, 3, 4, 5), 0.5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([leaf], betas=(0.9, 0.99), eps=1e-8)
    pictures = []
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        leaf.grad = towards_target(leaf.detach())
        optimizer.step()
        pictures.append(leaf.detach().clone())
    return pictures


def test_average_is_a_plain_mean_at_first_and_decays_later():
    """The average is the mean of all iterates for ten steps at a decay of 0.9, then forgets a tenth a step."""
    iterates = torch_adam([0.01] * 12)
    for count in (1, 4, 10):
        found = descended(towards_target, StepSchedule(count, first=0, first_of_level=0, learning_rate=0.01))
        torch.testing.assert_close(found[AVERAGE], torch.stack(iterates[:count]).mean(0), rtol=0, atol=1e-12)
    wanted = torch.stack(iterates[:10]).mean(0)
    for iterate in iterates[10:]:
        wanted = 0.9 * wanted + 0.1 * iterate
    found = descended(towards_target, StepSchedule(12, first=0, first_of_level=0, learning_rate=0.01))
    torch.testing.assert_close(found[AVERAGE], wanted, rtol=0, atol=1e-12)


def test_average_starts_anew_at_every_level():
    """The first step of a level overwrites the average that was brought along, whatever was done before."""
    found = descended(towards_target, StepSchedule(1, first=400, first_of_level=0, learning_rate=0.01))
    assert torch.equal(found[AVERAGE], found[PIXELS])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_round_into_the_unknown_is_made_again(value, optimizer):
    """Where a gradient is not finite, all of the round is made again at half the rate; nothing of it is left."""
    steps = StepSchedule(6, first=0, first_of_level=0, learning_rate=0.01, optimizer=optimizer)
    found = descended(failing(3, value=value), steps)
    for plane, wanted in zip(found, descended(towards_target, replace(steps, learning_rate=0.005)), strict=True):
        assert torch.equal(plane, wanted)


def test_the_rate_is_halved_until_it_helps():
    """One halving after the other is tried, until all gradients of a round are finite."""
    found = descended(failing(1, 7, 8, 11), StepSchedule(5, first=0, first_of_level=0, learning_rate=0.01))
    torch.testing.assert_close(found[PIXELS], torch_adam([0.01 / 8] * 5)[-1], rtol=0, atol=1e-12)


def test_divergence_is_reported_with_its_facts():
    """A gradient that stays broken ends the round: step, last rate and a way out, also on the other side of a wire."""
    steps = StepSchedule(9, first=0, first_of_level=0, learning_rate=0.01)
    with pytest.raises(
        DivergedError, match=r"at step 4 of a round .* learning rate of 3.9e-05 at last; use --precision"
    ) as caught:
        descended(failing(*(call for call in range(1000) if call % 9 == 4)), steps)
    assert (caught.value.step, caught.value.learning_rate) == (4, 0.01 / 2**8)
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, ModelError)
    assert isinstance(again, ArithmeticError)
    assert (again.step, again.learning_rate, str(again)) == (4, 0.01 / 2**8, str(caught.value))


def test_divergence_at_the_first_step_of_a_round():
    """Where the round itself starts from a broken gradient there is nothing to take back."""
    with pytest.raises(DivergedError) as caught:
        descended(failing(0), StepSchedule(9, first=20, first_of_level=20, learning_rate=0.01))
    assert (caught.value.step, caught.value.learning_rate) == (0, 0.01)


def test_a_broken_state_is_reported():
    """A tile with a pixel that is not a number is an error, not a black spot."""
    scene = shallow_scene()
    state, sums = start_state(scene.picture), scene.measured(scene.picture, one_tile(scene))
    state[PIXELS, 40, 50, 1] = np.nan
    with pytest.raises(DivergedError, match="at step 0 of a round"):
        paint_alone(scene, state, sums, StepSchedule(3, first=0, first_of_level=0, learning_rate=0.02))


def test_painters_see_only_their_tile():
    """What lies outside a tile's outer box reaches it through the sums alone."""
    scene, steps = shallow_scene(), StepSchedule(2, first=0, first_of_level=0, learning_rate=0.02)
    grid = shallow_grid(scene)
    tile, sums = grid[0], scene.measured(scene.picture, grid)
    arguments = scene.tile_content(tile), window(grid, tile)
    state = crop(start_state(scene.picture), tile.outer)
    same, _ = scene.painter.paint(state, *arguments, sums, steps)
    other, _ = scene.painter.paint(state, *arguments, total([sums, sums]), steps)
    alone, _ = scene.painter.paint(state, *arguments, sums, steps, consensus=False)
    again, _ = scene.painter.paint(
        state, *arguments, {n: 2 * v if "gram" in n else v for n, v in sums.items()}, steps, consensus=False
    )
    assert np.abs(other[PIXELS] - same[PIXELS]).max() > 1e-3
    np.testing.assert_array_equal(again, alone)
