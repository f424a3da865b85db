"""Every formula of the style loss: its number worked out by hand, and its gradient."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from muralist.model.losses.means import means_grad
from muralist.model.losses.style import COVARIANCE_EPSILON, STYLE_LOSSES, Distance, GramStats, in_metric


def numbers(gram: list[list[float]], mean: list[float]) -> GramStats:
    """Statistics from numbers."""
    return GramStats(torch.tensor(gram, dtype=torch.float64), torch.tensor(mean, dtype=torch.float64))


def gradient_of(distance: Distance, now: GramStats) -> GramStats:
    """Derivative of a distance with respect to Gram matrix and mean."""
    return GramStats(**means_grad(lambda means: distance(GramStats(**means)), vars(now)))


def statistics(features: Tensor) -> GramStats:
    """Statistics of features (positions, channels)."""
    return GramStats(features.T @ features / len(features), features.mean(0))


def noise(*shape: int, seed: int) -> Tensor:
    """Random float64 numbers, mostly positive, as features are."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.7


# N = 3 channels, the last one dead. Covariances diag(4, 1, 0) and diag(1, 9, 4); the means are (1, 1, 0) and 0.
NOW = numbers([[5, 1, 0], [1, 2, 0], [0, 0, 0]], [1, 1, 0])
TARGET = numbers([[1, 0, 0], [0, 9, 0], [0, 0, 4]], [0, 0, 0])
# G - S = [[4, 1, 0], [1, -7, 0], [0, 0, -4]]: 16 + 1 + 1 + 49 + 16 = 83. |S|^2 = 1 + 81 + 16 = 98. |m - t|^2 = 2.
# Deviations are (2, 1, 0) and (1, 3, 2), with 1e-8 added below the root; (2 - 1)^2 + (1 - 3)^2 + (0 - 2)^2 is 9.
# Diagonal covariances commute, so tr(C + D - 2 (C D)^1/2) = sum (sqrt c - sqrt d)^2: the same, with 1e-4 for 1e-8.
APART = {
    epsilon: sum((math.sqrt(c + epsilon) - math.sqrt(d + epsilon)) ** 2 for c, d in ((4, 1), (1, 9), (0, 4)))
    for epsilon in (1e-8, 1e-4)
}
BY_HAND = {
    "relative": 83 / 98,
    # D's eigenvalues, all with 0.03 of the largest and 1e-8 of the 14 that |t|^2 and tr D are.
    "gram-w2": 83 / 98 / 3 + 2 / 3 * (2 + sum(c**2 / (d + 0.27 + 14e-8) for c, d in ((3, 1), (8, 9), (4, 4))) / 4) / 14,
    "gatys": 83 / 36,  # 4 N^2
    "log0": 83 / 36,
    "fermilab": 83 / 36,
    "gatys-hw": 83 / 9,  # N^2
    "gcucurull": 83 / 9,
    "gatys-chw": 83 / 81,  # N^4
    "prisma": 83 / 81,
    "spst": 83 / 81 + 10 / 3 * (2 + APART[1e-8]),
    "w2": (2 + APART[1e-4]) / 3,
}


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_formulas_by_hand(name):
    """Every formula, worked out for three channels; a case is written for every name."""
    assert APART[1e-4] == pytest.approx(9, rel=0.02)
    assert float(STYLE_LOSSES[name](TARGET)(NOW)) == pytest.approx(BY_HAND[name], rel=1e-12)


