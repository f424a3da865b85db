"""Raw photographs, developed by LibRaw through rawpy.

The rendering is LibRaw's own: AHD demosaicing, the camera's white balance, sRGB with its tone curve, in 16 bits,
exposed so that one pixel in a hundred is white; `exposure` makes it brighter or darker from there. The photograph is
rotated upright.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from ..errors import PictureError
from .directories import Directory, read_directories
from .exif import exif_of_raw
from .metadata import with_blob
from .opened import Asked, Opened, decoded, header, upright

RAW_EXTENSIONS = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq", ".kdc", ".mef", ".mos"),
    *(".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
)
RAW_SIGNATURE = rb"FUJIFILMCCD-RAW|IIRO|IIRS|MMOR|IIU\0|FOVb|\0MRM|II.{4}HEAPCCDR"
"""What raw files begin with that are neither TIFF nor boxes: Fujifilm's, Olympus', Panasonic's, Sigma's, Minolta's and
Canon's old ones."""

_SRGB_CURVE = (2.4, 12.92)
_SIDEWAYS = (5, 6)  # of LibRaw's flips
_BYTES = 24  # a pixel of the sensor that developing takes at most; 17 were seen behind a Bayer filter
_PIXELS_PER_BYTE = 64  # at most; cameras store a few bits of each, lossy DNGs half a bit
_WHITE, _MOST_WHITE = 65535, 0.9  # no photograph: LibRaw took the wrong number for white
_MOST_MISSING = 0.01  # of what a directory says, as some cameras say a little too much
_STRIPS, _STRIP_SIZES, _TILES, _TILE_SIZES, _PANASONIC = 273, 279, 324, 325, 280  # tags
_ELSEWHERE = 0xFFFFFFFF  # of a Panasonic strip, which another tag places


@contextmanager
def open_raw(file: BinaryIO, path: Path, asked: Asked) -> Iterator[Opened]:
    """A raw photograph.

    Raises `PictureError` if there is no picture in it that LibRaw can develop, or nothing but white comes out.
    """
    import rawpy

    file.seek(0, io.SEEK_END)
    size = file.tell()
    file.seek(0)
    with rawpy.RawPy() as raw:
        try:
            raw.open_buffer(file)
            sizes = raw.sizes
        except rawpy.LibRawError as error:
            raise _refused(path, error) from error
        pixels_seen = sizes.raw_height * sizes.raw_width
        if size * _PIXELS_PER_BYTE < pixels_seen or _is_cut_short(file, size):  # LibRaw would make black of the rest
            raise _refused(path, f"{size} bytes are not all of {sizes.raw_width} x {sizes.raw_height} pixels")

        def decode() -> Any:
            try:
                raw.unpack()
                pixels = _developed(raw, bright=2.0**asked.exposure)
                # As an 8-bit scan in a NEF; what is all of one gray was only made as bright as that.
                white = _is_white(pixels) and _is_white(_developed(raw, no_auto_bright=True))
            except rawpy.LibRawError as error:
                raise _refused(path, error) from error
            if white:
                raise _refused(path, "it comes out white")
            image = decoded(np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels)
            exif = exif_of_raw(file) or _exif_of_preview(raw)
            return upright(image if exif is None else with_blob(image, "exif-data", exif))

        height, width = sizes.iheight, sizes.iwidth
        if sizes.flip in _SIDEWAYS:
            height, width = width, height
        needs = size + _BYTES * max(pixels_seen, height * width)
        yield Opened(header(path, height, width, 3, "ushort"), decode, needs)


def _developed(raw: Any, **how: Any) -> np.ndarray:
    pixels: np.ndarray = raw.postprocess(use_camera_wb=True, output_bps=16, gamma=_SRGB_CURVE, **how)
    return pixels


def _is_white(pixels: np.ndarray) -> bool:
    return bool(np.mean(pixels == _WHITE) > _MOST_WHITE)


def _is_cut_short(file: BinaryIO, size: int) -> bool:
    """Whether pixels would lie beyond the end of a file that is built like a TIFF."""
    try:
        stated = [list(_pieces(directory)) for directory in read_directories(file)]
    except struct.error:
        return False
    largest = max(stated, key=lambda pieces: sum(count for _, count in pieces))
    missing = sum(max(0, min(count, start + count - size)) for start, count in largest)
    return missing > _MOST_MISSING * sum(count for _, count in largest)


def _pieces(directory: Directory) -> Iterator[tuple[int, int]]:
    """Where a directory's strips or tiles lie, and their bytes."""
    for starts, sizes in ((_STRIPS, _STRIP_SIZES), (_TILES, _TILE_SIZES)):
        for start, count in zip(map(int, directory.numbers(starts)), map(int, directory.numbers(sizes)), strict=False):
            yield directory.number(_PANASONIC, start) if start == _ELSEWHERE else start, count


def _exif_of_preview(raw: Any) -> bytes | None:
    """EXIF of the JPEG that cameras put beside what the sensor saw."""
    import rawpy

    try:
        preview = raw.extract_thumb()
        if preview.format != rawpy.ThumbFormat.JPEG:
            return None
        with Image.open(io.BytesIO(preview.data), formats=["JPEG"]) as image:
            found = image.info.get("exif")
            return found if isinstance(found, bytes) else None
    except (rawpy.LibRawError, OSError, SyntaxError, ValueError):
        return None


def _refused(path: Path, error: Exception | str) -> PictureError:
    reason = error.args[0] if isinstance(error, Exception) and error.args else error
    reason = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
    return PictureError(
        f"{path}: a raw photograph that LibRaw cannot develop ({reason}); copy it again, or develop it with a raw "
        "converter and export it as TIFF",
        path=path,
    )
