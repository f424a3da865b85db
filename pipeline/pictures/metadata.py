"""Metadata of libvips images: color profile, resolution, EXIF, XMP and IPTC."""

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyvips
from PIL import ExifTags, Image, ImageCms

from ..lengths import MM_PER_INCH
from .exif import Dpi, dpi_of_exif, main_tags, text_tags, without_thumbnail
from .iptc import wrapped
from .pdf import Page

_XMP_ORIENTATION = re.compile(rb"""\btiff:Orientation\s*(?:=\s*["']|>)\s*([1-8])\s*["'<]""")
_BYTE, _ASCII, _UNDEFINED = 1, 2, 7  # types of TIFF tags
_XMP_TAG, _IPTC_TAG = 700, 33723
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
_NEUTRALS: dict[str, Any] = {
    "L": (255, 128, 0),
    "RGB": ((255,) * 3, (128,) * 3, (0,) * 3),
    "CMYK": ((0,) * 4, (0, 0, 0, 128), (0, 0, 0, 255)),
}
_MOST_CHROMA = 127  # of 255, by which channels of a neutral color may differ
# What libvips reports for a PNG that states no resolution (72 dpi, truncated), and so what stands for "none" there.
_PNG_UNSTATED = 2.834
# EXIF requires a resolution, and prescribes 72 dpi where it is unknown.
_UNKNOWN_DPI = (72.0, 72.0)


@dataclass(frozen=True)
class Extras:
    """What a saver needs besides the pixels and the profile."""

    exif: bytes | None
    dpi: Dpi | None
    quality: int
    xmp: bytes | None = None
    iptc: bytes | None = None
    page: Page | None = None
    is_lossless: bool = False


def blob(image: Any, name: str) -> bytes | None:
    """Binary metadata of a libvips image, or None."""
    return bytes(image.get(name)) if image.get_typeof(name) else None


def stated_orientation(image: Any, exif: bytes | None) -> int:
    """The orientation that the file states, from 1 to 8: in its own words or in EXIF, else in XMP; 1 if it does not."""
    own = image.get("orientation") if image.get_typeof("orientation") else None
    xmp = _XMP_ORIENTATION.search(blob(image, "xmp-data") or b"")
    stated = (own, main_tags(exif).get(ExifTags.Base.Orientation), xmp and int(xmp[1]))
    return next((number for number in stated if isinstance(number, int) and 1 <= number <= 8), 1)


def stated_dpi(image: Any, exif: bytes | None, *, sideways: bool = False) -> Dpi | None:
    """The resolution that the file states, of the picture as it is looked at.

    In EXIF first, as libvips does. libvips invents one where there is none.
    """
    loader = str(image.get("vips-loader")) if image.get_typeof("vips-loader") else ""
    in_header = image.get_typeof("resolution-unit") or (loader.startswith("png") and image.xres != _PNG_UNSTATED)
    stated = dpi_of_exif(exif)
    if not stated and in_header and not loader.startswith("webp"):  # WebP holds a resolution only in EXIF
        stated = (round(image.xres * MM_PER_INCH, 2), round(image.yres * MM_PER_INCH, 2))
    if stated and min(stated) <= 0:
        return None
    return (stated[1], stated[0]) if stated and sideways else stated


def with_metadata(image: Any, extras: Extras) -> Any:
    """EXIF and resolution set on a copy; on saving, libvips brings EXIF's own size and resolution into line."""
    if extras.dpi or extras.exif:
        horizontal, vertical = (value / MM_PER_INCH for value in extras.dpi or _UNKNOWN_DPI)
    else:  # libvips cannot leave the resolution out of a PNG
        horizontal, vertical = _PNG_UNSTATED, _PNG_UNSTATED
    image = image.copy(xres=horizontal, yres=vertical)
    if extras.exif:
        image.set_type(pyvips.GValue.blob_type, "exif-data", without_thumbnail(extras.exif))
        image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    if extras.xmp:
        image.set_type(pyvips.GValue.blob_type, "xmp-data", extras.xmp)
    if extras.iptc:
        image.set_type(pyvips.GValue.blob_type, "iptc-data", wrapped(extras.iptc))
    return image


def kept(extras: Extras) -> str:
    """Value of libvips' ``keep``. Given neither EXIF nor resolution it would invent both, so then nothing of them."""
    return "all" if extras.exif or extras.dpi else "icc|xmp|iptc"