# Features F, A of N = 2 channels and M = 3 positions, written down as published formulas have them: unscaled sums.
# F F^T = [[1 + 4 + 4, 0 + 2 + 4], [., 0 + 1 + 4]] = [[9, 6], [6, 5]]; A A^T = [[1, 1], [1, 2]]; squares of the
# difference: 64 + 25 + 25 + 9 = 123.
F = torch.tensor([[1, 0], [2, 1], [2, 2]], dtype=torch.float64)
A = torch.tensor([[1, 1], [0, 1], [0, 0]], dtype=torch.float64)
PUBLISHED = {
    "gatys": 123 / (4 * 2**2 * 3**2),  # 1 / (4 N^2 M^2), Gatys et al. 2015
    "log0": 123 / (4 * 2**2 * 3**2),
    "fermilab": 123 / (4 * 2**2 * 3**2),
    "gatys-hw": 123 / 3**2 / 2**2,  # Grams over M, mean square
    "gcucurull": 123 / (2**2 * 3**2),
    "gatys-chw": 123 / (2 * 3) ** 2 / 2**2,  # Grams over N M, mean square
    "prisma": 2 * (123 / (2 * 3) ** 2 / 2) / 2**2,  # 2 * l2_loss / size, l2_loss = half the sum of squares
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_formulas_by_hand(name):
    """Written for means, the formulas give the numbers that the published ones give for sums."""
    assert float(STYLE_LOSSES[name](statistics(A))(statistics(F))) == pytest.approx(PUBLISHED[name], rel=1e-12)


@pytest.mark.parametrize("name", STYLE_LOSSES)
@pytest.mark.parametrize("shape", [(50, 4), (3, 5)])
def test_a_distance_to_itself_is_none(name, shape):
    """What meets its target has no loss and no gradient, also with fewer positions than channels and a dead channel."""
    features = noise(*shape, seed=1)
    features[:, 0] = 0
    now = statistics(features)
    distance = STYLE_LOSSES[name](now)
    assert float(distance(now)) == pytest.approx(0, abs=1e-9)
    found = gradient_of(distance, now)
    gradient = 2 * features @ found.gram + found.mean
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_a_distance_to_another_is_positive(name):
    """What differs costs something."""
    assert float(STYLE_LOSSES[name](statistics(noise(50, 4, seed=2)))(statistics(noise(50, 4, seed=1)))) > 1e-3


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_gradients_by_finite_differences(name):
    """The derivative by Gram matrix and mean is right; a Gram matrix is changed symmetrically, as it always is."""
    now, target = statistics(noise(40, 4, seed=1)), statistics(noise(40, 4, seed=2))
    distance = STYLE_LOSSES[name](target)

    def loss(gram: Tensor, mean: Tensor) -> Tensor:
        return distance(GramStats((gram + gram.T) / 2, mean))

    leaves = [value.clone().requires_grad_() for value in (now.gram, now.mean)]
    assert torch.autograd.gradcheck(loss, leaves)


@pytest.mark.parametrize("name", STYLE_LOSSES)
@pytest.mark.parametrize("change", ["few", "dead", "both dead", "constant"])
def test_gradients_at_singular_covariances(name, change):
    """With few positions, dead and constant channels the derivative by the features is right as well."""
    features, style = noise(4 if change == "few" else 20, 5, seed=1), noise(20, 5, seed=2)
    if change in ("dead", "both dead"):
        features[:, 2] = 0
    if change == "both dead":
        style[:, 2] = 0
    if change == "constant":
        features[:, 2] = 3
    distance = STYLE_LOSSES[name](statistics(style))
    assert torch.autograd.gradcheck(lambda f: distance(statistics(f)), features.requires_grad_(), atol=1e-4)


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_gradients_are_finite_for_estimates_that_no_picture_has(name):
    """A tile's estimate may have negative variances; loss and gradient are finite numbers still."""
    gram = torch.diag(torch.tensor([1.0, -0.5, 0.0, 2.0]))
    now, target = GramStats(gram, torch.full((4,), 0.9)), statistics(noise(20, 4, seed=2).float())
    distance = STYLE_LOSSES[name](target)
    found = gradient_of(distance, now)
    assert math.isfinite(float(distance(now)))
    assert found.gram.isfinite().all()
    assert found.mean.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_gradients_have_the_number_type_of_the_statistics(name, dtype):
    """Whatever a formula computes in, gradients come back as they are needed, and leave their statistics alone."""
    now, target = statistics(noise(40, 4, seed=1).to(dtype)), statistics(noise(40, 4, seed=2).to(dtype))
    found = gradient_of(STYLE_LOSSES[name](target), now)
    assert (found.gram.dtype, found.mean.dtype) == (dtype, dtype)
    assert (found.gram.shape, found.mean.shape) == ((4, 4), (4,))
    assert not now.gram.requires_grad


@pytest.mark.parametrize(("name", "count"), [("w2", 2), ("gram-w2", 1)])
def test_apples_gpus_are_asked_for_no_eigenvalues(name, count):
    """Older torch finds none there, and none in float64; the distance is on the device all the same."""
    with FakeTensorMode(), torch.no_grad():
        there = GramStats(torch.empty(3, 3, device="mps"), torch.empty(3, device="mps"))
        with Eigenvalues() as asked:
            found = STYLE_LOSSES[name](there)(there)
    assert (found.device.type, found.dtype) == ("mps", torch.float32)
    assert asked.of == [("cpu", torch.float64)] * count


class Eigenvalues(TorchDispatchMode):
    """Notes where and in what eigenvalues are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.of: list[tuple[str, torch.dtype]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Note it."""
        if "_linalg_eigh" in str(func):
            self.of.append((args[0].device.type, args[0].dtype))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("positions", "channels"), [(60, 5), (4, 6)])
