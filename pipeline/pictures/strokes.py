"""How wide the brush strokes of a picture are.

Strokes are stripes, side by side. Over stripes as wide as half a wavelength, the second derivative of a picture that is
blurred by sigma, times sigma squared, is largest at sigma = sqrt(2) / pi times that width (Lindeberg 1998, "Feature
detection with automatic scale selection", IJCV 30(2)). Over a whole picture its square has a broad peak, as there are
brushes of several widths; their mean is taken, weighted by the peak's square. Differs from Lindeberg in that contrasts
are evened out first, or large bright and dark areas would count for more than all strokes in them.
"""

import math
from typing import Final

import numpy as np

from ..errors import PictureError
from .array_file import ArrayFile
from .images import Picture, resize
from .vips import Pixels

_SIDE: Final = 1024  # px, long side at which strokes are measured
_WIDTHS: Final = 2.0 ** -np.arange(3.5, 8.75, 0.25)  # that are looked for, as shares of the long side
_SURROUNDINGS: Final = 1 / 16  # of the long side, over which contrasts are evened out
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
        If the picture is of one color.
    """
    scale = min(1, _SIDE / max(picture.height, picture.width))
    height, width = (max(1, round(side * scale)) for side in (picture.height, picture.width))
    light = resize(picture.pixels, height, width).mean(2)
    if np.ptp(light) < _FAINT:
        raise PictureError(
            f"{picture.path}: got a style picture of one color, in which no brush strokes can be measured; use "
            "style_scale instead of stroke",
            path=picture.path,
        )
    side, even = max(light.shape), _evened(light)
    energy = _energy(even if mask is None else even * resize(mask, height, width), _WIDTHS * side) ** 2
    return float(np.exp(energy @ np.log(_WIDTHS * side) / energy.sum())) / scale


def _evened(light: np.ndarray) -> np.ndarray:
    """Divide by the contrast around every pixel: (h, w), around 0."""
    blur = _SURROUNDINGS * max(light.shape)
    away = light - _blurred(light, blur)
    return np.asarray(away / (np.sqrt(_blurred(away**2, blur).clip(0)) + _FAINT))


def _blurred(values: np.ndarray, sigma: float) -> np.ndarray:
    """Blur (h, w) by a Gaussian, mirrored at the edges."""
    height, width = values.shape
    passed = np.exp(-0.5 * sigma**2 * _frequencies(height, width))
    return np.asarray(np.fft.irfft2(np.fft.rfft2(_mirrored(values)) * passed, (2 * height, 2 * width))[:height, :width])


def _energy(values: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Sum of squares of the second derivatives that stripes of these widths make largest: (widths,)."""
    power = abs(np.fft.rfft2(_mirrored(values))) ** 2
    power[:, 1:-1] *= 2  # for the half of the frequencies that rfft2 leaves out
    squares = _frequencies(*values.shape)
    rings = np.rint(np.sqrt(squares) / math.pi * max(values.shape)).astype(int)
    by_ring = np.bincount(rings.ravel(), power.ravel())
    scaled = (math.sqrt(2) / math.pi * widths[:, None] * np.arange(len(by_ring)) * math.pi / max(values.shape)) ** 2
    return np.asarray(scaled**2 * np.exp(-scaled) @ by_ring)


def _mirrored(values: np.ndarray) -> np.ndarray:
    return np.pad(values, ((0, values.shape[0]), (0, values.shape[1])), mode="symmetric")


def _frequencies(height: int, width: int) -> np.ndarray:
    """Squares of the frequencies of a mirrored picture, radians per pixel: (2 height, width + 1)."""
    down, across = np.fft.fftfreq(2 * height) * 2 * math.pi, np.fft.rfftfreq(2 * width) * 2 * math.pi
    return np.asarray(down[:, None] ** 2 + across**2)
