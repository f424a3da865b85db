"""Measures how wide the brush strokes of a picture are.

A stroke is a band of one color, so the shortest way from a point to another color leads across its stroke. For points
all over the picture, the shortest line through the point is found along which its color lasts, judged by the local
contrast; the median length of these lines is the stroke width (cf. Epshtein et al. 2010, "Detecting text in natural
scenes with stroke width transform", CVPR, where such lines go from edge to edge). This does not depend on the size of
the whole picture, so a part of a picture gives the same width as the whole. Rejected: the mean scale of second
derivatives (Lindeberg 1998). Most paintings have as much contrast at every scale, so it was in the middle of the scales
examined, which depend on the picture's size.
"""

import math
from typing import Final

import numpy as np

from ..errors import PictureError
from .array_file import ArrayFile
from .images import Picture, resize
from .vips import Pixels

_SIDE: Final = 1024  # px, long side at which strokes are measured
_POINTS: Final = 4096  # at which they are
_DIRECTIONS: Final = 8
_REACH: Final = 96  # px; what is wider everywhere is background
_AROUND: Final = 48  # px to all sides, over which the deviation of colors is taken
_OTHER: Final = 0.6  # of that deviation: at such a distance, a color is another one
_SMOOTHED: Final = 0.7  # px, sigma of the blur that takes grain away
_FAINT: Final = 0.02  # contrast of light that is no paint, but paper or noise


def stroke_width(picture: Picture, mask: Pixels | ArrayFile | None = None) -> float:
    """Measure how wide the brush strokes of a picture are, px.

    Parameters
    ----------
    mask : (h, w), uint8 or uint16, optional
        Bright where the picture counts.

    Raises
    ------
    PictureError
        If the picture is of one color where it counts.
    """
    scale = min(1, _SIDE / max(picture.height, picture.width))
    height, width = (max(1, round(side * scale)) for side in (picture.height, picture.width))
    pixels = _blurred(resize(picture.pixels, height, width))
    weights = np.ones((height, width), np.float32) if mask is None else resize(mask, height, width)
    counted = weights >= min(0.5, float(weights.max()))
    if np.ptp(pixels[counted], axis=0).max() < _FAINT:
        raise PictureError(
            f"{picture.path}: got a style picture of one color, in which no brush strokes can be measured; use "
            "style_scale instead of stroke",
            path=picture.path,
        )
    points = _points(weights)
    widths = _widths(pixels, points, _OTHER * _deviation(pixels)[points])
    return _median(widths, weights[points]) / scale


def _deviation(pixels: np.ndarray) -> np.ndarray:
    """Deviation of the colors around every pixel: (h, w)."""
    variance = (_around(pixels.astype(np.float64) ** 2) - _around(pixels.astype(np.float64)) ** 2).sum(2)
    return np.asarray(np.sqrt(variance.clip(0)) + _FAINT)


def _around(values: np.ndarray) -> np.ndarray:
    """Mean of (h, w, 3) over the square around every pixel, as much of it as there is."""
    for axis in (0, 1):
        sums = np.insert(np.cumsum(values, axis), 0, 0, axis)
        places = np.arange(values.shape[axis])
        start, stop = (places - _AROUND).clip(0), (places + _AROUND + 1).clip(max=len(places))
        lengths = (stop - start).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        values = (sums.take(stop, axis) - sums.take(start, axis)) / lengths
    return values


def _blurred(pixels: np.ndarray) -> np.ndarray:
    """Blur (h, w, 3) by three pixels in a row and a column, mirrored at the edges."""
    beside = math.exp(-0.5 / _SMOOTHED**2)
    middle, beside = 1 / (1 + 2 * beside), beside / (1 + 2 * beside)
    wide = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), mode="edge")
    wide = middle * wide[1:-1] + beside * (wide[:-2] + wide[2:])
    return np.asarray(middle * wide[:, 1:-1] + beside * (wide[:, :-2] + wide[:, 2:]))


def _points(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of points on a grid over what counts of (h, w), or of all of it if nothing does."""
    rows, cols = np.nonzero(weights) if weights.any() else np.indices(weights.shape).reshape(2, -1)
    apart = max(1, math.isqrt(len(rows) // _POINTS))
    on_grid = (rows % apart == apart // 2) & (cols % apart == apart // 2)
    return (rows[on_grid], cols[on_grid]) if on_grid.any() else (rows, cols)


def _widths(pixels: np.ndarray, points: tuple[np.ndarray, np.ndarray], other: np.ndarray) -> np.ndarray:
    """Length of the shortest line through every point along which colors are nearer than `other` to its own, px."""
    found = np.full(len(points[0]), 2 * _REACH)
    for angle in np.arange(_DIRECTIONS) * math.pi / _DIRECTIONS:
        ways = (np.array([math.sin(angle), math.cos(angle)]) * sense for sense in (1, -1))
        found = np.minimum(found, 1 + sum(_steps(pixels, points, way, other) for way in ways))
    return found


def _steps(pixels: np.ndarray, points: tuple[np.ndarray, np.ndarray], way: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How many steps of a pixel each point's color lasts that way."""
    lasted, own, going = np.zeros(len(points[0]), int), pixels[points], np.arange(len(points[0]))
    for step in range(1, _REACH):
        rows, cols = (along[going] + round(step * part) for along, part in zip(points, way, strict=True))
        inside = (rows >= 0) & (rows < pixels.shape[0]) & (cols >= 0) & (cols < pixels.shape[1])
        going, rows, cols = going[inside], rows[inside], cols[inside]
        going = going[((pixels[rows, cols] - own[going]) ** 2).sum(1) < other[going] ** 2]
        lasted[going] += 1
    return lasted


def _median(widths: np.ndarray, weights: np.ndarray) -> float:
    """Give the median of whole numbers, each of which stands for all within half of it, without the background."""
    counts = np.bincount(widths.clip(max=_REACH), weights, _REACH + 1)[:_REACH]
    if not counts.any():
        return float(_REACH)
    half = counts.sum() / 2
    middle = int(np.searchsorted(np.cumsum(counts), half))
    return float(middle - 0.5 + (half - counts[:middle].sum()) / counts[middle])