def test_w2_is_the_distance_of_normal_distributions(positions, channels):
    """It is the squared Wasserstein-2 distance per channel, with the matrix roots that SciPy finds."""
    now, target = statistics(noise(positions, channels, seed=1)), statistics(noise(80, channels, seed=2))
    c, d = (each.covariance.numpy() + COVARIANCE_EPSILON * np.eye(channels) for each in (now, target))
    root = np.real(sqrtm(d))
    bures = np.trace(c + d - 2 * np.real(sqrtm(root @ c @ root)))
    wanted = (float((now.mean - target.mean).square().sum()) + bures) / channels
    assert float(STYLE_LOSSES["w2"](target)(now)) == pytest.approx(wanted, rel=1e-6)


def test_gram_w2_is_w2_near_the_target():
    """To second order its part without Gram matrices is the Wasserstein-2 distance, relative to the energy."""
    style = noise(80, 5, seed=2)
    target = statistics(style)
    now = statistics(style + 0.01 * noise(80, 5, seed=1))
    w2 = len(target.mean) * STYLE_LOSSES["w2"](target)(now) / (target.mean.square().sum() + target.covariance.trace())
    found = (STYLE_LOSSES["gram-w2"](target)(now) - STYLE_LOSSES["relative"](target)(now) / 3) * 1.5
    assert float(found) == pytest.approx(float(w2), rel=0.02)


def test_gram_w2_has_a_gradient_where_nothing_varies_in_the_style_picture():
    """A picture of one color asks for one color."""
    target = statistics(torch.ones(20, 3, dtype=torch.float64))
    found = gradient_of(STYLE_LOSSES["gram-w2"](target), statistics(noise(20, 3, seed=1)))
    assert found.gram.isfinite().all()
    assert (found.gram.diagonal() > 0).all()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_broken_statistics_have_broken_gradients(name, value):
    """Numbers that are not finite raise nothing and do not go unnoticed: the tile optimizer takes such a step back."""
    now = statistics(noise(40, 4, seed=1))
    now.gram[1, 1] = value
    found = gradient_of(STYLE_LOSSES[name](statistics(noise(40, 4, seed=2))), now)
    assert not found.gram.isfinite().all()


def test_covariance_and_deviation():
    """Covariance is G - m m^T; deviations are the roots of its diagonal, and never quite zero."""
    assert NOW.covariance.tolist() == [[4, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert NOW.deviation.tolist() == pytest.approx([2, 1, 1e-4], rel=1e-8)


# ------------------------------------------------------------------------------------------------------- in a metric

HEADS = noise(7, 5, seed=9)  # to seven features of a larger network, from four of this one and a constant


def mapped(features: Tensor) -> Tensor:
    """What the heads make of features (positions, channels)."""
    return torch.cat([features, torch.ones(len(features), 1, dtype=features.dtype)], 1) @ HEADS.T


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_a_distance_in_a_metric_is_that_of_the_mapped_features(name):
    """From Gram matrix and mean alone follows what every formula gives for the larger network's features."""
    now, target = noise(60, 4, seed=1), noise(50, 4, seed=2)
    found = in_metric(STYLE_LOSSES[name], HEADS, statistics(target))(statistics(now))
    wanted = STYLE_LOSSES[name](statistics(mapped(target)))(statistics(mapped(now)))
    assert float(found) == pytest.approx(float(wanted), rel=1e-9)


def test_heads_that_are_turned_measure_the_same_gram_distance():
    """Only H^T H counts, so heads to hundreds of features may be kept as a square matrix."""
    now, target = statistics(noise(60, 4, seed=1)), statistics(noise(50, 4, seed=2))
    square = torch.linalg.qr(HEADS)[1]
    for name in ("relative", "gram-w2", "gatys", "w2"):
        whole, reduced = (in_metric(STYLE_LOSSES[name], heads, target)(now) for heads in (HEADS, square))
        share = {"gatys": (5 / 7) ** -2, "w2": 7 / 5}.get(name, 1)  # formulas divide by the number of rows
        assert float(reduced) == pytest.approx(share * float(whole), rel=1e-6)


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_gradients_in_a_metric(name):
    """The derivative by the features themselves is right, too."""
    target = statistics(noise(20, 4, seed=2))
    distance = in_metric(STYLE_LOSSES[name], HEADS, target)
    assert torch.autograd.gradcheck(
        lambda f: distance(statistics(f)), noise(20, 4, seed=1).requires_grad_(), eps=1e-5, atol=1e-4
    )
