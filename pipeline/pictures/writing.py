"""Writes picture files, whole or not at all. Everything that prevents it is an `OutputError`."""

import os
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from ..errors import OutputError
from ..output_files import check_place, writing
from ..words import file_size
from .encoded_rows import EncodedRows, RowsError
from .encoding import OUTPUT_EXTENSIONS, OUTPUT_FORMATS, OutputFormat, plain_errors, save_tiff
from .exif import Dpi
from .metadata import Extras, is_usable
from .pdf import Page
from .profiles import channels_of
from .stored import Stored
from .vips import Rows, full_scale

LARGER = "the painting is kept: rerun with a larger --max-file, or without it, to write it again"
MOST_JPEG_METADATA = 59_000  # bytes of XMP or of IPTC; libvips leaves out what is longer


def check_output(path: str | Path, *, overwrite: bool, bit_depth: int | None = None, icc: bytes | None = None) -> None:
    """Find out before any work whether a picture can be written.

    Parameters
    ----------
    path
        The file to be written. A file is really created beside it for a moment, to be sure.
    overwrite
        Whether an existing file may be replaced.
    bit_depth
        Bits per channel that the user asked for, if any.
    icc
        The profile that it is to be written in, if any.

    Raises
    ------
    OutputError
        Says what is in the way and what to do.
    """
    path = Path(path)
    kind = _format_for(path)
    check_place(path, overwrite=overwrite)
    if channels_of(icc) == 4 and not kind.holds_cmyk:
        raise OutputError(
            f"{path}: {kind.name} cannot hold CMYK, which the color profile is for; use {_names_for_cmyk()}", path=path
        )
    if bit_depth is not None and bit_depth not in kind.bit_depths:
        raise OutputError(
            f"{path}: {kind.name} cannot hold {bit_depth} bits per channel; use {_names_for_depth(bit_depth)}",
            path=path,
        )


def write_picture(
    path: str | Path,
    pixels: Rows,
    *,
    alpha: Rows | None = None,
    icc: bytes | None = None,
    intent: str = "relative",
    exif: bytes | None = None,
    xmp: bytes | None = None,
    iptc: bytes | None = None,
    dpi: Dpi | None = None,
    bit_depth: int = 8,
    quality: int = 95,
    page: Page | None = None,
    is_lossless: bool = False,
    max_bytes: int | None = None,
) -> int:
    """Write a picture; the format follows from the extension. Nothing half-written ever has the final name.

    JPEG and AVIF are written without chroma subsampling, TIFF in tiles with deflate and a predictor (as BigTIFF only
    if it may not fit into 4 GiB). The file is written under another name beside, flushed to the disk, then renamed.

    Rows are asked for in order, each once, in the calling thread, and written as they come: memory grows with the
    width of a picture, not with its height; except for WebP and AVIF, whose encoders hold the picture.

    Parameters
    ----------
    path
        The file; an existing one is replaced.
    pixels
        (height, width, 3), sRGB-encoded; float32 in [0, 1] (clipped), uint8 or uint16. Whatever gives `pixels[a:b]`
        will do; what that raises comes out as it is.
    alpha
        (height, width), likewise. JPEG and PDF have none: there the picture is laid on white.
    icc
        Profile to convert to and embed, of RGB or CMYK (for JPEG, TIFF and PDF; what is transparent becomes white).
        None, or one that is no usable output profile or that the format cannot hold: sRGB.
    intent
        What becomes of colors that the profile does not have: relative, perceptual, saturation or absolute.
    exif
        EXIF block to keep. Orientation, size and resolution in it are set anew and its thumbnail is dropped. TIFF
        keeps only its text tags (`exif.TEXT_TAGS`), PDF the texts that XMP has a name for.
    xmp
        XMP document to write as it is; a JPEG has room for `MOST_JPEG_METADATA` bytes of one.
    iptc
        IPTC-IIM block to write as it is, in JPEG and TIFF, which alone hold one.
    dpi
        Dots per inch, (horizontal, vertical); None writes none, but where EXIF is kept it needs one and gets 72.
    bit_depth
        8 or 16. JPEG and WebP always get 8; `check_output` is the place to refuse.
    quality
        1 to 100, for JPEG, WebP, AVIF, and JPEG in PDF.
    page
        Of a PDF; by default as large as `dpi` makes the picture, at 300 dpi if there is none.
    is_lossless
        Whether a PDF stores samples without loss.
    max_bytes
        What the file may take; of lossy formats the best quality up to `quality` is found that fits, by trying.

    Returns
    -------
    int
        The quality that it was written with.

    Raises
    ------
    OutputError
        If the disk is full, the folder is not writable, the format cannot hold the picture, or it does not fit into
        `max_bytes`.
    ValueError
        If `pixels` or `alpha` have the wrong shape or dtype, or hold NaN or infinity: a canvas not fully painted.
    """
    path = Path(path)
    kind = _format_for(path)
    _check_arrays(pixels, alpha)
    check_side(path, max(pixels.shape[:2]))
    depth = bit_depth if bit_depth in kind.bit_depths else max(kind.bit_depths)
    fits = icc is not None and is_usable(icc) and (kind.holds_cmyk or channels_of(icc) == 3)
    profile = icc if fits else None
    samples = EncodedRows(pixels, alpha, profile, depth, intent, kind.holds_alpha)
    try:
        with writing(path) as file:
            extras = Extras(exif, dpi, quality, xmp, iptc, page, is_lossless)
            return _save_within(kind, samples, file, extras, path, max_bytes)
    except RowsError as carried:
        raise carried.error from carried.error.__cause__


