"""Regions of a picture that are painted after different styles (guided Gram matrices, Gatys et al. 2017, section 4.2).

Masks say how much of a pixel belongs to each region. At a layer, a position has the mean weight of the pixels it
covers, so sums of a region add up over tiles like those of a whole picture. Differs from Gatys et al. in that a mask
weighs f f^T itself and not f, so that soft masks of all regions add up to the picture.

A picture without masks is one region that covers everything: its statistics are named as the layer is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

EVERYWHERE = slice(None), slice(None)
ALL_PLACES = 0.9  # share of a layer's positions from which on it is quicker to take all of them


def region_key(layer: str, region: int) -> str:
    """Name of a region's statistics at a layer.

    >>> region_key("relu3_1", 0), region_key("relu3_1", 2)
    ('relu3_1', 'relu3_1 2')
    """
    return f"{layer} {region}" if region else layer


@dataclass(frozen=True)
class Part:
    """Where a region counts at a layer, and how much.

    Attributes
    ----------
    places : Tensor (n,), int64, or None
        Numbers of the positions; None for all.
    weights : Tensor (n,), float, at least 0
    """

    places: Tensor | None
    weights: Tensor

    @classmethod
    def of(cls, weights: Tensor) -> "Part":
        """Make the part of a region that counts so much at every position: (positions,)."""
        places = weights.nonzero()[:, 0]
        return cls(None, weights) if len(places) > ALL_PLACES * len(weights) else cls(places, weights[places])

    @property
    def is_empty(self) -> bool:
        """Whether the region is nowhere here."""
        return not len(self.weights)

    def of_positions(self, values: Tensor) -> Tensor:
        """Take the region's positions of values (positions, ...)."""
        return values if self.places is None else values.index_select(0, self.places)

    def add_to(self, total: Tensor, values: Tensor) -> None:
        """Add values (n, C) at the region's positions, weighted, to a total (positions, C)."""
        weighted = values.mul_(self.weights.to(values.dtype)[:, None])
        if self.places is None:
            total += weighted
        else:
            total.index_add_(0, self.places, weighted)


class RegionPart(NamedTuple):
    """The statistics of a region at a layer: their name, and where in a tile the region is; None is everywhere."""

    name: str
    part: Part | None


@dataclass(frozen=True)
class Guidance:
    """What of a tile belongs to which region.

    Attributes
    ----------
    parts : mapping layer -> sequence of Part
        One for every region; none at all where the picture is one region.
    """

    parts: Mapping[str, Sequence[Part]]

    def at(self, layer: str) -> list[RegionPart]:
        """The statistics that are taken of a layer."""
        parts = self.parts.get(layer)
        if parts is None:
            return [RegionPart(layer, None)]
        return [RegionPart(region_key(layer, n), part) for n, part in enumerate(parts)]

    @property
    def is_empty(self) -> bool:
        """Whether no style is painted here."""
        return bool(self.parts) and all(part.is_empty for parts in self.parts.values() for part in parts)


ONE_REGION = Guidance({})


def guidance_of(
    masks: Tensor, strides: Mapping[str, int], insets: Mapping[str, int], place: tuple[slice, slice] = EVERYWHERE
) -> Guidance:
    """Bring a tile's masks to the resolution of its layers.

    Parameters
    ----------
    masks : Tensor (regions, H, W), float, at least 0
        At pixel resolution, of the tile and what is around it.
    strides : mapping layer -> int
        Pixels per position, along a side.
    insets : mapping layer -> int
        What regions are shrunk by at a layer, px: their features see beyond their edges.
    place : (slice, slice)
        Rows and columns of the tile in the masks. Where there are fewer pixels around it than a region is shrunk by,
        the picture ends, and a region goes on.
    """
    parts = {}
    for layer, stride in strides.items():
        coarse = F.avg_pool2d(_shrunk(masks, insets.get(layer, 0))[None, :, *place], stride)[0]
        parts[layer] = tuple(Part.of(weights) for weights in coarse.flatten(1))
    return Guidance(parts)


def _shrunk(masks: Tensor, by: int) -> Tensor:
    """The least within so many pixels in each direction; nothing is known beyond the edges, where masks go on."""
    if not by:
        return masks
    rows = F.max_pool2d(-masks, (2 * by + 1, 1), stride=1, padding=(by, 0))
    return -F.max_pool2d(rows, (1, 2 * by + 1), stride=1, padding=(0, by))
