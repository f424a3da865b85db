"""The loss of a whole picture, from sums over its positions, and its gradient at the features of one tile.

    loss = style_weight * sum_l v_l style_l + content_weight * sum_l w_l content_l + tv_weight * tv

The layer weights v_l and w_l each sum to one; a published list of layer weights is kept by giving its sum to the term.
Of regions with styles of their own, style_l is the mean of their style terms, each by its share of the picture.
The style term's formulas are in `style_losses.py`, those of TV in `variation.py`. Content, with F the painting's
features and P the photograph's at a layer of N channels and M positions, e = mean (F - P)^2 over both:

    relative             e / mean P^2            muralist's own: no units, alike for all networks and sizes
    gatys                e N M / 2               Gatys et al. 2015, eq. 1: half the sum of squares
    mse, prisma          e                       johnson, gatys-2016, anishathalye, crowsonkb
    sum, gcucurull       e N M                   the sum of squares
    log0                 e / 4                   sum / (4 N M)
    fermilab             e sqrt(N M) / 2         sum / (2 sqrt(N) sqrt(M))

Formulas that grow with the picture (those with M, and TV as a sum) can be told to count every picture as if it had
`loss_pixels`, so that a poster looks like the picture the weights were published for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from .network import Features
from .regions import ONE_REGION, Guides, term
from .statistics import Sums, laid_out_like, positions
from .style_losses import STYLE_LOSSES, Distance, Statistics, in_metric
from .variation import Variation

TINY = 1e-30  # what is divided by, at least
# (channels, positions, mean square of the photograph's features) -> factor of the mean squared difference
CONTENT_LOSSES: dict[str, Callable[[float, float, float], float]] = {
    "relative": lambda channels, positions, energy: 1 / energy if energy else 0.0,
    "gatys": lambda channels, positions, energy: channels * positions / 2,
    "mse": lambda channels, positions, energy: 1.0,
    "prisma": lambda channels, positions, energy: 1.0,
    "sum": lambda channels, positions, energy: channels * positions,
    "gcucurull": lambda channels, positions, energy: channels * positions,
    "log0": lambda channels, positions, energy: 0.25,
    "fermilab": lambda channels, positions, energy: sqrt(channels * positions) / 2,
}


@dataclass(frozen=True)
class Losses:
    """The terms of a whole picture, unweighted, None where a term does not count; `total` is weighted."""

    style: float | None
    content: float | None
    variation: float
    total: float


@dataclass(frozen=True)
class Layer:
    """Size of a layer over a whole picture, which may be a fraction of a position more than a whole number."""

    channels: int
    positions: float


@dataclass(frozen=True)
class Objective:
    """What a picture of a given size is to become. Pure values; pickles.

    Attributes
    ----------
    targets : dict str -> ndarray
        "gram TERM" (C, C) and "mean TERM" (C,) of the style pictures of every region, see `muralist.model.regions`.
    style_layers, content_layers : dict layer -> float
        Layer weights, any positive scale; none for a term that does not count.
    style_weight, content_weight, tv_weight : float
    height, width : int
        Of the whole picture, px.
    sizes : dict layer -> Layer
    metric : dict layer -> ndarray (rows, C + 1)
        Heads of the style layers that are measured in a larger network's space, see `style_losses.py`.
    style_loss, content_loss : str
        Keys of `STYLE_LOSSES` and `CONTENT_LOSSES`.
    tv_loss : str
        Key of `TV_LOSSES`.
    tv_chroma : float
        What differences in color cost more than differences in gray.
    loss_pixels : int, optional
        Size that losses which grow with the picture count it as.
    normalize_gradients : bool
        Divide the gradient at every layer by its L1 norm over the whole picture (jcjohnson).
    regions : int
        With styles of their own; one is the whole picture, or what of it is painted.
    """

    targets: Mapping[str, np.ndarray] = field(repr=False)
    style_layers: Mapping[str, float]
    content_layers: Mapping[str, float]
    style_weight: float
    content_weight: float
    tv_weight: float
    height: int
    width: int
    sizes: Mapping[str, Layer]
    metric: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    style_loss: str = "relative"
    content_loss: str = "relative"
    tv_loss: str = "l2"
    tv_chroma: float = 0.0
    loss_pixels: int | None = None
    normalize_gradients: bool = False
    regions: int = 1

    @property
    def terms(self) -> dict[str, str]:
        """The statistics that are measured, by name, and the layer of each."""
        return {term(layer, region): layer for layer in self.style_layers for region in range(self.regions)}

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that is needed."""
        return tuple({**self.style_layers, **self.content_layers})

    @property
    def pixels(self) -> int:
        """Pixels of the whole picture."""
        return self.height * self.width

    @property
    def _sum_scale(self) -> float:
        return (self.loss_pixels or self.pixels) / self.pixels

    @cached_property
    def variation(self) -> Variation:
        """The TV term."""
        return Variation(self.tv_loss, self.height, self.width, self.tv_chroma, self._sum_scale)

    def distances(self, like: Tensor) -> dict[str, Distance]:
        """Make the style terms of regions and layers, their targets on the device and in the number type of `like`."""
        return {name: self._distance(name, layer, like) for name, layer in self.terms.items()}

    def _distance(self, name: str, layer: str, like: Tensor) -> Distance:
        distance_to, target = STYLE_LOSSES[self.style_loss], self._target(name, like)
        if layer in self.metric:
            return in_metric(distance_to, as_tensor(self.metric[layer], like), target)
        return distance_to(target)

    def _target(self, name: str, like: Tensor) -> Statistics:
        return Statistics(*(as_tensor(self.targets[f"{what} {name}"], like) for what in ("gram", "mean")))

    def losses(self, sums: Sums) -> Losses:
        """Compute the losses of a whole picture from its sums."""
        style = self._style(sums) if self.style_layers else None
        content = self._content(sums) if self.content_layers else None
        variation = self.variation.value(sums.variation)
        weighted = ((self.style_weight, style), (self.content_weight, content), (self.tv_weight, variation))
        total = sum(weight * term for weight, term in weighted if term is not None)
        return Losses(style, content, float(variation), float(total))

    def _style(self, sums: Sums) -> float:
        terms, shares = self.style_terms(sums), _shares(self.style_layers)
        return sum(shares[layer] * self._area(name, layer, sums) * terms[name] for name, layer in self.terms.items())

    def region_losses(self, sums: Sums) -> list[float]:
        """How far every region of a whole picture is from its style, unweighted; not by how large it is."""
        terms, shares = self.style_terms(sums), _shares(self.style_layers)
        return [
            sum(share * terms[term(layer, region)] for layer, share in shares.items()) for region in range(self.regions)
        ]

    def style_terms(self, sums: Sums) -> dict[str, float]:
        """How far every region of a whole picture is from its style at every layer, unweighted, from its sums."""
        like = torch.empty(0, dtype=torch.float64)
        distances, now = self.distances(like), self.statistics(sums, like)
        return {name: float(distances[name](now[name])) for name in self.terms}

    def _area(self, name: str, layer: str, sums: Sums) -> float:
        """Share of the picture that is a region's at a layer."""
        return float(sums.count[name]) / self.sizes[layer].positions if sums.count else 1.0

    def _content(self, sums: Sums) -> float:
        return sum(
            share * self._content_factor(layer, sums.content_energy) * float(sums.content_error[layer])
            for layer, share in _shares(self.content_layers).items()
        )

    def statistics(self, sums: Sums, like: Tensor) -> dict[str, Statistics]:
        """Means over a whole picture's regions, from its sums, on the device and in the number type of `like`."""
        count = {name: self.sizes[layer].positions for name, layer in self.terms.items()}
        count |= {name: max(float(n), TINY) for name, n in sums.count.items()}
        return {
            name: Statistics(*(as_tensor(each[name] / n, like) for each in (sums.gram, sums.feature)))
            for name, n in count.items()
        }

    def _content_factor(self, layer: str, energy: Mapping[str, float]) -> float:
        """What a unit of summed squared difference adds to the content loss."""
        size = self.sizes[layer]
        entries = size.channels * size.positions
        factor = CONTENT_LOSSES[self.content_loss]
        mean_energy = float(energy[layer]) / entries
        return factor(size.channels, size.positions * self._sum_scale, mean_energy) / entries

    def style_gradients(
        self, slopes: Mapping[str, Statistics], features: Features, guides: Guides = ONE_REGION
    ) -> Features:
        """Gradient of pixels * style term at the features, for its slopes at the whole picture's statistics.

        It is `(D + D^T) f + d` with D, d the slopes by Gram matrix and mean: constant matrix times feature, and where
        there are regions, times what counts of the position. This is the gradient of the surrogate
        `sum_l (<D_l, F F^T> + d_l F) / positions`. Regions without slopes have no share in it.
        """
        gradients = {}
        for layer, share in _shares(self.style_layers).items():
            factor = self.style_weight * share * self.pixels / self.sizes[layer].positions
            matrix = positions(features[layer])
            gradient = torch.zeros_like(matrix) if guides.parts else matrix
            for name, part in guides.terms(layer):
                if part is None:
                    gradient = _surrogate_gradient(matrix, slopes[name], factor)
                elif name in slopes:
                    part.add_to(gradient, _surrogate_gradient(part.of_positions(matrix), slopes[name], factor))
            gradients[layer] = laid_out_like(features[layer], gradient)
        return gradients

    def content_gradients(self, energy: Mapping[str, float], features: Features, content: Features) -> Features:
        """Gradient of pixels * content term at the features; `energy` is the whole photograph's."""
        return {
            layer: (2 * self.content_weight * share * self.pixels * self._content_factor(layer, energy))
            * (features[layer] - content[layer])
            for layer, share in _shares(self.content_layers).items()
        }

    def variation_gradient(self, picture: Tensor) -> Tensor:
        """Gradient of pixels * TV term at the picture."""
        return (self.pixels * self.tv_weight) * self.variation.gradient(picture)

    def weight_of(self, term: str, layer: str) -> float:
        """Weight of a layer's part of a term: "style" or "content"."""
        weight, layers = {
            "style": (self.style_weight, self.style_layers),
            "content": (self.content_weight, self.content_layers),
        }[term]
        return weight * _shares(layers)[layer]


def as_tensor(values: np.ndarray, like: Tensor) -> Tensor:
    """Bring values to a tensor's number type and device, in this order: not every device has float64."""
    return torch.from_numpy(values).to(like.dtype).to(like.device)


def _surrogate_gradient(matrix: Tensor, slope: Statistics, factor: float) -> Tensor:
    """Gradient of factor * (<D, F F^T> + d F) at features laid out as (positions, C)."""
    change, shift = (factor * (slope.gram + slope.gram.T)).to(matrix.dtype), (factor * slope.mean).to(matrix.dtype)
    return torch.addmm(shift, matrix, change)


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {layer: weight / total for layer, weight in weights.items()}
