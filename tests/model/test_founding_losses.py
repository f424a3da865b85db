"""The loss of each founding system on one small case, worked out by hand from its write-up.

Everything that is compared with is plain Python: sums over positions as the write-ups have them (Gram matrices not
divided by anything), their own factors, layer weights and term weights, colors of 0 to 255. The presets say the same
in muralist's terms.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from math import sqrt

import numpy as np
import pytest
import torch

from muralist.model.losses.terms import LayerShape, TileView
from muralist.model.objective import Objective
from muralist.model.statistics import Window, as_sums
from muralist.pipeline.context import TunedWeights
from muralist.pipeline.loss_terms import objective
from muralist.pipeline.presets import load_settings

Matrix = tuple[tuple[int, ...], ...]

# A picture of 4 x 6 pixels in 0..255, and features of N channels (rows) at M = 6 positions (2 x 3).
PICTURE = (
    ((1, 2, 2, 3, 3, 1), (1, 1, 2, 2, 3, 3), (5, 5, 2, 2, 2, 2), (5, 4, 4, 4, 4, 2)),
    ((0, 0, 0, 0, 0, 0), (0, 0, 1, 1, 0, 0), (0, 0, 1, 1, 0, 0), (0, 0, 0, 0, 0, 0)),
    ((8, 6, 6, 6, 6, 8), (8, 6, 6, 6, 6, 8), (8, 8, 8, 8, 8, 8), (8, 8, 8, 8, 8, 8)),
)
M = 6
# The painting at style layers 1 to 5, and the style picture there.
PAINTED: dict[int, Matrix] = {
    1: ((1, 0, 2, 0, 1, 1), (0, 1, 1, 0, 2, 0)),
    2: ((1, 1, 0, 0, 0, 0), (0, 0, 2, 1, 0, 0), (1, 0, 0, 0, 0, 3)),
    3: ((3, 0, 1, 0, 0, 0), (1, 0, 0, 2, 0, 1)),
    4: ((0, 1, 0, 1, 0, 1), (1, 0, 1, 0, 1, 0), (0, 0, 0, 2, 2, 0)),
    5: ((0, 0, 0, 0, 1, 0), (2, 0, 0, 1, 0, 0)),
}
STYLE: dict[int, Matrix] = {
    1: ((0, 1, 1, 1, 0, 0), (1, 1, 0, 2, 0, 0)),
    2: ((0, 0, 0, 1, 1, 1), (2, 0, 0, 0, 0, 1), (0, 1, 0, 1, 0, 0)),
    3: ((1, 1, 1, 0, 0, 0), (0, 0, 1, 1, 1, 1)),
    4: ((2, 0, 0, 0, 0, 1), (0, 0, 1, 0, 1, 0), (1, 0, 1, 0, 0, 0)),
    5: ((1, 0, 1, 0, 1, 0), (0, 1, 0, 1, 0, 1)),
}
# The painting and the photograph at the content layer, N = 3.
KEPT: Matrix = ((1, 0, 0, 2, 1, 0), (0, 0, 3, 1, 0, 0), (2, 2, 0, 0, 0, 1))
PHOTOGRAPH: Matrix = ((0, 0, 1, 2, 0, 0), (1, 0, 1, 1, 0, 2), (2, 0, 0, 1, 0, 1))


def gram(features: Matrix) -> list[list[int]]:
    """G = F F^T, summed over positions."""
    return [[sum(a * b for a, b in zip(row, other, strict=True)) for other in features] for row in features]


def square_error(a: list[list[int]] | Matrix, b: list[list[int]] | Matrix) -> int:
    """Sum of squared differences of all entries."""
    return sum((x - y) ** 2 for row, other in zip(a, b, strict=True) for x, y in zip(row, other, strict=True))


def style_error(layer: int) -> int:
    """Sum of (G - A)^2 at a layer."""
    return square_error(gram(PAINTED[layer]), gram(STYLE[layer]))


def channels(layer: int) -> int:
    """N of a style layer."""
    return len(PAINTED[layer])


def l2_loss(values: list[int]) -> float:
    """TensorFlow's: half the sum of squares."""
    return sum(value**2 for value in values) / 2


CONTENT, N = square_error(KEPT, PHOTOGRAPH), 3


