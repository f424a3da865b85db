"""The content term: how far features are from the photograph's.

With F the painting's features and P the photograph's at a layer of N channels and M positions, and e = mean (F - P)^2
over both:

    relative             e / mean P^2            muralist's own: no units, alike for all networks and sizes
    gatys                e N M / 2               Gatys et al. 2015, eq. 1: half the sum of squares
    mse, prisma          e                       johnson, gatys-2016, anishathalye, crowsonkb
    sum, gcucurull       e N M                   the sum of squares
    log0                 e / 4                   sum / (4 N M)
    fermilab             e sqrt(N M) / 2         sum / (2 sqrt(N) sqrt(M))

Those with M grow with the picture; `loss_pixels` makes every picture count as one of that size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt

from torch import Tensor

from ..statistics import TileSums, Window, positions, upcast
from .terms import LossTerm, TileView

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


@dataclass(frozen=True, kw_only=True)
class ContentTerm(LossTerm):
    """The content term; `formula` is a key of `CONTENT_LOSSES`."""

    name = "content"
    compares = True
    formula: str = "relative"

    def sums(self, view: TileView) -> dict[str, Tensor]:
        """Sum up squared differences to the photograph's features ("error"), and the squares of these ("energy")."""
        sums = {}
        for layer in self.layers:
            p = view.content[layer]
            sums[f"content error {layer}"] = _square_sum(upcast(view.features[layer]) - upcast(p), view.window)
            sums[f"content energy {layer}"] = _square_sum(upcast(p), view.window)
        return sums

    def value(self, sums: TileSums) -> float:
        """Compute the mean over layers."""
        energy = self.constants(sums)
        return sum(
            share * self._factor(layer, energy) * float(sums[f"content error {layer}"])
            for layer, share in self.shares.items()
        )

    def constants(self, sums: TileSums) -> dict[str, float]:
        """Give the photograph's squared features."""
        return {name: float(sums[name]) for name in (f"content energy {layer}" for layer in self.layers)}

    def _factor(self, layer: str, energy: Mapping[str, float]) -> float:
        """What a unit of summed squared difference adds to the loss."""
        size = self.size.layers[layer]
        entries = size.channels * size.positions
        factor = CONTENT_LOSSES[self.formula]
        return (
            factor(size.channels, size.positions * self.size.sum_scale, energy[f"content energy {layer}"] / entries)
            / entries
        )

    def gradient(
        self, view: TileView, statistics: Mapping[str, Tensor], constants: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Compute the gradient at the features."""
        return {
            layer: (2 * self.weight * share * self.size.pixels * self._factor(layer, constants))
            * (view.features[layer] - view.content[layer])
            for layer, share in self.shares.items()
        }


def _square_sum(values: Tensor, window: Window) -> Tensor:
    return positions(values).square().sum(1) @ window.at(*values.shape[-2:]).to(values.dtype)
