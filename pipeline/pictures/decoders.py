"""Formats that are decoded whole: JPEG XL and JPEG 2000 by OpenImageIO, BMP, and gray JPEG 2000 with alpha, by Pillow.

OpenImageIO decodes when it opens a file, so sizes are read from the headers before.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import BmpImagePlugin, Jpeg2KImagePlugin

from ..errors import PictureError
from .boxes import blobs_in_boxes
from .codestreams import jpeg_2000_head, jxl_head
from .metadata import with_blob, with_dpi
from .opened import BROKEN, Asked, Opened, check_transfer, damaged, decoded, header, unpremultiplied, upright
from .vips import VIPS_SCALE

JXL_EXTENSIONS = (".jxl",)
JPEG_2000_EXTENSIONS = (".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc")

_KNOWN_JPEG_2000 = (".jp2", ".j2k", ".j2c")  # to OpenImageIO
# Bytes a pixel that decoding was seen to take at most.
_JXL_BYTES, _JPEG_2000_BYTES, _BMP_BYTES = 20, 25, 14
_JXL_KINDS = {1: "depth", 2: "spot colors", 3: "a selection", 4: "CMYK", 5: "a sensor's samples", 6: "heat"}
_MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB", "RGBA": "RGBA"}  # of Pillow, and what is made of them


@contextmanager
def open_jpeg_xl(file: BinaryIO, path: Path, asked: Asked) -> Iterator[Opened]:
    """A JPEG XL file."""
    try:
        head = jxl_head(file)
    except struct.error as error:
        raise damaged(path, error) from error
    if strange := {*head.extras} - {0}:
        names = " and ".join(_JXL_KINDS.get(kind, f"channels of kind {kind}") for kind in sorted(strange))
        raise PictureError(
            f"{path}: a JPEG XL picture with {names} is not supported; export it in RGB without other channels, or as "
            "TIFF or PNG",
            path=path,
        )

    def decode() -> Any:
        image = upright(_by_openimageio(path, JXL_EXTENSIONS))
        return unpremultiplied(image) if head.is_premultiplied and image.bands in (2, 4) else image

    needs = head.height * head.width * _JXL_BYTES
    yield Opened(header(path, head.height, head.width, 4, "ushort"), decode, needs)


@contextmanager
def open_jpeg_2000(file: BinaryIO, path: Path, asked: Asked) -> Iterator[Opened]:
    """A JPEG 2000 file, with boxes or without."""
    try:
        head = jpeg_2000_head(file)
    except struct.error as error:
        raise damaged(path, error) from error
    if head.is_signed or (head.channels == 2 and head.depth > 8):
        kind = "signed samples" if head.is_signed else "gray and alpha in more than 8 bits"
        raise PictureError(
            f"{path}: a JPEG 2000 picture with {kind} is not supported; export it in gray or RGB, or as TIFF or PNG",
            path=path,
        )

    def decode() -> Any:
        if head.channels == 2:  # gray with alpha: OpenImageIO does not read it
            file.seek(0)
            try:
                found = Jpeg2KImagePlugin.Jpeg2KImageFile(io.BytesIO(file.read()))
                return _with_blobs(decoded(np.asarray(found.convert("LA"))), path)
            except BROKEN as error:
                raise damaged(path, error) from error
        image = _by_openimageio(path, _KNOWN_JPEG_2000)
        if image.width < head.width or image.height < head.height:
            raise damaged(path, f"{image.width} x {image.height} pixels, wanted {head.width} x {head.height}")
        image = image.crop(0, 0, head.width, head.height)  # smaller channels may have been made too large
        return _rgb_of_ycbcr(image) if head.is_ycbcr else image

    yield Opened(
        header(path, head.height, head.width, 4, "ushort"), decode, head.height * head.width * _JPEG_2000_BYTES
    )


def _rgb_of_ycbcr(image: Any) -> Any:
    """RGB of luma and color differences over the full scale (ITU-R BT.601); alpha stays."""
    half = (VIPS_SCALE[image.format] + 1) // 2
    colors = image.extract_band(0, n=3) - [0, half, half]
    colors = colors.recomb([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]]).rint().cast(image.format)
    colors = colors.copy(interpretation=image.interpretation)
    return colors.bandjoin(image.extract_band(3)) if image.bands > 3 else colors


def _by_openimageio(path: Path, extensions: tuple[str, ...]) -> Any:
    """The picture in a file, by the decoder that its extension names."""
    import OpenImageIO as oiio

    name = str(path)
    if path.suffix.lower() not in extensions or not name.isprintable():
        raise PictureError(
            f"{path}: OpenImageIO, which decodes it, goes by its name; rename it to one that ends in "
            f"{' or '.join(extensions)} and has no unusual characters",
            path=path,
        )
    oiio.attribute("try_all_readers", 0)
    oiio.attribute("threads", 2)
    wish = oiio.ImageSpec()
    wish["oiio:UnassociatedAlpha"] = 1
    source = oiio.ImageInput.open(name, wish)
    if source is None:
        raise damaged(path, oiio.geterror())
    spec = source.spec()
    _, transfer, *_ = spec.getattribute("CICP") or (0, 0)
    check_transfer(transfer, path)
    pixels = source.read_image(0, 0, 0, spec.nchannels, oiio.UNKNOWN)
    if pixels is None:
        raise damaged(path, source.geterror())
    source.close()
    image = _with_blobs(_of_our_kind(np.asarray(pixels), path), path)
    profile = spec.getattribute("ICCProfile")
    return image if profile is None else with_blob(image, "icc-profile-data", bytes(profile))


def _with_blobs(image: Any, path: Path) -> Any:
    """The image with what lies in boxes of its file."""
    with path.open("rb") as file:
        for name, blob in blobs_in_boxes(file).items():
            image = with_blob(image, name, blob)
    return image


def _of_our_kind(pixels: np.ndarray, path: Path) -> Any:
    if pixels.dtype not in (np.uint8, np.uint16):
        raise PictureError(
            f"{path}: samples of the kind {pixels.dtype} are not supported; export it in 8 or 16 bits", path=path
        )
    return decoded(pixels)


@contextmanager
def open_bmp(file: BinaryIO, path: Path, asked: Asked) -> Iterator[Opened]:
    """A BMP file."""
    try:
        found = BmpImagePlugin.BmpImageFile(file)
        width, height = found.size
    except BROKEN as error:
        raise damaged(path, error) from error

    def decode() -> Any:
        if found.mode not in _MODES:
            raise damaged(path, f"mode {found.mode}")
        try:
            image = decoded(np.asarray(found.convert(_MODES[found.mode])))
        except BROKEN as error:
            raise damaged(path, error) from error
        return with_dpi(image, found.info.get("dpi"))

    yield Opened(header(path, height, width, 4), decode, height * width * _BMP_BYTES)
