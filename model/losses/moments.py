"""The moments term: how far the distribution of every channel is from the style picture's, by its first five moments.

With s = sigmoid(f), which lies in [0, 1], m its mean over all positions and c_k the mean of (s - m)^k, t and d_k the
same of the style picture, and |.| the Euclidean norm over channels:

    |m - t| + |c_2 - d_2| + ... + |c_5 - d_5|

This is the central moment discrepancy of Zellinger et al. 2017 as Kalischek, Wegner and Schindler (2021) use it. It
compares every channel by itself; correlations between channels are left to Gram matrices.

Central moments follow from the means of s^k, which add up over tiles; here of (s - 1/2)^k, so that little cancels.
Differs from the paper in that the layer's name decides whether features are taken before ReLU (`conv3_1`) or after it
(`relu3_1`). For the paper's weights, 1000 / N^2 for a layer of N channels, set `style_layers` and `moments_weight`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import torch
from torch import Tensor

from ..regions import Part
from ..statistics import Window, row_blocks
from ..ways import GramProduct
from .means import Means, MeansLoss, MeansTerm

ROUNDING = 1e-12  # added below the root of a squared norm, which else has no gradient at zero


@dataclass(frozen=True, kw_only=True)
class MomentsTerm(MeansTerm):
    """The moments term."""

    name = "moments"
    kinds = ("power1", "power2", "power3", "power4", "power5")

    @classmethod
    def measure(
        cls, features: Tensor, window: Window, part: Part | None = None, product: GramProduct = "float32"
    ) -> dict[str, Tensor]:
        """Sum up (s - 1/2)^k (C,), k from 1 to 5."""
        sums: dict[str, Tensor] = {}
        for values, weights in row_blocks(features, window, part):
            squashed = _squashed(values)
            power = torch.ones_like(squashed)
            for kind in cls.kinds:
                power = power * squashed
                sums[kind] = weights @ power + sums.get(kind, 0)
        return sums

    def distance(self, layer: str, target: Means) -> MeansLoss:
        """Make the discrepancy from a target."""
        wanted = central([target[kind] for kind in self.kinds])

        def discrepancy(now: Means) -> Tensor:
            found = central([now[kind] for kind in self.kinds])
            return torch.stack([_norm(a - b) for a, b in zip(found, wanted, strict=True)]).sum()

        return discrepancy

    def pull(self, matrix: Tensor, grad: Means, factor: float) -> Tensor:
        """Compute sum_k k d_k (s - 1/2)^(k - 1) s', where s' = 1/4 - (s - 1/2)^2."""
        squashed = _squashed(matrix)
        found = torch.zeros_like(squashed)
        for power, kind in reversed(list(enumerate(self.kinds, 1))):
            found = found * squashed + (factor * power * grad[kind]).to(matrix.dtype)
        return found * (0.25 - squashed.square())


def central(raw: Sequence[Tensor]) -> list[Tensor]:
    """Turn the means of x, x^2, ... into the mean of x and the means of (x - mean)^2, (x - mean)^3, ...

    >>> [float(moment) for moment in central([torch.tensor(3.0), torch.tensor(13.0), torch.tensor(63.0)])]
    [3.0, 4.0, 0.0]
    """
    mean, powers = raw[0], [torch.ones_like(raw[0]), *raw]
    return [mean] + [
        torch.stack([comb(k, j) * powers[j] * (-mean) ** (k - j) for j in range(k + 1)]).sum(0)
        for k in range(2, len(powers))
    ]


def _squashed(values: Tensor) -> Tensor:
    """sigmoid(f) - 1/2, without a loss of digits near zero."""
    return torch.tanh(values / 2) / 2


def _norm(values: Tensor) -> Tensor:
    root: Tensor = (values.square().sum() + ROUNDING).sqrt() - ROUNDING**0.5
    return root
