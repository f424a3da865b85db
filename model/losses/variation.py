"""The TV term: how much a picture changes from pixel to pixel.

Sums run over all pairs of neighbors and the three colors; H and W are the canvas's; d is a difference, and gray its
mean over the three colors.

    vectorial   sum (sqrt(s^2 + |d|^2) - s) / (H W)      the sum over all blocks of 2 x 2 pixels; d is the difference
                                                         of each pixel to the block's mean, s is `SMOOTHING`;
                                                         |d|^2 = sum d^2 + chroma * sum (d - gray)^2
    l2          (sum d^2 + chroma * sum (d - gray)^2) / (H W)
    l2-mean     sum down^2 / (3 (H-1) W) + sum right^2 / (3 H (W-1))     anishathalye's, prisma
    l2-sum      sum d^2                                                  jcjohnson
    l2-9point   2 / (3 H W) * (sum axis^2 / 3 + sum diagonal^2 / 12)     crowsonkb
    l1-mean     as l2-mean with |d|
    l1-sum      sum |d|                                                  neural-style-pt

Sums grow with the picture; `loss_pixels` makes every picture count as one of that size.

`vectorial` is the vectorial total variation (Bresson and Chan 2008, "Fast dual minimization of the vectorial total
variation norm and applications to color image processing"), made smooth at zero. A squared difference penalizes an edge
more than a ramp, so it spreads color across edges. The total variation does not: it makes flat patches, and color
changes where light does.
Differs from the usual total variation in two ways. Where `chroma` is not zero, specks of color cost more than strokes
of light. And changes are measured in blocks of 2 x 2 pixels, not from a pixel to those below and on the right, which
makes an edge along one diagonal cost 1.4 times as much as one along the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from ..statistics import TileSums
from .terms import PICTURE, LossTerm, TileView

Shift = tuple[int, int]
DOWN, RIGHT, FALLING, RISING = SHIFTS = ((1, 0), (0, 1), (1, 1), (1, -1))
AXES = (DOWN, RIGHT)
SMOOTHING: Final = 0.125  # changes well below this one cost their square


def _pixels(shift: Shift, height: int, width: int) -> float:
    return 1 / (height * width)


def _mean(shift: Shift, height: int, width: int) -> float:
    return 1 / (3 * max(1, height - shift[0]) * max(1, width - abs(shift[1])))


def _sum(shift: Shift, height: int, width: int) -> float:
    return 1.0


def _nine_points(shift: Shift, height: int, width: int) -> float:
    return 2 / (3 * height * width) / (3 if shift in AXES else 12)


@dataclass(frozen=True)
class _Form:
    """`factor` of every shift; `power` of the differences, or of their length at a pixel; whether color costs more."""

    factor: Callable[[Shift, int, int], float]
    power: int = 2
    shifts: tuple[Shift, ...] = AXES
    vectorial: bool = False
    colored: bool = False

    @property
    def is_sum(self) -> bool:
        return self.factor is _sum


TV_LOSSES: Final = {
    "vectorial": _Form(_pixels, power=1, vectorial=True, colored=True),
    "l2": _Form(_pixels, colored=True),
    "l2-mean": _Form(_mean),
    "l2-sum": _Form(_sum),
    "l2-9point": _Form(_nine_points, shifts=SHIFTS),
    "l1-mean": _Form(_mean, power=1),
    "l1-sum": _Form(_sum, power=1),
}


@dataclass(frozen=True, kw_only=True)
class TotalVariationTerm(LossTerm):
    """The TV term.

    Attributes
    ----------
    formula : str
        A key of `TV_LOSSES`.
    chroma : float
        What differences in color cost more; counts for `vectorial` and `l2` only.
    """

    name = "tv"
    formula: str = "l2"
    chroma: float = 0.0

    @property
    def _form(self) -> _Form:
        return TV_LOSSES[self.formula]

    def _factor(self, shift: Shift) -> float:
        form = self._form
        scale = self.size.sum_scale if form.is_sum else 1.0
        return form.factor(shift, self.size.height, self.size.width) * scale

    def sums(self, view: TileView) -> dict[str, Tensor]:
        """Sum up |d|^power per shift; of `vectorial`, the lengths."""
        values, weights = self._stretched(view.picture), view.window.weights()[None, None]
        if self._form.vectorial:
            return {"tv lengths": ((_lengths(_deviations(values)) - SMOOTHING) * weights[..., :-1, :-1]).sum()}
        found = {}
        for shift in self._form.shifts:
            first, second = _pairs(values, shift)
            found[_name(shift)] = ((second - first).abs() ** self._form.power * _pairs(weights, shift)[0]).sum()
        return found

    def value(self, sums: TileSums) -> float:
        """Compute the loss."""
        if self._form.vectorial:
            return float(self._factor(DOWN) * sums["tv lengths"])
        return float(sum(self._factor(shift) * sums[_name(shift)] for shift in self._form.shifts))

    def gradient(
        self, view: TileView, statistics: Mapping[str, Tensor], constants: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Compute the gradient at the pixels."""
        return {PICTURE: (self.size.pixels * self.weight) * self._pixel_grad(view.picture)}

    def _pixel_grad(self, picture: Tensor) -> Tensor:
        return self._grad_of_lengths(picture) if self._form.vectorial else self._grad_of_differences(picture)

    def _grad_of_lengths(self, picture: Tensor) -> Tensor:
        values = self._stretched(picture)
        deviations, gradient = _deviations(values), torch.zeros_like(values)
        lengths = torch.empty_like(deviations[0]).copy_(_lengths(deviations))  # divides sooner than one for all colors
        for corner, deviation in zip(_corners(gradient), deviations, strict=True):
            corner.addcdiv_(deviation, lengths, value=self._factor(DOWN))
        return self._stretched(gradient)

    def _grad_of_differences(self, picture: Tensor) -> Tensor:
        # Squares have a gradient that is linear in the pixels: stretching them once by the whole factor saves a pass.
        values, form = self._stretched(picture, 1.0), self._form
        gradient = torch.zeros_like(values)
        for shift in form.shifts:
            first, second = _pairs(values, shift)
            grad = second - first
            if form.power == 1:
                grad.sign_()
            factor = form.power * self._factor(shift)
            behind, ahead = _pairs(gradient, shift)
            behind.sub_(grad, alpha=factor)
            ahead.add_(grad, alpha=factor)
        return gradient

    def _stretched(self, colors: Tensor, power: float = 0.5) -> Tensor:
        # Moves colors away from gray, so that their differences cost more. The mapping is its own transpose.
        colored = self.chroma if self._form.colored else 0.0
        return colors + ((1 + colored) ** power - 1) * chroma(colors) if colored else colors


