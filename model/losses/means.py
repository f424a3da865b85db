"""Terms that compare with means over a style picture's positions, and those that depend on nothing but such means.

A region with a style of its own is treated as a picture of its own; the loss of a layer is the mean over its regions,
weighted by their share of the picture. For terms that depend on a painting only through its means, autograd computes
the derivative with respect to these; the gradient at a position is then a function of its own features (`pull`).
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from ..regions import Part, region_key
from ..statistics import TileSums, Window, as_tensor, laid_out_like, positions, style_sums
from ..ways import GramProduct
from .terms import LossTerm, TileView

TINY = 1e-30  # what is divided by, at least
Means = Mapping[str, Tensor]
MeansLoss = Callable[[Means], Tensor]
Pull = Callable[[Tensor, float], Tensor]  # of features (positions, C), times a factor


@dataclass(frozen=True, kw_only=True)
class TargetTerm(LossTerm):
    """A term that needs means over style pictures as its targets.

    Attributes
    ----------
    kinds : tuple of str
        The means that `measure` sums up for.
    targets : mapping str -> ndarray
        Means of the style pictures of every region, named as the sums are.
    regions : int
        With styles of their own; one is the whole picture, or what of it is painted.
    """

    kinds: ClassVar[tuple[str, ...]] = ("gram", "mean")
    targets: Mapping[str, np.ndarray] = field(repr=False)
    regions: int = 1

    @classmethod
    def measure(
        cls, features: Tensor, window: Window, part: Part | None = None, product: GramProduct = "float32"
    ) -> dict[str, Tensor]:
        """Sum up weighted over positions of features (1, C, h, w), or over a part of them: one sum for each kind.

        For the usual kinds these are f f^T (C, C) and f (C,).
        """
        return dict(zip(cls.kinds, style_sums(features, window, part, product), strict=True))

    @property
    def places(self) -> dict[str, str]:
        """Every region's means at every layer, by name, and the layer."""
        return {region_key(layer, region): layer for layer in self.layers for region in range(self.regions)}

    def features(self, view: TileView, layer: str) -> Tensor:
        """Give what is summed up at a layer of a tile: (1, C, h, w)."""
        return view.features[layer]

    def measured(self, view: TileView) -> Iterator[tuple[str, Part | None, Tensor, dict[str, Tensor]]]:
        """Name, place, count and sums of every region at every layer of a tile."""
        for layer in self.layers:
            of_layer = self.features(view, layer)
            for name, part in view.window.guidance.at(layer):
                count = view.window.part_at(part, *of_layer.shape[-2:]).sum()
                found = self.measure(of_layer, view.window, part, view.product)
                yield name, part, count, {f"{self.name} {kind} {name}": value for kind, value in found.items()}

    def sums(self, view: TileView) -> dict[str, Tensor]:
        """Sum up every kind, and the weights of every region's positions ("count"), if there are regions."""
        sums: dict[str, Tensor] = {}
        for name, part, count, found in self.measured(view):
            sums |= found if part is None else {**found, f"{self.name} count {name}": count}
        return sums

    def count(self, name: str, layer: str, sums: TileSums) -> float:
        """Positions of a region at a layer of the whole picture."""
        count = sums.get(f"{self.name} count {name}")
        return self.size.layers[layer].positions if count is None else max(float(count), TINY)

    @abstractmethod
    def pull_of(self, name: str, statistics: Mapping[str, Tensor], constants: Mapping[str, float]) -> Pull:
        """Give the gradient at positions of a region, by the name of its means at a layer."""

    def gradient(
        self, view: TileView, statistics: Mapping[str, Tensor], constants: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Compute the gradient at the features; where there are regions, times what counts of the position."""
        gradients, guidance = {}, view.window.guidance
        for layer, share in self.shares.items():
            factor = self.weight * share * self.size.pixels / self.size.layers[layer].positions
            matrix, painting = positions(self.features(view, layer)), view.features[layer]
            gradient = torch.zeros_like(positions(painting)) if guidance.parts else matrix
            for name, part in guidance.at(layer):
                if part is None:
                    gradient = self.pull_of(name, statistics, constants)(matrix, factor)
                elif not part.is_empty:
                    pull = self.pull_of(name, statistics, constants)
                    part.add_to(gradient, pull(part.of_positions(matrix), factor))
            gradients[layer] = laid_out_like(painting, gradient)
        return gradients


@dataclass(frozen=True, kw_only=True)
class MeansTerm(TargetTerm):
    """A term that compares a painting's means with a style picture's.

    Attributes
    ----------
    like : Tensor
        Of the number type and on the device to compute with.
    """

    like: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.float64), repr=False, compare=False)

    @abstractmethod
    def distance(self, layer: str, target: Means) -> MeansLoss:
        """Make the loss of a layer, as a function of its means."""

    @abstractmethod
    def pull(self, matrix: Tensor, grad: Means, factor: float) -> Tensor:
        """Compute the gradient of factor * sum over positions and kinds of <grad, summand>, at (positions, C)."""

    def on(self, like: Tensor) -> Self:
        """Give the term for gradients on the device and in the number type of `like`."""
        return replace(self, like=like)

    @cached_property
    def distances(self) -> dict[str, MeansLoss]:
        """The loss of every region at every layer, with its targets on the device."""
        return {
            name: self.distance(
                layer, {k: as_tensor(self.targets[f"{self.name} {k} {name}"], self.like) for k in self.kinds}
            )
            for name, layer in self.places.items()
        }

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made again where it is needed."""
        return {name: value for name, value in vars(self).items() if name != "distances"}

    def tile_statistics(self, view: TileView) -> dict[str, Tensor]:
        """Give the tile's own means, of the regions that are in it."""
        return {
            key: value / count.clamp(min=TINY)
            for _, part, count, found in self.measured(view)
            if part is None or not part.is_empty
            for key, value in found.items()
        }

    def statistics(self, sums: TileSums) -> dict[str, Tensor]:
        """Give the whole picture's means."""
        return {
            key: as_tensor(sums[key] / self.count(name, layer, sums), self.like)
            for name, layer in self.places.items()
            for key in (f"{self.name} {kind} {name}" for kind in self.kinds)
        }

    def _area(self, name: str, layer: str, sums: TileSums) -> float:
        """Share of the whole picture that is a region's at a layer."""
        count = sums.get(f"{self.name} count {name}")
        return 1.0 if count is None else float(count) / self.size.layers[layer].positions

    def _means(self, name: str, statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {kind: statistics[f"{self.name} {kind} {name}"] for kind in self.kinds}

    def _values(self, sums: TileSums) -> dict[str, float]:
        """How far every region is from its style at every layer."""
        now = self.statistics(sums)
        return {name: float(distance(self._means(name, now))) for name, distance in self.distances.items()}

    def value(self, sums: TileSums) -> float:
        """Compute the mean over layers and regions."""
        values, shares = self._values(sums), self.shares
        return sum(shares[layer] * self._area(name, layer, sums) * values[name] for name, layer in self.places.items())

    def region_values(self, sums: TileSums) -> list[float]:
        """How far every region is from its style; not by how large it is."""
        values = self._values(sums)
        return [
            sum(share * values[region_key(layer, region)] for layer, share in self.shares.items())
            for region in range(self.regions)
        ]

    def pull_of(self, name: str, statistics: Mapping[str, Tensor], constants: Mapping[str, float]) -> Pull:
        """Give the gradient towards a region's style, by what the derivative with respect to its means is."""
        grad = self._means_grad(name, statistics)
        return lambda matrix, factor: self.pull(matrix, grad, factor)

    def _means_grad(self, name: str, statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return means_grad(self.distances[name], self._means(name, statistics))


def means_grad(distance: MeansLoss, means: Means) -> dict[str, Tensor]:
    """Derivative of a distance with respect to the means."""
    leaves = {kind: value.detach().requires_grad_() for kind, value in means.items()}
    with torch.enable_grad():
        loss = distance(leaves)
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, found, strict=True))