def gatys_style(weights: Mapping[int, float]) -> float:
    """Sum over layers of w sum (G - A)^2 / (4 N^2 M^2)."""
    return sum(w * style_error(layer) / (4 * channels(layer) ** 2 * M**2) for layer, w in weights.items())


def fermilab_content() -> float:
    """Sum of (x - p)^2 over 2 sqrt(N) sqrt(M)."""
    return CONTENT / (2 * sqrt(N) * sqrt(M))


def log0() -> float:
    """Write-up 000: 5 content + 100 style, layers weighing 0.5 to 4."""
    return 5 * CONTENT / (4 * N * M) + 100 * gatys_style({1: 0.5, 2: 1, 3: 1.5, 4: 3, 5: 4})


def gcucurull() -> float:
    """Write-up 001: content as a sum, weight 1; 200 for each style layer, over N^2 M^2."""
    return 1 * CONTENT + sum(200 * style_error(layer) / (channels(layer) ** 2 * M**2) for layer in STYLE)


def prisma() -> float:
    """Write-up 002: everything as 2 * l2_loss / size, Gram matrices over N M; weights 5, 100 for each layer, 100."""
    content = 5 * 2 * (CONTENT / 2) / (N * M)
    style = sum(
        100 * 2 * (style_error(layer) / (channels(layer) * M) ** 2 / 2) / channels(layer) ** 2 for layer in STYLE
    )
    rows = [row for color in PICTURE for row in color]
    dx = [b - a for row in rows for a, b in pairwise(row)]
    dy = [b - a for color in PICTURE for upper, row in pairwise(color) for a, b in zip(upper, row, strict=True)]
    return content + style + 100 * 2 * (l2_loss(dy) / len(dy) + l2_loss(dx) / len(dx))


def fermilab(strength: float, weights: Mapping[int, float], content: float = 1) -> float:
    """Write-up 003: content over 2 sqrt(N) sqrt(M), and a strength for the style."""
    return content * fermilab_content() + strength * gatys_style(weights)


def chunks() -> float:
    """Write-up 004, which names no weights: Gatys et al. 2015, 1 to 1000, five layers a fifth each."""
    return CONTENT / 2 + 1000 * gatys_style(dict.fromkeys(STYLE, 1 / 5))


@dataclass(frozen=True)
class Case:
    """What a system's loss is: from the formulas above, and as a number."""

    formula: float
    number: float


ALL_FIVE = dict.fromkeys(STYLE, 1.0)
# sum (G - A)^2 is 18, 67, 61, 43, 8 at layers 1 to 5, of N = 2, 3, 2, 3, 2 channels; sum (x - p)^2 is 17, N = 3. So
# 4 N^2 M^2 is 576 or 1296: with weights of one, style is (18 + 61 + 8) / 576 + (67 + 43) / 1296 = 87/576 + 110/1296.
CASES = {
    # 5 * 17 / 72 + 100 * ((0.5 * 18 + 1.5 * 61 + 4 * 8) / 576 + (1 * 67 + 3 * 43) / 1296)
    "log0": Case(log0(), 39.307485),
    # 17 + 200 * (87 / 144 + 110 / 324)
    "gcucurull": Case(gcucurull(), 205.734568),
    # Squared steps down are 53 + 4 + 16 = 73, right 22 + 4 + 16 = 42; there are 3 * 3 * 6 and 3 * 4 * 5 of them:
    # 5 * 17 / 18 + 100 * (87 / (144 * 4) + 110 / (324 * 9)) + 100 * (73 / 54 + 42 / 60)
    "prisma": Case(prisma(), 228.783865),
    # 17 / (2 * 4.242641) + 500 * (87 / 576 + 110 / 1296)
    "fermilab": Case(fermilab(500, ALL_FIVE), 119.962574),
    # the same with 500 * ((18 + 61) / 576 + 67 / 1296)
    "fermilab-1": Case(fermilab(500, {1: 1, 2: 1, 3: 1}), 96.428624),
    # the same with 500 * ((0.5 * 18 + 1.5 * 61) / 576 + (67 + 2 * 43) / 1296)
    "fermilab-2": Case(fermilab(500, {1: 0.5, 2: 1, 3: 1.5, 4: 2}), 148.270830),
    # 17 / (2 * 4.242641)
    "fermilab-3": Case(fermilab(0, ALL_FIVE), 2.003469),
    # 500 * (87 / 576 + 110 / 1296)
    "fermilab-4": Case(fermilab(500, ALL_FIVE, content=0), 117.959105),
    "fermilab-5": Case(fermilab(500, ALL_FIVE, content=0), 117.959105),
    # 17 / (2 * 4.242641) + 1000 * (87 / 576 + 110 / 1296)
    "fermilab-6": Case(fermilab(1000, ALL_FIVE), 237.921679),
    # 17 / 2 + 1000 / 5 * (87 / 576 + 110 / 1296)
    "chunks": Case(chunks(), 55.683642),
}


