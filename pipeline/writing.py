"""Writing of picture files, whole or not at all. Whatever is in the way is an `OutputError`."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
import tifffile

from muralist.pipeline.errors import OutputError
from muralist.pipeline.metadata import (
    Dpi,
    Extras,
    as_tiff_tags,
    blob,
    embed,
    exported,
    is_usable,
    kept,
    srgb_profile,
    with_metadata,
)
from muralist.pipeline.samples import INTERPRETATION, Pixels, as_vips, at_depth, full_scale, one_line

_TIFF_TILE = 512
# Classic TIFF ends at 4 GiB. BigTIFF is read by fewer programs, so it is used only near that.
_BIGTIFF_BYTES = int(3.5 * 2**30)
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class OutputFormat:
    """A kind of file that can be written, and its limits; `max_side` is in pixels, None for no limit that matters."""

    name: str
    extensions: tuple[str, ...]
    bit_depths: tuple[int, ...]
    max_side: int | None
    save: Callable[[Any, Path, Extras], None]


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
    check_place(path, overwrite=overwrite)
    _check_side(kind, path, max(height or 0, width or 0))
    if bit_depth is not None and bit_depth not in kind.bit_depths:
        raise OutputError(
            f"{path}: {kind.name} cannot hold {bit_depth} bits per channel; use {_names_for_depth(bit_depth)}",
            path=path,
        )


def check_place(path: Path, *, overwrite: bool) -> None:
    """Find out whether a file of any kind can be written, by creating one beside it for a moment.

    Raises
    ------
    OutputError
        If there is no such folder, it cannot be written to, or something is there that may not be replaced.
    """
    _check_folder(path)
    if path.is_dir():
        raise OutputError(f"{path}: this is a folder; add a file name", path=path)
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; use --overwrite to replace it, or another name", path=path)


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
        image = _in_profile(as_vips(pixels), icc, depth)
        if alpha is not None:
            image = image.bandjoin(at_depth(as_vips(alpha), depth))
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
        full_scale(array)
        _check_finite(array)


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
        reason = one_line(error) if isinstance(error, pyvips.Error) else error.strerror or str(error)
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


def _in_profile(image: Any, icc: bytes | None, depth: int) -> Any:
    """RGB samples of 8 or 16 bits with the profile embedded that they are meant in."""
    if icc is not None and is_usable(icc):
        return exported(at_depth(image, 16).copy(interpretation="rgb16"), icc, depth)
    return embed(at_depth(image, depth).copy(interpretation=INTERPRETATION[depth]), srgb_profile())


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
