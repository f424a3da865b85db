"""Reading and writing pictures: the only module that decodes or encodes image files.

Inside muralist a picture is sRGB-encoded: an array (height, width, 3) of uint8 or uint16, or of float32 in [0, 1].
`read_picture` brings every file to that form and `write_picture` brings it back to the file's own colour profile.
Everything that can go wrong with a file is a `PictureError` or an `OutputError` with a one-line message.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyvips
import tifffile
from PIL import Image

from muralist.pipeline.errors import OutputError, PictureError
from muralist.pipeline.metadata import (
    Dpi,
    Extras,
    as_tiff_tags,
    blob,
    embed,
    exif_of_tiff,
    exported,
    is_usable,
    kept,
    srgb_profile,
    stated_dpi,
    with_metadata,
)

Pixels = npt.NDArray[Any]

# libvips caches files by name and would give the old pixels of a file that was overwritten.
pyvips.cache_set_max(0)

_FULL_SCALE = {"uint8": 255, "uint16": 65535, "float32": 1}
_VIPS_FORMAT = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}
_VIPS_SCALE = {_VIPS_FORMAT[dtype]: scale for dtype, scale in _FULL_SCALE.items()}
_COLOUR_BANDS = {"b-w": 1, "grey16": 1, "srgb": 3, "rgb16": 3, "scrgb": 3, "cmyk": 4}
_INTERPRETATION = {8: "srgb", 16: "rgb16"}

# Float files should stay in [0, 1]. A resampled one overshoots a little; one that goes to 255 means something else.
_FLOAT_TOLERANCE = 0.5

_TIFF_TILE = 512
# Classic TIFF ends at 4 GiB. BigTIFF is read by fewer programs, so it is used only near that.
_BIGTIFF_BYTES = int(3.5 * 2**30)
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture in the sRGB working space, upright, with what belongs back into its file.

    Attributes
    ----------
    pixels
        (height, width, 3), uint8 or uint16, sRGB-encoded.
    alpha
        (height, width), dtype of `pixels`, not premultiplied; None for an opaque picture.
    icc
        The colour profile that was embedded in the file. `pixels` are already converted from it.
    exif
        The file's EXIF block. Its orientation has been applied to `pixels`.
    dpi
        Dots per inch, (horizontal, vertical); None if the file states none.
    path
        Where it was read from.
    sha256
        Hex digest of the file's bytes.
    """

    pixels: Pixels
    alpha: Pixels | None
    icc: bytes | None
    exif: bytes | None
    dpi: Dpi | None
    path: Path
    sha256: str

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return int(self.pixels.shape[1])

    @property
    def bit_depth(self) -> int:
        """Bits per channel: 8 or 16."""
        return self.pixels.dtype.itemsize * 8


@dataclass(frozen=True)
class InputFormat:
    """A kind of file that can be read: recognised by its first bytes, whatever its name says."""

    name: str
    signature: re.Pattern[bytes]
    load: Callable[[bytes], Any]


@dataclass(frozen=True)
class OutputFormat:
    """A kind of file that can be written, and its limits; `max_side` is in pixels, None for no limit that matters."""

    name: str
    extensions: tuple[str, ...]
    bit_depths: tuple[int, ...]
    max_side: int | None
    save: Callable[[Any, Path, Extras], None]


# ----------------------------------------------------------------------------------------------------------- reading


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


_SYSTEM_ERROR = "system error: "


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
            f"{path}: damaged, cut short, or stored in a way that cannot be read ({_reason(error)}); "
            "copy or export it again",
            path=path,
        ) from error


def _reason(error: pyvips.Error) -> str:
    """One line out of libvips' several: the operating system's if there is one, else the first."""
    lines = [line.strip() for line in str(error.detail).splitlines() if line.strip()] or [str(error.message)]
    system = next((line for line in lines if line.startswith(_SYSTEM_ERROR)), None)
    return lines[0] if system is None else system.removeprefix(_SYSTEM_ERROR)


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
    InputFormat("JPEG", re.compile(rb"\xff\xd8\xff"), _load_jpeg),
    InputFormat("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), _load_png),
    InputFormat("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]"), _load_tiff),
    InputFormat("WebP", re.compile(rb"RIFF.{4}WEBP", re.DOTALL), _load_webp),
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
    if colours is None or image.bands - colours not in (0, 1) or image.format not in _VIPS_SCALE:
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
    held = _at_depth(_as_vips(values.reshape(image.height, image.width, image.bands)), 16)
    result = held.copy(interpretation="grey16" if image.bands < 3 else "rgb16")
    profile = blob(image, "icc-profile-data")
    return result if profile is None else embed(result, profile)