def _save_within(
    kind: OutputFormat, samples: EncodedRows, file: BinaryIO, extras: Extras, path: Path, max_bytes: int | None
) -> int:
    """Save with the best quality that fits; give that quality."""

    def size_with(quality: int) -> int:
        file.seek(0)
        file.truncate()
        with plain_errors():
            kind.save(samples, file, replace(extras, quality=quality))
        if (size := file.seek(0, os.SEEK_END)) == 0:
            raise OSError("the encoder wrote nothing")
        return size

    size = size_with(extras.quality)
    if max_bytes is None or size <= max_bytes:
        return extras.quality
    if not kind.is_lossy or extras.is_lossless:
        raise OutputError(
            f"{path}: takes {file_size(size)} without loss, more than max_file {file_size(max_bytes)}; {LARGER}"
            "; or paint it as .jpg, or in another lossy format",
            path=path,
        )
    fits, too_much, last = 0, extras.quality, extras.quality
    while too_much - fits > 1:
        last = (fits + too_much) // 2
        fits, too_much = (last, too_much) if size_with(last) <= max_bytes else (fits, last)
    if fits == 0:
        raise OutputError(
            f"{path}: does not fit into max_file {file_size(max_bytes)} with any quality; {LARGER}; or ask for "
            "fewer pixels",
            path=path,
        )
    if fits != last:
        size_with(fits)
    return fits


def write_stored(path: Path, picture: Stored, dpi: Dpi) -> None:
    """Write a picture's own numbers as a TIFF. Raises `OutputError` if it cannot be written."""
    with writing(path) as file:
        save_tiff(picture, file, Extras(None, dpi, 100))


def _format_for(path: Path) -> OutputFormat:
    if (kind := OUTPUT_EXTENSIONS.get(path.suffix.lower())) is not None:
        return kind
    found = f"unknown extension {path.suffix!r}" if path.suffix else "no extension"
    raise OutputError(f"{path}: {found}; use one of {' '.join(OUTPUT_EXTENSIONS)}", path=path)


def _names_for_depth(bit_depth: int) -> str:
    return " ".join(kind.extensions[0] for kind in OUTPUT_FORMATS if bit_depth in kind.bit_depths) or "8 or 16 bits"


def _names_for_cmyk() -> str:
    return " ".join(kind.extensions[0] for kind in OUTPUT_FORMATS if kind.holds_cmyk)


def check_side(path: Path, side: int) -> None:
    """Refuse a picture with a longer side than its format can have, px. Raises `OutputError`."""
    kind = _format_for(path)
    if kind.max_side is not None and side > kind.max_side:
        raise OutputError(
            f"{path}: {kind.name} is limited to {kind.max_side} pixels a side, the picture has {side}; use .tif",
            path=path,
        )


def _check_arrays(pixels: Rows, alpha: Rows | None) -> None:
    if len(pixels.shape) != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(f"pixels have shape {pixels.shape}, wanted (height, width, 3)")
    if alpha is not None and alpha.shape != pixels.shape[:2]:
        raise ValueError(f"alpha has shape {alpha.shape}, wanted {pixels.shape[:2]}")
    for array in (pixels,) if alpha is None else (pixels, alpha):
        full_scale(array)
