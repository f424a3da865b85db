"""Reading of picture files into the sRGB working space. Whatever is wrong with a file is a `PictureError`."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from muralist.pipeline.errors import PictureError
from muralist.pipeline.images import Picture
from muralist.pipeline.metadata import blob, embed, exif_of_tiff, stated_dpi
from muralist.pipeline.samples import INTERPRETATION, VIPS_SCALE, Pixels, as_vips, at_depth, one_line

_COLOUR_BANDS = {"b-w": 1, "grey16": 1, "srgb": 3, "rgb16": 3, "scrgb": 3, "cmyk": 4}

# Float files should stay in [0, 1]. A resampled one overshoots a little; one that goes to 255 means something else.
_FLOAT_TOLERANCE = 0.5


@dataclass(frozen=True)
class InputFormat:
    """A kind of file that can be read: recognised by its first bytes; extensions say what to look for in a folder."""

    name: str
    extensions: tuple[str, ...]
    signature: re.Pattern[bytes]
    load: Callable[[bytes], Any]


def supported_inputs() -> tuple[InputFormat, ...]:
    """The kinds of file that `read_picture` reads."""
    return _INPUTS


def read_picture(path: str | Path, max_pixels: int = 2_000_000_000) -> Picture:
    """Read a JPEG, PNG, TIFF or WebP file into the sRGB working space.

    Grey, palette, 1-bit and CMYK files become RGB. An embedded colour profile is applied (relative colorimetric);
    without one the numbers are taken as sRGB, CMYK as libvips' built-in press profile. Files with 16 bits stay 16
    bits. The EXIF orientation is applied to the pixels. Of a file with several pages or frames the first is read.

    Float TIFFs must hold values in [0, 1] and become 16-bit. Without a profile the values are taken as
    sRGB-encoded, the way tifffile, scikit-image and most photo editors hand them on (libvips would take them as
    linear light and give a brighter picture). Small overshoots are clipped.

    Parameters
    ----------
    path
        The file.
    max_pixels
        Refuse larger pictures by their header, before decoding anything.

    Raises
    ------
    PictureError
        If the file is missing, unreadable, no picture, damaged, cut short, too large, or of a kind not supported.
    """
    path = Path(path)
    with _reading(path):
        image = _open(path)
        _check_size(image, path, max_pixels)
        orientation = image.get("orientation") if image.get_typeof("orientation") else 1
        pixels, alpha = _decode(image, path)
        exif = blob(image, "exif-data") or exif_of_tiff(path)
        dpi = stated_dpi(image, exif)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Picture(
        pixels=_upright(pixels, orientation),
        alpha=None if alpha is None else _upright(alpha, orientation),
        icc=blob(image, "icc-profile-data"),
        exif=exif,
        dpi=dpi if dpi is None or orientation < 5 else (dpi[1], dpi[0]),
        path=path,
        sha256=digest,
    )


_READ_ERRORS: dict[type[OSError], str] = {
    FileNotFoundError: "there is no such file; check the path",
    NotADirectoryError: "there is no such file; check the path",
    IsADirectoryError: "this is a folder; name one picture in it",
    PermissionError: "no permission to read this file; change its permissions or copy it elsewhere",
}


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what the operating system and libvips raise into a `PictureError`."""
    try:
        yield
    except OSError as error:
        reason = _READ_ERRORS.get(type(error), f"cannot be read ({error.strerror})")
        raise PictureError(f"{path}: {reason}", path=path) from error
    except pyvips.Error as error:
        raise PictureError(
            f"{path}: damaged, cut short, or stored in a way that cannot be read ({one_line(error)}); "
            "copy or export it again",
            path=path,
        ) from error


def _open(path: Path) -> Any:
    """The picture as a libvips image of which only the header has been read."""
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise PictureError(f"{path}: the file is empty; copy or export it again", path=path)
    for kind in _INPUTS:
        if kind.signature.match(head):
            return kind.load(os.fsencode(path))
    names = ", ".join(kind.name for kind in _INPUTS)
    raise PictureError(f"{path}: not a picture of a supported kind; convert it to one of {names}", path=path)


def _load_jpeg(path: bytes) -> Any:
    return pyvips.Image.jpegload(path, access="sequential", fail_on="error")