def features(matrix: Matrix) -> torch.Tensor:
    """Features (1, N, 2, 3) of a matrix (N, M)."""
    return torch.tensor(matrix, dtype=torch.float64).view(1, len(matrix), 2, 3)


def goal_of(preset: str, **overrides: object) -> Objective:
    """The preset's objective for a picture of 4 x 6 with the small features above."""
    # A sum over the picture counts as it is, not as that of a picture as large as the write-up's.
    settings = load_settings(preset, {"loss_pixels": 24, **overrides})
    style = {layer: STYLE[block(layer)] for layer in settings.active_style_layers}
    targets = {f"style gram {layer}": np.array(gram(matrix)) / M for layer, matrix in style.items()}
    targets |= {f"style mean {layer}": np.mean(matrix, 1) for layer, matrix in style.items()}
    sizes = {layer: LayerShape(len(matrix), M) for layer, matrix in style.items()}
    sizes |= {layer: LayerShape(N, M) for layer in settings.active_content_layers}
    goal = objective(settings, targets, 4, 6, TunedWeights(settings.content_weight))
    size = replace(goal.size, layers=sizes)
    return replace(goal, terms=tuple(replace(term, size=size) for term in goal.terms), size=size)


def block(layer: str) -> int:
    """5 for "relu5_1"."""
    return int(layer.removeprefix("relu").removeprefix("conv").split("_")[0])


def losses(goal: Objective) -> dict[str, float]:
    """Losses of the painting, measured as the tile optimizer does, and their total."""
    picture = torch.tensor(PICTURE, dtype=torch.float64)[None] / 255
    window = Window(torch.ones(4, dtype=torch.float64), torch.ones(6, dtype=torch.float64))
    layers = {term.name: term.layers for term in goal.terms}
    painted = {layer: features(PAINTED[block(layer)]) for layer in layers.get("style", {})}
    painted |= {layer: features(KEPT) for layer in layers.get("content", {})}
    photograph = {layer: features(PHOTOGRAPH) for layer in layers.get("content", {})}
    found = goal.losses(as_sums(goal.sums(TileView(picture, painted, photograph, window))))
    return {**found, "total": goal.total(found)}


def test_the_small_case_by_hand():
    """The integers that the arithmetic above starts from."""
    assert [style_error(layer) for layer in STYLE] == [18, 67, 61, 43, 8]
    assert [channels(layer) for layer in STYLE] == [2, 3, 2, 3, 2]
    assert CONTENT == 17
    assert gram(PAINTED[1]) == [[7, 4], [4, 6]]
    assert gram(STYLE[1]) == [[3, 3], [3, 6]]


@pytest.mark.parametrize("name", CASES)
def test_presets_have_the_losses_of_their_write_ups(name):
    """A preset's total loss on the small case is the number worked out by hand, to 1e-5 of it."""
    assert CASES[name].formula == pytest.approx(CASES[name].number, rel=1e-6)
    assert losses(goal_of(name))["total"] == pytest.approx(CASES[name].number, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "term"), [("fermilab-3", "style"), ("fermilab-4", "content"), ("fermilab-5", "content")]
)
def test_what_does_not_count_is_not_measured(name, term):
    """The experiments with one term only have no layers of the other."""
    assert term not in losses(goal_of(name))


def test_fermilabs_weaker_variant():
    """Strength 50, as the preset's comment says how to get it: a tenth of the style term."""
    assert losses(goal_of("fermilab", style_weight=250))["total"] == pytest.approx(fermilab(50, ALL_FIVE), rel=1e-5)


@pytest.mark.parametrize("name", ["gcucurull", "fermilab", "chunks"])
def test_presets_name_the_size_they_were_made_for(name):
    """Losses that grow with the picture count a larger one as one of the write-up's size, at most 800 x 600."""
    assert 256 * 256 <= (load_settings(name).loss_pixels or 0) <= 800 * 600
