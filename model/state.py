"""The state of a tile between two rounds: one array (planes, height, width, 3), float32. NumPy only.

Planes: the pixels; their moving average over the steps, if there is one; then what the optimizer keeps. Adam: its first
and second moments. L-BFGS: its newest pairs, each a step and what the gradient changed along it, oldest first. The
painting is the average, if there is one, or else the pixels.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

PIXELS: Final = 0
PAIRS: Final = 2  # of L-BFGS, that are kept from round to round
KEPT: Final = {"adam": 2, "lbfgs": 2 * PAIRS}
BFLOAT16: Final = {"adam": 0, "lbfgs": 2 * PAIRS}  # how many of these are stored in bfloat16, which is precise enough


@dataclass(frozen=True)
class StateLayout:
    """Which planes a state has.

    Attributes
    ----------
    optimizer : str
        A key of `KEPT`.
    averaged : bool
        Whether a moving average of the pixels is kept.
    """

    optimizer: str = "adam"
    averaged: bool = True

    @property
    def painting(self) -> int:
        """The plane that is the painting."""
        return PIXELS + self.averaged

    @property
    def kept(self) -> slice:
        """The planes that the optimizer keeps."""
        return slice(self.painting + 1, self.planes)

    @property
    def planes(self) -> int:
        """How many there are."""
        return self.painting + 1 + KEPT[self.optimizer]

    @property
    def bfloat16(self) -> int:
        """How many of the last planes are stored in bfloat16."""
        return BFLOAT16[self.optimizer]

    def start(self, picture: np.ndarray) -> np.ndarray:
        """Make the state of a tile nobody has painted yet from its pixels (height, width, 3)."""
        state = np.zeros((self.planes, *picture.shape), picture.dtype)
        state[: self.kept.start] = picture
        return state
