"""How strongly a style is painted: `strength` is the same for every picture, the weights behind it are not.

With one content weight for all, abstract styles drown the photograph and quiet ones hardly show. So the weights of what
keeps the photograph, its features and its luminance, are tuned while the coarsest level is painted, until their losses
are what `strength` asks for, and kept for all finer levels. They follow from the recorded losses alone, which the
journal keeps: an interrupted painting finds the same weights again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from .records.losses import LossRecord
from .settings import Settings

SETTLING_STEPS: Final = 30  # a painting starts as the photograph, so its losses tell nothing at first
LARGEST_FACTOR: Final = 2.0  # between two rounds


class KeptWeights(NamedTuple):
    """Weights of what keeps the photograph."""

    content: float = 0.0
    luminance: float = 0.0


UNWEIGHTED: Final = KeptWeights()  # where losses are only measured


@dataclass(frozen=True)
class _Dial:
    """How a term's weight follows `strength`.

    Attributes
    ----------
    first : float
        Weight before anything is known.
    power : float
        Of the loss over what is wanted: by how much more the weight must change than the loss is to.
    wanted : callable (strength) -> float
        Loss at the end of the coarsest level.
    """

    first: float
    power: float
    wanted: Callable[[float], float]


def wanted_content_loss(strength: float) -> float:
    """Content loss at the end of the coarsest level: 0 keeps the photograph, 1 gives way to the style wherever it can.

    >>> [round(wanted_content_loss(strength), 3) for strength in (0, 0.5, 1)]
    [0.14, 0.44, 0.74]
    """
    return 0.14 + 0.6 * strength


def wanted_luminance_loss(strength: float) -> float:
    """Luminance loss at the end of the coarsest level, likewise; 2 is that of two pictures that are not alike.

    >>> [round(wanted_luminance_loss(strength), 3) for strength in (0, 0.5, 1)]
    [0.1, 0.55, 1.0]
    """
    return 0.1 + 0.9 * strength


DIALS: Final = {
    "content": _Dial(6.0, 2.0, wanted_content_loss),
    "luminance": _Dial(2.0, 3.0, wanted_luminance_loss),
}


def kept_weights(settings: Settings, rows: Sequence[LossRecord], painted: float = 1.0) -> KeptWeights:
    """Weights of what keeps the photograph, for the next round.

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
    return KeptWeights(**tuned)


def _tuned(name: str, strength: float, rows: Sequence[LossRecord], painted: float) -> float:
    """Weight of a term for the next round."""
    dial = DIALS[name]
    if not rows or name not in rows[-1].losses:
        return dial.first
    last = rows[-1]
    weight = last.weights[name]
    if last.level > 1 or last.step < SETTLING_STEPS:
        return weight
    factor: float = (last.losses[name] / (dial.wanted(strength) * painted)) ** dial.power
    return weight * min(max(factor, 1 / LARGEST_FACTOR), LARGEST_FACTOR)
