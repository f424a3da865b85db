"""Photoshop files: the merged picture that lies behind the layers.

It is stored as in a TIFF whose channels are planes and whose strips are single rows, so libvips is shown it as one, and
reads it in row blocks.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyvips

from ..errors import PictureError
from .directories import Form, View
from .iptc import IPTC_RESOURCE, image_resources
from .metadata import with_blob, with_dpi
from .opened import Asked, Opened, damaged
from .vips import VIPS_SCALE, source_of, tripled

_GRAY, _INDEXED, _RGB, _CMYK, _DUOTONE = 1, 2, 3, 4, 8
_COLORS = {_GRAY: 1, _INDEXED: 1, _RGB: 3, _CMYK: 4, _DUOTONE: 1}  # channels, by mode
_MODES = {0: "bitmap", 7: "multichannel", 9: "Lab"}  # that are not read
_PHOTOMETRIC = {_GRAY: 1, _DUOTONE: 1, _INDEXED: 3, _RGB: 2, _CMYK: 5}
_RAW, _PACKED = 0, 1  # how pixels are stored
_PACKBITS = 32773  # the same for TIFF
_MAGIC, _FORM = b"MM\0+\0\x08\0\0", Form(">", "Q", "Q")
_ICC, _XMP, _EXIF, _IPTC, _RESOLUTION, _VERSION = 1039, 1060, 1058, IPTC_RESOURCE, 1005, 1057  # image resources
_BLOBS = {_ICC: "icc-profile-data", _XMP: "xmp-data", _EXIF: "exif-data", _IPTC: "iptc-data"}
_MERGED_ALPHA = (b"Mtrn", b"Mt16", b"Mt32")
_MOST_CHANNELS, _MOST_SIDE, _MOST_RESOURCES, _MOST_BLOCKS = 56, 300_000, 1 << 26, 256


class _Head(NamedTuple):
    """The fixed part of the file's beginning."""

    version: int
    channels: int
    height: int
    width: int
    depth: int
    mode: int

    @property
    def length(self) -> str:
        """How lengths are spelled that are longer in a large file (PSB)."""
        return "Q" if self.version == 2 else "I"


@contextmanager
def open_psd(file: BinaryIO, path: Path, asked: Asked) -> Iterator[Opened]:
    """The merged picture of a Photoshop file, of which only the header has been read.

    Raises
    ------
    PictureError
        If it is of a mode or depth that is not read, was saved without a merged picture, or is damaged.
    """
    try:
        file.seek(4)
        head = _Head(*struct.unpack(">H6xHIIHH", file.read(22)))
        _check(head, path)
        palette, resources = _section(file), image_resources(_section(file))
        if resources.get(_VERSION, b"\0\0\0\0\1")[4:5] == b"\0":
            raise PictureError(
                f"{path}: it was saved without the merged picture; save it again with 'Maximize compatibility', or "
                "export it as TIFF or PNG",
                path=path,
            )
        has_alpha = _has_alpha(file, head)
        view = View(file, _MAGIC, _FORM, _entries(file, head, palette, path, used=_COLORS[head.mode] + has_alpha))
    except struct.error as error:
        raise damaged(path, "its beginning is broken") from error
    with source_of(view) as source:
        image = pyvips.Image.tiffload_source(source, access="sequential", fail_on="warning")
        yield Opened(_described(_colors(image, head, has_alpha=has_alpha), resources))


def _check(head: _Head, path: Path) -> None:
    if head.mode not in _COLORS:
        kind = _MODES.get(head.mode, f"number {head.mode}")
        raise PictureError(
            f"{path}: a Photoshop file in the mode {kind} is not supported; convert it to RGB, CMYK or grayscale",
            path=path,
        )
    if head.depth not in (8, 16):
        raise PictureError(
            f"{path}: a Photoshop file with {head.depth} bits per channel is not supported; convert it to 8 or 16",
            path=path,
        )
    sides = (head.height, head.width)
    if not _COLORS[head.mode] <= head.channels <= _MOST_CHANNELS or not all(0 < n <= _MOST_SIDE for n in sides):
        raise struct.error("impossible sizes")


def _section(file: BinaryIO) -> bytes:
    """The next section that begins with its length."""
    (length,) = struct.unpack(">I", file.read(4))
    if length > _MOST_RESOURCES:
        raise struct.error("a section longer than anybody needs")
    return file.read(length)