def srgb_profile() -> bytes:
    """The sRGB profile to embed."""
    return bytes(pyvips.Image.profile_load("srgb"))


def with_blob(image: Any, name: str, content: bytes) -> Any:
    """A copy of a libvips image with binary metadata."""
    image = image.copy()
    image.set_type(pyvips.GValue.blob_type, name, content)
    return image


def with_dpi(image: Any, dpi: Dpi | None) -> Any:
    """A copy of a libvips image that states this resolution, or none."""
    if dpi is None:
        image = image.copy(xres=_PNG_UNSTATED, yres=_PNG_UNSTATED)
        image.remove("resolution-unit")
        return image
    image = image.copy(xres=dpi[0] / MM_PER_INCH, yres=dpi[1] / MM_PER_INCH)
    image.set_type(pyvips.GValue.gstr_type, "resolution-unit", "in")
    return image


def embed(image: Any, profile: bytes) -> Any:
    """A copy of a libvips image that carries this profile; its samples stay as they are."""
    return with_blob(image, "icc-profile-data", profile)


def exported(image: Any, icc: bytes, depth: int, intent: str = "relative") -> Any:
    """sRGB samples converted to a profile. By way of Lab, since libvips takes output profiles in memory only there.

    On paper the darkest color stands for black (black point compensation), as far as the intent leaves it open.
    """
    # The white of libvips' Lab is D65, not that of profiles; an absolute intent on both ways leaves it out.
    lab = image.icc_import(input_profile="srgb", intent=intent, pcs="lab")
    on_paper = icc[16:20] == b"CMYK"
    return embed(lab, icc).icc_export(intent=intent, pcs="lab", depth=depth, black_point_compensation=on_paper)


def is_usable(icc: bytes) -> bool:
    """Whether pixels can be converted to this profile of RGB or CMYK; a scanner's profile only works the other way."""
    if icc[16:20] not in (b"RGB ", b"CMYK"):
        return False
    pixel = pyvips.Image.black(1, 1, bands=3).cast("ushort").copy(interpretation="rgb16")
    try:
        exported(pixel, icc, 8).numpy()
    except pyvips.Error:
        return False
    return True


def can_convert_from(icc: bytes, colors: int) -> bool:
    """Whether samples of this many colors (1: gray, 3: RGB, 4: CMYK) can be converted from this profile to sRGB.

    Of a broken profile often noise comes out; so white, gray and black have to stay what they are, more or less.
    """
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        mode, relative = _MODES[colors], ImageCms.Intent.RELATIVE_COLORIMETRIC
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB", relative)
        neutrals = Image.new(mode, (3, 1))
        neutrals.putdata(_NEUTRALS[mode])
        found = np.asarray(ImageCms.applyTransform(neutrals, transform))[0].astype(int)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return False
    white, gray, black = found.sum(1)
    return bool(white > gray > black and np.ptp(found, axis=1).max() <= _MOST_CHROMA)


def is_srgb(icc: bytes) -> bool:
    """Whether RGB of this profile has the numbers of sRGB, within a step of 8 bits."""
    profile, relative = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.Intent.RELATIVE_COLORIMETRIC
    transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "RGB", "RGB", relative)
    colors = (np.indices((6, 6, 6)).reshape(3, -1, 6) * 51).astype(np.uint8).transpose(1, 2, 0)
    found = np.asarray(ImageCms.applyTransform(Image.fromarray(np.ascontiguousarray(colors)), transform))
    return bool(np.abs(found.astype(int) - colors).max() <= 1)


def without_profile(image: Any) -> Any:
    """A copy of a libvips image without its color profile."""
    image = image.copy()
    image.remove("icc-profile-data")
    return image


def as_tiff_tags(extras: Extras) -> list[tuple[int, int, int | None, bytes, bool]]:
    """XMP, IPTC and the `TEXT_TAGS` of EXIF in the form that tifffile's ``extratags`` wants."""
    found: list[tuple[int, int, int | None, bytes, bool]] = [
        (tag, _ASCII, None, text, True) for tag, text in text_tags(extras.exif).items()
    ]
    blocks = ((_XMP_TAG, _BYTE, extras.xmp), (_IPTC_TAG, _UNDEFINED, extras.iptc))
    return found + [(tag, kind, len(block), block, True) for tag, kind, block in blocks if block]
