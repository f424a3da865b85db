"""The state of a tile between two rounds: one array (planes, height, width, 3), float32. NumPy only.

Planes: the pixels; the moving average of the pixels (which is the painting); then what the optimizer keeps. Adam: its
first and second moments. L-BFGS: the last step; the pairs it remembers within a round are forgotten, but for the
newest, which is that step and the change of the gradient along it, taken again when the next round begins.
"""

import numpy as np

PIXELS, AVERAGE, MOMENT1, MOMENT2 = range(4)
LAST_STEP = 2
PLANES = {"adam": 4, "lbfgs": 3}


def start_state(picture: np.ndarray, optimizer: str = "adam") -> np.ndarray:
    """Make the state of a tile nobody has painted yet from its pixels (height, width, 3)."""
    empty = np.zeros_like(picture)
    return np.stack([picture, picture, *[empty] * (PLANES[optimizer] - 2)])