def _has_alpha(file: BinaryIO, head: _Head) -> bool:
    """Whether the first channel behind the colors is the merged picture's alpha; then the file is at its pixels."""
    (length,) = struct.unpack(">" + head.length, file.read(struct.calcsize(">" + head.length)))
    start = file.tell()
    if start + length > file.seek(0, 2):
        raise struct.error("a section beyond the end")
    file.seek(start)
    has_alpha = head.channels > _COLORS[head.mode] and _says_alpha(file, head, start + length)
    file.seek(start + length)
    return has_alpha


def _says_alpha(file: BinaryIO, head: _Head, stop: int) -> bool:
    size = struct.calcsize(">" + head.length)
    if file.tell() + size > stop:
        return False
    (layers,) = struct.unpack(">" + head.length, file.read(size))
    start = file.tell()
    if layers >= 2:
        return bool(struct.unpack(">h", file.read(2))[0] < 0)  # of layers; below zero it says this
    (mask,) = struct.unpack(">I", file.read(4).ljust(4, b"\0"))
    at = start + layers + 4 + mask
    for _ in range(_MOST_BLOCKS):
        file.seek(at)
        block = file.read(12)
        if len(block) < 12 or at >= stop:
            break
        _, name, length = struct.unpack(">4s4sI", block)
        if name in _MERGED_ALPHA:
            return True
        at += 12 + (length + 3) // 4 * 4
    return False


def _entries(
    file: BinaryIO, head: _Head, palette: bytes, path: Path, *, used: int
) -> dict[int, bytes | tuple[int, ...]]:
    """The picture's first `used` channels as tags of a TIFF."""
    (stored,) = struct.unpack(">H", file.read(2))
    rows, used_rows = head.channels * head.height, used * head.height
    start = file.tell()
    if stored == _PACKED:
        kind = np.dtype(">u4" if head.version == 2 else ">u2")
        table = file.read(rows * kind.itemsize)
        if len(table) < rows * kind.itemsize:
            raise damaged(path, "it ends before its pixels")
        sizes = np.frombuffer(table, kind, used_rows)
        start = file.tell()
    elif stored == _RAW:
        sizes = np.full(used_rows, head.width * head.depth // 8)
    else:
        raise PictureError(
            f"{path}: a merged picture with compression number {stored} is not supported; save it again in Photoshop, "
            "or export it as TIFF or PNG",
            path=path,
        )
    ends = np.cumsum(sizes, dtype=np.int64)
    if start + ends[-1] > file.seek(0, 2):
        raise damaged(path, "it ends before its pixels")
    extras = used - _COLORS[head.mode]
    entries: dict[int, bytes | tuple[int, ...]] = {
        256: (head.width,),
        257: (head.height,),
        258: (head.depth,) * used,
        259: (_PACKBITS if stored == _PACKED else 1,),
        262: (_PHOTOMETRIC[head.mode],),
        273: tuple((start + ends - sizes).tolist()),
        277: (used,),
        278: (1,),
        279: tuple(sizes.tolist()),
        284: (2,),
    }
    if extras:
        entries[338] = (0,) * extras
    if head.mode == _INDEXED:
        entries[320] = tuple(257 * value for value in palette[:768].ljust(768, b"\0"))
    return entries


def _colors(image: Any, head: _Head, *, has_alpha: bool) -> Any:
    """The colors, and alpha if there is any, without other channels."""
    count = 3 if head.mode == _INDEXED else _COLORS[head.mode]
    if head.mode == _INDEXED and image.bands == 1:  # of gray colors
        return tripled(image)
    colors = image.extract_band(0, n=count) if image.bands > count else image
    is_transparent = has_alpha and image.bands > count
    if is_transparent:
        alpha, full = image.extract_band(count), VIPS_SCALE[image.format]
        bare = (colors - full) * (full / alpha) + full  # Photoshop has laid them on white
        bare = (bare > full).ifthenelse(full, (bare < 0).ifthenelse(0, bare))
        colors = bare.rint().cast(image.format).copy(interpretation=colors.interpretation)
    if head.mode == _CMYK:  # stored as light, not as ink
        colors = colors.invert().copy(interpretation="cmyk")
    return colors.bandjoin(alpha) if is_transparent else colors


def _described(image: Any, resources: dict[int, bytes]) -> Any:
    """The image with profile, EXIF, XMP, IPTC and resolution as the file states them."""
    for number, name in _BLOBS.items():
        if resources.get(number):
            image = with_blob(image, name, resources[number])
    stated = resources.get(_RESOLUTION, b"")
    if len(stated) < 16:
        return with_dpi(image, None)
    across, _, _, down = struct.unpack_from(">IHHI", stated)
    return with_dpi(image, (across / 65536, down / 65536) if across and down else None)
