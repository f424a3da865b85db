"""Two ways to keep the photograph's colors (Gatys et al. 2017, "Preserving Color in Neural Style Transfer").

`luminance` puts the photograph's chroma back under the light of the finished painting. `statistics` recolors the style
picture before painting, so that the mean and covariance of its pixels are the photograph's. All in floating point, on
sRGB-encoded values in [0, 1]; nothing is rounded.
"""

import hashlib
from dataclasses import dataclass
from math import isqrt

import numpy as np

from .array_file import ArrayFile
from .images import resize
from .vips import Pixels, full_scale

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601; the Y of YIQ and YCbCr
SAMPLES = 1 << 20  # pixels that are enough to know a picture's mean and covariance
_BLOCK_ROWS = 256
# A direction of color space in which a picture varies by less than half a step of 8 bits holds nothing but rounding.
LEAST_VARIANCE = (0.5 / 255) ** 2


def with_chroma_of(photograph: np.ndarray, painting: np.ndarray) -> np.ndarray:
    """Paint in light only: the painting's luma with the photograph's chroma.

    In YIQ, as in YCbCr, to exchange Y and keep the chroma is to add the same difference to red, green and blue. Where
    that leaves the range, all chroma of the pixel is scaled down until it fits, towards the gray of the same luma: luma
    and hue are exact, saturation gives way. Differs from Gatys et al. 2017 (section 4), who transfer luminance before
    painting and clip channel by channel, which turns hues.

    Parameters
    ----------
    photograph, painting : ndarray (..., 3), float
        Of the same shape. The painting is clipped to [0, 1].

    Returns
    -------
    ndarray (..., 3), float, in [0, 1]
    """
    luma = (painting.clip(0, 1) @ LUMA)[..., None]
    chroma = photograph - (photograph @ LUMA)[..., None]
    room = np.where(chroma > 0, 1 - luma, luma)
    far = np.maximum(np.abs(chroma), np.finfo(np.float32).tiny)
    saturation = np.minimum(room / far, 1).min(axis=-1, keepdims=True)
    return np.asarray((luma + saturation * chroma).clip(0, 1))


@dataclass(frozen=True, eq=False)
class Recoloring:
    """A linear change of colors: x becomes `matrix @ x + offset`, with x an RGB column in [0, 1].

    Attributes
    ----------
    matrix : ndarray (3, 3), float64
    offset : ndarray (3,), float64
    """

    matrix: np.ndarray
    offset: np.ndarray

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Recolor pixels (h, w, 3), float; clipped to [0, 1], float32."""
        changed = np.empty(pixels.shape, np.float32)
        for top in range(0, len(pixels), _BLOCK_ROWS):  # in blocks: intermediates take three times the bytes
            changed[top : top + _BLOCK_ROWS] = np.clip(self.unclipped(pixels[top : top + _BLOCK_ROWS]), 0, 1)
        return changed

    def unclipped(self, pixels: np.ndarray) -> np.ndarray:
        """Recolor pixels (..., 3), float, and leave the range where it leads out of it."""
        return np.asarray(pixels @ self.matrix.T + self.offset)

    @property
    def sha256(self) -> str:
        """Hex digest of the numbers."""
        return hashlib.sha256(self.matrix.tobytes() + self.offset.tobytes()).hexdigest()


def recoloring(
    style: Pixels | ArrayFile, photograph: Pixels | ArrayFile, mask: Pixels | ArrayFile | None = None
) -> Recoloring:
    """Find what gives the pixels of `style` the mean and covariance of those of `photograph`.

    With means m and covariances V: x becomes V_p^(1/2) V_s^(-1/2) (x - m_s) + m_p, with symmetric square roots (Gatys
    et al. 2017, eq. 3 and 5 with the form they call image analogies). Where a style picture hardly varies, such as a
    gray one away from gray, the inverse root is zero: there is nothing to spread.

    Parameters
    ----------
    style, photograph : ndarray (h, w, 3)
        uint8, uint16 or float32 in [0, 1]. Of large pictures every k-th row and column counts.
    mask : ndarray (h, w), uint8 or uint16, optional
        Of the style picture: bright where it counts, not black everywhere.
    """
    style_mean, style_values, style_axes = _moments(style, mask)
    mean, values, axes = _moments(photograph)
    varies = style_values > LEAST_VARIANCE
    inverse = np.where(varies, 1 / np.sqrt(np.where(varies, style_values, 1)), 0)
    matrix = (axes * np.sqrt(values)) @ axes.T @ (style_axes * inverse) @ style_axes.T
    return Recoloring(matrix, mean - matrix @ style_mean)


def _moments(
    pixels: Pixels | ArrayFile, mask: Pixels | ArrayFile | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean color (3,); eigenvalues (3,) and eigenvectors (3, 3), by column, of the covariance."""
    height, width = pixels.shape[:2]
    step = max(1, isqrt(height * width // SAMPLES))
    weights = None if mask is None else resize(mask, height, width)
    if weights is not None and not weights[::step, ::step].any():  # a small part counts
        step = 1
    part, counted = pixels[::step, ::step], None if weights is None else weights[::step, ::step].ravel()
    colors = part.reshape(-1, 3) / np.float64(full_scale(part))
    values, axes = np.linalg.eigh(np.cov(colors.T, bias=True, aweights=counted))
    return np.average(colors, axis=0, weights=counted), values.clip(0), axes
