"""The style term: how far Gram matrices and means of features are from the style picture's.

A layer's statistics are means over all positions of a picture: G = mean of f f^T (the Gram matrix), m = mean of f.
S and t are the same of the style picture, N is the number of channels, |.| the Frobenius norm. Everything is
a function of sums over positions, so it is exact over tiles. Published formulas that divide the unscaled sum F F^T by a
multiple of the number of positions M are written here for means, which gives the same number when painting and style
picture are equally large, as they were there, and a meaningful one when they are not.

    relative           |G - S|^2 / |S|^2                    muralist's own: no units, alike for all networks
    gram-w2            relative / 3 + 2/3 (|m - t|^2 + tr(C - D) X / 2) / (|t|^2 + tr D)
                       X solves E X + X E = C - D with E = D + 0.03 d on the diagonal; d: largest eigenvalue of D;
                       muralist's own: the second part is w2 to second order around the style picture
    gatys              |G - S|^2 / (4 N^2)                  Gatys et al. 2015, eq. 4
    log0, fermilab     the same; log0 counts layers 0.5, 1, 1.5, 3, 4
    gatys-hw           |G - S|^2 / N^2                      mean square, Gram matrices divided by M
    gcucurull          the same
    gatys-chw          |G - S|^2 / N^4                      mean square, Gram matrices divided by N M (jcjohnson)
    prisma             the same (anishathalye)
    spst               |G - S|^2 / N^4 + 10/N (|m - t|^2 + |s - u|^2)
                       s, u: standard deviations (Galerne et al. 2022)
    w2                 |m - t|^2 / N + tr(C + D - 2 (D^1/2 C D^1/2)^1/2) / N
                       C, D: covariances + 1e-4 on the diagonal; squared Wasserstein-2 distance of two normal
                       distributions, per channel (crowsonkb)

A network may bring a metric: for a layer, heads H (rows, C + 1) that map its features f to those of a larger network,
H [f; 1]. Every formula is then applied to H [f; 1] instead of f, which needs only G and m: the Gram matrix of H [f; 1]
is H A H^T with A = [[G, m], [m^T, 1]], and its mean the last column of H A. So the distance is that of the larger
network, and a step costs no more than without heads.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..statistics import as_tensor
from .means import Means, MeansLoss, MeansTerm

GRAM_SHARE = 1 / 3  # of the relative Gram distance in `gram-w2`
LEAST_VARIANCE = 0.03  # as a share of the largest; what varies less in the style picture does not weigh more
LEAST_ENERGY = 1e-8  # as a share of all energy, so that a style picture of one color divides by no zero
COVARIANCE_EPSILON = 1e-4
DEVIATION_EPSILON = 1e-8


@dataclass(frozen=True)
class GramStats:
    """Means over the positions of a layer: `gram` (C, C) of f f^T, `mean` (C,) of f; at least float32."""

    gram: Tensor
    mean: Tensor

    def mapped(self, heads: Tensor) -> "GramStats":
        """Statistics of the features heads @ [f; 1], for heads (rows, C + 1)."""
        column = torch.cat([self.mean, self.mean.new_ones(1)])
        augmented = torch.cat([torch.cat([self.gram, self.mean[None]]), column[:, None]], 1)
        half = heads @ augmented
        return GramStats(half @ heads.T, half[:, -1])

    @property
    def covariance(self) -> Tensor:
        """Covariance of the channels (C, C)."""
        return self.gram - torch.outer(self.mean, self.mean)

    @property
    def deviation(self) -> Tensor:
        """Standard deviation of every channel (C,); never quite zero, so that it has a gradient."""
        return (self.gram.diagonal() - self.mean.square()).clamp(min=0).add(DEVIATION_EPSILON).sqrt()


Distance = Callable[[GramStats], Tensor]


def _gram_error(divisor: Callable[[GramStats], float | Tensor]) -> Callable[[GramStats], Distance]:
    """Squared difference of Gram matrices over something that depends on the target alone."""

    def to(target: GramStats) -> Distance:
        over = divisor(target)
        return lambda now: (now.gram - target.gram).square().sum() / over

    return to


def _spst(target: GramStats) -> Distance:
    gram = gatys_chw(target)
    channels, mean, deviation = len(target.mean), target.mean, target.deviation

    def distance(now: GramStats) -> Tensor:
        moments = (now.mean - mean).square().sum() + (now.deviation - deviation).square().sum()
        return gram(now) + 10 / channels * moments

    return distance


def _w2(target: GramStats) -> Distance:
    """The W2 distance. It needs only eigenvalues, whose derivative is stable where that of eigenvectors is not."""
    wanted = _regular(target)
    values, vectors = torch.linalg.eigh(wanted)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T

    def distance(now: GramStats) -> Tensor:
        covariance = _regular(now)
        finite = covariance.isfinite().all()  # otherwise there are no eigenvalues; the round is repeated
        shares: Tensor = torch.linalg.eigvalsh(root @ torch.where(finite, covariance, wanted) @ root)
        shared = shares.clamp(min=COVARIANCE_EPSILON**2).sqrt().sum()
        apart = (now.mean - target.mean).square().sum()
        distance = apart + (wanted.trace() + covariance.trace() - 2 * shared).to(apart)
        return distance / len(target.mean) * torch.where(finite, 1.0, torch.nan).to(apart)

    return distance


def _gram_w2(target: GramStats) -> Distance:
    """Compare means and covariances as well: means dominate a Gram distance, which hardly sees hues and fine strokes.

    The W2 distance from D to a covariance D + Delta is, to second order, half the sum of (Delta_ij)^2 / (d_i + d_j), in
    the basis of D's eigenvectors (R. Bhatia et al. 2019, "On the Bures-Wasserstein distance between positive definite
    matrices"). It needs eigenvectors of the style picture alone, once, and none of the painting.
    """
    gram, wanted = relative(target), target.covariance
    values, vectors = torch.linalg.eigh(_wide(wanted))
    energy = values.sum() + _wide(target.mean).square().sum()
    values = values.clamp(min=0) + LEAST_VARIANCE * values.max() + LEAST_ENERGY * energy
    weights = ((1 - GRAM_SHARE) / 2 / (values[:, None] + values) / energy).to(wanted)
    means, basis = ((1 - GRAM_SHARE) / energy).to(wanted), vectors.to(wanted)

    def distance(now: GramStats) -> Tensor:
        change = basis.T @ (now.covariance - wanted) @ basis
        w2: Tensor = means * (now.mean - target.mean).square().sum() + (weights * change.square()).sum()
        return GRAM_SHARE * gram(now) + w2

    return distance


def _regular(statistics: GramStats) -> Tensor:
    """Covariance that is surely positive."""
    wide = _wide(statistics.covariance)
    return wide + COVARIANCE_EPSILON * torch.eye(len(wide), dtype=wide.dtype, device=wide.device)


def _wide(values: Tensor) -> Tensor:
    """Convert to float64, on the processor if the device has no float64 or cannot compute eigenvalues."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def in_metric(distance_to: Callable[[GramStats], Distance], heads: Tensor, target: GramStats) -> Distance:
    """Distance to a target, measured on heads @ [f; 1] instead of on the features f.

    Parameters
    ----------
    distance_to : callable (GramStats) -> Distance
        A value of `STYLE_LOSSES`.
    heads : Tensor (rows, C + 1)
        Of the layer; the last column is for a constant.
    target : GramStats
        Of the features f.
    """
    to_target = distance_to(target.mapped(heads))
    return lambda now: to_target(now.mapped(heads))