def _load_png(path: bytes) -> Any:
    return pyvips.Image.pngload(path, access="sequential", fail_on="error")


def _load_webp(path: bytes) -> Any:
    return pyvips.Image.webpload(path, access="sequential", fail_on="error")


def _load_tiff(path: bytes) -> Any:
    # "error" reads some damaged TIFFs as black. "warning" does not, and unlike for JPEG, harmless files pass it.
    return pyvips.Image.tiffload(path, access="sequential", fail_on="warning")


_INPUTS = (
    InputFormat("JPEG", (".jpg", ".jpeg"), re.compile(rb"\xff\xd8\xff"), _load_jpeg),
    InputFormat("PNG", (".png",), re.compile(rb"\x89PNG\r\n\x1a\n"), _load_png),
    InputFormat("TIFF", (".tif", ".tiff"), re.compile(rb"II[*+]\0|MM\0[*+]"), _load_tiff),
    InputFormat("WebP", (".webp",), re.compile(rb"RIFF.{4}WEBP", re.DOTALL), _load_webp),
)


def _check_size(image: Any, path: Path, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise PictureError(
            f"{path}: {image.width} x {image.height} pixels are {image.width * image.height}, more than "
            f"max_pixels = {max_pixels}; raise the setting max_pixels if this picture is meant",
            path=path,
        )


def _decode(image: Any, path: Path) -> tuple[Pixels, Pixels | None]:
    """Pixels (height, width, 3) in sRGB and alpha (height, width) or None, not yet upright."""
    _check_samples(image, path)
    if image.format == "float":
        image = _float_as_16_bit(image, path)
    decoded: Pixels = _to_srgb(image).numpy()
    if decoded.shape[2] == 3:
        return decoded, None
    return np.ascontiguousarray(decoded[:, :, :3]), np.ascontiguousarray(decoded[:, :, 3])


def _check_samples(image: Any, path: Path) -> None:
    colours = _COLOUR_BANDS.get(image.interpretation)
    if colours is None or image.bands - colours not in (0, 1) or image.format not in VIPS_SCALE:
        raise PictureError(
            f"{path}: {image.bands} channels of {image.format} samples ({image.interpretation}) are not supported; "
            "export it as grey, RGB or CMYK, with at most one alpha channel, in 8 or 16 bits or 32-bit float",
            path=path,
        )


def _float_as_16_bit(image: Any, path: Path) -> Any:
    """Float samples in [0, 1] as a 16-bit image that keeps the float image's metadata."""
    values: Pixels = image.numpy()
    low, high = float(values.min()), float(values.max())  # NaN if there is one anywhere
    if not (np.isfinite(low) and np.isfinite(high)):
        raise PictureError(f"{path}: holds NaN or infinite values; export it again with finite ones", path=path)
    if low < -_FLOAT_TOLERANCE or high > 1 + _FLOAT_TOLERANCE:
        raise PictureError(
            f"{path}: float values from {low:g} to {high:g}, wanted 0 to 1; rescale it, or export it in 16 bits",
            path=path,
        )
    held = at_depth(as_vips(values.reshape(image.height, image.width, image.bands)), 16)
    result = held.copy(interpretation="grey16" if image.bands < 3 else "rgb16")
    profile = blob(image, "icc-profile-data")
    return result if profile is None else embed(result, profile)


def _to_srgb(image: Any) -> Any:
    depth = 16 if image.format == "ushort" else 8
    is_cmyk = image.interpretation == "cmyk"
    if not is_cmyk and not image.get_typeof("icc-profile-data"):
        return image.colourspace(INTERPRETATION[depth])
    # libvips falls back to input_profile where the embedded one is broken or of another colour space.
    return image.icc_transform(
        "srgb", embedded=True, input_profile="cmyk" if is_cmyk else "srgb", intent="relative", depth=depth
    )


_UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: np.swapaxes(stored, 0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(np.swapaxes(stored, 0, 1), 2),
    8: np.rot90,
}


def _upright(stored: Pixels, orientation: int) -> Pixels:
    """Rows and columns in the order that the EXIF orientation asks for; 1 and unknown values change nothing."""
    turn = _UPRIGHT.get(orientation)
    return stored if turn is None else np.ascontiguousarray(turn(stored))
