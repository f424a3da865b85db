"""Every formula of the TV loss: its number worked out by hand, its gradient, and its sums over tiles."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from muralist.model.losses.terms import PICTURE as PIXELS
from muralist.model.losses.terms import PictureSize, TileView
from muralist.model.losses.variation import SMOOTHING, TV_LOSSES, TotalVariationTerm, chroma
from muralist.model.statistics import Window
from muralist.tiling.grid import TileGrid

SUM_FORMS = ("l2-sum", "l1-sum")


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Random float64 numbers around zero."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def full(picture: Tensor) -> Window:
    """A window of ones in the picture's number type."""
    return Window(*(torch.ones(n, dtype=picture.dtype) for n in picture.shape[-2:]))


def term(name: str, height: int, width: int, tv_chroma: float = 0.0, sum_scale: float = 1.0) -> TotalVariationTerm:
    """The term for a canvas, with a weight that undoes the count of its pixels."""
    size = PictureSize(height, width, loss_pixels=round(sum_scale * height * width))
    return TotalVariationTerm(weight=1 / size.pixels, size=size, formula=name, chroma=tv_chroma)


def sums(variation: TotalVariationTerm, picture: Tensor, window: Window | None = None) -> dict[str, Tensor]:
    """Sums of a tile, or of a picture that is its own only tile."""
    return variation.sums(TileView(picture, {}, {}, window or full(picture)))


def gradient(variation: TotalVariationTerm, picture: Tensor) -> Tensor:
    """Gradient at the pixels."""
    return variation.gradient(TileView(picture, {}, {}, full(picture)), {}, {})[PIXELS]


def value(picture: Tensor, name: str, tv_chroma: float = 0.0, sum_scale: float = 1.0) -> float:
    """Loss of a picture that is its own only tile."""
    variation = term(name, *picture.shape[-2:], tv_chroma, sum_scale)
    return variation.value(sums(variation, picture))


def loss(picture: Tensor, name: str, tv_chroma: float = 0.0) -> Tensor:
    """The formulas once more, as one would write them for a whole picture; pictures of one row or column, too."""
    height, width = picture.shape[-2:]
    down, right = picture.diff(dim=-2), picture.diff(dim=-1)
    falling = picture[..., 1:, 1:] - picture[..., :-1, :-1]
    rising = picture[..., 1:, :-1] - picture[..., :-1, 1:]
    if name == "vectorial":
        if 1 in (height, width):
            return 0 * picture.sum()
        pixels = picture + (1 + tv_chroma) ** 0.5 * chroma(picture) - chroma(picture)
        fours = F.unfold(pixels.transpose(0, 1), 2)
        squares = (4 * fours.var(1, correction=0)).sum(0)
        return (torch.sqrt(squares + SMOOTHING**2) - SMOOTHING).sum() / (height * width)
    if name == "l2":
        colored = [d - d.mean(1, keepdim=True) for d in (down, right)]
        square = sum(d.square().sum() for d in (down, right)) + tv_chroma * sum(d.square().sum() for d in colored)
        return square / (height * width)
    if name == "l2-9point":
        axes, diagonals = (a.square().sum() + b.square().sum() for a, b in ((down, right), (falling, rising)))
        return 2 * (axes / 3 + diagonals / 12) / (3 * height * width)
    form, _, kind = name.partition("-")
    changes = [d.square() if form == "l2" else d.abs() for d in (down, right)]
    return sum(d.sum() if kind == "sum" else d.sum() / max(1, d.numel()) for d in changes)


# Red is [[0, 1, 3], [2, 5, 10]], green is twice that, blue is zero: squares are 1 + 4 times red's, and
# absolutes 1 + 2 times. Red, down: 2, 4, 7; right: 1, 2, 3, 5; falling: 5, 9; rising: 1, 2. H = 2, W = 3.
RED = torch.tensor([[0.0, 1.0, 3.0], [2.0, 5.0, 10.0]], dtype=torch.float64)
PICTURE = torch.stack([RED, 2 * RED, 0 * RED])[None]
DOWN, RIGHT = 4 + 16 + 49, 1 + 4 + 9 + 25  # 69, 39
FALLING, RISING = 25 + 81, 1 + 4  # 106, 5
# Blocks of 2 x 2: 0, 1, 2, 5 have a mean of 2, and 1, 3, 5, 10 one of 4.75.
SQUARES = 5 * (4 + 1 + 0 + 9), 5 * (3.75**2 + 1.75**2 + 0.25**2 + 5.25**2)
BY_HAND = {
    "vectorial": sum((0.125**2 + square) ** 0.5 - 0.125 for square in SQUARES) / 6,
    "l2": 5 * (69 + 39) / 6,
    "l2-mean": 5 * (69 / (3 * 1 * 3) + 39 / (3 * 2 * 2)),
    "l2-sum": 5 * (69 + 39),
    "l2-9point": 2 / (3 * 6) * 5 * ((69 + 39) / 3 + (106 + 5) / 12),
    "l1-mean": 3 * (13 / (3 * 1 * 3) + 11 / (3 * 2 * 2)),
    "l1-sum": 3 * (13 + 11),
}


