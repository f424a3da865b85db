"""The TV term: how much a picture changes from pixel to pixel.

Sums run over all pairs of neighbors and the three colors; H and W are the canvas's; d is a difference.

    l2          (sum d^2 + chroma * sum (d - gray)^2) / (H W)            gray: d's mean over the three colors
    l2-mean     sum down^2 / (3 (H-1) W) + sum right^2 / (3 H (W-1))     anishathalye's, prisma
    l2-sum      sum d^2                                                  jcjohnson
    l2-9point   2 / (3 H W) * (sum axis^2 / 3 + sum diagonal^2 / 12)     crowsonkb
    l1-mean     as l2-mean with |d|
    l1-sum      sum |d|                                                  neural-style-pt

Sums grow with the picture; `loss_pixels` makes every picture count as one of that size.
Differs from the usual total variation where `chroma` is not zero: specks of color cost more than strokes of light.
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
    """`factor` of every shift; `power` of the differences; whether it grows with the picture."""

    factor: Callable[[Shift, int, int], float]
    power: int = 2
    shifts: tuple[Shift, ...] = AXES

    @property
    def is_sum(self) -> bool:
        return self.factor is _sum


TV_LOSSES: Final = {
    "l2": _Form(_pixels),
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
        What differences in color cost more; counts for `l2` only.
    """

    name = "tv"
    formula: str = "l2"
    chroma: float = 0.0

    @property
    def _form(self) -> _Form:
        return TV_LOSSES[self.formula]

    @property
    def _colored(self) -> float:
        return self.chroma if self.formula == "l2" else 0.0

    def _factor(self, shift: Shift) -> float:
        form = self._form
        scale = self.size.sum_scale if form.is_sum else 1.0
        return form.factor(shift, self.size.height, self.size.width) * scale

    def sums(self, view: TileView) -> dict[str, Tensor]:
        """Sum up |d|^power per shift ("all"), and what of it is not gray ("chroma")."""
        found = {}
        for shift in self._form.shifts:
            first, second = _pairs(view.picture, shift)
            weights = _pairs(view.window.weights()[None, None], shift)[0]
            for name, d in (("all", second - first), ("chroma", chroma(second - first))):
                found[f"tv {name} {shift[0]} {shift[1]}"] = (d.abs() ** self._form.power * weights).sum()
        return found

    def value(self, sums: TileSums) -> float:
        """Compute the loss."""
        changes = (
            self._factor(shift)
            * (sums[f"tv all {shift[0]} {shift[1]}"] + self._colored * sums[f"tv chroma {shift[0]} {shift[1]}"])
            for shift in self._form.shifts
        )
        return float(sum(changes))

    def gradient(
        self, view: TileView, statistics: Mapping[str, Tensor], constants: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Compute the gradient at the pixels."""
        return {PICTURE: (self.size.pixels * self.weight) * self._pixel_grad(view.picture)}

    def _pixel_grad(self, picture: Tensor) -> Tensor:
        # It is linear in the differences, so what color costs more can be brought into the pixels instead.
        values = picture + self._colored * chroma(picture) if self._colored else picture
        gradient = torch.zeros_like(values)
        for shift in self._form.shifts:
            first, second = _pairs(values, shift)
            grad = second - first if self._form.power == 2 else (second - first).sign_()
            factor = self._form.power * self._factor(shift)
            behind, ahead = _pairs(gradient, shift)
            behind.sub_(grad, alpha=factor)
            ahead.add_(grad, alpha=factor)
        return gradient


def _pairs(picture: Tensor, shift: Shift) -> tuple[Tensor, Tensor]:
    """Two views of a picture (..., H, W) of which the second is the first one's neighbor at `shift`."""
    (down, right), (height, width) = shift, picture.shape[-2:]
    first = picture[..., : height - down, max(0, -right) : width - max(0, right)]
    return first, picture[..., down:, max(0, right) : width - max(0, -right)]


def chroma(colors: Tensor) -> Tensor:
    """What of colors, or of differences in color, (1, 3, H, W) is not gray."""
    red, green, blue = colors.unbind(1)
    return colors - ((red + green + blue) / 3)[:, None]  # sooner than torch's mean over so few
