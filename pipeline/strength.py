"""Tunes loss weights, so that the same `strength` means the same for every picture.

With the same weights for all, abstract styles drown the photograph and quiet ones hardly show. So the weights of the
terms that keep the photograph (content and luminance) are tuned while the coarsest levels are painted, towards the
losses that `strength` asks for, and kept for all finer levels. A weight is proportional to the loss that remains: in
an abstract style the wanted loss may be out of reach, and a weight raised until it is met would cost much of the style.
Weights follow from the recorded losses alone, which the journal keeps: a resumed painting finds the same ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from .context import TunedWeights
from .levels import TUNED_LEVELS
from .records.losses import LossRecord
from .settings import Settings

SETTLING_STEPS: Final = 20  # a level starts as the photograph or with its detail, so losses tell nothing at first
LARGEST_FACTOR: Final = 1.25  # largest change between rounds: losses respond over many steps, overshoots last
FIRST_POWER: Final = 3.0  # how much more the first weight is where less loss is wanted than half `strength` wants


@dataclass(frozen=True)
class _Tuning:
    """How a term's weight follows `strength`.

    Attributes
    ----------
    usual : float
        Weight at half `strength` of a picture that has the wanted loss with it.
    wanted : callable (strength) -> float
        That loss, after the last level that the weight is tuned on.
    """

    usual: float
    wanted: Callable[[float], float]

    def first(self, strength: float) -> float:
        """Weight before anything is known."""
        factor: float = (self.wanted(0.5) / self.wanted(strength)) ** FIRST_POWER
        return self.usual * factor


def wanted_content_loss(strength: float) -> float:
    """Content loss at the usual weight: 0 keeps the photograph's shapes, 1 gives way to the style wherever it can.

    >>> [round(wanted_content_loss(strength), 3) for strength in (0, 0.5, 1)]
    [0.12, 0.38, 0.84]
    """
    return 0.12 + 0.32 * strength + 0.4 * strength**2


def wanted_luminance_loss(strength: float) -> float:
    """Luminance loss, likewise; 2 is that of two pictures that are not alike.

    >>> [round(wanted_luminance_loss(strength), 3) for strength in (0, 0.5, 1)]
    [0.06, 0.36, 0.66]
    """
    return 0.06 + 0.6 * strength


TUNINGS: Final = {
    "content": _Tuning(20.0, wanted_content_loss),
    "luminance": _Tuning(4.7, wanted_luminance_loss),
}


def tuned_weights(settings: Settings, rows: Sequence[LossRecord], painted: float = 1.0) -> TunedWeights:
    """Weights of the content and luminance terms for the next round.

    Parameters
    ----------
    settings : Settings
        An explicit `content_weight` or `luminance_weight` beats `strength`.
    rows : sequence of LossRecord
        All records of the losses so far, each with the weights it was taken with.
    painted : float
        Share of what is wanted of the losses where masks say how strongly parts of the picture are painted.
    """
    given = {"content": settings.content_weight, "luminance": settings.luminance_weight}
    tuned = {
        name: _tuned(name, settings.strength, rows, painted) if weight is None else weight
        for name, weight in given.items()
    }
    return TunedWeights(**tuned)


def _tuned(name: str, strength: float, rows: Sequence[LossRecord], painted: float) -> float:
    """Weight of a term for the next round."""
    tuning = TUNINGS[name]
    if not rows or name not in rows[-1].losses:
        return tuning.first(strength)
    last = rows[-1]
    first_of_level = next(row.step for row in rows if row.level == last.level)
    if last.level > TUNED_LEVELS or last.step - first_of_level < SETTLING_STEPS:
        return last.weights[name]
    aim, before = tuning.first(strength) * last.losses[name] / (tuning.wanted(strength) * painted), last.weights[name]
    return min(max(aim, before / LARGEST_FACTOR), before * LARGEST_FACTOR)