@pytest.mark.parametrize("name", TV_LOSSES)
def test_formulas_by_hand(name):
    """Every formula, worked out for a picture of six pixels; a case is written for every name."""
    assert (DOWN, RIGHT, FALLING, RISING) == (69, 39, 106, 5)
    assert value(PICTURE, name) == pytest.approx(BY_HAND[name], rel=1e-12)


def test_chroma_by_hand():
    """What is not gray counts once more: of (1, 2, 0) that is (0, 1, -1), 2 of 5."""
    assert chroma(torch.tensor([1.0, 2.0, 0.0]).view(1, 3, 1, 1)).flatten().tolist() == [0, 1, -1]
    assert value(PICTURE, "l2", tv_chroma=7.0) == pytest.approx((5 + 7 * 2) * (69 + 39) / 6, rel=1e-12)
    lengths = sum((0.125**2 + square * (5 + 7 * 2) / 5) ** 0.5 - 0.125 for square in SQUARES)
    assert value(PICTURE, "vectorial", tv_chroma=7.0) == pytest.approx(lengths / 6, rel=1e-12)


@pytest.mark.parametrize("name", [name for name in TV_LOSSES if name not in ("vectorial", "l2")])
def test_chroma_counts_for_our_own_formulas_only(name):
    """Published formulas stay what they are, whatever color costs."""
    picture = noise(1, 3, 4, 5)
    assert value(picture, name, tv_chroma=7.0) == value(picture, name)
    gradients = [gradient(term(name, 4, 5, tv_chroma), picture) for tv_chroma in (0.0, 7.0)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize("name", TV_LOSSES)
@pytest.mark.parametrize(("height", "width"), [(7, 9), (2, 2), (1, 6), (6, 1), (1, 1)])
@pytest.mark.parametrize("tv_chroma", [0.0, 2.5])
def test_gradients_are_autograds(name, height, width, tv_chroma):
    """Value and gradient are those of the formula written for a whole picture, for rows and columns of pixels too."""
    leaf = noise(1, 3, height, width, seed=1).requires_grad_()
    wanted = loss(leaf, name, tv_chroma)
    (grad,) = torch.autograd.grad(wanted, leaf)
    assert value(leaf.detach(), name, tv_chroma) == pytest.approx(float(wanted.detach()), rel=1e-12)
    found = gradient(term(name, height, width, tv_chroma), leaf.detach())
    torch.testing.assert_close(found, grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", TV_LOSSES)
def test_a_flat_picture_does_not_vary(name):
    """Where nothing changes there is neither loss nor gradient."""
    flat = torch.full((1, 3, 5, 6), 0.4)
    assert value(flat, name) == 0
    assert not gradient(term(name, 5, 6), flat).any()


def exact(factor: np.ndarray) -> np.ndarray:
    """Bring float32 weights, which sum to one within 6e-8, to a grid on which they sum to exactly one."""
    return np.round(factor.astype(np.float64) * 2**20) / 2**20


def numbers(tensors: dict[str, Tensor]) -> dict[str, float]:
    """Sums as plain numbers."""
    return {name: float(value) for name, value in tensors.items()}


@pytest.mark.parametrize("name", TV_LOSSES)
@pytest.mark.parametrize(("tile", "overlap", "halo"), [(32, 16, None), (48, 8, 1), (200, 16, None), (40, 16, 8)])
def test_sums_of_tiles_add_up(name, tile, overlap, halo):
    """Every pair of neighbors counts once: the sums of all tiles are those of the whole picture, for odd sizes too."""
    grid = TileGrid(height=93, width=118, tile=tile, overlap=overlap, stride=1, halo=halo)
    picture, variation = noise(1, 3, 93, 118), term(name, 93, 118, 1.5)
    whole, total = numbers(sums(variation, picture)), {}
    for part in grid:
        window = Window.of(*(exact(factor) for factor in grid.window(part)))
        found = numbers(sums(variation, picture[(..., *part.outer.inside(grid.box))], window))
        total = {key: total.get(key, 0) + found[key] for key in found}
    assert len(grid) > 1 or tile == 200
    assert total == pytest.approx(whole, rel=1e-9)
    assert variation.value(total) == pytest.approx(value(picture, name, 1.5), rel=1e-9)


@pytest.mark.parametrize("name", TV_LOSSES)
def test_gradient_inside_a_tile_is_the_pictures(name):
    """One pixel of context suffices: inside, a tile's gradient is the whole canvas's to the last bit."""
    picture, variation = noise(1, 3, 12, 14), term(name, 12, 14, 1.5)
    whole, tile = (gradient(variation, part) for part in (picture, picture[..., 2:9, 3:11]))
    assert torch.equal(tile[..., 1:-1, 1:-1], whole[..., 3:8, 4:10])


@pytest.mark.parametrize("name", TV_LOSSES)
def test_sum_scale_acts_on_sums_only(name):
    """Value and gradient of formulas that grow with the picture are scaled, those of means are not."""
    picture, factor = noise(1, 3, 4, 5), 0.25 if name in SUM_FORMS else 1.0
    assert value(picture, name, sum_scale=0.25) == pytest.approx(factor * value(picture, name), rel=1e-12)
    scaled, plain = (gradient(term(name, 4, 5, sum_scale=scale), picture) for scale in (0.25, 1.0))
    torch.testing.assert_close(scaled, factor * plain, rtol=1e-12, atol=0)
