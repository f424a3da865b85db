"""Writing of picture files, whole or not at all. Whatever is in the way is an `OutputError`."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import pyvips
import tifffile

from ...model.atomic import atomic_write, check_writable
from ..errors import OutputError
from .bands import RowsError, Samples
from .encoding import stream, target_in
from .metadata import (
    Dpi,
    Extras,
    as_tiff_tags,
    is_usable,
    kept,
    with_metadata,
)
from .pdf import Page, Pdf
from .profiles import channels_of
from .samples import Pixels, Rows, full_scale, one_line
from .stored import Stored

MOST_JPEG_SIDE = 65500
MOST_JPEG_METADATA = 59_000  # bytes of XMP or of IPTC; libvips leaves out what is longer
_TIFF_TILE = 512
# Classic TIFF ends at 4 GiB. BigTIFF is read by fewer programs, so it is used only near that.
_BIGTIFF_BYTES = int(3.5 * 2**30)
# Bytes that names of files and folders beside an output are longer than its own: `.NAME.muralist.lock`.
_NAME_ROOM = 20
# A JPEG with Huffman codes of its own is a tenth smaller, but its encoder holds the picture, 12 bytes a pixel.
_OPTIMISED_PIXELS = 2**24


@dataclass(frozen=True)
class OutputFormat:
    """A kind of file that can be written, and its limits; `max_side` is in pixels, None for no limit that matters."""

    name: str
    extensions: tuple[str, ...]
    bit_depths: tuple[int, ...]
    max_side: int | None
    holds_cmyk: bool
    holds_alpha: bool
    is_lossy: bool
    save: Callable[[Samples, BinaryIO, Extras], None]


class _TooLargeError(OutputError):
    """What was written is more than it may be."""


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
    icc: bytes | None = None,
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
    _check_side(kind, path, max(height or 0, width or 0))
    if channels_of(icc) == 4 and not kind.holds_cmyk:
        raise OutputError(
            f"{path}: {kind.name} cannot hold CMYK, which the color profile is for; use {_names_for_cmyk()}", path=path
        )
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
        keeps only its text tags (`metadata.TEXT_TAGS`).
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
    _check_side(kind, path, max(pixels.shape[:2]))
    depth = bit_depth if bit_depth in kind.bit_depths else max(kind.bit_depths)
    fits = icc is not None and is_usable(icc) and (kind.holds_cmyk or channels_of(icc) == 3)
    profile = icc if fits else None
    samples = Samples(pixels, alpha, profile, depth, intent, kind.holds_alpha)
    try:
        with writing(path) as file:
            extras = Extras(exif, dpi, quality, xmp, iptc, page, is_lossless)
            return _save_within(kind, samples, file, extras, path, max_bytes)
    except RowsError as carried:
        raise carried.error from carried.error.__cause__


def _save_within(
    kind: OutputFormat, samples: Samples, file: BinaryIO, extras: Extras, path: Path, max_bytes: int | None
) -> int:
    """Save with the best quality that fits; give that quality."""

    def size_with(quality: int) -> int:
        file.seek(0)
        file.truncate()
        kind.save(samples, file, replace(extras, quality=quality))
        if (size := file.seek(0, os.SEEK_END)) == 0:
            raise OSError("the encoder wrote nothing")
        return size

    size = size_with(extras.quality)
    if max_bytes is None or size <= max_bytes:
        return extras.quality
    if not kind.is_lossy or extras.is_lossless:
        raise _TooLargeError(
            f"{path}: takes {size / 1e6:.1f} MB without loss, more than max_file {max_bytes / 1e6:.1f} MB; use .jpg or "
            "another lossy format, or ask for fewer pixels",
            path=path,
        )
    fits, too_much, last = 0, extras.quality, extras.quality
    while too_much - fits > 1:
        last = (fits + too_much) // 2
        fits, too_much = (last, too_much) if size_with(last) <= max_bytes else (fits, last)
    if fits == 0:
        raise _TooLargeError(
            f"{path}: does not fit into max_file {max_bytes / 1e6:.1f} MB with any quality; allow more, or ask for "
            "fewer pixels",
            path=path,
        )
    if fits != last:
        size_with(fits)
    return fits


def write_stored(path: Path, picture: Stored, dpi: Dpi) -> None:
    """Write a picture's own numbers as a TIFF.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with writing(path) as file:
        _save_tiff(picture, file, Extras(None, dpi, 100))


