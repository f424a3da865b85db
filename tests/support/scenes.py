"""Pictures to be painted by networks of random weights, with the loss of the whole picture written out."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from goals import Goal
from layouts import random_network
from torch import Tensor

from muralist.model.architecture import Architecture, architecture, vgg
from muralist.model.losses.terms import LayerShape
from muralist.model.losses.variation import SMOOTHING
from muralist.model.network import Network
from muralist.model.optimizers import StepSchedule
from muralist.model.state import PIXELS
from muralist.model.statistics import TileSums, Window, total
from muralist.model.tile_optimizer import TileOptimizer, to_tensor
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


def relative(matrix: Tensor, weights: Tensor, gram: Tensor, mean: Tensor) -> Tensor:
    """Gram matrices of features (channels, positions), of which some count more."""
    return (_moments(matrix, weights)[0] - gram).square().sum() / gram.square().sum()


def gram_w2(matrix: Tensor, weights: Tensor, gram: Tensor, mean: Tensor) -> Tensor:
    """Gram matrices, means and covariances; these by an equation that is solved for the entries of its unknown."""
    wanted, one = gram - torch.outer(mean, mean), torch.eye(len(mean), dtype=gram.dtype)
    _, now, covariance = _moments(matrix, weights)
    energy = mean.square().sum() + wanted.trace()
    within = wanted + (0.03 * torch.linalg.eigvalsh(wanted)[-1] + 1e-8 * energy) * one
    change = (covariance - wanted).flatten()
    unknown = torch.linalg.solve(torch.kron(within, one) + torch.kron(one, within), change)
    w2 = ((now - mean).square().sum() + change @ unknown / 2) / energy
    return (relative(matrix, weights, gram, mean) + 2 * w2) / 3


def spst(matrix: Tensor, weights: Tensor, gram: Tensor, mean: Tensor) -> Tensor:
    """Gram matrices, means and deviations."""
    now_gram, now, covariance = _moments(matrix, weights)
    wanted = (gram.diagonal() - mean.square() + 1e-8).sqrt()
    deviations = ((covariance.diagonal() + 1e-8).sqrt() - wanted).square().sum()
    return (now_gram - gram).square().sum() / len(mean) ** 4 + 10 / len(mean) * (
        (now - mean).square().sum() + deviations
    )


def w2(matrix: Tensor, weights: Tensor, gram: Tensor, mean: Tensor) -> Tensor:
    """Wasserstein-2 distance of normal distributions; the roots by way of the product, which is not symmetric."""
    regular, (_, now, covariance) = 1e-4 * torch.eye(len(mean), dtype=gram.dtype), _moments(matrix, weights)
    covariance, wanted = covariance + regular, gram - torch.outer(mean, mean) + regular
    shared = torch.linalg.eigvals(covariance @ wanted).real.sqrt().sum()
    return ((now - mean).square().sum() + covariance.trace() + wanted.trace() - 2 * shared) / len(mean)


def _moments(matrix: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gram matrix, mean and covariance."""
    shares = weights / weights.sum()
    mean = matrix @ shares
    away = matrix - mean[:, None]
    return (matrix * shares) @ matrix.T, mean, (away * shares) @ away.T


def vectorial(picture: Tensor, tv_chroma: float) -> Tensor:
    """Lengths of the deviations from the mean in blocks of 2 x 2 pixels, in all colors."""
    colored = picture - picture.mean(1, keepdim=True)
    squares = SMOOTHING**2
    for x, weight in ((picture, 1.0), (colored, tv_chroma)):
        fours = F.unfold(x.transpose(0, 1), 2)  # (3, 4, all places)
        squares = squares + weight * (fours - fours.mean(1, keepdim=True)).square().sum((0, 1))
    return (squares.sqrt() - SMOOTHING).sum() / picture[0, 0].numel()


def l2(picture: Tensor, tv_chroma: float) -> Tensor:
    """Squared differences between neighbors."""
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


STYLES = {"relative": relative, "gram-w2": gram_w2, "spst": spst, "w2": w2}
VARIATIONS = {"vectorial": vectorial, "l2": l2, "l2-9point": nine_points, "l1-mean": l1_mean}


@dataclass(frozen=True)
class Scene:
    """A photograph to be painted, the picture that starts as, and all there is to know about the goal."""

    network: Network
    goal: Goal
    content: np.ndarray
    picture: np.ndarray

    @cached_property
    def tile_optimizer(self) -> TileOptimizer:
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
        loss = sum(
            [variation, *self.terms(self.tile_optimizer.network(leaf, self.tile_optimizer.objective.layers)).values()]
        )
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
            error = STYLES[goal.style_loss](matrix, matrix.new_ones(matrix.shape[1]), gram, mean)
            terms[f"style {name}"] = goal.style_weight * weight / sum(goal.style_layers.values()) * error
        for name in goal.content_layers:
            kept = self.tile_optimizer.network(to_tensor(self.content), [name])[name]
            error = (features[name] - kept).square().sum() / kept.square().sum()
            terms[f"content {name}"] = goal.content_weight * error
        return terms

    def tile_content(self, tile: Tile) -> dict[str, Tensor]:
        """Features of the photograph under a tile, seen from the tile alone."""
        return self.tile_optimizer.content_features(to_tensor(crop(self.content, tile.outer)))

    def measured(self, picture: np.ndarray, grid: TileGrid) -> TileSums:
        """Sums of a picture, tile by tile."""
        return total(
            self.tile_optimizer.measure(
                to_tensor(crop(picture, tile.outer)), self.tile_content(tile), window(grid, tile)
            )
            for tile in grid
        )

    def losses(self, picture: np.ndarray) -> dict[str, float]:
        """Losses of a picture, the total among them."""
        losses = self.tile_optimizer.objective.losses(self.measured(picture, one_tile(self)))
        return {**losses, "total": self.tile_optimizer.objective.total(losses)}


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
    """The tile's blend weights as the tile optimizer takes them."""
    return Window.of(*grid.window(tile))


def render(
    scene: Scene, grid: TileGrid, rounds: int, per_round: int, consensus: bool = True, **choices: object
) -> tuple[np.ndarray, dict[str, float]]:
    """Paint a picture as the pipeline does: map over tiles, blend, add up; return canvas and losses of its pixels."""
    steps = StepSchedule(per_round, first=0, first_of_level=0, **{"learning_rate": 0.02} | choices)
    canvas = steps.layout.start(scene.picture)
    sums = scene.measured(scene.picture, grid)
    for made in range(rounds):
        done = made * per_round
        painted = [
            scene.tile_optimizer.paint(
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


def paint_alone(
    scene: Scene, state: np.ndarray, sums: TileSums, steps: StepSchedule, consensus: bool = True
) -> tuple[np.ndarray, TileSums]:
    """Paint the whole picture as one tile."""
    (tile,) = grid = one_tile(scene)
    return scene.tile_optimizer.paint(state, scene.tile_content(tile), window(grid, tile), sums, steps, consensus)
