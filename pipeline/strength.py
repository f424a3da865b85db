"""How strongly a style is painted: `strength` is the same for every picture, the content weight behind it is not.

With one content weight for all, abstract styles drown the photograph and quiet ones hardly show. So the weight is tuned
while the coarsest level is painted, until its content loss is what `strength` asks for, and kept for all finer levels.
It follows from the recorded losses alone, which the journal keeps: an interrupted painting finds the same weight again.
"""

from collections.abc import Sequence
from typing import Final

from .records.losses import LossRecord
from .settings import Settings

FIRST_WEIGHT: Final = 6.0  # before anything is known
SETTLING_STEPS: Final = 30  # a painting starts as the photograph, so its content loss tells nothing at first
POWER: Final = 2.0  # of the content loss over what is wanted: the loss answers to about the root of the weight
LARGEST_FACTOR: Final = 2.0  # between two rounds


def wanted_content_loss(strength: float) -> float:
    """Content loss at the end of the coarsest level: 0 keeps the photograph, 1 gives way to the style wherever it can.

    >>> [round(wanted_content_loss(strength), 3) for strength in (0, 0.5, 1)]
    [0.14, 0.44, 0.74]
    """
    return 0.14 + 0.6 * strength


def content_weight(settings: Settings, rows: Sequence[LossRecord], painted: float = 1.0) -> float:
    """Weight of the content loss for the next round.

    Parameters
    ----------
    settings : Settings
        An explicit `content_weight` beats `strength`.
    rows : sequence of LossRecord
        All records of the losses so far, each with the weight it was taken with.
    painted : float
        Share of what is wanted of the content loss where masks say how strongly parts of the picture are painted.
    """
    if settings.content_weight is not None:
        return settings.content_weight
    if not rows:
        return FIRST_WEIGHT
    last = rows[-1]
    if "content" not in last.losses:
        return FIRST_WEIGHT
    weight = last.weights["content"]
    if last.level > 1 or last.step < SETTLING_STEPS:
        return weight
    factor: float = (last.losses["content"] / (wanted_content_loss(settings.strength) * painted)) ** POWER
    return weight * min(max(factor, 1 / LARGEST_FACTOR), LARGEST_FACTOR)
