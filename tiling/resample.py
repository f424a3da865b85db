"""Resampling of a canvas box by box, the same whatever the boxes.

Pixel centers lie at half-integers: position `p` of a picture of `n` pixels is the same place as
`p * m / n` of that picture at `m` pixels. A picture may lie inside a larger canvas; `Frame` says where.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .grid import Box, Span


class Frame(NamedTuple):
    """A picture inside its canvas, along both axes: canvas shape, picture shape, and where the picture starts, px."""

    canvas: tuple[int, int]
    picture: tuple[int, int]
    start: int


class Taps(NamedTuple):
    """Which source pixels make each target pixel: `indices` and `weights`, both (targets, taps)."""

    indices: np.ndarray
    weights: np.ndarray


def cubic(distance: np.ndarray) -> np.ndarray:
    """Catmull-Rom kernel (Keys 1981, a = -1/2), support 2."""
    d = np.abs(distance)
    near, far = (1.5 * d - 2.5) * d * d + 1.0, ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return np.asarray(np.where(d <= 1, near, np.where(d < 2, far, 0.0)))


def linear(distance: np.ndarray) -> np.ndarray:
    """Triangle kernel, support 1: keeps what is positive positive."""
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(distance)))


def taps(span: Span, target: Frame, source: Frame, axis: int, kernel: Callable[[np.ndarray], np.ndarray]) -> Taps:
    """Find the four source pixels of every target pixel of `span`; beyond the source canvas its edge is repeated."""
    scale = source.picture[axis] / target.picture[axis]
    center = (np.arange(span.start, span.stop) + 0.5 - target.start) * scale + source.start - 0.5
    first = np.floor(center).astype(np.int64) - 1
    indices = first[:, None] + np.arange(4)
    weights = kernel(center[:, None] - indices).astype(np.float32)
    return Taps(indices.clip(0, source.canvas[axis] - 1), weights)


def resample(
    read: Callable[[Box], np.ndarray],
    source: Frame,
    target: Frame,
    box: Box,
    kernel: Callable[[np.ndarray], np.ndarray] = cubic,
) -> np.ndarray:
    """Read a box of the target canvas from a source canvas of another size. Meant for enlarging: it does not smooth.

    Parameters
    ----------
    read : callable Box -> ndarray (..., h, w, channels), float32
        Gives the source's pixels.
    source, target : Frame
        Both canvases and the pictures inside them.
    box : Box
        Box of the target canvas.
    kernel : callable
        `cubic` or `linear`.

    Returns
    -------
    ndarray, float32, (..., height, width, channels)
    """
    down, across = (taps(span, target, source, axis, kernel) for axis, span in enumerate(box))
    needed = Box(*(Span(int(t.indices.min()), int(t.indices.max()) + 1) for t in (down, across)))
    patch = read(needed)
    tall = _gather(patch, down, needed.rows.start, patch.ndim - 3)
    return _gather(tall, across, needed.cols.start, patch.ndim - 2)


def _gather(patch: np.ndarray, t: Taps, origin: int, axis: int) -> np.ndarray:
    shape = [1] * patch.ndim
    shape[axis] = -1
    parts = (
        np.take(patch, t.indices[:, k] - origin, axis) * t.weights[:, k].reshape(shape)
        for k in range(t.indices.shape[1])
    )
    return np.asarray(np.sum(list(parts), axis=0, dtype=np.float32))
