"""The state of a tile between two rounds: one array (4, height, width, 3), float32. NumPy only.

Planes: the pixels, the moving average of the pixels (which is the painting), and Adam's first and second moments.
"""

import numpy as np

PIXELS, AVERAGE, MOMENT1, MOMENT2 = range(4)


def start_state(picture: np.ndarray) -> np.ndarray:
    """Make the state of a tile nobody has painted yet from its pixels (height, width, 3)."""
    return np.stack([picture, picture, np.zeros_like(picture), np.zeros_like(picture)])
