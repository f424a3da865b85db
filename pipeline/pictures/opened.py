"""An opened picture file: its header, and how much memory decoding will take."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyvips

from ..errors import PictureError
from .metadata import embed
from .vips import DTYPE, INTERPRETATION, VIPS_SCALE, Pixels, as_vips

BROKEN = (
    *(SyntaxError, struct.error, ValueError, TypeError, KeyError, IndexError, EOFError, OSError, OverflowError),
    RuntimeError,
)
"""What decoders in Python raise of damaged files."""

_MOST_SIDE = 10_000_000  # of a libvips image
_HDR = {16: "PQ", 18: "HLG"}  # of ITU-T H.273, as are these
_DISPLAY_P3 = 12
_PLAIN = (1, 2, 5, 6)  # sRGB's primaries, none, and television's that hardly differ
_GRAY = {8: "b-w", 16: "grey16"}


class Asked(NamedTuple):
    """What is wanted of a file: which page of several, from 1, and how many stops brighter a raw photograph."""

    page: int = 1
    exposure: float = 0.0


class Opened(NamedTuple):
    """An open file of which only the header has been read.

    Attributes
    ----------
    image
        A libvips image that has the picture's size and orientation. Without `decode` it is the picture itself, which
        libvips decodes in row blocks.
    decode
        Decodes the whole picture at once, as a libvips image with everything that belongs to it.
    needs
        Bytes of memory that decoding takes at once; 0 where the header of `image` tells.
    """

    image: Any
    decode: Callable[[], Any] | None = None
    needs: int = 0


def header(path: Path, height: int, width: int, bands: int = 3, format: str = "uchar") -> Any:
    """A libvips image of this size that takes no memory and stands for one that is to be decoded.

    Raises `PictureError` if no picture can have that size.
    """
    if not all(0 < side <= _MOST_SIDE for side in (height, width)):
        raise damaged(path, f"its header says {width} x {height} pixels")
    return pyvips.Image.black(width, height, bands=bands).cast(format)


def decoded(pixels: Pixels) -> Any:
    """A libvips image of decoded samples, (height, width) or (height, width, bands), uint8 or uint16."""
    image = as_vips(pixels)
    depth = 8 * DTYPE[image.format].itemsize
    return image.copy(interpretation=_GRAY[depth] if image.bands < 3 else INTERPRETATION[depth])


def upright(image: Any) -> Any:
    """A copy of a libvips image whose orientation has been applied already, whatever its EXIF says."""
    image = image.copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    return image


def unpremultiplied(image: Any) -> Any:
    """A copy of a libvips image whose colors are no longer multiplied by alpha, its last channel."""
    bare = image.unpremultiply(max_alpha=VIPS_SCALE[image.format]).rint().cast(image.format)
    return bare.copy(interpretation=image.interpretation)


def check_transfer(transfer: int, path: Path) -> None:
    """Refuse HDR samples, by their transfer characteristics as numbered in ITU-T H.273.

    Raises `PictureError`.
    """
    if transfer in _HDR:
        raise PictureError(
            f"{path}: an HDR picture ({_HDR[transfer]}), brighter than a print can be; export it without HDR, as HEIC, "
            "TIFF or JPEG",
            path=path,
        )


def with_coded_colors(image: Any, primaries: int, transfer: int, path: Path) -> Any:
    """The image with a profile for colors that its file states by numbers of ITU-T H.273, if it has none.

    Raises `PictureError` if they are of a kind that a print cannot have.
    """
    check_transfer(transfer, path)
    if image.get_typeof("icc-profile-data") or primaries in _PLAIN:
        return image
    if primaries == _DISPLAY_P3:
        return embed(image, bytes(pyvips.Image.profile_load("p3")))
    raise PictureError(
        f"{path}: colors with primaries number {primaries} (ITU-T H.273) are not supported; export it in sRGB or "
        "Display P3",
        path=path,
    )


def damaged(path: Path, reason: object) -> PictureError:
    """The error for a file that a decoder gives up, with the first line of what it says."""
    lines = [line.strip() for line in str(reason).splitlines() if line.strip()] or ["the decoder does not say why"]
    return PictureError(
        f"{path}: damaged, cut short, or stored in an unsupported way ({lines[0]}); copy or export it again",
        path=path,
    )