def _name(shift: Shift) -> str:
    return f"tv {shift[0]} {shift[1]}"


def _corners(picture: Tensor) -> list[Tensor]:
    """Four views (..., H - 1, W - 1) of a picture (..., H, W): the corners of all 2 x 2 blocks."""
    return [picture[..., rows, cols] for rows in (slice(-1), slice(1, None)) for cols in (slice(-1), slice(1, None))]


def _deviations(picture: Tensor) -> list[Tensor]:
    """Difference of each corner of all 2 x 2 blocks to the block's mean: four times (1, 3, H - 1, W - 1)."""
    corners = _corners(picture)
    mean = (corners[0] + corners[1]).add_(corners[2]).add_(corners[3]).div_(4)
    return [corner - mean for corner in corners]


def _lengths(deviations: list[Tensor]) -> Tensor:
    """Length of the deviations in each 2 x 2 block: (1, 1, H - 1, W - 1), >= `SMOOTHING`."""
    squares = torch.zeros_like(deviations[0])
    for deviation in deviations:
        squares.addcmul_(deviation, deviation)
    red, green, blue = squares.unbind(1)  # sooner than torch's sum over so few
    return (red + green).add_(blue).add_(SMOOTHING**2).sqrt_()[:, None]


def _pairs(picture: Tensor, shift: Shift) -> tuple[Tensor, Tensor]:
    """Two views of a picture (..., H, W) of which the second is the first one's neighbor at `shift`."""
    (down, right), (height, width) = shift, picture.shape[-2:]
    first = picture[..., : height - down, max(0, -right) : width - max(0, right)]
    return first, picture[..., down:, max(0, right) : width - max(0, -right)]


def chroma(colors: Tensor) -> Tensor:
    """What of colors, or of differences in color, (1, 3, H, W) is not gray."""
    red, green, blue = colors.unbind(1)
    return colors - ((red + green + blue) / 3)[:, None]  # sooner than torch's mean over so few
