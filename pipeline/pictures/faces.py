"""Detects frontal faces in a photograph, with scikit-image's cascade of local binary patterns.

Ojala et al. 1996; Viola and Jones 2001. The cascade comes with scikit-image, so nothing is downloaded. This is the only
module that uses scikit-image, which is optional (`muralist[faces]`).
"""

from typing import Any, Final

import numpy as np

from ..errors import SettingsError
from ..region_specs import FACES
from .images import Picture, resize, size_within
from .masks import Mask

SIDE: Final = 512  # px, long side at which faces are looked for
LEAST_FACE: Final = 30  # px, there
AGREEING: Final = 12  # hits that make a face; with four, a cat's cheek was one
STEP: Final = 1.1  # from a size of faces to the next
HALF_WIDTH, HALF_HEIGHT, RISE = 0.5, 0.66, 0.0  # of the ellipse around a face, in sides of the square that was found


def find_faces(photograph: Picture) -> Mask | None:
    """Find the faces in a photograph and give the mask of them, at a small size; None if there are none.

    Raises `SettingsError` if scikit-image is not installed.
    """
    height, width = size_within(SIDE, photograph.height, photograph.width)
    squares = _squares(np.rint(resize(photograph.pixels, height, width) * 255).astype(np.uint8))
    if not squares:
        return None
    rows, cols = np.mgrid[:height, :width]
    values = np.zeros((height, width), np.uint8)
    for square in squares:
        side = square["width"]
        down = (rows + 0.5 - square["r"] - (0.5 - RISE) * side) / (HALF_HEIGHT * side)
        across = (cols + 0.5 - square["c"] - 0.5 * side) / (HALF_WIDTH * side)
        values[down**2 + across**2 < 1] = 255
    return Mask(values, photograph.path, photograph.sha256, FACES)


def _squares(pixels: np.ndarray) -> list[dict[str, Any]]:
    """Squares around faces, each with its first row "r" and column "c" and its "width", px."""
    try:
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade
    except ImportError:
        raise SettingsError(
            "protect: got 'faces', but scikit-image, which finds them, is not installed; pip install 'muralist[faces]'"
        ) from None
    largest = min(pixels.shape[:2])
    cascade = Cascade(lbp_frontal_face_cascade_filename())  # type: ignore[no-untyped-call]
    found: list[dict[str, Any]] = cascade.detect_multi_scale(
        img=pixels,
        scale_factor=STEP,
        step_ratio=1,
        min_size=(LEAST_FACE, LEAST_FACE),
        max_size=(largest, largest),
        min_neighbor_number=AGREEING,
    )
    return found
