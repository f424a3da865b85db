"""The loss of a whole picture: its terms, each times its weight.

    loss = style_weight * sum_l v_l style_l + content_weight * sum_l w_l content_l + tv_weight * tv + ...

The layer weights v_l and w_l each sum to one. To reproduce a published list of layer weights, multiply the weight of
the term by their sum. The terms are in `losses/`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from .losses.terms import LossTerm, PictureSize, TileView
from .statistics import TileSums


@dataclass(frozen=True)
class Objective:
    """What is minimized for a picture of a given size. Plain values; pickles.

    Attributes
    ----------
    terms : tuple of LossTerm
        Only those that count.
    normalize_gradients : bool
        Divide the gradient at every layer by its L1 norm over the whole picture (jcjohnson).
    """

    terms: tuple[LossTerm, ...]
    size: PictureSize
    normalize_gradients: bool = False

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that is needed."""
        return tuple(dict.fromkeys(layer for term in self.terms for layer in term.layers))

    @property
    def content_layers(self) -> tuple[str, ...]:
        """Layers at which the photograph's features are needed."""
        return tuple(dict.fromkeys(layer for term in self.terms if term.compares for layer in term.layers))

    @property
    def waits(self) -> bool:
        """Whether a gradient makes the host wait for the device."""
        return any(term.waits for term in self.terms)

    def on(self, like: Tensor) -> "Objective":
        """Give the objective for gradients on the device and in the number type of `like`."""
        return replace(self, terms=tuple(term.on(like) for term in self.terms))

    def losses(self, sums: TileSums) -> dict[str, float]:
        """Compute every term of a whole picture, unweighted, from its sums."""
        return {term.name: float(term.value(sums)) for term in self.terms}

    def total(self, losses: Mapping[str, float]) -> float:
        """Add up terms by their weights."""
        return float(sum(term.weight * losses[term.name] for term in self.terms))

    def region_losses(self, sums: TileSums) -> dict[str, list[float]]:
        """Compute the terms that regions have, for every region, unweighted and not by how large it is."""
        found = {term.name: term.region_values(sums) for term in self.terms}
        return {name: values for name, values in found.items() if values}

    def sums(self, view: TileView) -> dict[str, Tensor]:
        """Sum up a tile's share of all terms."""
        return {name: value for term in self.terms for name, value in term.sums(view).items()}

    def statistics(self, sums: TileSums) -> dict[str, Tensor]:
        """Give what gradients depend on of the whole picture, which all tiles change."""
        return {name: value for term in self.terms for name, value in term.statistics(sums).items()}

    def tile_statistics(self, view: TileView) -> dict[str, Tensor]:
        """Give the same of one tile, as far as it has a share in it."""
        return {name: value for term in self.terms for name, value in term.tile_statistics(view).items()}

    def constants(self, sums: TileSums) -> dict[str, float]:
        """Give what gradients depend on of the whole picture, which no tile changes."""
        return {name: value for term in self.terms for name, value in term.constants(sums).items()}