def write_file(path: Path, content: bytes) -> None:
    """Write a small file beside a picture, whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with writing(path) as file:
        file.write(content)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be read or written.
    """
    with writing(target) as file, source.open("rb") as original:
        shutil.copyfileobj(original, file, 1 << 20)


def keep_times(source: Path, output: Path) -> None:
    """Give a file the times of another: of its last change and last reading.

    Raises
    ------
    OutputError
        If the other is gone, or the file system takes no times.
    """
    try:
        times = source.stat()
        os.utime(output, ns=(times.st_atime_ns, times.st_mtime_ns), follow_symlinks=False)
    except OSError as error:
        raise OutputError(
            f"{output}: cannot have the times of {source} ({error.strerror}); switch keep_times off", path=output
        ) from error


def _format_for(path: Path) -> OutputFormat:
    for kind in _OUTPUTS:
        if path.suffix.lower() in kind.extensions:
            return kind
    known = " ".join(extension for kind in _OUTPUTS for extension in kind.extensions)
    found = f"unknown extension {path.suffix!r}" if path.suffix else "no extension"
    raise OutputError(f"{path}: {found}; use one of {known}", path=path)


def _names_for_depth(bit_depth: int) -> str:
    return " ".join(kind.extensions[0] for kind in _OUTPUTS if bit_depth in kind.bit_depths) or "8 or 16 bits"


def _names_for_cmyk() -> str:
    return " ".join(kind.extensions[0] for kind in _OUTPUTS if kind.holds_cmyk)


def _check_side(kind: OutputFormat, path: Path, side: int) -> None:
    if kind.max_side is not None and side > kind.max_side:
        raise OutputError(
            f"{path}: {kind.name} is limited to {kind.max_side} pixels a side, the picture has {side}; use .tif",
            path=path,
        )


def _check_folder(path: Path) -> None:
    try:
        check_writable(path.parent)
        longest = os.pathconf(path.parent, "PC_NAME_MAX") - _NAME_ROOM
    except FileNotFoundError as error:
        raise OutputError(f"{path}: there is no folder {path.parent}; create it first", path=path) from error
    except OSError as error:
        raise OutputError(
            f"{path}: cannot write into the folder {path.parent} ({error.strerror}); choose another", path=path
        ) from error
    length = len(os.fsencode(path.name))
    if length > longest:
        raise OutputError(
            f"{path}: name too long: got {length} bytes, wanted at most {longest} (files beside it have longer ones); "
            "choose a shorter one",
            path=path,
        )


