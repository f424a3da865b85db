"""The loss of a whole picture, from sums over its positions, and its gradient at the features of one tile.

    style      sum_l w_l |G_l - S_l|^2 / |S_l|^2        Gram matrices, |.| Frobenius
    content    sum_l w_l sum_p |F_l - P_l|^2 / sum_p |P_l|^2
    variation  1/pixels * sum |d|^2 + chroma |d - grey(d)|^2   d: colour differences between neighbouring pixels

F are the painting's features, P the photograph's, G_l = 1/positions * sum_p f f^T, S_l the painting's target; the
layer weights w_l of each term sum to one; grey(d) is d's mean over the three colours. Style and content are relative,
so a weight means the same for every network and size. Differs from Gatys et al. 2016 (eq. 1 and 4), whose terms grow
with both, and from the usual total variation (chroma = 0) in that specks of colour cost more than strokes of light.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from muralist.model.network import Features
from muralist.model.statistics import Sums, chroma, differences


@dataclass(frozen=True)
class Losses:
    """The three terms of a whole picture, unweighted."""

    style: float
    content: float
    variation: float


@dataclass(frozen=True)
class Objective:
    """What a picture of a given size is to become. Pure values; pickles.

    Attributes
    ----------
    targets : dict layer -> ndarray (C, C)
        Mean Gram matrix of the style picture.
    style_layers, content_layers : dict layer -> float
        Layer weights, any positive scale.
    style_weight, content_weight, tv_weight : float
    pixels : int
        Of the whole canvas.
    positions : dict layer -> int
        Feature positions of the whole canvas.
    tv_chroma : float
        What differences in colour cost more than differences in grey.
    """

    targets: Mapping[str, np.ndarray] = field(repr=False)
    style_layers: Mapping[str, float]
    content_layers: Mapping[str, float]
    style_weight: float
    content_weight: float
    tv_weight: float
    pixels: int
    positions: Mapping[str, int]
    tv_chroma: float = 0.0

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that is needed."""
        return tuple({**self.style_layers, **self.content_layers})

    @cached_property
    def _target_energy(self) -> dict[str, float]:
        return {layer: float(np.square(target).sum()) for layer, target in self.targets.items()}

    def losses(self, sums: Sums) -> Losses:
        """Compute the losses of a whole picture from its sums."""
        style = {
            layer: np.square(gram / self.positions[layer] - self.targets[layer]).sum() / self._target_energy[layer]
            for layer, gram in sums.gram.items()
        }
        content = {layer: error / sums.content_energy[layer] for layer, error in sums.content_error.items()}
        return Losses(
            float(sum(weight * style[layer] for layer, weight in _shares(self.style_layers).items())),
            float(sum(weight * content[layer] for layer, weight in _shares(self.content_layers).items())),
            (sums.variation + self.tv_chroma * sums.chroma) / self.pixels,
        )

    def style_gradients(self, grams: Mapping[str, Tensor], features: Features) -> Features:
        """Gradient of pixels * style term at the features, for whole-picture mean Grams: constant matrix times feature.

        This is the gradient of the surrogate `sum_l <D_l, F F^T> / positions`, D_l = dL/dG at `grams`.
        """
        gradients = {}
        for layer, share in _shares(self.style_layers).items():
            target = like(self.targets[layer], grams[layer])
            factor = 4 * self.style_weight * share * self.pixels / self.positions[layer] / self._target_energy[layer]
            matrix = (factor * (grams[layer] - target)).to(features[layer].dtype)
            gradients[layer] = torch.einsum("bchw,cd->bdhw", features[layer], matrix)
        return gradients

    def content_gradients(self, energy: Mapping[str, float], features: Features, content: Features) -> Features:
        """Gradient of pixels * content term at the features; `energy` is the whole photograph's."""
        return {
            layer: (2 * self.content_weight * share * self.pixels / energy[layer]) * (features[layer] - content[layer])
            for layer, share in _shares(self.content_layers).items()
        }

    def variation_gradient(self, picture: Tensor) -> Tensor:
        """Gradient of pixels * total variation at the picture."""
        down, right = (d + self.tv_chroma * chroma(d) for d in differences(picture))
        gradient = -(down + right)
        gradient[..., 1:, :] += down[..., :-1, :]
        gradient[..., 1:] += right[..., :-1]
        return 2 * self.tv_weight * gradient


def like(values: np.ndarray, tensor: Tensor) -> Tensor:
    """Bring values to a tensor's number type and device, in this order: not every device has float64."""
    return torch.from_numpy(values).to(tensor.dtype).to(tensor.device)


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {layer: weight / total for layer, weight in weights.items()}
