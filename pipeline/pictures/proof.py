"""Soft proofs: how a picture will look in print, and the share of its colors that the printer cannot reproduce."""

import io
from typing import Final

import numpy as np
from PIL import Image, ImageCms

from .vips import Pixels

LONGEST_SIDE: Final = 1024  # px
_INTENTS: Final = {
    "perceptual": ImageCms.Intent.PERCEPTUAL,
    "relative": ImageCms.Intent.RELATIVE_COLORIMETRIC,
    "saturation": ImageCms.Intent.SATURATION,
    "absolute": ImageCms.Intent.ABSOLUTE_COLORIMETRIC,
}


def soft_proof(pixels: Pixels, icc: bytes, intent: str) -> tuple[Pixels, float]:
    """Show a picture as it will be printed, the paper's color included.

    Parameters
    ----------
    pixels
        (height, width, 3), uint8, sRGB.
    icc
        The printer's profile.
    intent
        How colors are converted to it.

    Returns
    -------
    pixels, share
        sRGB again, and the share of pixels whose colors the printer does not have, from 0 to 1.
    """
    shown = _through(pixels, icc, intent, ImageCms.Flags.SOFTPROOFING)
    flags = ImageCms.Flags.SOFTPROOFING | ImageCms.Flags.GAMUTCHECK
    alarmed = _through(pixels, icc, intent, flags)  # out-of-gamut colors become gray
    return shown, float((shown != alarmed).any(axis=2).mean())


def _through(pixels: Pixels, icc: bytes, intent: str, flags: ImageCms.Flags) -> Pixels:
    transform = ImageCms.buildProofTransform(
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("sRGB"),
        ImageCms.ImageCmsProfile(io.BytesIO(icc)),
        "RGB",
        "RGB",
        renderingIntent=_INTENTS[intent],
        proofRenderingIntent=ImageCms.Intent.ABSOLUTE_COLORIMETRIC,
        flags=flags,
    )
    found = ImageCms.applyTransform(Image.fromarray(pixels), transform)
    return np.asarray(found)