def _to_srgb(image: Any) -> Any:
    depth = 16 if image.format == "ushort" else 8
    is_cmyk = image.interpretation == "cmyk"
    if not is_cmyk and not image.get_typeof("icc-profile-data"):
        return image.colourspace(_INTERPRETATION[depth])
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


# ------------------------------------------------------------------------------------------------- changing the size


def resize(pixels: Pixels, height: int, width: int) -> npt.NDArray[np.float32]:
    """Resample to exactly (height, width) with a Lanczos-3 filter, antialiased when shrinking.

    Pixel centres lie at half-integers and the picture's borders stay where they are, so nothing shifts: flipping
    and resizing commute. Done by Pillow plane by plane in float32, because libvips 8.18 enlarges with a bicubic filter
    whose result is shifted, and shrinks with weights rounded to 1/64 of a pixel.

    Parameters
    ----------
    pixels
        (H, W, C) or (H, W); uint8, uint16, or float32 in [0, 1].
    height, width
        Wanted size in pixels, each at least 1.

    Returns
    -------
    float32 in [0, 1], (height, width, C) or (height, width). Overshoots of the filter are clipped.
    """
    if pixels.ndim == 2:
        return _resize_plane(pixels, height, width)
    result = np.empty((height, width, pixels.shape[2]), np.float32)
    for channel in range(pixels.shape[2]):
        result[:, :, channel] = _resize_plane(pixels[:, :, channel], height, width)
    return result


def _resize_plane(plane: Pixels, height: int, width: int) -> npt.NDArray[np.float32]:
    values = plane.astype(np.float32)
    values /= _full_scale(plane)
    resized = np.array(Image.fromarray(values).resize((width, height), Image.Resampling.LANCZOS))
    return np.clip(resized, 0, 1, out=resized)


def crop_to_aspect(picture: Picture, aspect: float) -> Picture:
    """Cut the largest centred part with the given aspect (width / height) out of a picture, alpha included."""
    height = min(picture.height, max(1, round(picture.width / aspect)))
    width = min(picture.width, max(1, round(picture.height * aspect)))
    top, left = (picture.height - height) // 2, (picture.width - width) // 2
    part = (slice(top, top + height), slice(left, left + width))
    return replace(picture, pixels=picture.pixels[part], alpha=None if picture.alpha is None else picture.alpha[part])


# ----------------------------------------------------------------------------------------------------------- writing


def output_formats() -> tuple[OutputFormat, ...]:
    """The kinds of file that `write_picture` writes, chosen by the file name's extension."""
    return _OUTPUTS


def check_output(
    path: str | Path,
    *,
    overwrite: bool,
    height: int | None = None,
    width: int | None = None,
    bit_depth: int | None = None,
) -> None:
    """Find out before any work whether a picture can be written.

    Parameters
    ----------
    path
        The file to be written. A file is really created beside it for a moment, to be sure.
    overwrite
        Whether an existing file may be replaced.
    height, width
        Size of the picture in pixels, if known, to compare with the limits of the format.
    bit_depth
        Bits per channel that the user asked for, if any.

    Raises
    ------
    OutputError
        Says what is in the way and what to do.
    """
    path = Path(path)
    kind = _format_for(path)
    _check_folder(path)
    if path.is_dir():
        raise OutputError(f"{path}: this is a folder; add a file name", path=path)
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; use --overwrite to replace it, or another name", path=path)
    _check_side(kind, path, max(height or 0, width or 0))
    if bit_depth is not None and bit_depth not in kind.bit_depths:
        raise OutputError(
            f"{path}: {kind.name} cannot hold {bit_depth} bits per channel; use {_names_for_depth(bit_depth)}",
            path=path,
        )


