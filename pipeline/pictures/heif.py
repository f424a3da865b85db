"""HEIC files, which libheif decodes by way of pi-heif, and AVIF files, which libvips reads itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyvips

from ..errors import PictureError
from .heif_items import coded_colors, has_sound_kinds, has_stills, is_narrow_gray
from .metadata import with_blob
from .opened import BROKEN, Asked, Opened, damaged, decoded, header, unpremultiplied, upright, with_coded_colors
from .vips import VIPS_SCALE, source_of

HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
AVIF_BRANDS = (b"avif", b"avis")

# Bytes a pixel that decoding was seen to take at most, by bytes of a sample.
_HEIC_BYTES, _AVIF_BYTES = {1: 7, 2: 18}, {1: 18, 2: 22}


@contextmanager
def open_heic(file: BinaryIO, path: Path, asked: Asked) -> Iterator[Opened]:
    """The main picture of a HEIC file."""
    import pi_heif

    _check_stills(file, path)
    if not has_sound_kinds(file):
        raise damaged(path, "its list of items is broken")
    file.seek(0)
    try:
        found = pi_heif.open_heif(file, convert_hdr_to_8bit=False)
        width, height = found.size
        depth = int(found.info["bit_depth"])
    except BROKEN as error:
        raise damaged(path, error) from error

    def decode() -> Any:
        try:
            pixels = np.asarray(found)
        except BROKEN as error:
            raise damaged(path, error) from error
        image = decoded(_full_scale(pixels, depth))
        if found.mode.startswith("L") and (colors := coded_colors(file)) and not colors.is_full:
            image = _over_full_range(image)
        if found.mode.startswith("RGBa"):
            image = unpremultiplied(image)
        for name, key in (("exif-data", "exif"), ("xmp-data", "xmp"), ("icc-profile-data", "icc_profile")):
            if found.info.get(key):
                image = with_blob(image, name, bytes(found.info[key]))
        return upright(_with_coded_colors(image, file, path))

    bands = 4 if "A" in found.mode.upper() else 3
    sample = 2 if depth > 8 else 1
    image = header(path, height, width, bands, "ushort" if depth > 8 else "uchar")
    yield Opened(_with_coded_colors(image, file, path), decode, width * height * _HEIC_BYTES[sample])


@contextmanager
def open_avif(file: BinaryIO, path: Path, asked: Asked) -> Iterator[Opened]:
    """The main picture of an AVIF file."""
    _check_stills(file, path)
    file.seek(0)
    with source_of(file) as source:
        image = pyvips.Image.heifload_source(source, access="sequential", fail_on="error")
        depth = image.get("bits-per-sample") if image.get_typeof("bits-per-sample") else 8
        if depth > 8:  # libvips leaves the lowest bits empty, so that white is not white
            image = (image + (image >> depth)).cast("ushort").copy(interpretation=image.interpretation)
        if is_narrow_gray(file):
            image = _over_full_range(image)
        needs = image.width * image.height * _AVIF_BYTES[2 if depth > 8 else 1]
        yield Opened(upright(_with_coded_colors(image, file, path)), None, needs)


def _full_scale(pixels: np.ndarray, depth: int) -> np.ndarray:
    """Samples of more than 8 bits come at the upper end of 16; repeated below that, so that white is 65535."""
    return pixels if depth == 8 else pixels + (pixels >> depth)


def _over_full_range(image: Any) -> Any:
    """Gray from 16 to 235 of 255, which libheif leaves as it is, from 0 to 255; alpha stays."""
    count = image.bands - (image.bands in (2, 4))
    step = VIPS_SCALE[image.format] / 255
    gray = ((image.extract_band(0, n=count) - 16 * step) * (255 / 219)).rint().cast(image.format)
    found = gray if count == image.bands else gray.bandjoin(image.extract_band(count))
    return found.copy(interpretation=image.interpretation)


def _check_stills(file: BinaryIO, path: Path) -> None:
    if not has_stills(file):
        raise PictureError(
            f"{path}: this is a sequence (a film or a burst) without a still picture; export one of its pictures, "
            "as HEIC, AVIF or JPEG",
            path=path,
        )


def _with_coded_colors(image: Any, file: BinaryIO, path: Path) -> Any:
    colors = coded_colors(file)
    return image if colors is None else with_coded_colors(image, colors.primaries, colors.transfer, path)
