"""The state of a tile between two rounds: one array (planes, height, width, 3), float32. NumPy only.

Planes: the pixels; the moving average of the pixels (which is the painting); then what the optimiser remembers.
Adam: its first and second moments. L-BFGS: the last gradient and the last step, then the remembered steps and the
changes of the gradient they made, oldest first; pairs that are not there yet are zero.
"""

import numpy as np

PIXELS, AVERAGE, MOMENT1, MOMENT2 = range(4)
LAST_SLOPE, LAST_STEP = MOMENT1, MOMENT2
BASE_PLANES = 4


def planes(optimizer: str, history: int) -> int:
    """Count the planes of a state.

    >>> planes("adam", 10), planes("lbfgs", 10)
    (4, 24)
    """
    return BASE_PLANES + (2 * history if optimizer == "lbfgs" else 0)


def start_state(picture: np.ndarray, count: int = BASE_PLANES) -> np.ndarray:
    """Make the state of a tile nobody has painted yet from its pixels (height, width, 3)."""
    empty = np.zeros_like(picture)
    return np.stack([picture, picture, *[empty] * (count - 2)])