def write_picture(
    path: str | Path,
    pixels: Pixels,
    *,
    alpha: Pixels | None = None,
    icc: bytes | None = None,
    exif: bytes | None = None,
    dpi: Dpi | None = None,
    bit_depth: int = 8,
    quality: int = 95,
) -> None:
    """Write a picture; the format follows from the extension. Nothing half-written ever has the final name.

    JPEG is written without chroma subsampling, TIFF in tiles with deflate and a predictor (as BigTIFF only if it may
    not fit into 4 GiB). The file is written under another name beside, flushed to the disk, then renamed.

    Parameters
    ----------
    path
        The file; an existing one is replaced.
    pixels
        (height, width, 3), sRGB-encoded; float32 in [0, 1] (clipped), uint8 or uint16. A memory map will do.
    alpha
        (height, width), float32, uint8 or uint16. JPEG has none: there the picture is laid on white.
    icc
        Profile to convert to and embed. None, or one that is no usable RGB output profile: sRGB.
    exif
        EXIF block to keep. Orientation, size and resolution in it are set anew and its thumbnail is dropped. TIFF
        keeps only its text tags (`metadata.TEXT_TAGS`).
    dpi
        Dots per inch, (horizontal, vertical); None writes none, but where EXIF is kept it needs one and gets 72.
    bit_depth
        8 or 16. JPEG and WebP always get 8; `check_output` is the place to refuse.
    quality
        1 to 100, for JPEG and WebP.

    Raises
    ------
    OutputError
        If the disk is full, the folder is not writable, or the format cannot hold the picture.
    ValueError
        If `pixels` or `alpha` have the wrong shape or dtype, or hold NaN or infinity: a canvas not fully painted.
    """
    path = Path(path)
    kind = _format_for(path)
    _check_arrays(pixels, alpha)
    _check_side(kind, path, max(pixels.shape[:2]))
    depth = bit_depth if bit_depth in kind.bit_depths else max(kind.bit_depths)
    with _writing(path) as target:
        image = _in_profile(_as_vips(pixels), icc, depth)
        if alpha is not None:
            image = image.bandjoin(_at_depth(_as_vips(alpha), depth))
        kind.save(image, target, Extras(exif, dpi, quality))


def _format_for(path: Path) -> OutputFormat:
    for kind in _OUTPUTS:
        if path.suffix.lower() in kind.extensions:
            return kind
    known = " ".join(extension for kind in _OUTPUTS for extension in kind.extensions)
    found = f"unknown extension {path.suffix!r}" if path.suffix else "no extension"
    raise OutputError(f"{path}: {found}; use one of {known}", path=path)


def _names_for_depth(bit_depth: int) -> str:
    return " ".join(kind.extensions[0] for kind in _OUTPUTS if bit_depth in kind.bit_depths) or "8 or 16 bits"


def _check_side(kind: OutputFormat, path: Path, side: int) -> None:
    if kind.max_side is not None and side > kind.max_side:
        raise OutputError(
            f"{path}: {kind.name} is limited to {kind.max_side} pixels a side, the picture has {side}; use .tif",
            path=path,
        )


def _check_folder(path: Path) -> None:
    """Create the file that `write_picture` would write to, for a moment: the only sure test."""
    part = _part_of(path)
    try:
        part.touch()
        part.unlink()
    except FileNotFoundError as error:
        raise OutputError(f"{path}: there is no folder {path.parent}; create it first", path=path) from error
    except OSError as error:
        raise OutputError(
            f"{path}: cannot write into the folder {path.parent} ({error.strerror}); choose another", path=path
        ) from error


def _check_arrays(pixels: Pixels, alpha: Pixels | None) -> None:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise ValueError(f"pixels have shape {pixels.shape}, wanted (height, width, 3)")
    if alpha is not None and alpha.shape != pixels.shape[:2]:
        raise ValueError(f"alpha has shape {alpha.shape}, wanted {pixels.shape[:2]}")
    for array in (pixels,) if alpha is None else (pixels, alpha):
        _full_scale(array)
        _check_finite(array)


def _full_scale(array: Pixels) -> int:
    """The value that stands for full intensity in an array of this dtype."""
    if array.dtype.name not in _FULL_SCALE:
        raise ValueError(f"dtype is {array.dtype}, wanted one of {', '.join(_FULL_SCALE)}")
    return _FULL_SCALE[array.dtype.name]


def _check_finite(array: Pixels) -> None:
    for top in range(0, array.shape[0], _ROWS_AT_ONCE):  # a canvas may be larger than memory
        if not np.isfinite(array[top : top + _ROWS_AT_ONCE]).all():
            raise ValueError(f"NaN or infinity among the pixels from row {top} on")


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; renamed to `path` if all went well, removed if not."""
    part = _part_of(path)
    try:
        yield part
        _flush(part)
        os.replace(part, path)
    except (OSError, pyvips.Error) as error:
        reason = _reason(error) if isinstance(error, pyvips.Error) else error.strerror or str(error)
        raise OutputError(
            f"{path}: could not be written ({reason}); check the folder and its free space", path=path
        ) from error
    finally:
        with suppress(OSError):  # gone after a success; in a folder that is gone too, nothing is left to remove
            part.unlink()


def _part_of(path: Path) -> Path:
    """The name under which a file lies beside its final place while it is being written."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _flush(part: Path) -> None:
    with part.open("rb+") as file:
        os.fsync(file.fileno())
        if os.fstat(file.fileno()).st_size == 0:
            raise OSError("the encoder wrote nothing")