relative = _gram_error(lambda target: target.gram.square().sum())
gatys = _gram_error(lambda target: 4 * len(target.mean) ** 2)
gatys_hw = _gram_error(lambda target: len(target.mean) ** 2)
gatys_chw = _gram_error(lambda target: len(target.mean) ** 4)

STYLE_LOSSES: dict[str, Callable[[GramStats], Distance]] = {
    "relative": relative,
    "gram-w2": _gram_w2,
    "gatys": gatys,
    "gatys-hw": gatys_hw,
    "gatys-chw": gatys_chw,
    "log0": gatys,
    "fermilab": gatys,
    "gcucurull": gatys_hw,
    "prisma": gatys_chw,
    "spst": _spst,
    "w2": _w2,
}


@dataclass(frozen=True, kw_only=True)
class StyleTerm(MeansTerm):
    """The style term.

    Attributes
    ----------
    formula : str
        A key of `STYLE_LOSSES`.
    metric : mapping layer -> ndarray (rows, C + 1)
        Heads of the layers that are measured in a larger network's space.
    """

    name = "style"
    formula: str = "relative"
    metric: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def waits(self) -> bool:
        """Whether eigenvalues are computed: CUDA's libraries make the host read back whether that succeeded."""
        return self.formula == "w2"

    def distance(self, layer: str, target: Means) -> MeansLoss:
        """Make the formula's loss of a layer."""
        distance_to, wanted = STYLE_LOSSES[self.formula], GramStats(**target)
        if layer in self.metric:
            distance = in_metric(distance_to, as_tensor(self.metric[layer], self.like), wanted)
        else:
            distance = distance_to(wanted)
        return lambda now: distance(GramStats(**now))

    def pull(self, matrix: Tensor, grad: Means, factor: float) -> Tensor:
        """Compute (D + D^T) f + d: constant matrix times feature."""
        change = (factor * (grad["gram"] + grad["gram"].T)).to(matrix.dtype)
        return torch.addmm((factor * grad["mean"]).to(matrix.dtype), matrix, change)
