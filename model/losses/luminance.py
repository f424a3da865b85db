"""The luminance term: light and dark stay where the photograph has them, within the range that the style has.

With l the painting's luminance and p the photograph's, both shrunk to means of blocks of pixels:

    mean (l - t)^2 / s^2,    t = s (p - m) / d + u

where m and d are the photograph's mean and deviation, u and s the style picture's at the same scale. The loss is 0 for
the photograph with the style's mean and deviation, and about 2 for a painting that is unrelated to it.

Light and dark are what makes a picture recognizable: after an abstract style, `relu4_2` can match well although nothing
can be recognized. Luminance is mapped by mean and deviation as in the luminance-only transfer of Gatys et al. 2017
("Controlling perceptual factors in neural style transfer"), there from style to photograph; holding a shrunk copy of
the painting to that of the photograph is akin to the Laplacian loss of Li et al. 2017 ("Laplacian-steered neural style
transfer").

The target is known before anything is painted, so a tile needs no statistics of other tiles.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log2, sqrt
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..architecture import LUMINANCE, SHRINK_FACTORS
from ..statistics import TileSums
from .means import Pull, TargetTerm
from .terms import TileView

LUMINANCE_LAYERS: Final = (LUMINANCE, *(f"{LUMINANCE}/{factor}" for factor in SHRINK_FACTORS))
POSITIONS: Final = 192  # along the long side, about; what is finer is left to the strokes
LEAST_DEVIATION: Final = 0.01  # of a style picture's luminance; below, it is as good as uniform
LARGEST_GAIN: Final = 4.0  # of a photograph's contrast, or the noise of one in fog becomes its subject


def luminance_layer(height: int, width: int, stride: int) -> str:
    """Choose the layer for a picture of this size, px, whose tiles are made of blocks of `stride` px.

    >>> luminance_layer(128, 192, 16), luminance_layer(900, 1200, 16), luminance_layer(9000, 12000, 16)
    ('luminance', 'luminance/8', 'luminance/16')
    """
    halvings = min(round(log2(max(height, width) / POSITIONS)), int(log2(stride)), len(LUMINANCE_LAYERS) - 1)
    return LUMINANCE_LAYERS[max(halvings, 0)]


class _Mapping(NamedTuple):
    """From the photograph's luminance p to the target gain p + shift; `variance` is the style's."""

    gain: float
    shift: float
    variance: float


@dataclass(frozen=True, kw_only=True)
class LuminanceTerm(TargetTerm):
    """The luminance term, at one of `LUMINANCE_LAYERS`."""

    name = "luminance"
    compares = True

    def features(self, view: TileView, layer: str) -> Tensor:
        """Give the painting's luminance and the photograph's: (1, 2, h, w)."""
        return torch.cat([view.features[layer], view.content[layer]], 1)

    def value(self, sums: TileSums) -> float:
        """Compute the mean over positions and regions."""
        constants, loss = self.constants(sums), 0.0
        for name, layer in self.places.items():
            gain, shift, variance = self._mapping(name, constants)
            apart = np.array([1, -gain])
            gram, mean = (sums[f"{self.name} {kind} {name}"] for kind in self.kinds)
            error = apart @ gram @ apart - 2 * shift * (apart @ mean) + shift**2 * self.count(name, layer, sums)
            loss += float(error) / (variance * self.size.layers[layer].positions)
        return loss

    def constants(self, sums: TileSums) -> dict[str, float]:
        """Give the photograph's mean luminance, and that of its square, of every region."""
        found: dict[str, float] = {}
        for name, layer in self.places.items():
            count = self.count(name, layer, sums)
            found[f"{self.name} photograph {name}"] = float(sums[f"{self.name} mean {name}"][1]) / count
            found[f"{self.name} photograph square {name}"] = float(sums[f"{self.name} gram {name}"][1, 1]) / count
        return found

    def _mapping(self, name: str, constants: Mapping[str, float]) -> _Mapping:
        mean = constants[f"{self.name} photograph {name}"]
        deviation = _deviation(mean, constants[f"{self.name} photograph square {name}"])
        style_mean = float(self.targets[f"{self.name} mean {name}"][0])
        style_deviation = _deviation(style_mean, float(self.targets[f"{self.name} gram {name}"][0, 0]))
        gain = min(style_deviation / deviation, LARGEST_GAIN) if deviation else 0.0
        return _Mapping(gain, style_mean - gain * mean, max(style_deviation, LEAST_DEVIATION) ** 2)

    def pull_of(self, name: str, statistics: Mapping[str, Tensor], constants: Mapping[str, float]) -> Pull:
        """Give the gradient 2 (l - t) / s^2."""
        gain, shift, variance = self._mapping(name, constants)

        def pull(both: Tensor, factor: float) -> Tensor:
            painting, photograph = both[:, :1], both[:, 1:]
            return (2 * factor / variance) * (painting - gain * photograph - shift)

        return pull


def _deviation(mean: float, square: float) -> float:
    return sqrt(max(square - mean**2, 0.0))