def _as_vips(array: Pixels) -> Any:
    """A libvips image over the array's memory: (height, width) or (height, width, bands)."""
    array = np.ascontiguousarray(array)
    height, width = array.shape[:2]
    bands = 1 if array.ndim == 2 else array.shape[2]
    return pyvips.Image.new_from_memory(array.data, width, height, bands, _VIPS_FORMAT[array.dtype.name])


def _at_depth(image: Any, depth: int) -> Any:
    """Samples of any of our dtypes as integers of 8 or 16 bits, rounded and clipped."""
    full_scale = 2**depth - 1
    if _VIPS_SCALE[image.format] == full_scale:
        return image
    return (image * (full_scale / _VIPS_SCALE[image.format])).rint().cast("uchar" if depth == 8 else "ushort")


def _in_profile(image: Any, icc: bytes | None, depth: int) -> Any:
    """RGB samples of 8 or 16 bits with the profile embedded that they are meant in."""
    if icc is not None and is_usable(icc):
        return exported(_at_depth(image, 16).copy(interpretation="rgb16"), icc, depth)
    return embed(_at_depth(image, depth).copy(interpretation=_INTERPRETATION[depth]), srgb_profile())


def _save_jpeg(image: Any, target: Path, extras: Extras) -> None:
    if image.hasalpha():
        image = image.flatten(background=[255, 255, 255])
    image = with_metadata(image, extras)
    image.jpegsave(os.fsencode(target), Q=extras.quality, subsample_mode="off", optimize_coding=True, keep=kept(extras))


def _save_png(image: Any, target: Path, extras: Extras) -> None:
    image = with_metadata(image, extras)
    image.pngsave(os.fsencode(target), compression=3, filter="up", keep=kept(extras))


def _save_webp(image: Any, target: Path, extras: Extras) -> None:
    image = with_metadata(image, extras)
    image.webpsave(
        os.fsencode(target), Q=extras.quality, exact=True, keep=kept(extras)
    )  # exact: colours under full transparency


def _save_tiff(image: Any, target: Path, extras: Extras) -> None:
    shape = (image.height, image.width, image.bands)
    tile = (_tile_side(image.height), _tile_side(image.width))
    dtype = np.dtype(np.uint8 if image.format == "uchar" else np.uint16)
    resolution: dict[str, Any] = {"resolution": extras.dpi, "resolutionunit": "INCH"} if extras.dpi else {}
    tifffile.imwrite(
        target,
        _tiles(image, tile),
        shape=shape,
        dtype=dtype,
        bigtiff=dtype.itemsize * image.height * image.width * image.bands > _BIGTIFF_BYTES,
        photometric="rgb",
        extrasamples=["unassalpha"] if image.bands == 4 else None,
        tile=tile,
        compression="zlib",
        predictor=True,
        iccprofile=blob(image, "icc-profile-data"),
        metadata=None,
        software=False,
        extratags=as_tiff_tags(extras.exif),
        **resolution,
    )


def _tile_side(side: int) -> int:
    """TIFF wants multiples of 16, and libvips refuses to read tiles much larger than the picture."""
    return min(_TIFF_TILE, -(-side // 16) * 16)


def _tiles(image: Any, tile: tuple[int, int]) -> Iterator[Pixels]:
    """Tiles of a libvips image in row order, those at the right and lower edge as small as they are."""
    for top in range(0, image.height, tile[0]):
        band: Pixels = image.crop(0, top, image.width, min(tile[0], image.height - top)).numpy()
        for left in range(0, image.width, tile[1]):
            yield band[:, left : left + tile[1]]


_OUTPUTS = (
    OutputFormat("JPEG", (".jpg", ".jpeg"), (8,), 65500, _save_jpeg),
    OutputFormat("PNG", (".png",), (8, 16), None, _save_png),
    OutputFormat("WebP", (".webp",), (8,), 16383, _save_webp),
    OutputFormat("TIFF", (".tif", ".tiff"), (8, 16), None, _save_tiff),
)