def _check_arrays(pixels: Rows, alpha: Rows | None) -> None:
    if len(pixels.shape) != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(f"pixels have shape {pixels.shape}, wanted (height, width, 3)")
    if alpha is not None and alpha.shape != pixels.shape[:2]:
        raise ValueError(f"alpha has shape {alpha.shape}, wanted {pixels.shape[:2]}")
    for array in (pixels,) if alpha is None else (pixels, alpha):
        full_scale(array)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that becomes `path` if all goes well."""
    try:
        with atomic_write(path) as file:
            yield file
    except _TooLargeError:
        raise
    except (OSError, pyvips.Error) as error:
        reason = one_line(error) if isinstance(error, pyvips.Error) else error.strerror or str(error)
        raise OutputError(
            f"{path}: could not be written ({reason}); check the folder and its free space", path=path
        ) from error


def encode_jpeg(samples: Samples | Stored, file: BinaryIO, quality: int) -> None:
    """Encode samples at the end of an open file, without metadata and profile."""
    stream(samples, lambda image: _encode_jpeg(image, file, quality, "none"))


def _save_jpeg(samples: Samples, file: BinaryIO, extras: Extras) -> None:
    def save(image: Any) -> None:
        _encode_jpeg(with_metadata(image, extras), file, extras.quality, kept(extras))

    stream(samples, save)


def _encode_jpeg(image: Any, file: BinaryIO, quality: int, keep: str) -> None:
    image.jpegsave_target(
        target_in(file),
        Q=quality,
        subsample_mode="off",
        optimize_coding=image.width * image.height <= _OPTIMISED_PIXELS,
        keep=keep,
    )


def _save_png(samples: Samples, file: BinaryIO, extras: Extras) -> None:
    def save(image: Any) -> None:
        with_metadata(image, extras).pngsave_target(target_in(file), compression=3, filter="up", keep=kept(extras))

    stream(samples, save)


def _save_webp(samples: Samples, file: BinaryIO, extras: Extras) -> None:
    def save(image: Any) -> None:  # exact: colors under full transparency
        with_metadata(image, extras).webpsave_target(target_in(file), Q=extras.quality, exact=True, keep=kept(extras))

    stream(samples, save)


def _save_avif(samples: Samples, file: BinaryIO, extras: Extras) -> None:
    def save(image: Any) -> None:
        with_metadata(image, extras).heifsave_target(
            target_in(file), compression="av1", Q=extras.quality, effort=4, subsample_mode="off", keep=kept(extras)
        )

    stream(samples, save)


def _save_pdf(samples: Samples, file: BinaryIO, extras: Extras) -> None:
    page = extras.page or Page.of_picture(samples.shape[0], samples.shape[1], extras.dpi)
    pdf = Pdf(file, encode_jpeg)
    pdf.add_page(page, samples, None if extras.is_lossless else extras.quality)
    pdf.finish(extras.xmp)


def _save_tiff(samples: Samples | Stored, file: BinaryIO, extras: Extras) -> None:
    height, width, channels = samples.shape
    tile = (_tile_side(height), _tile_side(width))
    resolution: dict[str, Any] = {"resolution": extras.dpi, "resolutionunit": "INCH"} if extras.dpi else {}
    tifffile.imwrite(
        file,
        _tiles(samples, tile),
        shape=samples.shape,
        dtype=samples.dtype,
        bigtiff=samples.dtype.itemsize * height * width * channels > _BIGTIFF_BYTES,
        photometric="separated" if samples.is_cmyk else "rgb",
        extrasamples=["unassalpha"] if samples.has_alpha else None,
        tile=tile,
        compression="zlib",
        predictor=True,
        buffersize=0,  # a tile for each thread at a time; usual is half a gigabyte
        iccprofile=samples.profile,
        metadata=None,
        software=False,
        extratags=as_tiff_tags(extras),
        **resolution,
    )


def _tile_side(side: int) -> int:
    """TIFF wants multiples of 16, and libvips refuses to read tiles much larger than the picture."""
    return min(_TIFF_TILE, -(-side // 16) * 16)


def _tiles(samples: Samples | Stored, tile: tuple[int, int]) -> Iterator[Pixels]:
    """Tiles in row order, those at the right and lower edge as small as they are."""
    for band in samples.bands(tile[0]):
        for left in range(0, band.shape[1], tile[1]):
            yield band[:, left : left + tile[1]]
        del band  # before the next is read


_OUTPUTS = (
    OutputFormat(
        "JPEG",
        (".jpg", ".jpeg"),
        (8,),
        MOST_JPEG_SIDE,
        holds_cmyk=True,
        holds_alpha=False,
        is_lossy=True,
        save=_save_jpeg,
    ),
    OutputFormat("PNG", (".png",), (8, 16), None, holds_cmyk=False, holds_alpha=True, is_lossy=False, save=_save_png),
    OutputFormat("WebP", (".webp",), (8,), 16383, holds_cmyk=False, holds_alpha=True, is_lossy=True, save=_save_webp),
    OutputFormat(
        "TIFF", (".tif", ".tiff"), (8, 16), None, holds_cmyk=True, holds_alpha=True, is_lossy=False, save=_save_tiff
    ),
    OutputFormat("AVIF", (".avif",), (8,), 16384, holds_cmyk=False, holds_alpha=True, is_lossy=True, save=_save_avif),
    OutputFormat("PDF", (".pdf",), (8,), None, holds_cmyk=True, holds_alpha=False, is_lossy=True, save=_save_pdf),
)
